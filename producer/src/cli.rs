//! `auditferry`: the operator's commands.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use shared::archive::Archive;
use shared::checkpoint::Checkpoints;
use shared::config::{BadSetting, Common};
use shared::queue::Queue;

use crate::config::{Enumeration, Targets, connect};
use crate::cost::{self, Prices};
use crate::dismiss::{self, dismiss};
use crate::reconcile::{self, reconcile};
use crate::requeue::{self, Outcome, Queues, requeue};
use crate::run::{Window, run_once};
use crate::show;
use crate::status::status;
use crate::verify::{self, verify};

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
    /// A deployed stack whose outputs are the settings that are not given otherwise [default: none]
    #[arg(
        long,
        env = "AUDITFERRY_STACK",
        global = true,
        value_name = "NAME",
        help_heading = "Settings of all programs"
    )]
    pub from_stack: Option<String>,
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
    /// Put what was quarantined back on the queue; safe to interrupt and to run again
    Requeue {
        /// What, how much, and how fast.
        #[command(flatten)]
        request: requeue::Request,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Put versions of a time range on the queue that the table does not know, whatever the watermarks say
    Backfill {
        /// Which instances, and when a version is due.
        #[command(flatten)]
        settings: Enumeration,
        /// Versions last written from then on: a time, a date, or how long ago (2026-10-01T12:00:00Z, 2026-10-01, 36h)
        #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Options")]
        from: Timestamp,
        /// Versions last written until then; a date means its end
        #[arg(long, value_name = "TIME", value_parser = time_until, help_heading = "Options")]
        to: Timestamp,
        /// Only these of the selected instances: names or resource ids, comma-separated
        #[arg(
            long,
            value_name = "INSTANCE",
            value_delimiter = ',',
            value_parser = instance,
            help_heading = "Options"
        )]
        instance: Vec<String>,
        /// Only say what would be sent
        #[arg(long, help_heading = "Options")]
        dry_run: bool,
        /// Print the result as JSON
        #[arg(long, help_heading = "Options")]
        json: bool,
    },
    /// Compare RDS, the table and the archive; exit status 2 if something is missing somewhere
    Reconcile {
        /// Which instances, and when a version is due.
        #[command(flatten)]
        settings: Enumeration,
        /// What to compare, and whether to mend it.
        #[command(flatten)]
        request: reconcile::Request,
        /// Print the result as JSON
        #[arg(long, help_heading = "Options")]
        json: bool,
    },
    /// Read archived versions back and compare them with what was shipped; exit status 2 if they differ, or are gone
    Verify {
        /// Which versions.
        #[command(flatten)]
        request: verify::Request,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give up what nobody can bring back, for a reason that is recorded
    Dismiss {
        /// What, and why.
        #[command(flatten)]
        request: dismiss::Request,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Estimate what keeping the log costs a month, this way and others; asks nobody, and needs no settings
    Cost {
        /// How much, and where.
        #[command(flatten)]
        fleet: cost::Fleet,
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
        } => enumerate(&cli.common, &settings, &Window::New, dry_run, json).await,
        Command::Status { json } => {
            let Queues {
                work,
                dead_letters,
                checkpoints,
            } = queues(&cli.common).await?;
            let status = status(&checkpoints, &work, &dead_letters).await?;
            print(json, &status, show::status)?;
            Ok(if status.attention.is_empty() {
                Verdict::Done
            } else {
                Verdict::NeedsAPerson
            })
        }
        Command::Requeue { request, json } => {
            let queues = queues(&cli.common).await?;
            let progress = progress();
            let done = requeue(&queues, &request, &progress).await;
            progress.finish_and_clear();
            let done = done?;
            print(json, &done.letters, |_letters| {
                show::letters(&done, &request)
            })?;
            if done.interrupted {
                tracing::warn!("interrupted: run it again for the rest");
            }
            let left = |letter: &requeue::Letter| letter.outcome == Outcome::Left;
            Ok(if done.interrupted || done.letters.iter().any(left) {
                Verdict::Failed
            } else {
                Verdict::Done
            })
        }
        Command::Backfill {
            settings,
            from,
            to,
            instance,
            dry_run,
            json,
        } => {
            if from > to {
                return Err(BadSetting(format!("--from {from} is after --to {to}")).into());
            }
            let window = Window::Past(from..=to, instance);
            enumerate(&cli.common, &settings, &window, dry_run, json).await
        }
        Command::Reconcile {
            settings,
            request,
            json,
        } => {
            settings.check()?;
            let targets = Targets::check(&cli.common)?;
            let (clients, archive) = targets.connect_with_archive(&cli.common).await?;
            let result = reconcile(&clients, &archive, &settings, &request).await?;
            print(json, &result, |result| {
                show::reconciliation(result, request.repair)
            })?;
            Ok(match (result.failures.is_empty(), result.clean()) {
                (false, _) => Verdict::Failed,
                (true, false) => Verdict::NeedsAPerson,
                (true, true) => Verdict::Done,
            })
        }
        Command::Verify { request, json } => read_back(&cli.common, &request, json).await,
        Command::Dismiss { request, json } => {
            let table = cli.common.checkpoint_table()?;
            let checkpoints = Checkpoints::new(&connect(&cli.common.roots()?, &[]).await?, table);
            let dismissals = dismiss(&checkpoints, &request).await?;
            print(json, &dismissals, |dismissals| {
                show::dismissals(dismissals, request.dry_run)
            })?;
            Ok(if dismissals.iter().all(|version| version.dismissed) {
                Verdict::Done
            } else {
                Verdict::Failed
            })
        }
        Command::Cost { fleet, json } => {
            let estimate = cost::estimate(&fleet, &Prices::known())?;
            print(json, &estimate, cost::show::estimate)?;
            Ok(Verdict::Done)
        }
    }
}

async fn enumerate(
    common: &Common,
    settings: &Enumeration,
    window: &Window,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<Verdict> {
    settings.check()?;
    let clients = Targets::check(common)?.connect().await?;
    let summary = run_once(&clients, settings, window, dry_run, None).await?;
    print(json, &summary, show::summary)?;
    Ok(if summary.ok() {
        Verdict::Done
    } else {
        Verdict::Failed
    })
}

async fn read_back(
    common: &Common,
    request: &verify::Request,
    json: bool,
) -> anyhow::Result<Verdict> {
    request.check()?;
    let table = common.checkpoint_table()?;
    let (bucket, prefix) = (common.s3_bucket()?, common.s3_prefix()?);
    let aws = connect(&common.roots()?, &[]).await?;
    let checkpoints = Checkpoints::new(&aws, table);
    let archive = Archive::new(&aws, bucket, prefix);
    let progress = progress();
    let result = verify(&checkpoints, &archive, request, &progress).await;
    progress.finish_and_clear();
    let result = result?;
    print(json, &result, show::verification)?;
    // What was found counts, also if not all could be read.
    Ok(if !result.discrepancies.is_empty() || result.gone > 0 {
        Verdict::NeedsAPerson
    } else if !result.not_read.is_empty() || !result.failures.is_empty() {
        Verdict::Failed
    } else {
        Verdict::Done
    })
}

/// A bar on a terminal; nothing elsewhere.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} looked at, {eta} left");
    ProgressBar::new(0).with_style(style.expect("the template is right"))
}

/// Reads a time: RFC 3339, a date (its beginning, UTC), or how long ago.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    read_time(text, midnight)
}

/// The same, but a date means its end.
pub(crate) fn time_until(text: &str) -> Result<Timestamp, String> {
    read_time(text, |date| {
        midnight(date.tomorrow()?)?.checked_sub(Duration::from_nanos(1))
    })
}

fn read_time(
    text: &str,
    of_date: impl Fn(Date) -> Result<Timestamp, jiff::Error>,
) -> Result<Timestamp, String> {
    let date = || of_date(Date::strptime("%Y-%m-%d", text).ok()?).ok();
    let ago = || {
        let ago = shared::config::duration(text).ok()?;
        Timestamp::now().checked_sub(ago).ok()
    };
    text.parse()
        .ok()
        .or_else(date)
        .or_else(ago)
        .ok_or_else(|| "write it like 2026-10-01T12:00:00Z, 2026-10-01 or 36h".to_owned())
}

fn midnight(date: Date) -> Result<Timestamp, jiff::Error> {
    Ok(date.to_zoned(TimeZone::UTC)?.timestamp())
}

/// Reads an instance's name or resource id.
pub(crate) fn instance(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("name an instance, such as orders-1".to_owned()),
        instance => Ok(instance.to_owned()),
    }
}

async fn queues(common: &Common) -> Result<Queues, BadSetting> {
    let ((queue, dead_letters), table) = (common.queue_urls()?, common.checkpoint_table()?);
    let urls = [
        ("QUEUE_URL", queue.as_str()),
        ("DEAD_LETTER_QUEUE_URL", &dead_letters),
    ];
    let aws = connect(&common.roots()?, &urls).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon: Timestamp = "2026-10-01T12:00:00Z".parse().unwrap();
        assert_eq!(time("2026-10-01T12:00:00Z"), Ok(noon));
        assert_eq!(time("2026-10-01T14:00:00+02:00"), Ok(noon));
        assert_eq!(
            time("2026-10-01").unwrap().to_string(),
            "2026-10-01T00:00:00Z"
        );
        let ago = time("36h").unwrap().duration_until(Timestamp::now());
        assert_eq!(ago.as_hours(), 36);
        assert_eq!(time_until("2026-10-01T12:00:00Z"), Ok(noon));
        assert_eq!(
            time_until("2026-10-01").unwrap().to_string(),
            "2026-10-01T23:59:59.999999999Z"
        );
        let too_long_ago = "999999 years";
        for nonsense in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-10-01T12:00",
            too_long_ago,
        ] {
            for how in [time(nonsense), time_until(nonsense)] {
                assert!(how.unwrap_err().contains("2026-10-01 or 36h"), "{nonsense}");
            }
        }
    }
}
