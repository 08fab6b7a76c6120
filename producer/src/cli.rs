//! `auditferry`: the operator's commands, and how their results are shown.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use clap::{Parser, Subcommand};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use shared::checkpoint::{Checkpoints, State};
use shared::config::{BadSetting, Common};
use shared::queue::{Depth, Queue};

use crate::config::{Enumeration, Targets, connect};
use crate::requeue::{self, Letter, Outcome, Queues};
use crate::run::{Summary, run_once};
use crate::status::{self, InstanceStatus, Status};

/// Copies database audit logs from Amazon RDS and Aurora to S3, and proves that nothing is missing
///
/// Every setting is a flag and an environment variable. Region, credentials and endpoints are read as every AWS SDK
/// reads them.
#[derive(Debug, Parser)]
#[command(name = "auditferry", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Settings that all commands have.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every instance's audit log files and put those that are due on the queue
    Enumerate {
        /// Which instances, and when a version is due.
        #[command(flatten)]
        settings: Enumeration,
        /// Only say what would be sent
        #[arg(long, help_heading = "Options")]
        dry_run: bool,
        /// Print the result as JSON
        #[arg(long, help_heading = "Options")]
        json: bool,
    },
    /// Show where every instance stands; exit status 2 if something needs a person
    Status {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Put dead letters back on the queue
    Requeue {
        /// Only say what would be put back
        #[arg(long)]
        dry_run: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What a command has to say at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Exit status 0.
    Done,
    /// Exit status 1: not all of it could be done, as was said.
    Failed,
    /// Exit status 2: somebody has to do something.
    NeedsAPerson,
}

/// Runs a command to its end.
pub async fn run(cli: Cli) -> anyhow::Result<Verdict> {
    match cli.command {
        Command::Enumerate {
            settings,
            dry_run,
            json,
        } => {
            settings.check()?;
            let clients = Targets::check(&cli.common)?.connect().await?;
            let summary = run_once(&clients, &settings, dry_run, None).await?;
            print(json, &summary, show_summary)?;
            Ok(if summary.ok() {
                Verdict::Done
            } else {
                Verdict::Failed
            })
        }
        Command::Status { json } => {
            let Queues {
                work,
                dead_letters,
                checkpoints,
            } = queues(&cli.common).await?;
            let status = status::status(&checkpoints, &work, &dead_letters).await?;
            print(json, &status, show_status)?;
            Ok(if status.attention.is_empty() {
                Verdict::Done
            } else {
                Verdict::NeedsAPerson
            })
        }
        Command::Requeue { dry_run, json } => {
            let letters = requeue::requeue(&queues(&cli.common).await?, dry_run).await?;
            print(json, &letters, |letters| show_letters(letters, dry_run))?;
            let left = letters.iter().any(|letter| letter.outcome == Outcome::Left);
            Ok(if left { Verdict::Failed } else { Verdict::Done })
        }
    }
}

async fn queues(common: &Common) -> Result<Queues, BadSetting> {
    let ((queue, dead_letters), table) = (common.queue_urls()?, common.checkpoint_table()?);
    let aws = connect(&[
        ("QUEUE_URL", &queue),
        ("DEAD_LETTER_QUEUE_URL", &dead_letters),
    ])
    .await?;
    Ok(Queues {
        work: Queue::new(&aws, queue),
        dead_letters: Queue::new(&aws, dead_letters),
        checkpoints: Checkpoints::new(&aws, table),
    })
}

/// Results go to standard output, logs to standard error.
fn print<T: Serialize + ?Sized>(
    json: bool,
    result: &T,
    show: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(result)?
    } else {
        show(result)
    };
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()), // as with `| head`
        written => written.context("write the result"),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(header.iter().copied());
    table
}

fn right(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

fn lines(title: &str, lines: &[String]) -> String {
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str(title);
        for line in lines {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

fn show_summary(summary: &Summary) -> String {
    let mut rows = table(&[
        "cluster",
        "instance",
        "listed",
        if summary.dry_run { "due" } else { "sent" },
        "sent again",
        "",
    ]);
    for report in &summary.instances {
        rows.add_row([
            Cell::new(&report.cluster),
            Cell::new(&report.instance),
            right(report.listed),
            right(report.sent),
            right(report.resent),
            Cell::new(if report.error.is_some() { "FAILED" } else { "" }),
        ]);
    }
    let of_instance = |name: &str, text: &String| format!("{name}: {text}");
    let each = summary.instances.iter();
    let due: Vec<String> = each
        .clone()
        .flat_map(|report| {
            report
                .due
                .iter()
                .map(|due| of_instance(&report.instance, due))
        })
        .collect();
    let warnings: Vec<String> = each
        .clone()
        .flat_map(|report| {
            report
                .warnings
                .iter()
                .map(|warning| of_instance(&report.instance, warning))
        })
        .collect();
    let errors = each.filter_map(|report| {
        report
            .error
            .as_ref()
            .map(|error| of_instance(&report.instance, error))
    });
    let failures: Vec<String> = summary.problems.iter().cloned().chain(errors).collect();
    [
        format!("{rows}\n"),
        lines("due:", &due),
        lines(
            "not of an engine with audit log files of this kind:",
            &summary.other_engines,
        ),
        lines("left for the next run:", &summary.not_started),
        lines("warnings:", &warnings),
        lines("failures:", &failures),
    ]
    .concat()
}

fn show_status(status: &Status) -> String {
    let mut header = vec![
        "cluster",
        "instance",
        "watermark",
        "last enumerated",
        "oldest unfinished",
    ];
    header.extend(State::ALL.map(State::as_str));
    let mut rows = table(&header);
    for instance in &status.instances {
        let mut row = vec![
            Cell::new(&instance.cluster),
            Cell::new(&instance.instance),
            Cell::new(watermarks(instance)),
            Cell::new(
                instance
                    .last_enumerated_at
                    .as_deref()
                    .map_or("never", to_the_second),
            ),
            Cell::new(oldest(instance)),
        ];
        row.extend(
            State::ALL.map(|state| right(instance.states.get(&state).copied().unwrap_or_default())),
        );
        rows.add_row(row);
    }
    let depth = |depth: Depth| {
        format!(
            "{} waiting, {} in flight, {} delayed",
            depth.visible, depth.in_flight, depth.delayed
        )
    };
    [
        format!("{rows}\n"),
        format!("queue: {}\n", depth(status.queue)),
        format!("dead-letter queue: {}\n", depth(status.dead_letter_queue)),
        lines("needs a person:", &status.attention),
    ]
    .concat()
}

fn watermarks(instance: &InstanceStatus) -> String {
    let each = instance.watermarks.iter().map(|(family, watermark)| {
        format!("{family} {}", watermark.as_deref().unwrap_or("none yet"))
    });
    each.collect::<Vec<_>>().join("\n")
}

fn oldest(instance: &InstanceStatus) -> String {
    let Some(oldest) = &instance.oldest_unfinished else {
        return String::new();
    };
    let age = std::time::Duration::from_secs(oldest.age_seconds);
    format!("{} ({})", oldest.file, humantime::format_duration(age))
}

/// RFC 3339 without the fraction.
fn to_the_second(time: &str) -> &str {
    time.split_once('.').map_or(time, |(whole, _)| whole)
}

fn show_letters(letters: &[Letter], dry_run: bool) -> String {
    let mut rows = table(&[
        "instance",
        "log file",
        "reason",
        if dry_run { "would be" } else { "outcome" },
    ]);
    for letter in letters {
        let outcome = match letter.outcome {
            Outcome::Requeued => "requeued".to_owned(),
            Outcome::Finished => "deleted: its version is finished".to_owned(),
            Outcome::Left => format!("left: {}", letter.error.as_deref().unwrap_or("unknown")),
        };
        rows.add_row([
            letter.instance.as_deref().unwrap_or("?"),
            letter.file.as_deref().unwrap_or("?"),
            letter.reason.as_deref().unwrap_or("none given"),
            &outcome,
        ]);
    }
    let count = |outcome| {
        letters
            .iter()
            .filter(|letter| letter.outcome == outcome)
            .count()
    };
    let (requeued, finished, left) = (
        count(Outcome::Requeued),
        count(Outcome::Finished),
        count(Outcome::Left),
    );
    let totals = format!(
        "{requeued} requeued, {finished} already finished, {left} left in the dead-letter queue"
    );
    let note = if dry_run {
        " (dry run: nothing was changed)"
    } else {
        ""
    };
    if letters.is_empty() {
        "no dead letters".to_owned()
    } else {
        format!("{rows}\n{totals}{note}")
    }
}
