//! What RDS says an instance has under `audit/`, page by page.

use std::collections::HashSet;

use crate::aws::CallError;
use crate::log_file::{AUDIT_PREFIX, Family, LogFile, Name, Version};
use jiff::Timestamp;

/// The audit log files of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// In no particular order.
    pub files: Vec<LogFile>,
    /// Entries under `audit/` whose numbers make no version, as RDS gave them.
    pub unreadable: Vec<String>,
    /// Whether a page had no entry at all: then entries may be missing that RDS has.
    pub empty_page: bool,
}

/// How often an instance is listed for the sake of a rotation that fell between two pages.
const LISTINGS: u32 = 3;

/// Lists the audit log files of an instance, by its name; with `since`, only those written at or after it.
///
/// RDS sometimes answers with an empty list for an instance that has files, so nothing may be concluded from one.
pub async fn list(
    rds: &aws_sdk_rds::Client,
    instance: &str,
    since: Option<Timestamp>,
) -> Result<Listing, CallError> {
    let mut tries = 1;
    loop {
        let (listing, torn) = list_pages(rds, instance, since).await?;
        if !torn || tries == LISTINGS {
            return Ok(listing);
        }
        tries += 1;
    }
}

/// The listing, and whether it may be torn: two pages have files that look alike. They may be twins, or one file that a
/// rotation has renamed between the two answers.
async fn list_pages(
    rds: &aws_sdk_rds::Client,
    instance: &str,
    since: Option<Timestamp>,
) -> Result<(Listing, bool), CallError> {
    const OPERATION: &str = "DescribeDBLogFiles";
    let mut listing = Listing::default();
    let mut pages = Pages::new(OPERATION);
    let (mut torn, mut earlier_pages) = (false, HashSet::new());
    loop {
        let page = rds
            .describe_db_log_files()
            .db_instance_identifier(instance)
            .filename_contains(AUDIT_PREFIX)
            .set_file_last_written(since.map(Timestamp::as_millisecond))
            .set_marker(pages.marker())
            .send()
            .await
            .map_err(|error| CallError::new(OPERATION, &error))?;
        listing.empty_page |= page.describe_db_log_files().is_empty();
        let before = listing.files.len();
        for entry in page.describe_db_log_files() {
            // `FilenameContains` also finds the prefix in the middle of a name.
            let Some(name) = entry
                .log_file_name()
                .filter(|name| name.starts_with(AUDIT_PREFIX))
            else {
                continue;
            };
            match entry
                .last_written()
                .zip(entry.size())
                .and_then(|(at, size)| Version::new(at, size))
            {
                Some(version) => listing.files.push(LogFile {
                    name: name.to_owned(),
                    version,
                    twins: 1,
                }),
                None => listing.unreadable.push(format!(
                    "{name} (LastWritten {}, Size {})",
                    entry
                        .last_written()
                        .map_or_else(|| "absent".to_owned(), |at| at.to_string()),
                    entry
                        .size()
                        .map_or_else(|| "absent".to_owned(), |size| size.to_string()),
                )),
            }
        }
        let of_this_page = listing
            .files
            .iter()
            .skip(before)
            .filter(|file| rotated(file));
        let versions: Vec<Version> = of_this_page.map(|file| file.version).collect();
        torn |= versions
            .iter()
            .any(|version| earlier_pages.contains(version));
        earlier_pages.extend(versions);
        if !pages.turn(page.marker())? {
            break;
        }
    }
    count_twins(&mut listing.files);
    Ok((listing, torn))
}

/// Where a paged answer of the RDS API stands.
#[derive(Debug)]
pub struct Pages {
    operation: &'static str,
    seen: Vec<String>,
}

impl Pages {
    /// Before the first page.
    pub fn new(operation: &'static str) -> Self {
        Self {
            operation,
            seen: Vec::new(),
        }
    }

    /// What to ask for the next page with.
    pub fn marker(&self) -> Option<String> {
        self.seen.last().cloned()
    }

    /// Takes the marker of a page; whether there is another. The last page has none, or an empty one.
    pub fn turn(&mut self, marker: Option<&str>) -> Result<bool, CallError> {
        let Some(marker) = marker.filter(|marker| !marker.is_empty()) else {
            return Ok(false);
        };
        if self.seen.iter().any(|seen| seen == marker) {
            return Err(CallError::nonsense(
                self.operation,
                "its pages go round in a circle",
            ));
        }
        self.seen.push(marker.to_owned());
        Ok(true)
    }
}

/// Whether a refusal, of a listing or a download, means that the instance is not there or not ready for now: a replica
/// that is being created is not found, a paused Serverless v2 instance is not ready.
pub fn says_later(refusal: &CallError) -> bool {
    let codes = [
        "DBInstanceNotFound",
        "DBInstanceNotReady",
        "InvalidDBInstanceState",
    ];
    refusal
        .code()
        .is_some_and(|code| codes.contains(&code.trim_end_matches("Fault")))
}

/// Says of each renamed file how many entries cannot be told from it.
fn count_twins(files: &mut [LogFile]) {
    let mut counts = std::collections::HashMap::new();
    for file in files.iter().filter(|file| rotated(file)) {
        *counts.entry(file.version).or_insert(0) += 1;
    }
    for file in files.iter_mut().filter(|file| rotated(file)) {
        file.twins = counts.get(&file.version).copied().unwrap_or(1);
    }
}

fn rotated(file: &LogFile) -> bool {
    matches!(Name::parse(&file.name), Name::Rotated { .. })
}

impl Listing {
    /// The names that now carry this version of a renamed file: none if it was rotated away, several for twins.
    pub fn carrying(&self, version: Version) -> Vec<&str> {
        self.files
            .iter()
            .filter(|file| rotated(file) && file.version == version)
            .map(|file| file.name.as_str())
            .collect()
    }

    /// Whether this very file, at any version, is listed; a renamed file at this version, under any name.
    pub fn has(&self, file: &LogFile) -> bool {
        if file.renamed() {
            !self.carrying(file.version).is_empty()
        } else {
            self.files.iter().any(|listed| listed.name == file.name)
        }
    }

    /// Whether RDS can give the bytes of a version: that one is listed, or an append-only file has grown since.
    pub fn offers(&self, file: &LogFile) -> bool {
        if file.renamed() {
            return self.has(file);
        }
        self.files.iter().any(|listed| {
            let Version { last_written, size } = listed.version;
            let grown = listed.family() == Family::Aurora
                && last_written >= file.version.last_written
                && size >= file.version.size;
            listed.name == file.name && (listed.version == file.version || grown)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_offered_as_itself_or_as_the_beginning_of_a_grown_file() {
        let file = |name: &str, at: i64, size: i64| LogFile {
            name: format!("audit/{name}"),
            version: Version::new(at, size).unwrap(),
            twins: 1,
        };
        let aurora = "audit.log.0.2024-10-01-12-00.0";
        for (listed, asked, expected) in [
            (file(aurora, 5, 10), file(aurora, 5, 10), true),
            (file(aurora, 9, 20), file(aurora, 5, 10), true),
            (file(aurora, 9, 9), file(aurora, 5, 10), false),
            (file(aurora, 4, 20), file(aurora, 5, 10), false),
            (
                file("audit.log.1.2024-10-01-12-00.0", 9, 20),
                file(aurora, 5, 10),
                false,
            ),
            (
                file("server_audit.log.3", 5, 10),
                file("server_audit.log.1", 5, 10),
                true,
            ),
            (
                file("server_audit.log.1", 9, 20),
                file("server_audit.log.1", 5, 10),
                false,
            ),
            (file("other", 9, 20), file("other", 5, 10), false),
        ] {
            let listing = Listing {
                files: vec![listed.clone()],
                ..Listing::default()
            };
            assert_eq!(listing.offers(&asked), expected, "{listed:?} {asked:?}");
        }
    }
}
