//! The bytes of one version, from RDS into the archive: by its present name, whole, under the right key.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::aws::CallError;
use shared::checkpoint::{Claim, Content, Proof};
use shared::listing::{self, Listing, says_later};
use shared::log_file::{KeyForm, Version};
use shared::message::Message;
use tokio::time::Instant;
use tracing::error;

use crate::download::{DownloadError, says_missing};
use crate::failure::ShipError;
use crate::ship::Ship;
use crate::upload::{Committed, Upload};

/// Pieces in which a chunk from the network is worked on; the slowest level takes some 30 ms for one.
const PIECE: usize = 64 * 1024;

/// How long a file computes until heartbeats and other files have their turn. Each turn costs a look at the network.
const TURN: Duration = Duration::from_millis(10);

/// Brings the bytes of a claimed version into the archive, or makes sure that RDS has lost it. An unfinished upload stays in
/// `open`, for the caller to abort.
pub(crate) async fn carry_or_confirm_gone(
    cx: &Ship,
    claim: &Claim,
    open: &mut Option<Upload>,
) -> Result<Proof, ShipError> {
    match carry(cx, claim, open).await {
        Err(ShipError::Missing(what)) => confirm_gone(cx, claim, what).await,
        carried => carried,
    }
}

/// Gone only if a listing lacks it of which no page is empty, and the archive has nothing as new.
async fn confirm_gone(cx: &Ship, claim: &Claim, what: String) -> Result<Proof, ShipError> {
    let file = &claim.message.file;
    let listing = list(cx, claim, None).await?;
    // An empty page may stand for any number of files.
    if listing.files.is_empty() || (listing.empty_page && !listing.has(file)) {
        return Err(ShipError::Missing(format!(
            "{what}, and its listing does not say more"
        )));
    }
    if listing.has(file) {
        let still_there = format!("it is listed, yet RDS has no {what}");
        return Err(ShipError::Call(CallError::nonsense(
            "DescribeDBLogFiles",
            still_there,
        )));
    }
    cx.archive.check_bucket().await?;
    if let Some(proof) = cx.archive.find(&claim.message).await? {
        return Ok(proof);
    }
    Err(ShipError::Gone(what))
}

async fn carry(cx: &Ship, claim: &Claim, open: &mut Option<Upload>) -> Result<Proof, ShipError> {
    let file = &claim.message.file;
    if claim.attempts > cx.max_attempts {
        return Err(ShipError::Exhausted {
            attempts: claim.attempts,
        });
    }
    key(cx, claim, KeyForm::Plain)?; // a name that gives no key is refused before RDS is asked for anything
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
        [] => {
            let Version { last_written, size } = file.version;
            Err(ShipError::Missing(format!(
                "rotated file of {size} bytes, last written {last_written}"
            )))
        }
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
    let lost = usize::try_from(claim.message.file.twins)
        .unwrap_or(usize::MAX)
        .saturating_sub(names.len());
    if lost > 0 {
        let Message { instance, file } = &claim.message;
        error!(
            "{lost} of {} files of {} that look alike, {}, were rotated away before they were read",
            file.twins, instance.name, file.name
        );
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
        let upload = open.insert(Upload::new(
            &cx.archive,
            cx.codec,
            cx.level,
            key(cx, claim, form)?,
            claim,
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
/// version: a renamed file is looked up again after its last byte, and when it is not what was listed.
async fn read(
    cx: &Ship,
    claim: &Claim,
    name: &str,
    into: Option<&mut Upload>,
) -> Result<Content, ShipError> {
    let content = read_named(cx, claim, name, into).await;
    let in_doubt = match &content {
        Ok(_) | Err(ShipError::Missing(_)) => true,
        Err(ShipError::Download { source, .. }) => matches!(
            source,
            DownloadError::Short { .. } | DownloadError::Long { .. }
        ),
        Err(_) => false,
    };
    if claim.message.file.renamed() && in_doubt {
        let names = names_carrying(cx, claim).await?;
        if !names.is_empty() && !names.iter().any(|now| now == name) {
            return Err(ShipError::Moved(name.to_owned()));
        }
        if names.is_empty() {
            return Err(ShipError::Missing(format!(
                "{name} of this version any more"
            )));
        }
    }
    content
}

async fn read_named(
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
    let mut turn = Instant::now();
    while let Some(chunk) = body.next().await.map_err(failed)? {
        for piece in chunk.chunks(PIECE) {
            sha256.update(piece);
            lines += memchr::memchr_iter(b'\n', piece).count() as u64;
            if let Some(upload) = &mut into {
                upload.write(piece).await?;
            }
            if turn.elapsed() >= TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
    }
    if file.renamed() {
        body.end().await.map_err(failed)?;
    }
    Ok(Content {
        sha256: hex::encode(sha256.finalize()),
        raw_bytes: file.version.size,
        lines,
    })
}

/// The names under which RDS now has this version of a renamed file.
async fn names_carrying(cx: &Ship, claim: &Claim) -> Result<Vec<String>, ShipError> {
    let version = claim.message.file.version;
    let listing = list(cx, claim, Some(version.last_written)).await?;
    Ok(listing
        .carrying(version)
        .into_iter()
        .map(str::to_owned)
        .collect())
}

async fn list(cx: &Ship, claim: &Claim, since: Option<Timestamp>) -> Result<Listing, ShipError> {
    let listing = listing::list(&cx.rds, &claim.message.instance.name, since).await;
    listing.map_err(|error| {
        if says_later(&error) {
            ShipError::Later(error)
        } else {
            ShipError::Call(error)
        }
    })
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
    Ok(file.object_key(&cx.archive.prefix, instance, form, cx.codec.extension())?)
}
