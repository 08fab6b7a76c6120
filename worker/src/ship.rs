//! The journey of one version: claim → download → compress → upload → complete → delete the message.

use std::sync::Arc;
use std::time::Duration;

use shared::archive::Archive;
use shared::aws::{CallError, Meaning, chain};
use shared::checkpoint::{Checkpoints, Claim, Claimed, Proof};
use shared::message::{Message, Unreadable};
use shared::queue::{Delivery, Queue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::carry::carry_or_confirm_gone;
use crate::compress::Codec;
use crate::delete::Deletions;
use crate::download::Source;
use crate::failure::{Disposition, ShipError, backoff};
use crate::heartbeat;
use crate::room::Room;
use crate::tally::Tally;

/// Everything that shipping needs.
#[derive(Debug)]
pub struct Ship {
    /// Where messages come from.
    pub queue: Queue,
    /// Where settled messages go.
    pub deletions: Deletions,
    /// Where poison goes.
    pub dead_letters: Queue,
    /// What is known of each version.
    pub checkpoints: Checkpoints,
    /// Listings, to tell moved from gone.
    pub rds: aws_sdk_rds::Client,
    /// Downloads.
    pub source: Source,
    /// Uploads.
    pub archive: Archive,
    /// How objects are compressed.
    pub codec: Codec,
    /// Within what the codec has.
    pub level: i32,
    /// Of claims and messages.
    pub lease: Duration,
    /// Tries before quarantine.
    pub max_attempts: u32,
    /// What is reported.
    pub tally: Arc<Tally>,
    /// Told when the worker's grace is over.
    pub cut_off: CancellationToken,
}

/// What became of a delivery, as far as the worker's loop cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete: RDS, S3, table and queue all work.
    Complete,
    /// Settled in another way: the message is no longer needed.
    Settled,
    /// Given back, or left to its lease.
    Left,
    /// The environment is broken: take no more, for this reason.
    Halted(String),
}

/// Ships the version that a delivery speaks of, in the `room` that there is for it; then deletes the message if it is
/// settled.
pub(crate) async fn ship(
    cx: &Ship,
    delivery: &Delivery,
    message: Result<Message, Unreadable>,
    room: Room,
) -> Outcome {
    let shipped = match message {
        Ok(message) => Box::pin(ship_message(cx, delivery, &message)).await,
        Err(unreadable) => to_dead_letters(cx, delivery, &unreadable.to_string()).await,
    };
    let unsettled = match shipped {
        Ok(outcome @ (Outcome::Complete | Outcome::Settled)) => {
            match cx.deletions.delete(delivery.receipt.clone(), room).await {
                Ok(()) => return outcome,
                Err(error) => error,
            }
        }
        Ok(outcome) => return outcome,
        Err(error) => Arc::new(error),
    };
    // Whatever was left open ends with the lease: SQS redelivers, and the next claim takes over.
    warn!(
        message.id = delivery.message_id,
        "failed to settle a message, leaving it to its lease: {unsettled}"
    );
    if unsettled.meaning() == Meaning::Environment {
        Outcome::Halted(unsettled.to_string())
    } else {
        Outcome::Left
    }
}

/// Keeps a message that no row can stand for as a dead letter, with the reason.
async fn to_dead_letters(
    cx: &Ship,
    delivery: &Delivery,
    reason: &str,
) -> Result<Outcome, CallError> {
    error!(message.id = delivery.message_id, "dead letter: {reason}");
    cx.dead_letters
        .send_dead_letter(&delivery.body, reason)
        .await?;
    cx.tally.quarantined();
    Ok(Outcome::Settled)
}

async fn ship_message(
    cx: &Ship,
    delivery: &Delivery,
    message: &Message,
) -> Result<Outcome, CallError> {
    let started = Instant::now();
    let claim = match cx.checkpoints.claim(message, cx.lease).await {
        Ok(Claimed::Ours(claim)) => claim,
        // Nothing left to do, or kept as a dead letter already: this is a duplicate.
        Ok(Claimed::Finished(_) | Claimed::Quarantined) => return Ok(Outcome::Settled),
        Ok(Claimed::Theirs(left)) => {
            // Comes back when the other's lease has ended, should it die.
            cx.queue
                .hide(&delivery.receipt, left + Duration::from_secs(1))
                .await?;
            return Ok(Outcome::Left);
        }
        // No row can be made of it. Other refusals may be a proxy's, or of a wrong endpoint, and are no fault of the message.
        Err(error) if error.code() == Some("ValidationException") => {
            return to_dead_letters(cx, delivery, &error.to_string()).await;
        }
        Err(error) => {
            hide(cx, delivery, backoff(2, fastrand::f64())).await;
            return Err(error);
        }
    };
    let mut upload = None;
    let lost = heartbeat::renew(
        &cx.checkpoints,
        &cx.queue,
        &claim,
        &delivery.receipt,
        cx.lease,
    );
    let stop = async {
        tokio::select! {
            lost = lost => ShipError::Fenced(lost),
            () = cx.cut_off.cancelled() => ShipError::CutOff,
        }
    };
    let carried = Box::pin(heartbeat::hold(
        stop,
        carry_or_confirm_gone(cx, &claim, &mut upload),
    ))
    .await;
    let settled = match carried {
        Ok(proof) => complete(cx, claim, &proof, started).await,
        Err(error) => settle(cx, delivery, &claim, &error).await,
    };
    if let Some(upload) = &mut upload {
        upload.abort().await;
    }
    settled
}

/// Records what S3 has proved.
async fn complete(
    cx: &Ship,
    claim: Claim,
    proof: &Proof,
    started: Instant,
) -> Result<Outcome, CallError> {
    let Message { instance, file } = claim.message.clone();
    let attempt = claim.attempts;
    cx.checkpoints.complete(claim, proof).await?;
    cx.tally.shipped(file.version.size, proof);
    info!(
        instance.name = instance.name,
        instance.id = instance.resource_id,
        file.name = file.name,
        file.size_bytes = file.version.size,
        object.key = proof.keys.first(),
        object.size_bytes = proof.stored_bytes,
        reason = proof.reason,
        attempt,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "{} {} of {}",
        proof.reason,
        file.name,
        instance.name
    );
    Ok(Outcome::Complete)
}

/// Does with row and message what the failure asks for.
async fn settle(
    cx: &Ship,
    delivery: &Delivery,
    claim: &Claim,
    failure: &ShipError,
) -> Result<Outcome, CallError> {
    let what = format!(
        "{} of {}",
        claim.message.file.name, claim.message.instance.name
    );
    let (why, attempt) = (chain(failure), claim.attempts);
    match failure.disposition(attempt, cx.max_attempts, fastrand::f64()) {
        Disposition::Release { delay, counted } => {
            warn!(attempt, counted, retry_in = ?delay, "released {what}: {why}");
            release(cx, delivery, claim, &why, delay, counted).await?;
        }
        Disposition::Halt { delay } => {
            warn!(attempt, counted = false, retry_in = ?delay, "released {what}: {why}");
            release(cx, delivery, claim, &why, delay, false).await?;
            return Ok(Outcome::Halted(why));
        }
        Disposition::Quarantine => {
            let reason = format!("attempt {attempt} of {}: {why}", cx.max_attempts);
            error!(attempt, "dead letter, {what}: {why}");
            cx.dead_letters
                .send_dead_letter(&delivery.body, &reason)
                .await?;
            cx.tally.quarantined();
            if cx.checkpoints.quarantine(claim, &reason).await? {
                return Ok(Outcome::Settled);
            }
        }
        Disposition::Gone => {
            error!(
                attempt,
                "gone, evidence is lost: {what} was deleted by RDS before it was archived"
            );
            if cx.checkpoints.gone(claim, &why).await? {
                cx.tally.gone();
                return Ok(Outcome::Settled);
            }
        }
        Disposition::Forget => warn!(attempt, "dropped {what}: {why}"),
    }
    Ok(Outcome::Left)
}

/// Gives row and message back.
async fn release(
    cx: &Ship,
    delivery: &Delivery,
    claim: &Claim,
    why: &str,
    delay: Duration,
    counted: bool,
) -> Result<(), CallError> {
    cx.tally.released();
    let released = cx.checkpoints.release(claim, why, counted).await;
    hide(cx, delivery, delay).await;
    released.map(drop)
}

/// Hides a message for a while; if that fails it comes back with its lease.
async fn hide(cx: &Ship, delivery: &Delivery, delay: Duration) {
    if let Err(error) = cx.queue.hide(&delivery.receipt, delay).await {
        warn!(
            message.id = delivery.message_id,
            "failed to give a message back, leaving it to its lease: {error}"
        );
    }
}
