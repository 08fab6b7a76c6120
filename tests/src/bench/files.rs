//! The log files that are shipped: so many of one size, cut from one log.

use std::ops::Range;

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use shared::instance::Instance;
use shared::log_file::{LogFile, Version};
use shared::message::Message;

use crate::generate::{Dialect, Generator};
use crate::stack::{ACCOUNT, REGION};
use crate::world::by_hand::{CLUSTER, INSTANCE};
use crate::world::{MINUTE, NOON};

/// Bytes of the log that all files are cut from, and of a log file that has been rotated for its size.
pub const LOG: usize = 100_000_000;

/// What all names begin with; a number follows.
const NAME: &str = "audit/audit.log.0.2024-10-01-12-00.";

/// The log of the benchmark.
pub fn log() -> Bytes {
    let start = Timestamp::from_millisecond(NOON).expect("a time of day");
    let mut log = Generator::new(1, Dialect::Aurora, INSTANCE, start);
    log.exactly(LOG).into()
}

/// So many log files of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// Bytes of each.
    pub size: u64,
}

impl Files {
    /// Bytes of all.
    pub fn bytes(self) -> u64 {
        self.count * self.size
    }

    /// The name of one.
    pub fn name(self, number: u64) -> String {
        format!("{NAME}{number}")
    }

    /// The one of this name, or of a path or key that ends so.
    pub fn number(self, name: &str) -> Option<u64> {
        let (_, number) = name.rsplit_once('.')?;
        number.parse().ok().filter(|number| *number < self.count)
    }

    /// Where in a log of so many bytes a file begins. Small files differ, large ones are the log, over and over.
    pub(super) fn begin(self, number: u64, log: usize) -> usize {
        let log = log as u64;
        let begin = if self.size < log {
            (number * self.size) % (log - self.size + 1)
        } else {
            0
        };
        usize::try_from(begin).expect("it is within the log")
    }

    /// Where in a log of so many bytes a file is; of one that is larger, the log.
    pub(super) fn range(self, number: u64, log: usize) -> Range<usize> {
        let begin = self.begin(number, log);
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        begin..begin.saturating_add(size).min(log)
    }

    /// The message of one, as a producer sends it.
    pub fn message(self, number: u64) -> anyhow::Result<Message> {
        let size = i64::try_from(self.size)?;
        Ok(Message {
            instance: Instance {
                resource_id: "db-BENCHMARK".to_owned(),
                name: INSTANCE.to_owned(),
                cluster: CLUSTER.to_owned(),
                account: ACCOUNT.to_owned(),
                region: REGION.to_owned(),
            },
            file: LogFile {
                name: self.name(number),
                version: Version::new(NOON + MINUTE, size).context("no version")?,
                twins: 1,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_differ_and_stay_within_the_log() {
        let files = Files {
            count: 20_000,
            size: 20_000,
        };
        let ranges: Vec<_> = (0..files.count)
            .map(|number| files.range(number, 100_000))
            .collect();
        assert_eq!(
            ranges[..5],
            [
                0..20_000,
                20_000..40_000,
                40_000..60_000,
                60_000..80_000,
                80_000..100_000
            ]
        );
        assert_eq!(ranges[5], 19_999..39_999);
        assert!(
            ranges
                .iter()
                .all(|range| range.len() == 20_000 && range.end <= 100_000)
        );
    }

    #[test]
    fn large_files_are_the_log_from_its_beginning() {
        let files = Files {
            count: 2,
            size: 4_000,
        };
        assert_eq!(files.range(1, 4_000), 0..4_000);
        assert_eq!(files.range(1, 100), 0..100);
        assert_eq!(files.bytes(), 8_000);
    }

    #[test]
    fn names_and_paths_lead_back_to_the_number() {
        let files = Files { count: 8, size: 1 };
        assert_eq!(files.number(&files.name(7)), Some(7));
        assert_eq!(
            files.number("instance-1/audit/audit.log.0.2024-10-01-12-00.3"),
            Some(3)
        );
        assert_eq!(files.number(&files.name(8)), None);
        assert_eq!(files.number("audit"), None);
    }
}
