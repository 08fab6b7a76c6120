//! What travels through the queue: one message per version. Versioned and additive, since producer and worker are
//! deployed apart.

use serde::{Deserialize, Serialize};

use crate::instance::Instance;
use crate::log_file::{LogFile, Version};

/// The only wire version there is so far.
const WIRE_VERSION: u64 = 1;

/// One version of one log file, to be shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose log file it is.
    pub instance: Instance,
    /// Which version of which log file.
    pub file: LogFile,
}

/// Why a message body cannot be acted on. It is kept as a dead letter, never dropped.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not our JSON.
    #[error("unparsable message: {0}")]
    NotOurs(#[source] serde_json::Error),
    /// Made by a newer producer.
    #[error("unknown message version {0}; this program reads version {WIRE_VERSION}")]
    UnknownVersion(serde_json::Value),
    /// Its numbers describe no version.
    #[error(
        "unparsable message: LastWritten {last_written_ms} ms and Size {size} are no version of a log file"
    )]
    NoVersion {
        /// As sent.
        last_written_ms: i64,
        /// As sent.
        size: i64,
    },
}

#[derive(Deserialize)]
struct Envelope {
    v: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct WireV1 {
    v: u64,
    account: String,
    region: String,
    resource_id: String,
    instance: String,
    cluster: String,
    file: String,
    last_written_ms: i64,
    size: i64,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    twins: u32,
}

fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_one(twins: &u32) -> bool {
    *twins == 1
}

impl Message {
    /// The body to send.
    pub fn to_wire(&self) -> String {
        let Self { instance, file } = self.clone();
        let wire = WireV1 {
            v: WIRE_VERSION,
            account: instance.account,
            region: instance.region,
            resource_id: instance.resource_id,
            instance: instance.name,
            cluster: instance.cluster,
            file: file.name,
            last_written_ms: file.version.last_written.as_millisecond(),
            size: i64::try_from(file.version.size).expect("a version's size came from an i64"),
            twins: file.twins,
        };
        let body = serde_json::to_string(&wire).expect("strings and numbers always serialize");
        // SQS takes characters of XML 1.0 only; JSON itself escapes all others that it does not take.
        body.replace('\u{FFFE}', r"\ufffe")
            .replace('\u{FFFF}', r"\uffff")
    }

    /// Reads a body; fields that it does not know are ignored.
    pub fn from_wire(body: &str) -> Result<Self, Unreadable> {
        let Envelope { v } = serde_json::from_str(body).map_err(Unreadable::NotOurs)?;
        if v != WIRE_VERSION {
            return Err(Unreadable::UnknownVersion(v));
        }
        let wire: WireV1 = serde_json::from_str(body).map_err(Unreadable::NotOurs)?;
        let (last_written_ms, size) = (wire.last_written_ms, wire.size);
        let version = Version::new(last_written_ms, size).ok_or(Unreadable::NoVersion {
            last_written_ms,
            size,
        })?;
        Ok(Self {
            instance: Instance {
                resource_id: wire.resource_id,
                name: wire.instance,
                cluster: wire.cluster,
                account: wire.account,
                region: wire.region,
            },
            file: LogFile {
                name: wire.file,
                version,
                twins: wire.twins,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            instance: Instance {
                resource_id: "db-ABC".to_owned(),
                name: "instance-1".to_owned(),
                cluster: "my-rds-cluster".to_owned(),
                account: "123456789012".to_owned(),
                region: "eu-central-1".to_owned(),
            },
            file: LogFile {
                name: "audit/audit.log.0.2024-10-01-12-00.0".to_owned(),
                version: Version::new(1_727_784_000_123, 1_000_123).unwrap(),
                twins: 1,
            },
        }
    }

    #[test]
    fn version_1_on_the_wire_does_not_change() {
        let wire = r#"{"v":1,"account":"123456789012","region":"eu-central-1","resource_id":"db-ABC","instance":"instance-1","cluster":"my-rds-cluster","file":"audit/audit.log.0.2024-10-01-12-00.0","last_written_ms":1727784000123,"size":1000123}"#;
        assert_eq!(message().to_wire(), wire);
        assert_eq!(Message::from_wire(wire).unwrap(), message());
    }

    #[test]
    fn later_fields_are_ignored_and_twins_survive() {
        let mut twins = message();
        twins.file.twins = 2;
        let wire = twins
            .to_wire()
            .replace(r#"{"v":1"#, r#"{"v":1,"later":[true]"#);
        assert_eq!(Message::from_wire(&wire).unwrap(), twins);
    }

    #[test]
    fn a_body_has_only_characters_that_sqs_takes() {
        let mut odd = message();
        odd.file.name = "audit/\0\u{1F}\u{7F}\u{FFFD}\u{FFFE}\u{FFFF}\u{10FFFF}".to_owned();
        let wire = odd.to_wire();
        assert!(wire.contains(r"audit/\u0000\u001f"), "{wire}");
        assert!(wire.contains("\u{FFFD}\\ufffe\\uffff\u{10FFFF}"), "{wire}");
        assert_eq!(Message::from_wire(&wire).unwrap(), odd);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let sensible = message().to_wire();
        for (body, why) in [
            ("", "unparsable message: EOF"),
            ("hello", "unparsable message: expected value"),
            ("[]", "unparsable message: invalid length 0"),
            (r#"{"v":1}"#, "unparsable message: missing field `account`"),
            (r#"{"v":2,"anything":0}"#, "unknown message version 2"),
            (r#"{"v":"1"}"#, r#"unknown message version "1""#),
            (
                &sensible.replace("1000123}", "-1}"),
                "LastWritten 1727784000123 ms and Size -1 are no version",
            ),
            (
                &sensible.replace("1000123}", "1e99}"),
                "unparsable message: invalid type: floating point",
            ),
        ] {
            let error = Message::from_wire(body).unwrap_err().to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
    }
}
