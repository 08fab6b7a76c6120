//! Puts dead letters back on the work queue: reset the row, send, then delete the dead letter. Safe to rerun at any point.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use shared::aws::{CallError, Meaning};
use shared::checkpoint::{Checkpoints, Requeued, State};
use shared::message::Message;
use shared::queue::{BATCH, Delivery, Queue};
use tracing::warn;

/// How long a dead letter stays hidden from a second requeue while this one works on it.
const HIDDEN: Duration = Duration::from_mins(5);

/// An empty answer after so long a wait has asked all of SQS's servers.
const WAIT: Duration = Duration::from_secs(2);

/// What became of one dead letter.
#[derive(Debug, Serialize)]
pub struct Letter {
    /// The instance's name, where the body could be read.
    pub instance: Option<String>,
    /// The log file's name, where the body could be read.
    pub file: Option<String>,
    /// Why it had become a dead letter.
    pub reason: Option<String>,
    /// What was done, or with `dry_run`, would be.
    pub outcome: Outcome,
    /// Why it was left, if it was.
    pub error: Option<String>,
}

/// What can become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its message is on the work queue again.
    Requeued,
    /// Its version was finished meanwhile: there was nothing to send.
    Finished,
    /// It is still in the dead-letter queue.
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

/// Puts back what there is. `Err`: queue or table refuse us altogether.
pub async fn requeue(queues: &Queues, dry_run: bool) -> Result<Vec<Letter>, CallError> {
    let mut letters = Vec::new();
    let mut held = HashSet::new();
    let done = put_back(queues, dry_run, &mut letters, &mut held).await;
    for receipt in held {
        if let Err(error) = queues.dead_letters.hide(&receipt, Duration::ZERO).await {
            warn!("a dead letter stays hidden for up to {HIDDEN:?}: {error}");
        }
    }
    done.map(|()| letters)
}

/// Works through the dead letters; leaves in `held` the receipts of those that must be given back.
async fn put_back(
    queues: &Queues,
    dry_run: bool,
    letters: &mut Vec<Letter>,
    held: &mut HashSet<String>,
) -> Result<(), CallError> {
    // About as many as there were: one that comes back while we work is left, or this might never end. SQS's figure may
    // lag behind, so it is no reason not to look.
    let there_were =
        usize::try_from(queues.dead_letters.depth().await?.total()).unwrap_or(usize::MAX);
    while letters.len() < there_were.max(BATCH) {
        let deliveries = queues.dead_letters.receive(BATCH, WAIT, HIDDEN).await?;
        if deliveries.is_empty() {
            break;
        }
        held.extend(deliveries.iter().map(|delivery| delivery.receipt.clone()));
        for delivery in &deliveries {
            let letter = read(queues, delivery, dry_run).await?;
            if !dry_run && letter.outcome != Outcome::Left {
                held.remove(&delivery.receipt);
            }
            letters.push(letter);
        }
    }
    Ok(())
}

/// Deals with one dead letter. `Err` only where the next one would fare no better.
async fn read(queues: &Queues, delivery: &Delivery, dry_run: bool) -> Result<Letter, CallError> {
    let mut letter = Letter {
        instance: None,
        file: None,
        reason: delivery.reason.clone(),
        outcome: Outcome::Left,
        error: None,
    };
    let message = match Message::from_wire(&delivery.body) {
        Ok(message) => message,
        Err(unreadable) => {
            letter.error = Some(unreadable.to_string());
            return Ok(letter);
        }
    };
    letter.instance = Some(message.instance.name.clone());
    letter.file = Some(message.file.name.clone());
    let outcome = if dry_run {
        foresee(queues, &message).await
    } else {
        put_back_one(queues, &message, delivery).await
    };
    match outcome {
        Ok(outcome) => letter.outcome = outcome,
        Err(error) if error.meaning() == Meaning::Environment => return Err(error),
        Err(error) => letter.error = Some(error.to_string()),
    }
    Ok(letter)
}

/// What would be done.
async fn foresee(queues: &Queues, message: &Message) -> Result<Outcome, CallError> {
    let state = queues.checkpoints.row(message).await?;
    Ok(if state.is_some_and(|row| row.state.finished()) {
        Outcome::Finished
    } else {
        Outcome::Requeued
    })
}

async fn put_back_one(
    queues: &Queues,
    message: &Message,
    delivery: &Delivery,
) -> Result<Outcome, CallError> {
    let outcome = match queues.checkpoints.requeue(message, u32::MAX).await? {
        Requeued::Untouched(State::Complete | State::Gone) => Outcome::Finished,
        // Queued or Leased: an earlier requeue got as far as here, or SQS itself moved the message.
        Requeued::Reset
        | Requeued::Absent
        | Requeued::TooOften(_)
        | Requeued::Untouched(State::Queued | State::Leased | State::Quarantined) => {
            if queues
                .work
                .send(std::slice::from_ref(&delivery.body))
                .await?
                != [true]
            {
                return Err(CallError::nonsense(
                    "SendMessageBatch",
                    "SQS did not take the message",
                ));
            }
            Outcome::Requeued
        }
    };
    queues.dead_letters.delete(&delivery.receipt).await?;
    Ok(outcome)
}
