//! Reads archived versions back, and compares their bytes with what the table says of them. Changes nothing.

// What an object holds.
mod read_back;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;
use shared::archive::Archive;
use shared::aws::CallError;
use shared::checkpoint::{Checkpoints, Content, Known, Malformed, Registered, Row, State};
use shared::log_file::LogFile;

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
    /// The object goes on after the last version that the table knows.
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

/// What was read back, and what was found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Versions whose bytes, lines and SHA-256 are those that were shipped.
    pub verified: usize,
    /// Versions that can be read and are long enough, but of which the table has no SHA-256: they were found stored.
    pub without_sha256: usize,
    /// Versions without a byte, of which nothing is archived.
    pub empty: usize,
    /// Versions that are not in the archive, or not yet: `auditferry status` tells about them.
    pub not_archived: usize,
    /// Bytes read from the archive.
    pub read_bytes: u64,
    /// Versions that are not in the archive as they were shipped.
    pub discrepancies: Vec<Discrepancy>,
    /// What could not be read, and why; and what was asked for in vain.
    pub failures: Vec<String>,
}

/// Reads back, and compares. `Err`: table or archive refuse us altogether.
pub async fn verify(
    checkpoints: &Checkpoints,
    archive: &Archive,
    request: &Request,
    progress: &ProgressBar,
) -> Result<Verification, CallError> {
    archive.check_bucket().await?;
    let (registered, malformed) = checkpoints.registered().await?;
    let (chosen, unknown) = choose(registered, &request.instance);
    let mut all = Verification {
        failures: malformed
            .iter()
            .map(Malformed::to_string)
            .chain(unknown)
            .collect(),
        ..Verification::default()
    };
    let range = range(request);
    for instance in chosen {
        let known = checkpoints
            .known_since(&instance.resource_id, Some(*range.start()))
            .await?;
        let named = |why: &String| format!("{}: {why}", instance.name);
        all.failures.extend(known.malformed.iter().map(named));
        let objects = objects(&known.rows, &range, &mut all);
        progress.inc_length(objects.len() as u64);
        let read: Vec<_> = stream::iter(objects)
            .map(async |object| {
                let read = read_back(archive, object.key, &object.sizes()).await;
                progress.inc(1);
                (object, read)
            })
            .buffer_unordered(OBJECTS)
            .collect()
            .await;
        // What has grown since the table was read has rows by now: they are written before the object.
        let grown = |rows: &[Row]| {
            let ends = Ends::of(rows);
            let mut read = read.iter();
            read.any(|(object, read)| read.as_ref().is_ok_and(|read| object.goes_on(read, &ends)))
        };
        let now = if grown(&known.rows) {
            checkpoints
                .known_since(&instance.resource_id, Some(*range.start()))
                .await?
        } else {
            Known::default()
        };
        let ends = Ends::of(known.rows.iter().chain(&now.rows));
        let mut failed: BTreeMap<String, usize> = BTreeMap::new();
        for (object, read) in &read {
            match read {
                Err(Unread::Failed(error)) => *failed.entry(why(error)).or_default() += 1,
                read => object.compare(read, &ends, &mut all),
            }
        }
        let told = failed.into_iter();
        all.failures.extend(
            told.map(|(why, objects)| {
                format!("{}: {objects} objects not read: {why}", instance.name)
            }),
        );
    }
    all.discrepancies.sort_by(|a, b| {
        (&a.instance, &a.last_written, &a.file).cmp(&(&b.instance, &b.last_written, &b.file))
    });
    Ok(all)
}

/// The instances that are meant, and what to say of words that mean none.
fn choose(registered: Vec<Registered>, words: &[String]) -> (Vec<Registered>, Vec<String>) {
    let is = |instance: &Registered, word: &String| {
        instance.name.eq_ignore_ascii_case(word) || instance.resource_id == *word
    };
    let unknown = words
        .iter()
        .filter(|word| !registered.iter().any(|instance| is(instance, word)))
        .map(|word| format!("the table knows no instance {word}"))
        .collect();
    let chosen = registered
        .into_iter()
        .filter(|instance| words.is_empty() || words.iter().any(|word| is(instance, word)))
        .collect();
    (chosen, unknown)
}

fn range(request: &Request) -> RangeInclusive<Timestamp> {
    let now = Timestamp::now();
    let since = request.since.unwrap_or(now - LOOK_BACK);
    since.max(Timestamp::UNIX_EPOCH)..=request.until.unwrap_or(now)
}

fn why(error: &CallError) -> String {
    if error.code() == Some(ASLEEP) {
        "they are in Glacier; restore them first".to_owned()
    } else {
        error.to_string()
    }
}

/// Where objects may end, by log file.
struct Ends<'a>(HashMap<&'a str, BTreeSet<u64>>);

impl<'a> Ends<'a> {
    /// After any version that the table knows: a newer one may be stored already, and not recorded yet.
    fn of(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut sizes: HashMap<&str, BTreeSet<u64>> = HashMap::new();
        for row in rows {
            let file = &row.message.file;
            sizes
                .entry(&file.name)
                .or_default()
                .insert(file.version.size);
        }
        Self(sizes)
    }

    fn may_be(&self, file: &LogFile, raw_bytes: u64) -> bool {
        // One that is renamed has grown before, and its name is another's next.
        if file.renamed() {
            return file.version.size == raw_bytes;
        }
        let sizes = self.0.get(&*file.name);
        sizes.is_some_and(|sizes| sizes.contains(&raw_bytes))
    }
}

/// One object, and the versions that it should hold: as a log file grows, its object is replaced by one that begins with it.
struct Held<'a> {
    key: &'a str,
    /// With what was read of each when it was shipped.
    versions: Vec<(&'a Row, Option<&'a Content>)>,
}

/// The objects that hold the versions of a time range. Versions of which nothing is archived are counted.
fn objects<'a>(
    rows: &'a [Row],
    range: &RangeInclusive<Timestamp>,
    count: &mut Verification,
) -> Vec<Held<'a>> {
    let mut objects: BTreeMap<&str, Held<'a>> = BTreeMap::new();
    for row in rows {
        if !range.contains(&row.message.file.version.last_written) {
            continue;
        }
        if row.state != State::Complete {
            count.not_archived += 1;
        } else if row.keys.is_empty() {
            count.empty += 1;
        }
        for (nth, key) in row.keys.iter().enumerate() {
            let object = objects.entry(key).or_insert_with(|| Held {
                key,
                versions: Vec::new(),
            });
            // What was read is of the first; twins that differ from it have their hash in the key only.
            let content = row.content.as_ref().filter(|_| nth == 0);
            object.versions.push((row, content));
        }
    }
    objects.into_values().collect()
}

impl Held<'_> {
    fn sizes(&self) -> Vec<u64> {
        let versions = self.versions.iter();
        versions
            .map(|(row, _)| row.message.file.version.size)
            .collect()
    }

    /// Whether it has bytes that no version has.
    fn goes_on(&self, read: &ReadBack, ends: &Ends<'_>) -> bool {
        let mut versions = self.versions.iter();
        !versions.any(|(row, _)| ends.may_be(&row.message.file, read.raw_bytes))
    }

    /// Adds what became of each version.
    fn compare(&self, read: &Result<ReadBack, Unread>, ends: &Ends<'_>, all: &mut Verification) {
        let newest = self.sizes().into_iter().max();
        if let Ok(read) = read {
            all.read_bytes += read.stored_bytes;
        }
        for (row, shipped) in &self.versions {
            let version = row.message.file.version;
            let finding = match read {
                Err(Unread::Missing) => Some(Finding::Missing),
                Err(Unread::Damaged | Unread::Failed(_)) => Some(Finding::Damaged),
                Ok(read) => {
                    let long = newest == Some(version.size) && self.goes_on(read, ends);
                    judge(version.size, *shipped, read).or(long.then_some(Finding::Long))
                }
            };
            match (finding, shipped) {
                (None, Some(_)) => all.verified += 1,
                (None, None) => all.without_sha256 += 1,
                (Some(finding), _) => all.discrepancies.push(Discrepancy {
                    instance: row.message.instance.name.clone(),
                    resource_id: row.message.instance.resource_id.clone(),
                    file: row.message.file.name.clone(),
                    last_written: version.last_written.to_string(),
                    size: version.size,
                    key: self.key.to_owned(),
                    finding,
                }),
            }
        }
    }
}

/// Compares the first bytes of an object with what was shipped of a version of that size.
fn judge(size: u64, shipped: Option<&Content>, read: &ReadBack) -> Option<Finding> {
    match (read.contents.get(&size), shipped) {
        (None, _) => Some(Finding::Short),
        (Some(found), Some(shipped)) if found != shipped => Some(Finding::Different),
        (Some(_), _) => None,
    }
}
