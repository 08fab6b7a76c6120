//! One run: every selected instance is listed, planned for, and put on the queue. Nothing that is wrong with one stops another.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use shared::aws::{CallError, Meaning};
use shared::checkpoint::{Known, Mark};
use shared::listing::{self, Listing, says_later};
use shared::log_file::{Family, LogFile};
use shared::metrics::Metric;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::{Clients, Enumeration};
use crate::enqueue::{enqueue, ship_again};
use crate::enumerate::{Found, enumerate};
use crate::plan::{Plan, Timing, any_doubtful, backfill, plan};
use crate::vanished;

/// Instances at a time; `DescribeDBLogFiles` is throttled per account and region.
const CONCURRENCY: usize = 8;

/// No instance is started with less than this left before the deadline.
const LAST_START: Duration = Duration::from_secs(20);

/// Which versions a run looks at.
#[derive(Debug, Clone)]
pub enum Window {
    /// Those since the watermarks, which then move.
    New,
    /// Those last written in a time range, of these instances (names or resource ids; none means all).
    Past(RangeInclusive<Timestamp>, Vec<String>),
}

/// What a run did, and what was wrong.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Nothing was sent or recorded.
    pub dry_run: bool,
    /// Messages sent, or with `dry_run`, that would be.
    pub sent: usize,
    /// Messages sent again.
    pub resent: usize,
    /// Instances that failed or vanished, and selections that name nothing.
    pub failures: usize,
    /// What is wrong with the selections.
    pub problems: Vec<String>,
    /// Instances that RDS has no more, with unfinished versions.
    pub vanished: Vec<String>,
    /// Instances left for the next run, since the deadline was near.
    pub not_started: Vec<String>,
    /// Selected by `*` or a tag, but of an engine without such audit logs.
    pub other_engines: Vec<String>,
    /// Each instance, by cluster and name.
    pub instances: Vec<Report>,
}

impl Summary {
    /// What CloudWatch is told of it.
    pub fn figures(&self, now: Timestamp) -> [(Metric, f64); 5] {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 of them")]
        let count = |count: usize| count as f64;
        let oldest = self
            .instances
            .iter()
            .filter_map(|report| report.oldest_unfinished)
            .min();
        let hours = oldest.map_or(0.0, |oldest| {
            oldest.duration_until(now).as_secs_f64() / 3600.0
        });
        [
            (Metric::Sent, count(self.sent)),
            (Metric::Resent, count(self.resent)),
            (Metric::Failures, count(self.failures)),
            (Metric::NotStarted, count(self.not_started.len())),
            (Metric::OldestUnfinishedHours, hours.max(0.0)),
        ]
    }

    /// Whether everything that was asked for was done, as far as the time allowed.
    pub fn ok(&self) -> bool {
        self.failures == 0
    }
}

/// What a run did about one instance.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Its cluster's name, or its own.
    pub cluster: String,
    /// Its name.
    pub instance: String,
    /// Audit log files that RDS listed.
    pub listed: usize,
    /// Messages sent, or with `dry_run`, that would be.
    pub sent: usize,
    /// Messages sent again.
    pub resent: usize,
    /// Last write of the version that has been waiting longest, those just sent included; `None` if none is.
    pub oldest_unfinished: Option<Timestamp>,
    /// With `dry_run`: the log files that would be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Why it failed; `None` if it did not.
    pub error: Option<String>,
}

/// Enumerates once. `Err`: nothing can be done at all, since RDS, queue or table refuse us.
pub async fn run_once(
    clients: &Clients,
    settings: &Enumeration,
    window: &Window,
    dry_run: bool,
    deadline: Option<Instant>,
) -> Result<Summary, CallError> {
    let mut fleet = enumerate(
        &clients.rds,
        &settings.clusters,
        &settings.instances,
        &clients.region,
    )
    .await?;
    let vanished = match window {
        Window::New => match vanished::account_for(&clients.checkpoints, &mut fleet, dry_run).await
        {
            // The instances that are there need not wait for it.
            Err(error) if error.meaning() != Meaning::Environment => {
                let unknown = format!("failed to enumerate what has vanished: {error}");
                fleet.problems.push(unknown);
                Vec::new()
            }
            vanished => vanished?,
        },
        Window::Past(_, instances) => {
            fleet.narrow(instances);
            Vec::new()
        }
    };
    for problem in fleet.problems.iter().chain(&vanished) {
        error!("{problem}");
    }
    let mut summary = Summary {
        dry_run,
        failures: fleet.problems.len() + vanished.len(),
        problems: fleet.problems,
        vanished,
        other_engines: fleet.other_engines,
        ..Summary::default()
    };
    // Whoever is left out when time is short shall not be the same one each time.
    let id = |found: &Found| found.instance.resource_id.clone();
    fleet.found.sort_by_cached_key(id);
    let begin = begin(Timestamp::now(), fleet.found.len());
    fleet.found.rotate_left(begin);
    let mut outcomes = stream::iter(&fleet.found)
        .map(async |found| {
            if deadline.is_some_and(|deadline| {
                deadline.saturating_duration_since(Instant::now()) < LAST_START
            }) {
                return (found, None);
            }
            (
                found,
                Some(run_instance(clients, settings, window, dry_run, found).await),
            )
        })
        .buffer_unordered(CONCURRENCY);
    while let Some((found, outcome)) = outcomes.next().await {
        let Some(outcome) = outcome else {
            summary.not_started.push(found.instance.name.clone());
            continue;
        };
        let report = outcome.or_else(|failure| excuse(found, failure))?;
        summary.sent += report.sent;
        summary.resent += report.resent;
        summary.failures += usize::from(report.error.is_some());
        log(&report);
        summary.instances.push(report);
    }
    drop(outcomes);
    summary
        .instances
        .sort_by(|a, b| (&a.cluster, &a.instance).cmp(&(&b.cluster, &b.instance)));
    summary.not_started.sort();
    if !summary.not_started.is_empty() {
        warn!(
            "the deadline is near: {} instances are left for the next run",
            summary.not_started.len()
        );
    }
    info!(
        instances = summary.instances.len(),
        sent = summary.sent,
        resent = summary.resent,
        failures = summary.failures,
        not_started = summary.not_started.len(),
        dry_run,
        "enumerated"
    );
    Ok(summary)
}

/// The place among `count` instances, in an order that stays, at which a run at that time begins.
///
/// Runs that reach only a part of them must reach all in turn. In steps of the golden ratio no gap stays open for long,
/// and nobody has to remember where the last run ended.
pub fn begin(now: Timestamp, count: usize) -> usize {
    /// The golden ratio's fraction, of 2^64.
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let minutes = now.as_second().unsigned_abs() / 60;
    let turn = u128::from(minutes.wrapping_mul(STEP));
    usize::try_from((turn * count as u128) >> 64).expect("less than count")
}

/// Where a run of one instance failed: RDS answers per instance, queue and table serve them all.
enum Failure {
    /// With what is known to wait all the same.
    Instance(CallError, Option<Timestamp>),
    Shared(CallError),
}

async fn run_instance(
    clients: &Clients,
    settings: &Enumeration,
    window: &Window,
    dry_run: bool,
    found: &Found,
) -> Result<Report, Failure> {
    let Found {
        instance, engine, ..
    } = found;
    let timing = Timing {
        settle: settings.settle,
        overlap: settings.overlap,
        resend_after: settings.resend_after,
    };
    let (checkpoints, id) = (&clients.checkpoints, &instance.resource_id);
    let known = match window {
        Window::New => checkpoints.known(id, timing.overlap).await,
        Window::Past(range, _) => checkpoints.known_since(id, Some(*range.start())).await,
    };
    let known = known.map_err(Failure::Shared)?;
    let listing = match window {
        Window::New => {
            let since = known.since(timing.overlap);
            let since = since.filter(|_| !any_doubtful(&known, &instance.name));
            list(clients, &instance.name, since).await
        }
        Window::Past(range, _) => {
            listing::list(&clients.rds, &instance.name, Some(*range.start())).await
        }
    };
    let waiting = oldest_unfinished(&known, &[]);
    let listing = listing.map_err(|error| Failure::Instance(error, waiting))?;
    let now = Timestamp::now();
    let plan = match window {
        Window::New => plan(&instance.name, &listing, &known, now, timing),
        Window::Past(range, _) => backfill(&listing, &known, range, now, timing),
    };
    let mut report = report(found);
    report.listed = listing.files.len();
    report.oldest_unfinished = oldest_unfinished(&known, &plan.send);
    report.warnings.clone_from(&plan.warnings);
    if !listing.unreadable.is_empty() {
        report.error = Some("the listing has unreadable entries".to_owned());
    }
    if let Some(malformed) = known.malformed.first() {
        report.error = Some(malformed.clone());
    }
    if dry_run {
        report.sent = plan.send.len();
        report.resent = plan.resend.len() + plan.doubtful.len();
        report.due = plan.send.iter().map(|file| file.name.clone()).collect();
        return Ok(report);
    }
    let sent = enqueue(clients, instance, &plan)
        .await
        .map_err(Failure::Shared)?;
    (report.sent, report.resent) = (sent.new, sent.again);
    for again in &plan.doubtful {
        let why = "another instance may have had the name";
        let shipped = ship_again(clients, instance, again, why).await;
        if shipped.map_err(Failure::Shared)? {
            report.resent += 1;
            report.warnings.push(format!(
                "{} was shipped when another instance may have had this one's name: shipping it again",
                again.file.name
            ));
        }
    }
    if sent.refused > 0 {
        report.error = Some(format!("SQS did not take {} messages", sent.refused));
    }
    if matches!(window, Window::Past(..)) {
        return Ok(report);
    }
    for mark in marks(found, &known, &plan, now, listing.files.len()) {
        let watermark = plan.watermarks.get(&mark.family).copied();
        clients
            .checkpoints
            .record_enumerated(&mark, watermark)
            .await
            .map_err(Failure::Shared)?;
    }
    info!(
        instance.id = instance.resource_id,
        engine, "listed {}", instance.name
    );
    Ok(report)
}

/// Last write of the version that has been waiting longest, whether it is known or about to be.
fn oldest_unfinished(known: &Known, send: &[LogFile]) -> Option<Timestamp> {
    let rows = known.rows.iter().filter(|row| !row.state.finished());
    let waiting = rows.map(|row| &row.message.file).chain(send);
    waiting.map(|file| file.version.last_written).min()
}

/// Lists from `since` on; if there is nothing so late, everything, to tell a quiet instance from one without auditing.
async fn list(
    clients: &Clients,
    instance: &str,
    since: Option<Timestamp>,
) -> Result<Listing, CallError> {
    let recent = listing::list(&clients.rds, instance, since).await?;
    if since.is_none() || !recent.files.is_empty() || !recent.unreadable.is_empty() {
        return Ok(recent);
    }
    listing::list(&clients.rds, instance, None).await
}

/// One per family that the instance has; at least that of its engine, so that an instance without files is not forgotten.
fn marks(found: &Found, known: &Known, plan: &Plan, now: Timestamp, listed: usize) -> Vec<Mark> {
    let of_engine = if found.engine.starts_with("aurora") {
        Family::Aurora
    } else {
        Family::ServerAudit
    };
    let mut families: Vec<Family> = plan
        .families
        .iter()
        .copied()
        .chain(known.marks.iter().map(|mark| mark.family))
        .collect();
    if families.is_empty() {
        families.push(of_engine);
    }
    families.sort();
    families.dedup();
    // An empty listing of an instance that had files is no look at it: the gap since the last one stays visible.
    let had_files =
        !known.rows.is_empty() || known.marks.iter().any(|mark| mark.watermark.is_some());
    let last_look = known.marks.iter().map(|mark| mark.last_enumerated_at).max();
    let mark = |family| Mark {
        resource_id: found.instance.resource_id.clone(),
        instance: found.instance.name.clone(),
        cluster: found.instance.cluster.clone(),
        family,
        watermark: None,
        last_processed_at: None,
        last_enumerated_at: last_look
            .filter(|_| (listed == 0 && had_files) || plan.undecided)
            .unwrap_or(now),
        listed: listed as u64,
    };
    families.into_iter().map(mark).collect()
}

/// A failure that is one instance's own becomes its report; one of what all share ends the run.
fn excuse(found: &Found, failure: Failure) -> Result<Report, CallError> {
    let mut report = report(found);
    match failure {
        Failure::Shared(error) if error.meaning() == Meaning::Environment => return Err(error),
        Failure::Instance(error, waiting) if later(found, &error) => {
            report.oldest_unfinished = waiting;
            report
                .warnings
                .push(format!("not ready, so left for later: {error}"));
        }
        Failure::Instance(error, waiting) => {
            report.oldest_unfinished = waiting;
            report.error = Some(error.to_string());
        }
        Failure::Shared(error) => report.error = Some(error.to_string()),
    }
    Ok(report)
}

/// Whether RDS will know more later; an instance that it calls available should be found.
fn later(found: &Found, error: &CallError) -> bool {
    says_later(error) && !(found.available && error.status() == Some(404))
}

fn report(found: &Found) -> Report {
    Report {
        cluster: found.instance.cluster.clone(),
        instance: found.instance.name.clone(),
        ..Report::default()
    }
}

fn log(report: &Report) {
    let instance = &report.instance;
    for warning in &report.warnings {
        warn!(instance.name = instance, "{instance}: {warning}");
    }
    if let Some(error) = &report.error {
        error!(
            instance.name = instance,
            "failed to enumerate {instance}: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_are_short_of_time_reach_all_in_turn() {
        const COUNT: usize = 1000;
        for minutes in [1, 2, 5, 10, 15, 20, 30, 60, 120] {
            for reached in [30, 60, 120, 300, 600] {
                let (mut last, mut longest) = (vec![0; COUNT], 0);
                for run in 1..400 {
                    let now = Timestamp::from_second(1_732_000_000 + run * minutes * 60).unwrap();
                    let begin = begin(now, COUNT);
                    for nth in 0..reached {
                        let last = &mut last[(begin + nth) % COUNT];
                        longest = longest.max(run - *last);
                        *last = run;
                    }
                }
                longest = longest.max(400 - last.iter().min().unwrap());
                let at_best = COUNT.div_ceil(reached);
                assert!(
                    longest <= 4 * i64::try_from(at_best).unwrap(),
                    "{minutes} min, {reached} of {COUNT}: {longest} runs"
                );
            }
        }
        assert_eq!(begin(Timestamp::now(), 0), 0);
    }
}
