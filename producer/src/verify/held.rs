//! Which objects hold which versions, and what is wrong with them. Nothing here asks anybody.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::archive::EXTENSIONS;
use shared::checkpoint::{Content, Row, State};
use shared::log_file::KeyForm;

use super::read_back::{ReadBack, Unread};
use super::{Finding, Range, Verification};

/// One object, and the versions that it should hold: as a log file grows, its object is replaced by one that begins with it.
pub(super) struct Held<'a> {
    pub(super) key: &'a str,
    pub(super) versions: Vec<(&'a Row, Shipped<'a>)>,
}

/// What is known of the bytes that were shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shipped<'a> {
    /// What was read then.
    Content(&'a Content),
    /// The first digits of their SHA-256 are in the key: it is a further twin.
    InKey,
    /// Their number only: the version was found stored.
    Size,
}

/// How well a version is known to be as it was shipped, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// By its SHA-256.
    Hashed,
    /// It can be read, and is long enough.
    Sized,
    /// Not at all.
    None,
}

/// The objects that hold the versions of a time range. Versions of which nothing is archived are counted, and rows that
/// contradict themselves are failures.
pub(super) fn objects<'a>(rows: &'a [Row], range: Range, all: &mut Verification) -> Vec<Held<'a>> {
    let mut objects: BTreeMap<&str, Vec<(&Row, Shipped<'_>)>> = BTreeMap::new();
    for row in rows {
        let version = row.message.file.version;
        match row.state {
            _ if !range.has(version.last_written) => {}
            State::Queued | State::Leased | State::Quarantined => all.unfinished += 1,
            State::Gone if row.dismissed_at.is_some() => all.dismissed += 1,
            State::Gone => all.gone += 1,
            State::Complete if version.size == 0 => all.empty += 1,
            State::Complete => {
                if let Some(why) = contradiction(row) {
                    let (instance, file) = (&row.message.instance, &row.message.file);
                    all.failures
                        .push(format!("{}: {} {why}", instance.name, file.name));
                    continue;
                }
                for (nth, key) in row.keys.iter().enumerate() {
                    let shipped = match &row.content {
                        _ if nth > 0 => Shipped::InKey,
                        Some(content) => Shipped::Content(content),
                        None => Shipped::Size,
                    };
                    objects.entry(key).or_default().push((row, shipped));
                }
            }
        }
    }
    let objects = objects.into_iter();
    objects
        .map(|(key, versions)| Held { key, versions })
        .collect()
}

fn contradiction(row: &Row) -> Option<&'static str> {
    if row.keys.is_empty() {
        return Some("is recorded as complete, and not where");
    }
    // Whoever ships has read all of it.
    let shipped = row.reason.as_deref() == Some("shipped");
    (shipped && row.content.is_none()).then_some("is recorded as shipped, and not what of it")
}

/// Where objects may end, by key.
pub(super) struct Ends(HashMap<String, BTreeSet<u64>>);

impl Ends {
    /// After any version that a row says it holds; and after one that a worker may have stored, and not recorded yet.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a Row>, prefix: &str) -> Self {
        let mut ends: HashMap<String, BTreeSet<u64>> = HashMap::new();
        for row in rows {
            let (instance, file) = (&row.message.instance, &row.message.file);
            let on_its_way = EXTENSIONS.iter().filter(|_| !row.state.finished());
            // A name that gives no key has none.
            let keys = on_its_way
                .filter_map(|end| file.object_key(prefix, instance, KeyForm::Plain, end).ok());
            for key in keys.chain(row.keys.iter().cloned()) {
                ends.entry(key).or_default().insert(file.version.size);
            }
        }
        Self(ends)
    }
}

impl Held<'_> {
    pub(super) fn sizes(&self) -> Vec<u64> {
        let versions = self.versions.iter();
        versions
            .map(|(row, _)| row.message.file.version.size)
            .collect()
    }

    /// Whether it ends where no version does.
    pub(super) fn goes_on(&self, read: &ReadBack, ends: &Ends) -> bool {
        let ends = ends.0.get(self.key);
        !ends.is_some_and(|ends| ends.contains(&read.raw_bytes))
    }

    /// How far a version of the object can be trusted; `Err`: it is not what was shipped.
    pub(super) fn judge(
        &self,
        (row, shipped): (&Row, Shipped<'_>),
        read: &Result<ReadBack, Unread>,
        ends: &Ends,
    ) -> Result<Trust, Finding> {
        let size = row.message.file.version.size;
        let read = match read {
            Ok(read) => read,
            Err(Unread::Missing) => return Err(Finding::Missing),
            Err(Unread::Damaged) => return Err(Finding::Damaged),
            Err(Unread::Failed(_)) => return Ok(Trust::None),
        };
        let found = read.contents.get(&size).ok_or(Finding::Short)?;
        let trust = match shipped {
            Shipped::Content(content) if content == found => Trust::Hashed,
            Shipped::InKey if self.key.contains(&digits(found)) => Trust::Hashed,
            Shipped::Content(_) | Shipped::InKey => return Err(Finding::Different),
            Shipped::Size => Trust::Sized,
        };
        let newest = self.sizes().into_iter().max();
        if newest == Some(size) && self.goes_on(read, ends) {
            return Err(Finding::Long);
        }
        Ok(trust)
    }
}

/// As they stand in the key of a twin.
fn digits(content: &Content) -> String {
    format!("-{}.", content.sha256.get(..10).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use shared::instance::Instance;
    use shared::log_file::{LogFile, Version};
    use shared::message::Message;

    use super::*;

    const AURORA: &str = "audit/audit.log.0.2024-10-01-12-00.0";

    fn content(sha256: &str, raw_bytes: u64) -> Content {
        Content {
            sha256: sha256.to_owned(),
            raw_bytes,
            lines: 1,
        }
    }

    /// Written in that second, of so many bytes.
    fn row(name: &str, second: i64, size: i64, state: State) -> Row {
        Row {
            message: Message {
                instance: Instance {
                    resource_id: "db-A".to_owned(),
                    name: "a".to_owned(),
                    cluster: "c".to_owned(),
                    account: String::new(),
                    region: String::new(),
                },
                file: LogFile {
                    name: name.to_owned(),
                    version: Version::new(second * 1000, size).unwrap(),
                    twins: 1,
                },
            },
            state,
            generation: 1,
            attempts: 1,
            owner: None,
            lease_until: None,
            queued_at: None,
            resend_after: None,
            requeues: 0,
            quarantined_at: None,
            finished_at: None,
            dismissed_at: None,
            reason: None,
            error: None,
            keys: Vec::new(),
            content: None,
        }
    }

    fn complete(name: &str, second: i64, size: i64, keys: &[&str]) -> Row {
        Row {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..row(name, second, size, State::Complete)
        }
    }

    const ALL: Range = Range {
        since: Timestamp::UNIX_EPOCH,
        until: None,
    };

    #[test]
    fn every_version_is_counted_or_read() {
        let dismissed = Row {
            dismissed_at: Some(Timestamp::UNIX_EPOCH),
            ..row(AURORA, 5, 1, State::Gone)
        };
        let shipped = Row {
            reason: Some("shipped".to_owned()),
            ..complete("audit/without-hash", 7, 1, &["k"])
        };
        let rows = [
            row(AURORA, 1, 1, State::Queued),
            row(AURORA, 2, 1, State::Leased),
            row(AURORA, 3, 1, State::Quarantined),
            row(AURORA, 4, 1, State::Gone),
            dismissed,
            // Once as it always is, and once as reconcile proves one that has grown since.
            complete("audit/empty", 6, 0, &[]),
            complete("audit/empty", 6, 0, &["k"]),
            shipped,
            complete("audit/nowhere", 8, 1, &[]),
            complete("audit/stored", 9, 1, &["k", "l"]),
        ];
        let mut all = Verification::default();
        let objects = objects(&rows, ALL, &mut all);
        let keys: Vec<&str> = objects.iter().map(|object| object.key).collect();
        assert_eq!(keys, ["k", "l"]);
        assert_eq!(objects[0].versions, [(&rows[9], Shipped::Size)]);
        assert_eq!(objects[1].versions, [(&rows[9], Shipped::InKey)]);
        let expected = Verification {
            unfinished: 3,
            gone: 1,
            dismissed: 1,
            empty: 2,
            failures: vec![
                "a: audit/without-hash is recorded as shipped, and not what of it".to_owned(),
                "a: audit/nowhere is recorded as complete, and not where".to_owned(),
            ],
            ..Verification::default()
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn only_times_that_are_meant_count_their_ends_included() {
        let range = Range {
            since: Timestamp::from_second(2).unwrap(),
            until: Some(Timestamp::from_second(3).unwrap()),
        };
        let rows: Vec<Row> = (1..5).map(|at| row(AURORA, at, 1, State::Queued)).collect();
        let mut all = Verification::default();
        objects(&rows, range, &mut all);
        assert_eq!(all.unfinished, 2);
    }

    #[test]
    fn an_object_ends_where_one_of_its_own_versions_does() {
        let plain = "c/audit/2024/10/01/12/a/audit.log.0.2024-10-01-12-00.0";
        let (gzip, zstd) = (format!("{plain}.gz"), format!("{plain}.zst"));
        let rows = [
            complete(AURORA, 1, 10, &[&gzip]),
            complete(AURORA, 2, 20, &[&gzip]),
            // With another codec, under a key of its own, and lost: no ends of the first object.
            complete(AURORA, 3, 30, &[&zstd]),
            complete(AURORA, 4, 15, &["versioned.gz"]),
            row(AURORA, 5, 50, State::Gone),
            // Perhaps stored, and not recorded.
            row(AURORA, 6, 60, State::Leased),
            row("audit/other", 7, 70, State::Leased),
        ];
        let ends = Ends::of(&rows, "");
        let of = |key: &str| ends.0[key].iter().copied().collect::<Vec<u64>>();
        assert_eq!(of(&gzip), [10, 20, 60]);
        assert_eq!(of(&zstd), [30, 60]);
        assert_eq!(of("versioned.gz"), [15]);
    }

    #[test]
    fn an_object_is_judged_by_what_was_shipped() {
        let key = "k-aaaaaaaaaa.gz";
        let (a, b) = (content("aaaaaaaaaaaa", 10), content("bbbbbbbbbbbb", 10));
        let versions = [
            complete(AURORA, 1, 10, &[key]),
            complete(AURORA, 2, 20, &[key]),
        ];
        let ends = Ends::of(&versions, "");
        let held = Held {
            key,
            versions: versions.iter().map(|row| (row, Shipped::Size)).collect(),
        };
        let read = |raw_bytes, found: &Content| {
            Ok(ReadBack {
                stored_bytes: 1,
                raw_bytes,
                contents: [(10, found.clone()), (20, found.clone())]
                    .into_iter()
                    .filter(|(size, _)| *size <= raw_bytes)
                    .collect(),
            })
        };
        let [one, two] = &versions;
        for (row, shipped, read, expected) in [
            (one, Shipped::Content(&a), read(20, &a), Ok(Trust::Hashed)),
            (one, Shipped::InKey, read(20, &a), Ok(Trust::Hashed)),
            (one, Shipped::Size, read(20, &b), Ok(Trust::Sized)),
            (
                one,
                Shipped::Content(&a),
                read(20, &b),
                Err(Finding::Different),
            ),
            (one, Shipped::InKey, read(20, &b), Err(Finding::Different)),
            (one, Shipped::Size, read(9, &a), Err(Finding::Short)),
            (two, Shipped::Content(&a), read(10, &a), Err(Finding::Short)),
            (two, Shipped::Content(&a), read(20, &a), Ok(Trust::Hashed)),
            // Said once, of the newest.
            (one, Shipped::Content(&a), read(21, &a), Ok(Trust::Hashed)),
            (two, Shipped::Content(&a), read(21, &a), Err(Finding::Long)),
            (
                two,
                Shipped::Content(&a),
                read(21, &b),
                Err(Finding::Different),
            ),
            (
                one,
                Shipped::Size,
                Err(Unread::Missing),
                Err(Finding::Missing),
            ),
            (
                one,
                Shipped::Size,
                Err(Unread::Damaged),
                Err(Finding::Damaged),
            ),
        ] {
            assert_eq!(
                held.judge((row, shipped), &read, &ends),
                expected,
                "{read:?}"
            );
        }
    }
}
