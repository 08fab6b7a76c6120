//! Reads archived versions back, and compares their bytes with what the table says of them. Changes nothing.
//!
//! The table is the witness, and the object is not asked about itself: whoever can replace an object can replace its
//! metadata, too.

// Which objects hold which versions, and what is wrong with them (pure).
mod held;
// What an object holds.
mod read_back;

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;
use shared::archive::Archive;
use shared::aws::CallError;
use shared::checkpoint::{Checkpoints, Entry, Known, Malformed, Row};
use shared::config::BadSetting;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use self::held::{Ends, Held, Trust, objects};
use self::read_back::{ReadBack, Unread, read_back};
use crate::reconcile::LOOK_BACK;

/// Objects read at a time.
const OBJECTS: usize = 8;

/// S3's code for an object that lies in Glacier.
const ASLEEP: &str = "InvalidObjectState";

/// What to read back.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// Only of these instances: names or resource ids, comma-separated
    #[arg(long, value_name = "INSTANCE", value_delimiter = ',', value_parser = crate::cli::instance)]
    pub instance: Vec<String>,
    /// Versions last written since: a time, a date, or how long ago; a week, unless told
    #[arg(long, value_name = "TIME", value_parser = crate::cli::time)]
    pub since: Option<Timestamp>,
    /// Versions last written until then; a date means its end
    #[arg(long, value_name = "TIME", value_parser = crate::cli::time_until)]
    pub until: Option<Timestamp>,
}

/// Times of last writes.
#[derive(Debug, Clone, Copy)]
struct Range {
    since: Timestamp,
    /// `None`: all that there is, whatever this machine's clock says.
    until: Option<Timestamp>,
}

impl Request {
    /// `Err` if no time can be in it: nothing would be read, and nothing found.
    pub fn check(&self) -> Result<(), BadSetting> {
        let until = self.until.unwrap_or_else(Timestamp::now);
        match self.since {
            Some(since) if since > until => Err(BadSetting(match self.until {
                Some(until) => format!("--since {since} is after --until {until}"),
                None => format!("--since {since} is in the future"),
            })),
            _ => Ok(()),
        }
    }

    fn range(&self) -> Range {
        let a_week = || {
            self.until
                .unwrap_or_else(Timestamp::now)
                .checked_sub(LOOK_BACK)
        };
        let since = self.since.or_else(|| a_week().ok());
        Range {
            since: since.unwrap_or_default().max(Timestamp::UNIX_EPOCH),
            until: self.until,
        }
    }
}

impl Range {
    fn has(self, last_written: Timestamp) -> bool {
        self.since <= last_written && self.until.is_none_or(|until| last_written <= until)
    }
}

/// What is wrong with an archived version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The archive has no object where the table says that it is.
    Missing,
    /// The object is no whole gzip or zstd stream.
    Damaged,
    /// The object ends before the version does.
    Short,
    /// Its bytes are not those that were shipped.
    Different,
    /// The object goes on after the newest version that it should hold.
    Long,
}

/// One version that is not in the archive as it was shipped.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// The instance's name.
    pub instance: String,
    /// Its identity.
    pub resource_id: String,
    /// The log file's name.
    pub file: String,
    /// When it was last written to.
    pub last_written: String,
    /// Bytes.
    pub size: u64,
    /// The object that should hold it.
    pub key: String,
    /// What is wrong.
    pub finding: Finding,
}

/// An object of which nothing can be said.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct NotRead {
    /// The object.
    pub key: String,
    /// Why it was not read to its end.
    pub why: String,
}

/// What was read back, and what was found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Versions last written then and later were meant.
    pub since: String,
    /// And those last written until then; `None`: all of them.
    pub until: Option<String>,
    /// Versions whose bytes, lines and SHA-256 are those that were shipped.
    pub verified: usize,
    /// Versions that can be read and are long enough, but of which the table has no SHA-256: they were found stored.
    pub without_sha256: usize,
    /// Versions without a byte, of which nothing is archived.
    pub empty: usize,
    /// Versions that are queued, being shipped, or quarantined.
    pub unfinished: usize,
    /// Versions that RDS deleted before they were archived, and that nobody has dismissed.
    pub gone: usize,
    /// Versions that an operator has given up.
    pub dismissed: usize,
    /// Bytes read from the archive.
    pub read_bytes: u64,
    /// Versions that are not in the archive as they were shipped.
    pub discrepancies: Vec<Discrepancy>,
    /// Objects that could not be read.
    pub not_read: Vec<NotRead>,
    /// What else could not be done, and why; and what was asked for in vain.
    pub failures: Vec<String>,
}

/// Reads back, and compares. `Err`: there is no such bucket, or the table does not say which instances there are.
pub async fn verify(
    checkpoints: &Checkpoints,
    archive: &Archive,
    request: &Request,
    progress: &ProgressBar,
) -> Result<Verification, CallError> {
    archive.check_bucket().await?;
    let range = request.range();
    let mut all = Verification {
        since: range.since.to_string(),
        until: range.until.map(|until| until.to_string()),
        ..Verification::default()
    };
    let known = instances(checkpoints, &mut all.failures).await?;
    for (id, name) in choose(known, &request.instance, &mut all.failures) {
        // What was found until then, and of the others, is told as well.
        if let Err(error) = verify_one(checkpoints, archive, &id, range, progress, &mut all).await {
            all.failures.push(format!("{name}: {error}"));
        }
    }
    all.discrepancies.sort_by(|a, b| {
        (&a.instance, &a.last_written, &a.file).cmp(&(&b.instance, &b.last_written, &b.file))
    });
    Ok(all)
}

/// Names of all instances of which the table has anything, by resource id. Those of a backfill are in no register.
async fn instances(
    checkpoints: &Checkpoints,
    failures: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, CallError> {
    let mut instances = BTreeMap::new();
    let see = |entry: Result<Entry, Malformed>| match entry {
        Ok(Entry::Row(Row { message, .. })) => {
            let instance = message.instance;
            instances
                .entry(instance.resource_id)
                .or_insert(instance.name);
        }
        Ok(Entry::Instance(instance)) => {
            instances.insert(instance.resource_id, instance.name);
        }
        Ok(Entry::Mark(_)) => {}
        Err(malformed) => failures.push(malformed.to_string()),
    };
    checkpoints.each(see).await?;
    Ok(instances)
}

/// Those that are meant. Words that mean none are failures, as is a table that has none.
fn choose(
    mut known: BTreeMap<String, String>,
    words: &[String],
    failures: &mut Vec<String>,
) -> BTreeMap<String, String> {
    if known.is_empty() {
        failures.push("the table knows no instance: has the producer run?".to_owned());
    }
    let is =
        |id: &String, name: &String, word: &String| name.eq_ignore_ascii_case(word) || id == word;
    let unknown = words
        .iter()
        .filter(|word| !known.iter().any(|(id, name)| is(id, name, word)));
    failures.extend(unknown.map(|word| format!("the table knows no instance {word}")));
    known.retain(|id, name| words.is_empty() || words.iter().any(|word| is(id, name, word)));
    known
}

/// Adds what came of one instance.
async fn verify_one(
    checkpoints: &Checkpoints,
    archive: &Archive,
    id: &str,
    range: Range,
    progress: &ProgressBar,
    all: &mut Verification,
) -> Result<(), CallError> {
    let known = checkpoints.known_since(id, Some(range.since)).await?;
    let objects = objects(&known.rows, range, all);
    progress.inc_length(objects.len() as u64);
    let read: Vec<(Held<'_>, Result<ReadBack, Unread>)> = stream::iter(objects)
        .map(async |object| {
            let read = in_a_thread(archive, &object).await;
            progress.inc(1);
            (object, read)
        })
        .buffer_unordered(OBJECTS)
        .collect()
        .await;
    // What has grown since the table was read has rows by now: they are written before the object.
    let ends = Ends::of(&known.rows, &archive.prefix);
    let grown = read
        .iter()
        .any(|(object, read)| read.as_ref().is_ok_and(|read| object.goes_on(read, &ends)));
    let now = if grown {
        checkpoints.known_since(id, Some(range.since)).await?
    } else {
        Known::default()
    };
    let ends = Ends::of(known.rows.iter().chain(&now.rows), &archive.prefix);
    // A version may have several objects.
    let mut trusted: BTreeMap<String, Trust> = BTreeMap::new();
    for (object, read) in &read {
        match read {
            Ok(read) => all.read_bytes += read.stored_bytes,
            Err(Unread::Failed(error)) => all.not_read.push(NotRead {
                key: object.key.to_owned(),
                why: why(error),
            }),
            Err(Unread::Missing | Unread::Damaged) => {}
        }
        for (row, shipped) in &object.versions {
            let trust = object
                .judge((row, *shipped), read, &ends)
                .unwrap_or_else(|finding| {
                    all.discrepancies
                        .push(discrepancy(row, object.key, finding));
                    Trust::None
                });
            let worst = trusted.entry(row.message.file.sort_key()).or_insert(trust);
            *worst = trust.max(*worst);
        }
    }
    for trust in trusted.into_values() {
        match trust {
            Trust::Hashed => all.verified += 1,
            Trust::Sized => all.without_sha256 += 1,
            Trust::None => {}
        }
    }
    Ok(())
}

/// Decompressing and hashing take longer than the network does, so objects share the processor's cores.
async fn in_a_thread(archive: &Archive, object: &Held<'_>) -> Result<ReadBack, Unread> {
    let (archive, key, sizes) = (archive.clone(), object.key.to_owned(), object.sizes());
    let runtime = Handle::current();
    spawn_blocking(move || runtime.block_on(read_back(&archive, &key, &sizes)))
        .await
        .unwrap_or_else(|panic| {
            Err(Unread::Failed(CallError::nonsense(
                "GetObject",
                panic.to_string(),
            )))
        })
}

fn discrepancy(row: &Row, key: &str, finding: Finding) -> Discrepancy {
    let (instance, file) = (&row.message.instance, &row.message.file);
    Discrepancy {
        instance: instance.name.clone(),
        resource_id: instance.resource_id.clone(),
        file: file.name.clone(),
        last_written: file.version.last_written.to_string(),
        size: file.version.size,
        key: key.to_owned(),
        finding,
    }
}

fn why(error: &CallError) -> String {
    if error.code() == Some(ASLEEP) {
        "it is in Glacier: restore it first".to_owned()
    } else {
        error.to_string()
    }
}
