//! `cargo proof`: the figures of the last runs of the tests and of the soak, as the README has them. With `UPDATE=1` it
//! writes them there, too.
#![expect(clippy::print_stdout, reason = "that is all it does")]

use std::fmt::Write as _;

use tests::{proof, regenerate};

fn main() -> anyhow::Result<()> {
    let mut table = "| what | figure | |\n|---|---|---:|\n".to_owned();
    for (area, figures) in proof::read()? {
        for (figure, count) in figures {
            writeln!(table, "| {area} | {figure} | {count} |")?;
        }
    }
    print!("{table}");
    if regenerate::wanted() {
        let block = format!("```\n$ cargo proof\n{table}```");
        regenerate::block("README.md", "proof", &block)?;
    }
    Ok(())
}
