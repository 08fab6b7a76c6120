//! The repository's own rules: what no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const MEMBERS: [&str; 4] = ["producer", "worker", "shared", "tests"];

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(Path::new(ROOT).join(path)).with_context(|| format!("read {path}"))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_member_takes_the_workspaces_lints() -> anyhow::Result<()> {
    for member in MEMBERS {
        let manifest = read(&format!("{member}/Cargo.toml"))?;
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{member}/Cargo.toml"
        );
    }
    Ok(())
}

#[test]
fn producer_and_worker_never_see_each_other_and_nothing_sees_the_tests() -> anyhow::Result<()> {
    for (member, strangers) in [
        ("shared", &["producer", "worker", "tests"][..]),
        ("producer", &["worker", "tests"]),
        ("worker", &["producer", "tests"]),
    ] {
        let manifest = read(&format!("{member}/Cargo.toml"))?;
        for stranger in strangers {
            assert!(
                !manifest.contains(&format!("\n{stranger}.workspace")),
                "{member} depends on {stranger}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_guarantee_in_the_readme_names_tests_that_exist() -> anyhow::Result<()> {
    let mut files = Vec::new();
    for folder in ["tests/it", "shared/src", "producer/src", "worker/src"] {
        rust_files(&Path::new(ROOT).join(folder), &mut files)?;
    }
    let sources: String = files
        .iter()
        .map(fs::read_to_string)
        .collect::<Result<_, _>>()?;
    let readme = read("README.md")?;
    let guarantees: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| G"))
        .collect();
    assert!(guarantees.len() >= 10, "{guarantees:?}");
    for guarantee in guarantees {
        let tests: Vec<&str> = guarantee
            .rsplit('|')
            .nth(1)
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        assert!(!tests.is_empty(), "no test named: {guarantee}");
        for test in tests {
            assert!(
                sources.contains(&format!("fn {test}(")),
                "no such test: {test}"
            );
        }
    }
    Ok(())
}

#[test]
fn sqss_own_redrive_is_a_backstop_that_comes_long_after_max_attempts() -> anyhow::Result<()> {
    let template: Value = serde_saphyr::from_str(&read("infra/template.yaml")?)?;
    let resources = &template["Resources"];
    let seconds = |queue: &str| {
        resources[queue]["Properties"]["MessageRetentionPeriod"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        resources["WorkQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"],
        1000
    );
    assert!(
        seconds("DeadLetterQueue") > seconds("WorkQueue"),
        "a dead letter keeps the age of the message it was"
    );
    Ok(())
}

#[test]
fn the_repository_speaks_of_the_product_alone() -> anyhow::Result<()> {
    let mut files = Vec::new();
    for member in MEMBERS {
        rust_files(&Path::new(ROOT).join(member), &mut files)?;
    }
    for file in files {
        let source = fs::read_to_string(&file)?;
        // Spelled apart, so that this file passes.
        for leftover in [
            concat!("todo", "!("),
            concat!("FIX", "ME"),
            concat!("#[", "ignore"),
            concat!("dbg", "!("),
        ] {
            assert!(!source.contains(leftover), "{}: {leftover}", file.display());
        }
    }
    Ok(())
}
