//! `cargo scale`: a day of a large fleet in simulated time, and which limit it meets first.

use clap::Parser;
use tests::scale::Scenario;
use tests::scale::report::report;

/// Plays a day of a large fleet in simulated time: what it asks of AWS, what that costs, which limit is met first
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    scenario: Scenario,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "that is all it does")]
fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    options.scenario.check()?;
    println!("{}", report(&options.scenario, options.json).trim_end());
    Ok(())
}
