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

/// Calls that change nothing outside that matters. What is received is hidden for a while, and comes back; a task is
/// protected from scale-in for a while.
const LOOKS: [&str; 15] = [
    ".describe_stacks(",
    ".describe_db_clusters(",
    ".describe_db_instances(",
    ".describe_db_log_files(",
    ".get_item(",
    ".query(",
    ".scan(",
    ".get_queue_attributes(",
    ".receive_message(",
    ".head_bucket(",
    ".head_object(",
    ".list_objects_v2(",
    ".get_object(",
    ".http.get(",
    ".put(&self.url)",
];

/// Calls that change something outside, of the services that the programs use.
const CHANGES: [&str; 22] = [
    ".put_item(",
    ".update_item(",
    ".delete_item(",
    ".batch_write_item(",
    ".transact_write_items(",
    ".execute_statement(",
    ".send_message(",
    ".send_message_batch(",
    ".delete_message(",
    ".delete_message_batch(",
    ".change_message_visibility(",
    ".change_message_visibility_batch(",
    ".purge_queue(",
    ".put_object(",
    ".copy_object(",
    ".delete_object(",
    ".delete_objects(",
    ".create_multipart_upload(",
    ".upload_part(",
    ".upload_part_copy(",
    ".complete_multipart_upload(",
    ".abort_multipart_upload(",
];

#[test]
fn nothing_outside_is_changed_but_by_a_durable_step() -> anyhow::Result<()> {
    let mut files = Vec::new();
    for member in ["producer", "worker", "shared"] {
        rust_files(&Path::new(ROOT).join(member).join("src"), &mut files)?;
    }
    let mut steps = 0;
    for file in files {
        let source = fs::read_to_string(&file)?;
        let mut line = 1;
        let mut pieces = source.split(".send()").peekable();
        while let Some(piece) = pieces.next() {
            line += piece.matches('\n').count();
            let at = format!("{}:{line}", file.display());
            let has = |calls: &[&str]| calls.iter().any(|call| piece.contains(call));
            let (looks, changes) = (has(&LOOKS), has(&CHANGES));
            if pieces.peek().is_none() {
                assert!(!changes, "{at}: not sent by step::take(..) below");
                continue;
            }
            let statement = piece.rsplit([';', '{', '}']).next().unwrap_or_default();
            let taken = statement.contains("step::take(");
            assert!(looks || changes, "{at}: a call of neither list");
            assert!(taken || !changes, "{at}: not sent by step::take(..)");
            assert!(changes || !taken, "{at}: a step that changes nothing");
            steps += usize::from(taken);
        }
    }
    assert!(steps >= 10, "only {steps} were found");
    Ok(())
}

#[test]
fn every_guarantee_and_every_fault_in_the_readme_names_tests_that_exist() -> anyhow::Result<()> {
    let mut files = Vec::new();
    for folder in ["tests/it", "shared/src", "producer/src", "worker/src"] {
        rust_files(&Path::new(ROOT).join(folder), &mut files)?;
    }
    let sources: String = files
        .iter()
        .map(fs::read_to_string)
        .collect::<Result<_, _>>()?;
    let readme = read("README.md")?;
    let guarantees = readme.lines().filter(|line| line.starts_with("| G"));
    let faults = readme
        .lines()
        .skip_while(|line| !line.starts_with("| fault |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let (guarantees, faults): (Vec<_>, Vec<_>) = (guarantees.collect(), faults.collect());
    assert!(guarantees.len() >= 20 && faults.len() >= 15);
    for row in guarantees.into_iter().chain(faults) {
        let last = row.rsplit('|').nth(1).unwrap();
        let tests: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test named: {row}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap();
            let is_known = match name.strip_prefix("cargo ") {
                Some(alias) => read(".cargo/config.toml")?.contains(&format!("\n{alias} = ")),
                None => ["fn", "mod"].iter().any(|kind| {
                    let named = |end: &str| sources.contains(&format!("{kind} {name}{end}"));
                    named("(") || named(" {") || named(";")
                }),
            };
            assert!(is_known, "no such test: {test}");
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
