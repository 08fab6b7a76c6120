//! What the READMEs show of tools that no other test runs.

use clap::Parser;
use tests::regenerate;
use tests::scale::Scenario;
use tests::scale::report::report;

#[test]
fn the_readme_shows_the_simulated_day_of_a_large_fleet() -> anyhow::Result<()> {
    let report = report(&Scenario::parse_from(["scale"]), false);
    let table: Vec<&str> = report
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    regenerate::block("README.md", "scale", &table.join("\n"))
}
