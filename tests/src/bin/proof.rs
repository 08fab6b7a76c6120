//! `cargo proof`: the figures of the last runs of the tests and of the soak, as the README has them.
#![expect(clippy::print_stdout, reason = "that is all it does")]

fn main() -> anyhow::Result<()> {
    println!("| what | figure | |\n|---|---|---:|");
    for (area, figures) in tests::proof::read()? {
        for (figure, count) in figures {
            println!("| {area} | {figure} | {count} |");
        }
    }
    Ok(())
}
