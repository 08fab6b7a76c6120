//! What must hold over table, queues and archive once everything has settled, whatever happened on the way.
//!
//! A test says which versions were due, with their bytes, and what may have become of each; [`Expected::hold`] looks at
//! all there is, and tells everything that is wrong at once.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use shared::checkpoint::State;
use shared::log_file::{Beside, KeyForm, Version};
use shared::message::Message;

use crate::archive::Object;
use crate::world::{Row, World};

/// What may become of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The archive has its bytes, perhaps as the beginning of a later version of the same file.
    Archived,
    /// It had no bytes: the table alone tells of it.
    Empty,
    /// It was lost, or an operator gave it up, and the table says so.
    Gone,
    /// A person is needed, and finds it among the dead letters.
    Quarantined,
}

/// A version that was due.
#[derive(Debug, Clone)]
pub struct Due {
    /// Which.
    pub version: Message,
    /// Its bytes: all that RDS had of the file when it listed this version.
    pub content: Bytes,
    /// One of these.
    pub fates: Vec<Fate>,
}

/// All that there may be.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Every version that ever was due.
    pub due: Vec<Due>,
    /// Bodies of messages that nobody can read, which must be among the dead letters.
    pub unreadable: Vec<String>,
    /// The most uploads that may be unfinished: one for each that a killed process had begun. They are the business of the
    /// bucket's lifecycle rule.
    pub unfinished_uploads: usize,
    /// `S3_PREFIX`.
    pub prefix: String,
}

/// One write of an object, in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// S3's name for it.
    pub id: String,
    /// Its entity tag.
    pub etag: String,
    /// Of which version it says it is.
    pub version: Option<Version>,
}

/// Every write of every key, oldest first. Two that are equal say that nothing was written between them.
pub type History = BTreeMap<String, Vec<Write>>;

impl Expected {
    /// Adds a version that must have one of these fates.
    pub fn add(&mut self, version: Message, content: impl Into<Bytes>, fates: &[Fate]) {
        self.due.push(Due {
            version,
            content: content.into(),
            fates: fates.to_vec(),
        });
    }

    /// Holds that it all has settled as it must. `Err` names everything that has not.
    pub async fn hold(&self, world: &World) -> anyhow::Result<()> {
        let seen = Seen::look(world).await?;
        let mut wrong = Vec::new();
        self.check_versions(&seen, &mut wrong);
        self.check_objects(&seen, &mut wrong);
        self.check_letters(&seen, &mut wrong);
        check_rows(&seen, &mut wrong);
        check_history(&seen.history, &mut wrong);
        if seen.queued != (0, 0) {
            wrong.push(format!("the queue holds {:?}", seen.queued));
        }
        if seen.unfinished_uploads > self.unfinished_uploads {
            wrong.push(format!(
                "{} uploads are unfinished, at most {} expected",
                seen.unfinished_uploads, self.unfinished_uploads
            ));
        }
        ensure!(
            wrong.is_empty(),
            "{wrong:#?}\nrows: {:#?}\nletters: {:#?}",
            seen.rows,
            seen.letters
        );
        Ok(())
    }

    /// Each version that was due has a row in the right state; what is archived is there, byte for byte.
    fn check_versions(&self, seen: &Seen, wrong: &mut Vec<String>) {
        for due in &self.due {
            let what = describe(&due.version);
            let Some(row) = seen.rows.iter().find(|row| is_of(row, &due.version)) else {
                wrong.push(format!("{what}: no row"));
                continue;
            };
            let fate = fate(row);
            if !fate.is_some_and(|fate| due.fates.contains(&fate)) {
                let fates = &due.fates;
                wrong.push(format!("{what}: {} and not {fates:?}", text(row, "state")));
            }
            match fate {
                Some(Fate::Archived) => self.check_archived(due, row, seen, wrong),
                Some(Fate::Quarantined) if !seen.letters.contains(&due.version.to_wire()) => {
                    wrong.push(format!("{what}: Quarantined, and no dead letter"));
                }
                _ => {}
            }
        }
    }

    fn check_archived(&self, due: &Due, row: &Row, seen: &Seen, wrong: &mut Vec<String>) {
        let what = describe(&due.version);
        let version = due.version.file.version;
        let keys = keys(row);
        let mut found = false;
        for (position, key) in keys.iter().enumerate() {
            let Some(object) = seen.objects.get(key) else {
                wrong.push(format!("{what}: Complete, and no object {key}"));
                continue;
            };
            if !self.may_be_key_of(due, key) {
                wrong.push(format!("{what}: {key} is not a key of it"));
            }
            let archived = version_of(&object.metadata);
            if !archived.is_some_and(|archived| {
                matches!(version.beside(archived), Beside::Same | Beside::Superseded)
            }) {
                wrong.push(format!("{what}: Complete, and {key} is of {archived:?}"));
            }
            found |= object.raw.starts_with(&due.content);
            // The row tells of the first object, and of its first bytes if it is of a later version.
            let size = usize::try_from(version.size).unwrap_or(usize::MAX);
            let bytes = object.raw.get(..size).unwrap_or(&object.raw);
            let same = archived == Some(version);
            for (attribute, actual) in [
                ("sha256", Some(hex::encode(Sha256::digest(bytes)))),
                ("raw_bytes", Some(bytes.len().to_string())),
                ("lines", Some(lines(bytes).to_string())),
                (
                    "stored_bytes",
                    same.then(|| object.stored.len().to_string()),
                ),
                ("etag", same.then(|| object.etag.clone())),
            ] {
                let told = row.get(attribute);
                let differs = told.zip(actual).filter(|(told, actual)| *told != actual);
                if let Some((told, actual)) = differs.filter(|_| position == 0) {
                    wrong.push(format!(
                        "{what}: {attribute} of {key} is {actual}, not {told}"
                    ));
                }
            }
        }
        if !found {
            wrong.push(format!(
                "{what}: Complete, and its bytes are not in {keys:?}"
            ));
        }
    }

    fn may_be_key_of(&self, due: &Due, key: &str) -> bool {
        let extension = key.rsplit('.').next().unwrap_or_default();
        let sha256 = hex::encode(Sha256::digest(&due.content));
        let forms = [
            KeyForm::Plain,
            KeyForm::Versioned,
            KeyForm::Content(&sha256),
        ];
        let Message { instance, file } = &due.version;
        // Of twins, one row tells of the keys of all.
        file.twins > 1
            || forms
                .into_iter()
                .filter_map(|form| {
                    file.object_key(&self.prefix, instance, form, extension)
                        .ok()
                })
                .any(|candidate| candidate == key)
    }

    /// Each object is of a version that was due, says which, and has exactly its bytes.
    fn check_objects(&self, seen: &Seen, wrong: &mut Vec<String>) {
        for (key, object) in &seen.objects {
            let Object { metadata, raw, .. } = object;
            let of = |due: &&Due| {
                let Message { instance, file } = &due.version;
                version_of(metadata) == Some(file.version)
                    && metadata.get("resource-id") == Some(&instance.resource_id)
                    && self.may_be_key_of(due, key)
            };
            let mut versions = self.due.iter().filter(of).peekable();
            if versions.peek().is_none() {
                wrong.push(format!("{key}: of no version that was due: {metadata:?}"));
            } else if !versions.any(|due| due.content == raw) {
                wrong.push(format!("{key}: not the bytes of its version: {metadata:?}"));
            }
            let generation = metadata
                .get("generation")
                .and_then(|text| text.parse().ok());
            if generation.is_none_or(|generation: u64| generation == 0) {
                wrong.push(format!("{key}: no generation: {metadata:?}"));
            }
            let sha256 = hex::encode(Sha256::digest(raw));
            if metadata.get("sha256").is_some_and(|told| *told != sha256) {
                wrong.push(format!("{key}: sha256 is {sha256}: {metadata:?}"));
            }
            if object.content_encoding.is_some() {
                wrong.push(format!("{key}: it has a content encoding"));
            }
        }
    }

    /// Every dead letter is of a version that was due, or unreadable; none of the unreadable ones is lost.
    fn check_letters(&self, seen: &Seen, wrong: &mut Vec<String>) {
        for letter in &seen.letters {
            let of_due = self.due.iter().any(|due| due.version.to_wire() == *letter);
            if !of_due && !self.unreadable.contains(letter) {
                wrong.push(format!("a dead letter of nothing that was due: {letter}"));
            }
        }
        for body in &self.unreadable {
            if !seen.letters.contains(body) {
                wrong.push(format!("not among the dead letters: {body}"));
            }
        }
    }
}

/// Nothing is under way, and no watermark has passed what is not finished.
fn check_rows(seen: &Seen, wrong: &mut Vec<String>) {
    for row in &seen.rows {
        let what = format!("{} {}", text(row, "pk"), text(row, "sk"));
        let state = State::ALL
            .into_iter()
            .find(|state| state.as_str() == text(row, "state"));
        let finished = state.is_some_and(State::finished);
        if !finished && state != Some(State::Quarantined) {
            wrong.push(format!("{what}: still {state:?}"));
        }
        if row.contains_key("owner") || row.contains_key("lease_until") {
            wrong.push(format!("{what}: {state:?}, and somebody's"));
        }
        let mark = seen.marks.iter().find(|mark| {
            mark.get("pk") == row.get("pk")
                && text(mark, "sk").strip_prefix("M#") == Some(text(row, "family"))
        });
        let passed = mark
            .and_then(|mark| millis(mark, "watermark"))
            .zip(millis(row, "last_written"))
            .is_some_and(|(watermark, last_written)| last_written <= watermark);
        if passed && !finished {
            wrong.push(format!(
                "{what}: {state:?}, and the watermark has passed it"
            ));
        }
    }
}

/// Per key, each write is of a later version than the one before it.
fn check_history(history: &History, wrong: &mut Vec<String>) {
    for (key, writes) in history {
        let mut earlier: Option<Version> = None;
        for write in writes {
            let grown = match (earlier, write.version) {
                (Some(earlier), Some(version)) => version.beside(earlier) == Beside::Grown,
                (None, _) => true,
                (Some(_), None) => false,
            };
            if !grown {
                wrong.push(format!("{key}: {:?} after {earlier:?}", write.version));
            }
            earlier = write.version;
        }
    }
}

/// All there is.
struct Seen {
    rows: Vec<Row>,
    marks: Vec<Row>,
    objects: BTreeMap<String, Object>,
    history: History,
    letters: Vec<String>,
    queued: (u64, u64),
    unfinished_uploads: usize,
}

impl Seen {
    async fn look(world: &World) -> anyhow::Result<Self> {
        let of_kind = |rows: &[Row], kind: &str| -> Vec<Row> {
            let of_kind = rows.iter().filter(|row| text(row, "sk").starts_with(kind));
            of_kind.cloned().collect()
        };
        let rows = world.rows().await?;
        Ok(Self {
            marks: of_kind(&rows, "M#"),
            rows: of_kind(&rows, "F#"),
            objects: world.objects().await?,
            history: history(world).await?,
            letters: world.letters().await?,
            queued: world.queued().await?,
            unfinished_uploads: world.unfinished_uploads().await?,
        })
    }
}

/// Every write of every key of the archive. What an operator has deleted is forgotten.
pub async fn history(world: &World) -> anyhow::Result<History> {
    let (s3, bucket) = (&world.s3, &world.resources.bucket);
    let mut history = History::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let request = s3.list_object_versions().bucket(bucket);
        let request = request
            .set_key_marker(key_marker)
            .set_version_id_marker(id_marker);
        let page = request.send().await?;
        let deleted = page.delete_markers().iter().filter_map(|mark| mark.key());
        let deleted: Vec<&str> = deleted.collect();
        for version in page.versions() {
            let key = version.key().context("no key")?;
            if deleted.contains(&key) {
                continue;
            }
            let id = version.version_id().context("no version id")?.to_owned();
            let head = s3.head_object().bucket(bucket).key(key).version_id(&id);
            let metadata = head.send().await?.metadata.unwrap_or_default();
            let write = Write {
                version: version_of(&metadata.into_iter().collect()),
                etag: version.e_tag().unwrap_or_default().to_owned(),
                id,
            };
            // S3 lists the latest first.
            history.entry(key.to_owned()).or_default().insert(0, write);
        }
        if page.is_truncated() != Some(true) {
            return Ok(history);
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_version_id_marker);
    }
}

fn version_of(metadata: &BTreeMap<String, String>) -> Option<Version> {
    let number = |name| metadata.get(name)?.parse().ok();
    Version::new(number("last-written")?, number("source-size")?)
}

/// What has become of a version according to its row; `None` while it is under way.
fn fate(row: &Row) -> Option<Fate> {
    match text(row, "state") {
        "Complete" if text(row, "reason") == "empty" => Some(Fate::Empty),
        "Complete" => Some(Fate::Archived),
        "Gone" => Some(Fate::Gone),
        "Quarantined" => Some(Fate::Quarantined),
        _ => None,
    }
}

fn is_of(row: &Row, version: &Message) -> bool {
    text(row, "pk").strip_prefix("I#") == Some(&version.instance.resource_id)
        && text(row, "sk") == version.file.sort_key()
}

fn keys(row: &Row) -> Vec<String> {
    let more = row.get("more_keys").map_or("", String::as_str).split(',');
    let first = row.get("key").map(String::as_str);
    let keys = first.into_iter().chain(more).filter(|key| !key.is_empty());
    keys.map(str::to_owned).collect()
}

fn lines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

fn describe(version: &Message) -> String {
    let Message { instance, file } = version;
    format!(
        "{} {} of {} bytes, {}",
        instance.name, file.name, file.version.size, file.version.last_written
    )
}

fn text<'r>(row: &'r Row, attribute: &str) -> &'r str {
    row.get(attribute).map_or("", String::as_str)
}

fn millis(row: &Row, attribute: &str) -> Option<i64> {
    row.get(attribute)?.parse().ok()
}
