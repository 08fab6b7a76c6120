//! The journey of one version: claim → download → compress → upload → complete → delete the message.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::aws::{CallError, Meaning};
use shared::checkpoint::{Checkpoints, Claim, Claimed, Content, Proof};
use shared::listing;
use shared::log_file::{Beside, KeyForm};
use shared::message::Message;
use shared::queue::{Delivery, Queue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::download::{DownloadError, Source, says_later, says_missing};
use crate::failure::{Disposition, ShipError, backoff};
use crate::heartbeat;
use crate::upload::{Archive, Committed, Upload};

/// Pieces in which a chunk from the network is worked on, so that heartbeats are never far.
const PIECE: usize = 64 * 1024;

/// Everything that shipping needs.
#[derive(Debug)]
pub struct Ship {
    /// Where messages come from.
    pub queue: Queue,
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
    /// What object keys begin with.
    pub prefix: String,
    /// Of claims and messages.
    pub lease: Duration,
    /// Tries before quarantine.
    pub max_attempts: u32,
    /// Told when the worker's grace is over.
    pub cut_off: CancellationToken,
}

/// What became of a delivery, as far as the worker's loop cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Settled one way or another.
    Settled,
    /// The environment is broken: take no more, for this reason.
    Halted(String),
}

/// Ships the version that a delivery speaks of, and settles the message.
pub async fn ship(cx: &Ship, delivery: &Delivery) -> Outcome {
    let settled = match Message::from_wire(&delivery.body) {
        Ok(message) => Box::pin(ship_message(cx, delivery, &message)).await,
        Err(unreadable) => bury(cx, delivery, &unreadable.to_string()).await,
    };
    settled.unwrap_or_else(|error| {
        // Whatever was left open ends with the lease: SQS redelivers, and the next claim takes over.
        warn!(
            message.id = delivery.message_id,
            "failed to settle a message, leaving it to its lease: {error}"
        );
        if error.meaning() == Meaning::Environment {
            Outcome::Halted(error.to_string())
        } else {
            Outcome::Settled
        }
    })
}

/// A message that means nothing to us: keep it as a dead letter, with the reason, then delete it.
async fn bury(cx: &Ship, delivery: &Delivery, reason: &str) -> Result<Outcome, CallError> {
    error!(message.id = delivery.message_id, "dead letter: {reason}");
    cx.dead_letters
        .send_dead_letter(&delivery.body, reason)
        .await?;
    cx.queue.delete(&delivery.receipt).await?;
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
        Ok(Claimed::Finished(_) | Claimed::Quarantined) => {
            cx.queue.delete(&delivery.receipt).await?;
            return Ok(Outcome::Settled);
        }
        Ok(Claimed::Theirs(left)) => {
            // Comes back when the other's lease has ended, should it die.
            cx.queue
                .hide(&delivery.receipt, left + Duration::from_secs(1))
                .await?;
            return Ok(Outcome::Settled);
        }
        Err(error) => {
            cx.queue
                .hide(&delivery.receipt, backoff(2, fastrand::f64()))
                .await?;
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
    let carried = Box::pin(heartbeat::hold(stop, carry(cx, &claim, &mut upload))).await;
    match carried {
        Ok(proof) => complete(cx, delivery, claim, &proof, started).await,
        Err(error) => {
            if let Some(upload) = &mut upload {
                upload.abort().await;
            }
            settle(cx, delivery, claim, &error).await
        }
    }
}

/// Records what S3 has proved, then deletes the message.
async fn complete(
    cx: &Ship,
    delivery: &Delivery,
    claim: Claim,
    proof: &Proof,
    started: Instant,
) -> Result<Outcome, CallError> {
    let Message { instance, file } = claim.message.clone();
    let attempt = claim.attempts;
    cx.checkpoints.complete(claim, proof).await?;
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
    cx.queue.delete(&delivery.receipt).await?;
    Ok(Outcome::Settled)
}

/// Does with row and message what the failure asks for.
async fn settle(
    cx: &Ship,
    delivery: &Delivery,
    claim: Claim,
    failure: &ShipError,
) -> Result<Outcome, CallError> {
    let what = format!(
        "{} of {}",
        claim.message.file.name, claim.message.instance.name
    );
    let why = shared::aws::chain(failure);
    match failure.disposition(claim.attempts, cx.max_attempts, fastrand::f64()) {
        Disposition::Release { delay, counted } => {
            warn!(attempt = claim.attempts, counted, retry_in = ?delay, "gave back {what}: {why}");
            give_back(cx, delivery, &claim, &why, delay, counted).await?;
            Ok(Outcome::Settled)
        }
        Disposition::Halt { delay } => {
            warn!(attempt = claim.attempts, counted = false, retry_in = ?delay, "gave back {what}: {why}");
            give_back(cx, delivery, &claim, &why, delay, false).await?;
            Ok(Outcome::Halted(why))
        }
        Disposition::Quarantine => {
            let reason = format!("attempt {} of {}: {why}", claim.attempts, cx.max_attempts);
            error!(attempt = claim.attempts, "dead letter, {what}: {why}");
            cx.dead_letters
                .send_dead_letter(&delivery.body, &reason)
                .await?;
            if cx.checkpoints.quarantine(&claim, &reason).await? {
                cx.queue.delete(&delivery.receipt).await?;
            }
            Ok(Outcome::Settled)
        }
        Disposition::ConfirmGone => confirm_gone(cx, delivery, claim, &what, &why).await,
        Disposition::Forget => {
            warn!(attempt = claim.attempts, "dropped {what}: {why}");
            Ok(Outcome::Settled)
        }
    }
}

async fn give_back(
    cx: &Ship,
    delivery: &Delivery,
    claim: &Claim,
    why: &str,
    delay: Duration,
    counted: bool,
) -> Result<(), CallError> {
    let released = cx.checkpoints.release(claim, why, counted).await;
    cx.queue.hide(&delivery.receipt, delay).await?;
    released.map(drop)
}

/// Gone only if a listing that is not empty lacks it and the archive has nothing as new. Else it is tried again.
async fn confirm_gone(
    cx: &Ship,
    delivery: &Delivery,
    claim: Claim,
    what: &str,
    why: &str,
) -> Result<Outcome, CallError> {
    let Message { instance, file } = &claim.message;
    let again = ShipError::Later(CallError::nonsense(
        "DescribeDBLogFiles",
        format!("{why}, and its listing does not say more"),
    ));
    let listing = match listing::list(&cx.rds, &instance.name, None).await {
        Ok(listing) => listing,
        Err(error) => {
            let error = if says_later(&error) {
                ShipError::Later(error)
            } else {
                ShipError::Call(error)
            };
            return Box::pin(settle(cx, delivery, claim, &error)).await;
        }
    };
    if listing.files.is_empty() {
        return Box::pin(settle(cx, delivery, claim, &again)).await;
    }
    if listing.has(file) {
        let back = ShipError::Call(CallError::nonsense(
            "DescribeDBLogFiles",
            format!("{why}, yet it is listed"),
        ));
        return Box::pin(settle(cx, delivery, claim, &back)).await;
    }
    if file.twins == 1
        && let Ok(key) = file.object_key(
            &cx.prefix,
            instance,
            KeyForm::Plain,
            cx.archive.codec.extension(),
        )
        && let Some(archived) = cx.archive.head(&key).await?
        && let Some(beside) = archived.version.map(|version| file.version.beside(version))
        && matches!(beside, Beside::Same | Beside::Superseded)
    {
        let reason = if beside == Beside::Same {
            "stored"
        } else {
            "superseded"
        };
        let proof = Proof {
            reason,
            keys: vec![key],
            etag: Some(archived.etag),
            content: None,
            stored_bytes: None,
        };
        return complete(cx, delivery, claim, &proof, Instant::now()).await;
    }
    error!(
        file.size_bytes = file.version.size,
        "gone, evidence is lost: {what} was deleted by RDS before it was archived"
    );
    if cx.checkpoints.gone(&claim, why).await? {
        cx.queue.delete(&delivery.receipt).await?;
    }
    Ok(Outcome::Settled)
}

/// Brings the bytes of a claimed version into the archive. An unfinished upload stays in `open`, for the caller to abort.
async fn carry(cx: &Ship, claim: &Claim, open: &mut Option<Upload>) -> Result<Proof, ShipError> {
    let file = &claim.message.file;
    key(cx, claim, KeyForm::Plain)?;
    if file.version.size == 0 {
        return Ok(Proof {
            reason: "empty",
            keys: Vec::new(),
            etag: None,
            content: None,
            stored_bytes: None,
        });
    }
    if !file.renamed() {
        return carry_named(cx, claim, &file.name, None, open).await;
    }
    let names = names_carrying(cx, claim).await?;
    match names.as_slice() {
        [] => Err(ShipError::Missing(format!(
            "rotated file of {} bytes, last written {}",
            file.version.size, file.version.last_written
        ))),
        [name] if file.twins == 1 => carry_named(cx, claim, name, None, open).await,
        names => carry_twins(cx, claim, names, open).await,
    }
}

/// Twins cannot be told apart by what RDS says of them, so each distinct content has a key of its own.
async fn carry_twins(
    cx: &Ship,
    claim: &Claim,
    names: &[String],
    open: &mut Option<Upload>,
) -> Result<Proof, ShipError> {
    let mut whole: Option<Proof> = None;
    let mut seen = Vec::new();
    for name in names {
        let content = read(cx, claim, name, None).await?;
        if seen.contains(&content.sha256) {
            continue;
        }
        let proof = carry_named(cx, claim, name, Some(&content), open).await?;
        seen.push(content.sha256);
        match &mut whole {
            None => whole = Some(proof),
            Some(whole) => whole.keys.extend(proof.keys),
        }
    }
    whole.ok_or_else(|| ShipError::Missing("any of the twins".to_owned()))
}

/// Ships the log file that now has this name. A twin's content is known beforehand, and part of its key.
async fn carry_named(
    cx: &Ship,
    claim: &Claim,
    name: &str,
    twin: Option<&Content>,
    open: &mut Option<Upload>,
) -> Result<Proof, ShipError> {
    let first = twin.map_or(KeyForm::Plain, |content| KeyForm::Content(&content.sha256));
    for form in [first, KeyForm::Versioned] {
        let Claim {
            message,
            generation,
            ..
        } = claim;
        let upload = open.insert(Upload::new(
            &cx.archive,
            key(cx, claim, form)?,
            message.file.version,
            *generation,
        )?);
        let content = read(cx, claim, name, Some(upload)).await?;
        if twin.is_some_and(|twin| *twin != content) {
            return Err(ShipError::Moved(name.to_owned()));
        }
        let (reason, etag, stored_bytes) = match upload.commit(&content).await? {
            Committed::Stored { etag, found: false } => {
                ("shipped", etag, Some(upload.stored_bytes()))
            }
            Committed::Stored { etag, found: true } => ("stored", etag, None),
            Committed::Superseded { etag } => ("superseded", etag, None),
            Committed::Apart => {
                upload.abort().await;
                continue;
            }
        };
        let keys = vec![upload.key().to_owned()];
        upload.abort().await; // of what was found to be stored already
        return Ok(Proof {
            reason,
            keys,
            etag: Some(etag),
            content: Some(content),
            stored_bytes,
        });
    }
    Err(ShipError::Raced(claim.message.file.name.clone()))
}

/// Reads the version's bytes, into an upload if there is one, and says what they are. They are all there, and of this
/// version: a renamed file is looked up again after its last byte.
async fn read(
    cx: &Ship,
    claim: &Claim,
    name: &str,
    mut into: Option<&mut Upload>,
) -> Result<Content, ShipError> {
    let Message { instance, file } = &claim.message;
    let failed = |source| download_failed(name, source);
    let mut body = cx
        .source
        .open(&instance.name, name, file.version.size)
        .await
        .map_err(failed)?;
    let (mut sha256, mut lines) = (Sha256::new(), 0);
    while let Some(chunk) = body.next().await.map_err(failed)? {
        for piece in chunk.chunks(PIECE) {
            sha256.update(piece);
            lines += memchr::memchr_iter(b'\n', piece).count() as u64;
            if let Some(upload) = &mut into {
                upload.write(piece).await?;
            }
            tokio::task::yield_now().await; // to the heartbeat
        }
    }
    if file.renamed() {
        let whole = body.ended().await.map_err(failed)?;
        if !whole
            || !names_carrying(cx, claim)
                .await?
                .iter()
                .any(|now| now == name)
        {
            return Err(ShipError::Moved(name.to_owned()));
        }
    }
    Ok(Content {
        sha256: hex::encode(sha256.finalize()),
        raw_bytes: file.version.size,
        lines,
    })
}

/// The names under which RDS now has this version of a renamed file.
async fn names_carrying(cx: &Ship, claim: &Claim) -> Result<Vec<String>, ShipError> {
    let Message { instance, file } = &claim.message;
    let since: Timestamp = file.version.last_written;
    let listing = listing::list(&cx.rds, &instance.name, Some(since)).await;
    let listing = listing.map_err(|error| {
        if says_later(&error) {
            ShipError::Later(error)
        } else {
            ShipError::Call(error)
        }
    })?;
    Ok(listing
        .carrying(file.version)
        .into_iter()
        .map(str::to_owned)
        .collect())
}

fn download_failed(name: &str, source: DownloadError) -> ShipError {
    match source {
        DownloadError::Refused(refusal) if says_later(&refusal) => ShipError::Later(refusal),
        DownloadError::Refused(refusal) if says_missing(&refusal) => {
            ShipError::Missing(format!("{name} ({refusal})"))
        }
        source => ShipError::Download {
            name: name.to_owned(),
            source,
        },
    }
}

fn key(cx: &Ship, claim: &Claim, form: KeyForm<'_>) -> Result<String, ShipError> {
    let Message { instance, file } = &claim.message;
    Ok(file.object_key(&cx.prefix, instance, form, cx.archive.codec.extension())?)
}
