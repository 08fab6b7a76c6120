//! The fuzz targets: every input of the corpus, then a bounded run of mutations of it.

mod mutation;

use std::panic::catch_unwind;
use std::path::Path;

use anyhow::Context;
use fastrand::Rng;
use tests::proof;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
const SEED: u64 = 20_241_001;

/// All inputs, by name.
fn corpus(target: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(CORPUS).join(target);
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().display().to_string();
        inputs.push((name, std::fs::read(path)?));
    }
    inputs.sort();
    anyhow::ensure!(inputs.len() >= 10, "{target} has hardly a corpus");
    Ok(inputs)
}

/// Whether `input` keeps the promises of `target`; if not, says how to keep it.
fn hold(target: &str, run: fn(&[u8]), what: &str, input: &[u8]) -> anyhow::Result<()> {
    let held = catch_unwind(|| run(input)).is_ok();
    anyhow::ensure!(
        held,
        "{what} breaks `{target}`; keep this in tests/corpus/{target}:\n{}",
        input.escape_ascii()
    );
    Ok(())
}

fn fuzz(target: &str, run: fn(&[u8]), mutations: u32) -> anyhow::Result<()> {
    let corpus = corpus(target)?;
    for (name, input) in &corpus {
        hold(target, run, name, input)?;
    }
    proof::add("fuzz", "inputs of the corpus", u64::try_from(corpus.len())?)?;
    let inputs: Vec<_> = corpus.into_iter().map(|(_, input)| input).collect();
    let mut rng = Rng::with_seed(SEED);
    for number in 1..=mutations {
        let input = mutation::mutate(&mut rng, &inputs);
        hold(
            target,
            run,
            &format!("mutation {number} of seed {SEED}"),
            &input,
        )?;
    }
    proof::add("fuzz", "mutated inputs", mutations.into())
}

#[test]
fn any_log_file_name_gets_a_key_of_its_own_inside_the_layout_or_none() -> anyhow::Result<()> {
    fuzz("names", tests::fuzz::names::run, 20_000)
}

#[test]
fn any_message_that_can_be_read_means_the_same_on_the_wire_again() -> anyhow::Result<()> {
    fuzz("messages", tests::fuzz::messages::run, 20_000)
}

#[test]
fn any_answer_of_rds_ends_the_listing_and_hides_no_entry() -> anyhow::Result<()> {
    fuzz("listing", tests::fuzz::listing::run, 1_500)
}

#[test]
fn any_metadata_but_ours_counts_as_older_than_every_version() -> anyhow::Result<()> {
    fuzz("metadata", tests::fuzz::metadata::run, 20_000)
}

#[test]
fn a_page_that_is_cut_short_or_damaged_is_no_listing() -> anyhow::Result<()> {
    let mut whole = 0;
    for (name, page) in corpus("listing")? {
        let page = page.trim_ascii_end();
        let listing = match tests::fuzz::listing::list(page) {
            Ok(listing) if page.len() < 700 => listing,
            _ => continue,
        };
        whole += 1;
        let refuse = |page: &[u8], what| {
            let listed = tests::fuzz::listing::list(page);
            assert!(
                listed.is_err(),
                "{name} {what}: {listed:?}, not {listing:?}"
            );
        };
        for at in 0..page.len() {
            refuse(&page[..at], format!("cut at {at}"));
        }
        for at in (0..page.len()).step_by(5) {
            let damaged = [&page[..at], b"\x01", &page[at..]].concat();
            refuse(&damaged, format!("damaged at {at}"));
        }
    }
    assert!(whole >= 5, "{whole} listings in the corpus");
    Ok(())
}
