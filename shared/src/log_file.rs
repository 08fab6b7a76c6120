//! What a log file is, and from that, purely: is it sealed, is it due, its object key, its table key.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use sha2::{Digest, Sha256};

use crate::instance::Instance;

/// Where RDS keeps audit logs in an instance's listing.
pub const AUDIT_PREFIX: &str = "audit/";

/// Base name of the log file that an RDS MySQL or MariaDB instance is writing, and of its rotated ones before the number.
const SERVER_AUDIT: &str = "server_audit.log";

/// Longest key that S3 accepts, in bytes of UTF-8.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const KEY_MAX: usize = 1024;

/// What a listing said of a log file, ordered by time, then size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// `LastWritten`, to the millisecond.
    pub last_written: Timestamp,
    /// Bytes.
    pub size: u64,
}

impl Version {
    /// Reads RDS's own numbers (milliseconds since 1970, bytes); `None` if they make no sense or would not sort as 13 digits.
    pub fn new(last_written_ms: i64, size: i64) -> Option<Self> {
        let in_13_digits = (0..10_000_000_000_000).contains(&last_written_ms);
        let last_written = Timestamp::from_millisecond(last_written_ms).ok();
        Some(Self {
            last_written: last_written.filter(|_| in_13_digits)?,
            size: u64::try_from(size).ok()?,
        })
    }

    /// What keys end in that have the version in them.
    fn suffix(self) -> String {
        let last_written = self.last_written.strftime("%Y-%m-%dT%H-%M-%S%.3fZ");
        format!(".{last_written}-{}", self.size)
    }

    /// How this version stands to one that the archive already holds under the same key.
    pub fn beside(self, archived: Self) -> Beside {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let by_time = self.last_written.cmp(&archived.last_written);
        match (by_time, self.size.cmp(&archived.size)) {
            (_, Equal) => Beside::Same,
            (Greater | Equal, Greater) => Beside::Grown,
            (Less | Equal, Less) => Beside::Superseded,
            (Greater, Less) | (Less, Greater) => Beside::Apart,
        }
    }
}

/// How a version of an append-only log file stands to an archived version of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Equal in size, so equal in content: it is stored.
    Same,
    /// It begins with the archived version and goes on: it may replace it.
    Grown,
    /// The archived version begins with it and goes on: nothing to do.
    Superseded,
    /// Newer but smaller, or older but larger: not one growing file. Neither may replace the other.
    Apart,
}

/// One version of one file in an instance's log listing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogFile {
    /// As listed, e.g. `audit/audit.log.0.2024-10-01-12-00.0`.
    pub name: String,
    /// As listed.
    pub version: Version,
    /// How many entries of the listing cannot be told from this one: 1, but for renamed files that were rotated within
    /// one tick of RDS's clock at the same size.
    pub twins: u32,
}

/// The three kinds of audit log file, each with a watermark of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Aurora MySQL: stable names, files that grow.
    Aurora,
    /// RDS MySQL and MariaDB: rotated files, renamed at every rotation.
    ServerAudit,
    /// Anything else under `audit/`.
    Other,
}

impl Family {
    /// The word in the table and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aurora => "aurora",
            Self::ServerAudit => "server_audit",
            Self::Other => "other",
        }
    }

    /// The family with that word; `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Aurora, Self::ServerAudit, Self::Other]
            .into_iter()
            .find(|family| family.as_str() == word)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a log file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<'a> {
    /// `audit/audit.log.{stripe}.{YYYY-MM-DD-HH-MM}.{n}`
    Aurora {
        /// Aurora writes several stripes at a time, each a series of files.
        stripe: &'a str,
        /// The file's creation minute, UTC.
        created: DateTime,
        /// Position among the stripe's files of one minute.
        n: u64,
    },
    /// `audit/server_audit.log`, which the server is writing.
    Active,
    /// `audit/server_audit.log.{number}`; the number changes at every rotation.
    Rotated {
        /// 1 is the newest.
        number: u64,
    },
    /// Not one of the above.
    Other,
}

impl<'a> Name<'a> {
    /// Reads any name: what is not understood is [`Name::Other`].
    pub fn parse(name: &'a str) -> Self {
        let Some(base) = name.strip_prefix(AUDIT_PREFIX) else {
            return Self::Other;
        };
        if base == SERVER_AUDIT {
            return Self::Active;
        }
        if let Some(number) = base
            .strip_prefix(SERVER_AUDIT)
            .and_then(|rest| digits(rest.strip_prefix('.')?))
        {
            return Self::Rotated { number };
        }
        aurora(base).unwrap_or(Self::Other)
    }

    /// The family that the name belongs to.
    pub fn family(&self) -> Family {
        match self {
            Self::Aurora { .. } => Family::Aurora,
            Self::Active | Self::Rotated { .. } => Family::ServerAudit,
            Self::Other => Family::Other,
        }
    }
}

/// Reads `audit.log.{stripe}.{YYYY-MM-DD-HH-MM}.{n}`.
fn aurora(base: &str) -> Option<Name<'_>> {
    let mut parts = base.strip_prefix("audit.log.")?.split('.');
    let (stripe, minute, n) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    digits(stripe)?;
    let shape = minute
        .bytes()
        .map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    let in_shape = shape.eq(*b"0000-00-00-00-00");
    let created = DateTime::strptime("%Y-%m-%d-%H-%M", minute)
        .ok()
        .filter(|_| in_shape)?;
    Some(Name::Aurora {
        stripe,
        created,
        n: digits(n)?,
    })
}

/// A number of ASCII digits only; `None` also if it is too large to be a counter.
fn digits(text: &str) -> Option<u64> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| only_digits)
}

/// Which Aurora files of one listing are sealed: all but the newest of each stripe.
#[derive(Debug)]
pub struct Stripes<'a>(HashMap<&'a str, (DateTime, u64)>);

impl<'a> Stripes<'a> {
    /// Finds the newest file of each stripe; newer means larger (time, n).
    pub fn of(listing: &'a [LogFile]) -> Self {
        let mut newest = HashMap::new();
        for file in listing {
            if let Name::Aurora { stripe, created, n } = Name::parse(&file.name) {
                let seen = newest.entry(stripe).or_insert((created, n));
                *seen = (*seen).max((created, n));
            }
        }
        Self(newest)
    }

    /// Whether `file` can no longer grow.
    fn sealed(&self, file: &LogFile) -> bool {
        match Name::parse(&file.name) {
            Name::Aurora { stripe, created, n } => self
                .0
                .get(stripe)
                .is_some_and(|newest| *newest > (created, n)),
            Name::Rotated { .. } => true,
            Name::Active | Name::Other => false,
        }
    }

    /// Whether `file`, of the listing that this was made from, should be shipped now: sealed, or quiet for `settle`.
    pub fn due(&self, file: &LogFile, now: Timestamp, settle: Duration) -> bool {
        if Name::parse(&file.name) == Name::Active {
            return false; // shipped under its next name, when it is rotated
        }
        let quiet = Duration::try_from(now.duration_since(file.version.last_written));
        self.sealed(file) || quiet.is_ok_and(|quiet| quiet >= settle)
    }
}

/// Which of a version's possible object keys is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm<'a> {
    /// The one that the layout gives.
    Plain,
    /// With the version appended, for a version that may not replace the archived one (see [`Beside::Apart`]).
    Versioned,
    /// With the hexadecimal SHA-256 of the content appended (ten digits of it), for twins that differ in content.
    Content(&'a str),
}

/// A name that may not become part of an object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no object key from {what} {value:?}: {why}")]
pub struct KeyRejected {
    what: &'static str,
    value: String,
    why: &'static str,
}

impl LogFile {
    /// The family of its name.
    pub fn family(&self) -> Family {
        Name::parse(&self.name).family()
    }

    /// Whether the name is no identity, since every rotation changes it.
    pub fn renamed(&self) -> bool {
        self.family() == Family::ServerAudit
    }

    /// The key of its object: `{prefix}{cluster}/audit/{YYYY}/{MM}/{DD}/{HH}/{instance}/{file}.{extension}`.
    ///
    /// Different versions share a key only if they are one Aurora file that grows.
    pub fn object_key(
        &self,
        prefix: &str,
        instance: &Instance,
        form: KeyForm<'_>,
        extension: &str,
    ) -> Result<String, KeyRejected> {
        check_segment("cluster name", &instance.cluster)?;
        check_segment("instance name", &instance.name)?;
        let rejected = |why| KeyRejected {
            what: "log file name",
            value: self.name.clone(),
            why,
        };
        let path = self
            .name
            .strip_prefix(AUDIT_PREFIX)
            .ok_or_else(|| rejected("it is not under audit/"))?;
        for segment in path.split('/') {
            check_segment("log file name", segment).map_err(|segment| rejected(segment.why))?;
        }
        let last_written = self.version.last_written;
        let versioned = |base: &str| format!("{base}{}", self.version.suffix());
        let (hour, mut file) = match Name::parse(&self.name) {
            Name::Aurora { created, .. } => {
                (created.strftime("%Y/%m/%d/%H").to_string(), path.to_owned())
            }
            Name::Active | Name::Rotated { .. } => (
                last_written.strftime("%Y/%m/%d/%H").to_string(),
                versioned(SERVER_AUDIT),
            ),
            Name::Other => (
                last_written.strftime("%Y/%m/%d/%H").to_string(),
                versioned(path),
            ),
        };
        match form {
            KeyForm::Plain => {}
            KeyForm::Versioned => file = versioned(&file),
            KeyForm::Content(sha256) => {
                file = format!("{file}-{}", sha256.get(..10).unwrap_or(sha256));
            }
        }
        let key = format!(
            "{prefix}{}/audit/{hour}/{}/{file}.{extension}",
            instance.cluster, instance.name
        );
        if key.len() > KEY_MAX {
            return Err(rejected("the key would be longer than S3's 1024 bytes"));
        }
        Ok(key)
    }

    /// The file that an object's key was made for, given the version that its metadata says; `None` if there is none, or
    /// if it was a twin, whose content only RDS's listing told from its own.
    ///
    /// Of renamed files the name comes back without its number, which was no identity.
    pub fn of_key(key: &str, prefix: &str, instance: &Instance, version: Version) -> Option<Self> {
        let (stem, extension) = key.rsplit_once('.')?;
        let in_cluster = stem
            .strip_prefix(prefix)?
            .strip_prefix(instance.cluster.as_str())?;
        let (_hour, path) = in_cluster.split_once(&format!("/{}/", instance.name))?;
        let suffix = version.suffix();
        let names = std::iter::successors(Some(path), |name| name.strip_suffix(&suffix));
        let files = names.map(|name| Self {
            name: format!("{AUDIT_PREFIX}{name}"),
            version,
            twins: 1,
        });
        files.into_iter().find(|file| {
            [KeyForm::Plain, KeyForm::Versioned]
                .into_iter()
                .any(|form| {
                    file.object_key(prefix, instance, form, extension)
                        .is_ok_and(|made| made == key)
                })
        })
    }

    /// The sort key of its row: `F#{LastWritten ms}#{hash}#{size}`, in order of LastWritten within an instance.
    ///
    /// The hash is of the name; for renamed files, whose name is no identity, of the family and the number of twins.
    pub fn sort_key(&self) -> String {
        let hash = match (self.renamed(), self.twins) {
            (false, _) => Sha256::digest(&self.name),
            (true, 1) => Sha256::digest(Family::ServerAudit.as_str()),
            (true, twins) => Sha256::digest(format!("{}*{twins}", Family::ServerAudit)),
        };
        let hash: String = hex::encode(hash).chars().take(10).collect();
        format!(
            "F#{:013}#{hash}#{}",
            self.version.last_written.as_millisecond(),
            self.version.size
        )
    }
}

/// Refuses what could leave the layout: nothing, `.` and `..`, a slash, a control character.
fn check_segment(what: &'static str, segment: &str) -> Result<(), KeyRejected> {
    let why = match segment {
        "" => "it has an empty segment",
        "." | ".." => "a segment of dots could leave its place",
        _ if segment.contains('/') => "it contains a slash",
        _ if segment.contains(char::is_control) => "it contains a control character",
        _ => return Ok(()),
    };
    Err(KeyRejected {
        what,
        value: segment.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests;
