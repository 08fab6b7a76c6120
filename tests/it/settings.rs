//! Settings: the README's table is what the programs say of themselves, and a bad one is refused by name.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory};
use producer::cli::Cli;
use tests::programs::{self, Ended, Environment};
use tests::regenerate;
use worker::config::Settings;

use crate::snapshots::errors::exchange;

/// A setting's cells in the README's table, by variable.
type Rows = BTreeMap<String, (Vec<&'static str>, String, String)>;

fn collect(rows: &mut Rows, who: &'static str, command: &Command) {
    for arg in command.get_arguments() {
        let Some(variable) = arg.get_env() else {
            continue;
        };
        let (meaning, default) = said_of(arg);
        let row = rows
            .entry(variable.to_string_lossy().into_owned())
            .or_insert((Vec::new(), default, meaning));
        row.0.push(who);
    }
}

/// Meaning and default: the help's text, whose `[default: …]` stands in where there is no single value.
fn said_of(arg: &Arg) -> (String, String) {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let (meaning, bracket) = help.split_once(" [default: ").unwrap_or((&help, ""));
    let default = match (bracket.trim_end_matches(']'), values.join(",")) {
        ("", value) => value,
        (words, _) => words.to_owned(),
    };
    (meaning.to_owned(), default)
}

fn table() -> String {
    let mut rows = Rows::new();
    let cli = Cli::command();
    collect(&mut rows, "producer", &cli);
    collect(
        &mut rows,
        "producer",
        cli.find_subcommand("enumerate").expect("there is one"),
    );
    collect(&mut rows, "worker", &Settings::command());
    let mut lines = vec![
        "| variable | who | default | meaning |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for (variable, (who, default, meaning)) in rows {
        let who = if who.len() == 2 { "all" } else { who[0] };
        let default = if default.is_empty() { "–" } else { &default };
        lines.push(format!("| `{variable}` | {who} | {default} | {meaning} |"));
    }
    lines.join("\n")
}

#[test]
fn the_readme_has_every_setting_as_the_programs_help_has_it() -> anyhow::Result<()> {
    regenerate::block("README.md", "settings", &table())
}

#[tokio::test]
async fn help_names_every_setting() -> anyhow::Result<()> {
    let nothing = Environment::new();
    let enumerate = programs::run("auditferry", &["enumerate", "--help"], &nothing).await?;
    let worker = programs::run("auditferry-worker", &["--help"], &nothing).await?;
    assert_eq!((enumerate.code(), worker.code()), (Some(0), Some(0)));
    let said = (enumerate.stdout + &worker.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for line in table().lines().skip(2) {
        let variable = line.split('`').nth(1).unwrap();
        assert!(
            said.contains(&format!("[env: {variable}=]")),
            "--help does not name {variable}"
        );
    }
    Ok(())
}

#[test]
fn the_command_lines_are_sound() {
    Cli::command().debug_assert();
    Settings::command().debug_assert();
}

/// Settings with which each program gets as far as the network.
pub(crate) const SOUND: [(&str, &str); 9] = [
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
    (
        "QUEUE_URL",
        "https://sqs.us-east-1.amazonaws.com/123456789012/work",
    ),
    (
        "DEAD_LETTER_QUEUE_URL",
        "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
    ),
    ("CHECKPOINT_TABLE", "checkpoints"),
    ("S3_BUCKET", "archive"),
    ("CLUSTERS", "*"),
];

/// A file without certificates.
const NO_CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

async fn with(
    program: &str,
    arguments: &[&str],
    changed: &[(&str, &str)],
) -> anyhow::Result<Ended> {
    let mut environment: BTreeMap<&str, &str> = SOUND.into();
    environment.extend(changed.iter().copied());
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    programs::run(program, arguments, &environment).await
}

#[tokio::test]
async fn a_bad_setting_is_one_line_that_names_it_and_exit_status_64() -> anyhow::Result<()> {
    let producer = ("auditferry", &["enumerate"][..]);
    let status = ("auditferry", &["status"][..]);
    let requeue = ("auditferry", &["requeue"][..]);
    let lambda = ("bootstrap", &[][..]);
    let worker = ("auditferry-worker", &[][..]);
    let health = ("auditferry-worker", &["health"][..]);
    let mut said = String::new();
    for ((program, arguments), variable, value) in [
        (producer, "QUEUE_URL", ""), // an empty value is unset
        (lambda, "QUEUE_URL", ""),
        (worker, "QUEUE_URL", ""),
        (status, "QUEUE_URL", ""),
        (requeue, "DEAD_LETTER_QUEUE_URL", ""),
        (worker, "DEAD_LETTER_QUEUE_URL", ""),
        (producer, "AWS_CA_BUNDLE", "/nowhere/roots.pem"),
        (status, "AWS_CA_BUNDLE", "/nowhere/roots.pem"),
        (requeue, "AWS_CA_BUNDLE", "/nowhere/roots.pem"),
        (lambda, "AWS_CA_BUNDLE", NO_CERTIFICATES),
        (worker, "AWS_CA_BUNDLE", NO_CERTIFICATES),
        (producer, "CHECKPOINT_TABLE", ""),
        (worker, "CHECKPOINT_TABLE", ""),
        (worker, "S3_BUCKET", ""),
        (worker, "S3_PREFIX", "/archive"),
        (producer, "QUEUE_URL", "work"),
        (worker, "QUEUE_URL", "sqs://host/x"),
        (producer, "CLUSTERS", ""),
        (lambda, "CLUSTERS", ""),
        (producer, "CLUSTERS", "tag:env"),
        (producer, "INSTANCES", "tag:=x"),
        (producer, "SETTLE", "soon"),
        (producer, "OVERLAP", "15"),
        (lambda, "RESEND_AFTER", "-1m"),
        (worker, "COMPRESSION", "lzma"),
        (worker, "COMPRESSION_LEVEL", "11"),
        (worker, "COMPRESSION_LEVEL", "fast"),
        (worker, "CONCURRENCY", "0"),
        (worker, "CONCURRENCY", "many"),
        (worker, "MEMORY_BUDGET", "256 monkeys"),
        (worker, "MEMORY_BUDGET", "1MiB"),
        (worker, "LEASE", "2s"),
        (worker, "LEASE", "2"),
        (worker, "MAX_ATTEMPTS", "0"),
        (worker, "SHUTDOWN_GRACE", "x"),
        (worker, "EXIT_WHEN_IDLE", "x"),
        (worker, "DOWNLOAD_IDLE_TIMEOUT", "x"),
        (worker, "HEALTH_ADDRESS", "8080"),
        (health, "HEALTH_ADDRESS", "localhost"),
        (health, "HEALTH_ADDRESS", ""),
        (worker, "LOG_FORMAT", "xml"),
        (producer, "LOG_FORMAT", "xml"),
        (worker, "RUST_LOG", "worker=loud"),
        (producer, "AWS_REGION", ""),
        (worker, "AWS_REGION", ""),
        (
            producer,
            "QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/work",
        ),
        (
            lambda,
            "QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/work",
        ),
        (
            worker,
            "QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/work",
        ),
        (
            requeue,
            "DEAD_LETTER_QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
        ),
    ] {
        let case = format!("{program} {arguments:?} {variable}={value:?}");
        let ended = with(program, arguments, &[(variable, value)]).await?;
        assert_eq!(ended.code(), Some(64), "{case}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{case}: {}", ended.stderr);
        assert!(ended.stderr.contains(variable), "{case}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{case}");
        let words = [&[program], arguments].concat();
        said.push_str(&exchange(Some((variable, value)), &words, &ended.stderr));
    }
    regenerate::snapshot("settings", "errors.txt", &said)
}

#[tokio::test]
async fn an_unknown_flag_or_command_is_exit_status_64_too() -> anyhow::Result<()> {
    for (program, arguments) in [
        ("auditferry", &["frobnicate"][..]),
        ("auditferry", &[]),
        ("auditferry", &["enumerate", "--loud"]),
        ("auditferry-worker", &["--loud"]),
    ] {
        let ended = with(program, arguments, &[]).await?;
        assert_eq!(ended.code(), Some(64), "{program} {arguments:?}: {ended:?}");
    }
    Ok(())
}
