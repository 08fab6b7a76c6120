//! Metadata of objects: what we write is read back, and what we did not write is older than anything.

use std::collections::HashMap;

use shared::archive::{Archived, metadata};
use shared::log_file::{Beside, LogFile, Version};
use shared::message::Message;

use super::{instance, lines};

/// Reads `data` as lines `name=value`.
pub fn run(data: &[u8]) {
    let found: HashMap<String, String> = lines(data)
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let archived = Archived::read("etag".to_owned(), Some(&found));
    assert_eq!(archived.resource_id.as_ref(), found.get("resource-id"));
    let said = |name| found.get(name).map(String::as_str);
    match archived.version {
        Some(version) => {
            let at = version.last_written.as_millisecond().to_string();
            let size = version.size.to_string();
            assert_eq!(said("last-written"), Some(at.as_str()), "{found:?}");
            assert_eq!(said("source-size"), Some(size.as_str()), "{found:?}");
        }
        None => nothing_is_newer(&archived),
    }
    let numbers: Vec<i64> = found
        .values()
        .filter_map(|value| value.parse().ok())
        .take(8)
        .collect();
    for at in &numbers {
        for version in numbers.iter().filter_map(|size| Version::new(*at, *size)) {
            what_is_written_is_read(version, said("resource-id").unwrap_or_default(), &found);
        }
    }
}

fn nothing_is_newer(archived: &Archived) {
    let ours = instance("cluster", "instance");
    for version in [
        Version::new(0, 0),
        Version::new(9_999_999_999_999, i64::MAX),
    ] {
        let beside = archived.beside(&ours, version.expect("both are sensible"));
        let other = archived
            .resource_id
            .as_ref()
            .is_some_and(|id| *id != ours.resource_id);
        assert_eq!(beside, other.then_some(Beside::Apart), "{archived:?}");
    }
}

/// Whatever else there is.
fn what_is_written_is_read(version: Version, resource_id: &str, beside: &HashMap<String, String>) {
    let mut ours = instance("cluster", "instance");
    resource_id.clone_into(&mut ours.resource_id);
    let message = Message {
        instance: ours,
        file: LogFile {
            name: "audit/audit.log.0.2024-10-01-12-00.0".to_owned(),
            version,
            twins: 1,
        },
    };
    let mut written = beside.clone();
    written.extend(metadata(&message, 7));
    let archived = Archived::read(String::new(), Some(&written));
    assert_eq!(archived.version, Some(version), "{written:?}");
    assert_eq!(archived.resource_id.as_deref(), Some(resource_id));
    let stands = archived.beside(&message.instance, version);
    assert_eq!(stands, Some(Beside::Same));
}
