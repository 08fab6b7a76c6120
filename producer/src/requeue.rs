//! Puts quarantined versions back on the work queue: reset the row, send, then delete the dead letter. Safe to interrupt
//! and to run again at any point.

use std::collections::{HashMap, HashSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;
use shared::aws::{CallError, Meaning};
use shared::checkpoint::{Checkpoints, Entry, Requeued, Row, State};
use shared::message::Message;
use shared::queue::{BATCH, Delivery, Queue};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

use crate::interrupt::Interrupt;

/// How long a dead letter stays hidden from a second requeue while this one works on it.
const HIDDEN: Duration = Duration::from_mins(5);

/// An empty answer after so long a wait has asked all of SQS's servers.
const WAIT: Duration = Duration::from_secs(2);

/// How often one version is put back before only `--force` puts it back again.
pub const REQUEUES: u32 = 3;

/// Dead letters given back at a time.
const CONCURRENCY: usize = 8;

/// The shortest wait that the runtime's timer knows.
const TICK: Duration = Duration::from_millis(1);

/// Where to look for what is quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Dead letters.
    Dlq,
    /// Rows of the checkpoint table, for dead letters that are lost or have expired.
    Checkpoint,
}

/// What to put back, how much of it, and how fast.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// Where to look for what is quarantined
    #[arg(long, value_enum, default_value = "dlq")]
    pub from: Source,
    /// Only of these instances: names or resource ids, comma-separated
    #[arg(long, value_name = "INSTANCE", value_delimiter = ',', value_parser = crate::cli::instance)]
    pub instance: Vec<String>,
    /// Only what was quarantined since: a time, a date, or how long ago (2026-10-01T12:00:00Z, 2026-10-01, 36h)
    #[arg(long, value_name = "TIME", value_parser = crate::cli::time)]
    pub since: Option<Timestamp>,
    /// Only where the reason contains this text
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// At most so many each second
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,
    /// Only say what would be put back
    #[arg(long)]
    pub dry_run: bool,
    /// Also what was put back three times already
    #[arg(long)]
    pub force: bool,
}

impl Request {
    /// Whether a quarantined version is asked for. What is not known of it is not what was asked for.
    fn wants(
        &self,
        message: Option<&Message>,
        reason: Option<&str>,
        since: Option<Timestamp>,
    ) -> bool {
        let of_instance = message.is_some_and(|message| message.instance.is_one_of(&self.instance));
        (self.instance.is_empty() || of_instance)
            && (self.since.is_none() || since >= self.since)
            && self
                .reason
                .as_ref()
                .is_none_or(|part| reason.is_some_and(|reason| reason.contains(part.as_str())))
    }

    /// Whether it asks for everything that is quarantined.
    pub(crate) fn wants_all(&self) -> bool {
        self.instance.is_empty() && self.since.is_none() && self.reason.is_none()
    }

    /// How often a version may have been put back before.
    fn most(&self) -> u32 {
        if self.force { u32::MAX } else { REQUEUES }
    }
}

/// What became of one quarantined version, or of a dead letter that means none.
#[derive(Debug, Serialize)]
pub struct Letter {
    /// The instance's name, where the body could be read.
    pub instance: Option<String>,
    /// The log file's name, where the body could be read.
    pub file: Option<String>,
    /// Why it was quarantined.
    pub reason: Option<String>,
    /// What was done, or with `dry_run`, would be.
    pub outcome: Outcome,
    /// Why it was left, if it was.
    pub error: Option<String>,
}

/// What can become of a quarantined version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its message is on the work queue again.
    Requeued,
    /// It was finished meanwhile: there was nothing to send.
    Finished,
    /// It is as it was.
    Left,
}

/// Where from, where to.
#[derive(Debug)]
pub struct Queues {
    /// The work queue.
    pub work: Queue,
    /// The dead-letter queue.
    pub dead_letters: Queue,
    /// The checkpoint table.
    pub checkpoints: Checkpoints,
}

/// What was put back until it ended.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// What became of what was asked for.
    pub letters: Vec<Letter>,
    /// Whether an interrupt ended it early.
    pub interrupted: bool,
}

/// Puts back what is asked for, until done or interrupted: then the version that it is at is put back, and no other. `Err`:
/// queue or table refuse us altogether.
pub async fn requeue(
    queues: &Queues,
    request: &Request,
    progress: &ProgressBar,
) -> anyhow::Result<Done> {
    let mut run = Run {
        queues,
        request,
        progress,
        interrupt: Interrupt::listen().context("listen for interrupts")?,
        pace: request.rate.map(pace),
        letters: Vec::new(),
        put_back: HashSet::new(),
        held: HashMap::new(),
    };
    let ended = match request.from {
        Source::Dlq => run.dead_letters().await,
        Source::Checkpoint => run.rows().await,
    };
    run.give_back().await;
    ended?;
    Ok(Done {
        interrupted: run.interrupt.has_come(),
        letters: run.letters,
    })
}

fn pace(rate: NonZeroU32) -> Interval {
    let mut pace = interval((Duration::from_secs(1) / rate.get()).max(TICK));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

struct Run<'a> {
    queues: &'a Queues,
    request: &'a Request,
    progress: &'a ProgressBar,
    interrupt: Interrupt,
    pace: Option<Interval>,
    letters: Vec<Letter>,
    /// Versions that this run has put back.
    put_back: HashSet<VersionKey>,
    /// Dead letters that are hidden and must be given back: the latest receipt of each, by the message's id.
    held: HashMap<String, String>,
}

/// Resource id and sort key.
type VersionKey = (String, String);

impl Run<'_> {
    async fn dead_letters(&mut self) -> Result<(), CallError> {
        let there_are = self.queues.dead_letters.depth().await?;
        self.progress.set_length(there_are.total());
        if there_are.in_flight > 0 {
            warn!(
                "{} dead letters are hidden by another requeue, or for up to {HIDDEN:?} by one that was killed",
                there_are.in_flight
            );
        }
        let mut seen = HashSet::new();
        // How many came back since the last one that was new.
        let mut again = 0;
        while !self.enough() && again <= self.held.len() {
            let deliveries = self
                .queues
                .dead_letters
                .receive(BATCH, WAIT, HIDDEN)
                .await?;
            if deliveries.is_empty() {
                break;
            }
            self.held.extend(
                deliveries
                    .iter()
                    .map(|letter| (letter.message_id.clone(), letter.receipt.clone())),
            );
            for delivery in &deliveries {
                if self.enough() {
                    break;
                }
                // One that comes back while we work was left. Others may be behind it; but if all of them have come back and
                // nothing with them, there is no other.
                if !seen.insert(delivery.message_id.clone()) {
                    again += 1;
                    continue;
                }
                again = 0;
                self.progress.inc(1);
                self.dead_letter(delivery).await?;
            }
        }
        Ok(())
    }

    /// Deals with one dead letter. `Err` only where the next one would fare no better.
    async fn dead_letter(&mut self, delivery: &Delivery) -> Result<(), CallError> {
        let message = Message::from_wire(&delivery.body);
        let (reason, since) = (delivery.reason.as_deref(), delivery.sent_at);
        if !self.request.wants(message.as_ref().ok(), reason, since) {
            return Ok(());
        }
        let outcome = match &message {
            Err(unreadable) => left(unreadable.to_string()),
            Ok(message) => {
                if !self.may_go_on().await {
                    return Ok(());
                }
                self.put_back(message, Some(delivery)).await?
            }
        };
        if !self.request.dry_run && outcome.0 != Outcome::Left {
            self.held.remove(&delivery.message_id);
        }
        self.note(message.as_ref().ok(), delivery.reason.clone(), outcome);
        Ok(())
    }

    async fn rows(&mut self) -> Result<(), CallError> {
        let mut quarantined = Vec::new();
        let see = |entry| match entry {
            Ok(Entry::Row(row)) if asked_for(self.request, &row) => quarantined.push(row),
            Ok(Entry::Row(_) | Entry::Mark(_) | Entry::Instance(_)) => {}
            Err(malformed) => warn!("passed over: {malformed}"),
        };
        tokio::select! {
            read = self.queues.checkpoints.each(see) => read?,
            () = self.interrupt.comes() => return Ok(()),
        }
        quarantined.sort_by_key(|row| row.quarantined_at);
        self.progress.set_length(quarantined.len() as u64);
        for row in quarantined {
            if self.enough() || !self.may_go_on().await {
                break;
            }
            self.progress.inc(1);
            let outcome = self.put_back(&row.message, None).await?;
            self.note(Some(&row.message), row.error, outcome);
        }
        Ok(())
    }

    /// Whether the limit is reached, or an interrupt has come.
    fn enough(&mut self) -> bool {
        let put_back = |letter: &&Letter| letter.outcome == Outcome::Requeued;
        let reached =
            |limit: NonZeroUsize| self.letters.iter().filter(put_back).count() >= limit.get();
        self.request.limit.is_some_and(reached) || self.interrupt.has_come()
    }

    /// Waits for the next one's turn; `false` if an interrupt comes first.
    async fn may_go_on(&mut self) -> bool {
        if let Some(pace) = self.pace.as_mut().filter(|_| !self.request.dry_run) {
            tokio::select! {
                _ = pace.tick() => {}
                () = self.interrupt.comes() => {}
            }
        }
        !self.interrupt.has_come()
    }

    /// Makes what is left visible to others again.
    async fn give_back(&self) {
        let given_back = stream::iter(self.held.values()).map(async |receipt| {
            if let Err(error) = self.queues.dead_letters.hide(receipt, Duration::ZERO).await {
                warn!("a dead letter stays hidden for up to {HIDDEN:?}: {error}");
            }
        });
        given_back
            .buffer_unordered(CONCURRENCY)
            .collect::<()>()
            .await;
    }

    /// Puts one version back, and deletes its dead letter. `Err` only where the next one would fare no better.
    async fn put_back(
        &mut self,
        message: &Message,
        dead_letter: Option<&Delivery>,
    ) -> Result<(Outcome, Option<String>), CallError> {
        let version = (
            message.instance.resource_id.clone(),
            message.file.sort_key(),
        );
        let done = if self.request.dry_run {
            foresee(self.queues, message, self.request.most()).await
        } else if self.put_back.contains(&version) {
            // Another letter of it. If it was quarantined again meanwhile, it would go round for ever.
            put_back(self.queues, message, dead_letter, 0).await
        } else {
            put_back(self.queues, message, dead_letter, self.request.most()).await
        };
        if matches!(done, Ok((Outcome::Requeued, _))) {
            self.put_back.insert(version);
        }
        match done {
            Err(error) if error.meaning() != Meaning::Environment => Ok(left(error.to_string())),
            done => done,
        }
    }

    fn note(
        &mut self,
        message: Option<&Message>,
        reason: Option<String>,
        (outcome, error): (Outcome, Option<String>),
    ) {
        self.letters.push(Letter {
            instance: message.map(|message| message.instance.name.clone()),
            file: message.map(|message| message.file.name.clone()),
            reason,
            outcome,
            error,
        });
    }
}

fn asked_for(request: &Request, row: &Row) -> bool {
    row.state == State::Quarantined
        && request.wants(Some(&row.message), row.error.as_deref(), row.quarantined_at)
}

/// It stays as it is, for this reason.
fn left(why: String) -> (Outcome, Option<String>) {
    (Outcome::Left, Some(why))
}

fn leased() -> (Outcome, Option<String>) {
    left("a worker has it: run this again once it is done".to_owned())
}

fn put_back_too_often(requeues: u32, most: u32) -> (Outcome, Option<String>) {
    left(if most == 0 {
        "it was put back a moment ago and quarantined again: mend what its reason says".to_owned()
    } else {
        format!(
            "it was put back {requeues} times already: mend what its reason says, then use --force"
        )
    })
}

/// What would be done.
async fn foresee(
    queues: &Queues,
    message: &Message,
    most: u32,
) -> Result<(Outcome, Option<String>), CallError> {
    Ok(match queues.checkpoints.row(message).await? {
        Some(row) if row.state.finished() => (Outcome::Finished, None),
        Some(row) if row.state == State::Leased => leased(),
        Some(row) if row.state == State::Quarantined && row.requeues >= most => {
            put_back_too_often(row.requeues, most)
        }
        Some(_) | None => (Outcome::Requeued, None),
    })
}

async fn put_back(
    queues: &Queues,
    message: &Message,
    dead_letter: Option<&Delivery>,
    most: u32,
) -> Result<(Outcome, Option<String>), CallError> {
    let outcome = match queues.checkpoints.requeue(message, most).await? {
        Requeued::TooOften(requeues) => return Ok(put_back_too_often(requeues, most)),
        Requeued::Untouched(State::Complete | State::Gone) => Outcome::Finished,
        // Its worker may have sent this very dead letter, and be about to quarantine the row: what is sent now would be taken
        // for a duplicate then, and nothing would be left of the version but the row.
        Requeued::Untouched(State::Leased) => return Ok(leased()),
        // Queued: an earlier requeue got as far as here, or SQS itself moved the message.
        Requeued::Reset
        | Requeued::Absent
        | Requeued::Untouched(State::Queued | State::Quarantined) => {
            let body = dead_letter.map_or_else(|| message.to_wire(), |letter| letter.body.clone());
            if queues.work.send(&[body]).await? != [true] {
                return Err(CallError::nonsense(
                    "SendMessageBatch",
                    "SQS did not take the message",
                ));
            }
            Outcome::Requeued
        }
    };
    if let Some(dead_letter) = dead_letter {
        queues.dead_letters.delete(&dead_letter.receipt).await?;
    }
    Ok((outcome, None))
}
