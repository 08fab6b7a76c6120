//! How versions and watermarks are written in the table.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::claim::Content;
use crate::instance::Instance;
use crate::log_file::{Family, LogFile, Version};
use crate::message::Message;

/// One item of the table, as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// First characters of a version's sort key.
pub(super) const VERSION: &str = "F#";
/// First characters of a watermark's sort key; sorts after every version.
pub(super) const MARK: &str = "M#";
/// Partition key of the instances that were ever listed.
pub(super) const INSTANCES: &str = "INSTANCES";
/// First characters of an instance's partition key, and of its sort key among [`INSTANCES`].
pub(super) const INSTANCE: &str = "I#";

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum State {
    /// Its message was sent.
    Queued,
    /// A worker has claimed it, until its lease ends.
    Leased,
    /// A person is needed: its message is a dead letter.
    Quarantined,
    /// RDS no longer has it, and it was never archived.
    Gone,
    /// It is in the archive, or there is nothing of it to archive.
    Complete,
}

impl State {
    /// Every state, the unfinished ones first.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Leased,
        Self::Quarantined,
        Self::Gone,
        Self::Complete,
    ];

    /// The word in the table and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Leased => "Leased",
            Self::Quarantined => "Quarantined",
            Self::Gone => "Gone",
            Self::Complete => "Complete",
        }
    }

    /// Whether the watermark may pass it.
    pub fn finished(self) -> bool {
        match self {
            Self::Complete | Self::Gone => true,
            Self::Queued | Self::Leased | Self::Quarantined => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the table knows of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose version of which file: what its message says.
    pub message: Message,
    /// Where it stands.
    pub state: State,
    /// Rises with every claim, requeue, dismissal and reopening; writes of an older generation are refused.
    pub generation: u64,
    /// Claims since it was queued or requeued, but those that the environment's faults undid.
    pub attempts: u32,
    /// The claim that has it, while it is leased.
    pub owner: Option<String>,
    /// While it is leased: by the claimer's clock.
    pub lease_until: Option<Timestamp>,
    /// When its message was last sent or given back.
    pub queued_at: Option<Timestamp>,
    /// How long after `queued_at` it counts as stale; `None` if it was never sent again.
    pub resend_after: Option<Duration>,
    /// How often it was put back from quarantine.
    pub requeues: u32,
    /// Since when a person is needed, while it is quarantined.
    pub quarantined_at: Option<Timestamp>,
    /// Since when it is Complete or Gone.
    pub finished_at: Option<Timestamp>,
    /// When an operator gave it up; `None` if nobody did.
    pub dismissed_at: Option<Timestamp>,
    /// Why it is Complete, Gone, or shipped again.
    pub reason: Option<String>,
    /// What went wrong last.
    pub error: Option<String>,
    /// While it is complete: the keys of the objects that hold it.
    pub keys: Vec<String>,
    /// While it is complete: what its first object holds; `None` if whoever recorded it had not read it.
    pub content: Option<Content>,
}

/// The watermark of one instance and family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Identity of the instance.
    pub resource_id: String,
    /// The instance's name when it was last enumerated.
    pub instance: String,
    /// Its cluster's name then.
    pub cluster: String,
    /// The family it is for.
    pub family: Family,
    /// Every listed version up to this LastWritten is complete or gone; `None` before the first.
    pub watermark: Option<Timestamp>,
    /// When the watermark last moved.
    pub last_processed_at: Option<Timestamp>,
    /// When the instance was last listed without a fault.
    pub last_enumerated_at: Timestamp,
    /// How many audit log files of any family the last listing had.
    pub listed: u64,
}

/// Whether an instance is still there, as far as the producer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// RDS has it.
    There,
    /// RDS has it no more, and it has unfinished versions.
    Vanished,
    /// RDS has it no more, and all its versions are finished.
    Closed,
}

impl Presence {
    const ALL: [Self; 3] = [Self::There, Self::Vanished, Self::Closed];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::There => "There",
            Self::Vanished => "Vanished",
            Self::Closed => "Closed",
        }
    }
}

/// An instance that was enumerated at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its identity.
    pub resource_id: String,
    /// Its name when it was last there.
    pub name: String,
    /// Its cluster's name then.
    pub cluster: String,
    /// Whether it still is.
    pub presence: Presence,
}

/// An item that this program did not write, or that somebody changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {pk} {sk}: {attribute} is missing or malformed")]
pub struct Malformed {
    pk: String,
    sk: String,
    attribute: &'static str,
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn time(value: Timestamp) -> AttributeValue {
    number(value.as_millisecond())
}

pub(super) fn span(value: Duration) -> AttributeValue {
    number(value.as_millis())
}

/// Partition key of everything of an instance.
pub(super) fn partition_key(resource_id: &str) -> String {
    format!("{INSTANCE}{resource_id}")
}

/// The attributes that say what a version is, for whoever writes its row first.
pub(super) fn describe(message: &Message) -> Vec<(&'static str, AttributeValue)> {
    let Message { instance, file } = message;
    vec![
        ("account", text(&instance.account)),
        ("region", text(&instance.region)),
        ("resource_id", text(&instance.resource_id)),
        ("instance", text(&instance.name)),
        ("cluster", text(&instance.cluster)),
        ("family", text(file.family().as_str())),
        ("name", text(&file.name)),
        ("last_written", time(file.version.last_written)),
        ("size", number(file.version.size)),
        ("twins", number(file.twins)),
    ]
}

/// Typed access to an item's attributes.
struct Fields<'a>(&'a Item);

impl Fields<'_> {
    fn text(&self, attribute: &'static str) -> Result<String, Malformed> {
        self.0
            .get(attribute)
            .and_then(|value| value.as_s().ok())
            .cloned()
            .ok_or_else(|| self.malformed(attribute))
    }

    fn number<T: std::str::FromStr>(&self, attribute: &'static str) -> Result<T, Malformed> {
        self.optional(attribute)?
            .ok_or_else(|| self.malformed(attribute))
    }

    fn optional<T: std::str::FromStr>(
        &self,
        attribute: &'static str,
    ) -> Result<Option<T>, Malformed> {
        let Some(value) = self.0.get(attribute) else {
            return Ok(None);
        };
        let number = value.as_n().ok().and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(|| self.malformed(attribute))
    }

    fn time(&self, attribute: &'static str) -> Result<Option<Timestamp>, Malformed> {
        let Some(milliseconds) = self.optional(attribute)? else {
            return Ok(None);
        };
        Timestamp::from_millisecond(milliseconds)
            .map(Some)
            .map_err(|_out_of_range| self.malformed(attribute))
    }

    fn one_of<T: Copy, const N: usize>(
        &self,
        attribute: &'static str,
        all: [T; N],
        word: fn(T) -> &'static str,
    ) -> Result<T, Malformed> {
        let text = self.text(attribute)?;
        all.into_iter()
            .find(|one| word(*one) == text)
            .ok_or_else(|| self.malformed(attribute))
    }

    fn resource_id(&self, attribute: &'static str) -> Result<String, Malformed> {
        let id = self.text(attribute)?;
        let id = id.strip_prefix(INSTANCE).map(str::to_owned);
        id.ok_or_else(|| self.malformed(attribute))
    }

    fn keys(&self) -> Result<Vec<String>, Malformed> {
        let first = self.0.get("key").into_iter();
        let more = self.0.get("more_keys").map(AttributeValue::as_l);
        let more = more.transpose();
        let more = more.map_err(|_other| self.malformed("more_keys"))?;
        first
            .chain(more.into_iter().flatten())
            .map(|key| key.as_s().cloned().map_err(|_other| self.malformed("key")))
            .collect()
    }

    fn content(&self) -> Result<Option<Content>, Malformed> {
        if !self.0.contains_key("sha256") {
            return Ok(None);
        }
        Ok(Some(Content {
            sha256: self.text("sha256")?,
            raw_bytes: self.number("raw_bytes")?,
            lines: self.number("lines")?,
        }))
    }

    fn malformed(&self, attribute: &'static str) -> Malformed {
        let key = |name| {
            self.0
                .get(name)
                .and_then(|value| value.as_s().ok())
                .cloned()
                .unwrap_or_default()
        };
        Malformed {
            pk: key("pk"),
            sk: key("sk"),
            attribute,
        }
    }
}

impl Row {
    /// Reads an item of the table.
    pub fn read(item: &Item) -> Result<Self, Malformed> {
        let fields = Fields(item);
        let version = Version::new(fields.number("last_written")?, fields.number("size")?);
        Ok(Self {
            message: Message {
                instance: Instance {
                    resource_id: fields.text("resource_id")?,
                    name: fields.text("instance")?,
                    cluster: fields.text("cluster")?,
                    account: fields.text("account")?,
                    region: fields.text("region")?,
                },
                file: LogFile {
                    name: fields.text("name")?,
                    version: version.ok_or_else(|| fields.malformed("last_written"))?,
                    twins: fields.number("twins")?,
                },
            },
            state: fields.one_of("state", State::ALL, State::as_str)?,
            generation: fields.number("generation")?,
            attempts: fields.number("attempts")?,
            owner: fields.text("owner").ok(),
            lease_until: fields.time("lease_until")?,
            queued_at: fields.time("queued_at")?,
            resend_after: fields.optional("resend_after")?.map(Duration::from_millis),
            requeues: fields.optional("requeues")?.unwrap_or_default(),
            quarantined_at: fields.time("quarantined_at")?,
            finished_at: fields.time("completed_at")?.or(fields.time("gone_at")?),
            dismissed_at: fields.time("dismissed_at")?,
            reason: fields.text("reason").ok(),
            error: fields.text("error").ok(),
            keys: fields.keys()?,
            content: fields.content()?,
        })
    }
}

impl Mark {
    pub(super) fn read(item: &Item) -> Result<Self, Malformed> {
        let fields = Fields(item);
        let family = fields
            .text("sk")?
            .strip_prefix(MARK)
            .and_then(Family::from_word);
        Ok(Self {
            resource_id: fields.resource_id("pk")?,
            instance: fields.text("instance")?,
            cluster: fields.text("cluster")?,
            family: family.ok_or_else(|| fields.malformed("sk"))?,
            watermark: fields.time("watermark")?,
            last_processed_at: fields.time("last_processed_at")?,
            last_enumerated_at: fields
                .time("last_enumerated_at")?
                .ok_or_else(|| fields.malformed("last_enumerated_at"))?,
            listed: fields.number("listed")?,
        })
    }
}

impl Registered {
    pub(super) fn read(item: &Item) -> Result<Self, Malformed> {
        let fields = Fields(item);
        Ok(Self {
            resource_id: fields.resource_id("sk")?,
            name: fields.text("instance")?,
            cluster: fields.text("cluster")?,
            presence: fields.one_of("presence", Presence::ALL, Presence::as_str)?,
        })
    }
}
