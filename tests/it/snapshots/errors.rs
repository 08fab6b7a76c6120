//! What the programs answer when they are given something wrong: one line that says what, and exit status 64.

use tests::programs::{self, Environment};
use tests::regenerate::{self, Redactions};

use crate::settings::SOUND;

const AUDITFERRY: &str = "auditferry";
const WORKER: &str = "auditferry-worker";

/// Command lines that mean nothing.
const BAD_ARGUMENTS: [(&str, &[&str]); 34] = [
    (AUDITFERRY, &[]),
    (AUDITFERRY, &["frobnicate"]),
    (AUDITFERRY, &["requeu"]),
    (AUDITFERRY, &["help"]),
    (AUDITFERRY, &["status", "now"]),
    (AUDITFERRY, &["--from-stack"]),
    (AUDITFERRY, &["enumerate", "--loud"]),
    (AUDITFERRY, &["enumerate", "--dryrun"]),
    (AUDITFERRY, &["enumerate", "--settle", "1"]),
    (AUDITFERRY, &["requeue", "--from", "queue"]),
    (AUDITFERRY, &["requeue", "--limit", "0"]),
    (AUDITFERRY, &["requeue", "--rate", "0"]),
    (AUDITFERRY, &["requeue", "--since", "yesterday"]),
    (AUDITFERRY, &["requeue", "--instance", ""]),
    (AUDITFERRY, &["backfill"]),
    (AUDITFERRY, &["backfill", "--from", "36h"]),
    (
        AUDITFERRY,
        &["backfill", "--from", "36 parsecs", "--to", "1h"],
    ),
    (
        AUDITFERRY,
        &["backfill", "--from", "2026-10-02", "--to", "2026-10-01"],
    ),
    (
        AUDITFERRY,
        &["backfill", "--from", "2026-13-01", "--to", "1h"],
    ),
    (AUDITFERRY, &["reconcile", "--since", "soon"]),
    (AUDITFERRY, &["reconcile", "--instance", " "]),
    (
        AUDITFERRY,
        &["verify", "--since", "2026-10-02", "--until", "2026-10-01"],
    ),
    (AUDITFERRY, &["verify", "--since", "later"]),
    (AUDITFERRY, &["dismiss"]),
    (AUDITFERRY, &["dismiss", "--instance", "orders-1"]),
    (
        AUDITFERRY,
        &["dismiss", "--instance", "orders-1", "--reason", ""],
    ),
    (AUDITFERRY, &["cost"]),
    (
        AUDITFERRY,
        &[
            "cost",
            "--instances=0",
            "--gb-per-day=1",
            "--region=us-east-1",
        ],
    ),
    (
        AUDITFERRY,
        &[
            "cost",
            "--instances=1",
            "--gb-per-day=nan",
            "--region=us-east-1",
        ],
    ),
    (
        AUDITFERRY,
        &["cost", "--instances=1", "--gb-per-day=1", "--region=mars-1"],
    ),
    (WORKER, &["--loud"]),
    (WORKER, &["--lease", "soon"]),
    (WORKER, &["health", "--address", "here"]),
    ("bootstrap", &["--json"]),
];

/// A command line, as one types it in a shell, and what it was answered.
pub(crate) fn exchange(changed: Option<(&str, &str)>, words: &[&str], answer: &str) -> String {
    let changed = changed.map(|(variable, value)| format!("{variable}={} ", quoted(value)));
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let (changed, words) = (changed.unwrap_or_default(), words.join(" "));
    let here = Redactions::default().text(env!("CARGO_MANIFEST_DIR"), "tests");
    here.apply(&format!("$ {changed}{words}\n{answer}\n"))
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '*']) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

#[tokio::test]
async fn errors_of_command_lines() -> anyhow::Result<()> {
    let environment: Environment = SOUND
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut text = String::new();
    for (program, arguments) in BAD_ARGUMENTS {
        let ended = programs::run(program, arguments, &environment).await?;
        let words = [&[program], arguments].concat();
        assert_eq!(ended.code(), Some(64), "{words:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{words:?}");
        text.push_str(&exchange(None, &words, &ended.stderr));
    }
    regenerate::snapshot("errors", "command-lines.txt", &text)
}
