//! What is queued, leased, complete, quarantined, gone; and whether somebody has to do something.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use shared::aws::CallError;
use shared::checkpoint::{Checkpoints, Entry, Presence, State};
use shared::log_file::Version;
use shared::queue::{Depth, Queue};

use crate::plan::overdue;
use crate::requeue::REQUEUES;

/// An unfinished version of this age is in danger: RDS keeps log files for about a day.
const OLD: Duration = Duration::from_hours(12);

/// Everything that a glance should show.
#[derive(Debug, Serialize)]
pub struct Status {
    /// By cluster and name.
    pub instances: Vec<InstanceStatus>,
    /// The work queue.
    pub queue: Depth,
    /// The dead-letter queue.
    pub dead_letter_queue: Depth,
    /// What needs a person; empty if nothing does.
    pub attention: Vec<String>,
}

/// Where one instance stands.
#[derive(Debug, Default, Serialize)]
pub struct InstanceStatus {
    /// Its cluster's name, or its own.
    pub cluster: String,
    /// Its name.
    pub instance: String,
    /// Its identity.
    pub resource_id: String,
    /// By family: every listed version up to this time is complete or gone.
    pub watermarks: BTreeMap<&'static str, Option<String>>,
    /// When it was last listed without a fault; `None` if never.
    pub last_enumerated_at: Option<String>,
    /// The version that has waited longest.
    pub oldest_unfinished: Option<Unfinished>,
    /// How many versions are in each state.
    pub states: BTreeMap<State, u64>,
    /// How many of those that are Gone an operator has dismissed.
    pub dismissed: u64,
    /// How many of those that are Quarantined were put back as often as they are without `--force`.
    pub put_back_too_often: u64,
    /// Whether RDS still has it, by the producer's last run; `None` before the first.
    pub presence: Option<Presence>,
    #[serde(skip)]
    seen: Seen,
}

/// What the judgement needs beside what is shown.
#[derive(Debug, Default)]
struct Seen {
    enumerated: Option<(Timestamp, u64)>,
    oldest: Option<Version>,
}

/// A version that is neither complete nor gone.
#[derive(Debug, Serialize)]
pub struct Unfinished {
    /// The log file's name.
    pub file: String,
    /// When it was last written to.
    pub last_written: String,
    /// Seconds since then.
    pub age_seconds: u64,
    /// Where it stands.
    pub state: State,
}

/// Reads the whole table and both queues.
pub async fn status(
    checkpoints: &Checkpoints,
    queue: &Queue,
    dead_letters: &Queue,
) -> Result<Status, CallError> {
    let now = Timestamp::now();
    let mut instances = BTreeMap::new();
    let mut attention = Vec::new();
    checkpoints
        .each(|entry| match entry {
            Ok(entry) => add(&mut instances, entry, now),
            Err(malformed) => attention.push(format!("the table was tampered with: {malformed}")),
        })
        .await?;
    let (queue, dead_letter_queue) = (queue.depth().await?, dead_letters.depth().await?);
    let mut instances: Vec<InstanceStatus> = instances.into_values().collect();
    instances.sort_by(|a, b| (&a.cluster, &a.instance).cmp(&(&b.cluster, &b.instance)));
    attention.extend(needs_a_person(&instances, dead_letter_queue, now));
    Ok(Status {
        instances,
        queue,
        dead_letter_queue,
        attention,
    })
}

fn add(instances: &mut BTreeMap<String, InstanceStatus>, entry: Entry, now: Timestamp) {
    match entry {
        Entry::Mark(mark) => {
            let status = instances.entry(mark.resource_id.clone()).or_default();
            status.watermarks.insert(
                mark.family.as_str(),
                mark.watermark.map(|watermark| watermark.to_string()),
            );
            let enumerated = Some((mark.last_enumerated_at, mark.listed));
            if enumerated > status.seen.enumerated {
                status.seen.enumerated = enumerated;
                status.last_enumerated_at = Some(mark.last_enumerated_at.to_string());
                (status.cluster, status.instance) = (mark.cluster, mark.instance);
            }
            status.resource_id = mark.resource_id;
        }
        Entry::Instance(instance) => {
            let status = instances.entry(instance.resource_id.clone()).or_default();
            status.presence = Some(instance.presence);
            if status.seen.enumerated.is_none() {
                (status.cluster, status.instance) = (instance.cluster, instance.name);
                status.resource_id = instance.resource_id;
            }
        }
        Entry::Row(row) => {
            let (instance, file) = (row.message.instance, row.message.file);
            let status = instances.entry(instance.resource_id.clone()).or_default();
            *status.states.entry(row.state).or_default() += 1;
            status.dismissed += u64::from(row.state == State::Gone && row.dismissed_at.is_some());
            status.put_back_too_often +=
                u64::from(row.state == State::Quarantined && row.requeues >= REQUEUES);
            if status.seen.enumerated.is_none() {
                (status.cluster, status.instance) = (instance.cluster, instance.name);
                status.resource_id = instance.resource_id;
            }
            if !row.state.finished()
                && status
                    .seen
                    .oldest
                    .is_none_or(|oldest| file.version < oldest)
            {
                status.seen.oldest = Some(file.version);
                let last_written = file.version.last_written;
                let age = Duration::try_from(now.duration_since(last_written)).unwrap_or_default();
                status.oldest_unfinished = Some(Unfinished {
                    file: file.name,
                    last_written: last_written.to_string(),
                    age_seconds: age.as_secs(),
                    state: row.state,
                });
            }
        }
    }
}

fn needs_a_person(
    instances: &[InstanceStatus],
    dead_letters: Depth,
    now: Timestamp,
) -> Vec<String> {
    let mut attention = Vec::new();
    if dead_letters.total() > 0 {
        attention.push(format!(
            "{} dead letters: mend what their reasons say, then auditferry requeue",
            dead_letters.total()
        ));
    }
    if instances.is_empty() {
        attention
            .push("the table knows no instance: has auditferry enumerate ever run?".to_owned());
    }
    for status in instances {
        let name = &status.instance;
        let count = |state| status.states.get(&state).copied().unwrap_or_default();
        let lost = count(State::Gone) - status.dismissed;
        if lost > 0 {
            attention.push(format!(
                "{name}: {lost} log file versions are gone: RDS deleted them before they were archived; \
                 auditferry reconcile asks again, auditferry dismiss takes note"
            ));
        }
        if count(State::Quarantined) > 0 {
            let too_often = match status.put_back_too_often {
                0 => String::new(),
                some => format!(", {some} of them after {REQUEUES} requeues"),
            };
            attention.push(format!(
                "{name}: {} log file versions are quarantined{too_often}",
                count(State::Quarantined)
            ));
        }
        // The producer looks at no instance that is gone.
        match status.presence {
            Some(Presence::Vanished | Presence::Closed) => {
                let unfinished: u64 = [State::Queued, State::Leased, State::Quarantined]
                    .into_iter()
                    .map(count)
                    .sum();
                if unfinished > 0 {
                    attention.push(format!(
                        "{name} ({}): gone from RDS with {unfinished} unfinished versions: auditferry dismiss takes note",
                        status.resource_id
                    ));
                }
                continue;
            }
            Some(Presence::There) | None => {}
        }
        match status.seen.enumerated {
            None => attention.push(format!("{name}: never enumerated without a fault")),
            Some((at, _)) if overdue(at, now) => {
                attention.push(format!("{name}: possible gap: not enumerated since {at}; RDS keeps log files for about a day"));
            }
            Some((_, 0)) => attention.push(format!(
                "{name}: auditing appears off: RDS lists no audit log file"
            )),
            Some(_) => {}
        }
        if let Some(unfinished) = status
            .oldest_unfinished
            .as_ref()
            .filter(|unfinished| unfinished.age_seconds >= OLD.as_secs())
        {
            let hours = unfinished.age_seconds / 3600;
            attention.push(format!(
                "{name}: {} is unfinished {hours} h after it was written, and may be deleted soon",
                unfinished.file
            ));
        }
    }
    attention
}

#[cfg(test)]
mod tests {
    use shared::checkpoint::{Mark, Registered, Row};
    use shared::instance::Instance;
    use shared::log_file::{Family, LogFile};
    use shared::message::Message;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_727_784_000 + hours * 3600).unwrap()
    }

    fn mark(hours: i64, listed: u64) -> Entry {
        Entry::Mark(Mark {
            resource_id: "db-A".to_owned(),
            instance: "a".to_owned(),
            cluster: "c".to_owned(),
            family: Family::Aurora,
            watermark: None,
            last_processed_at: None,
            last_enumerated_at: at(hours),
            listed,
        })
    }

    fn instance(presence: Presence) -> Entry {
        Entry::Instance(Registered {
            resource_id: "db-A".to_owned(),
            name: "a".to_owned(),
            cluster: "c".to_owned(),
            presence,
        })
    }

    fn row(state: State, hours: i64) -> Entry {
        let instance = Instance {
            resource_id: "db-A".to_owned(),
            name: "a".to_owned(),
            cluster: "c".to_owned(),
            account: String::new(),
            region: String::new(),
        };
        let version = Version {
            last_written: at(hours),
            size: 1,
        };
        let file = LogFile {
            name: format!("audit/{hours}"),
            version,
            twins: 1,
        };
        Entry::Row(Row {
            message: Message { instance, file },
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
        })
    }

    #[test]
    fn what_needs_a_person_is_said() {
        use State::{Complete, Gone, Leased, Quarantined, Queued};
        for (entries, dead_letters, expected) in [
            (
                vec![
                    mark(23, 4),
                    row(Complete, 1),
                    row(Queued, 20),
                    row(Leased, 21),
                ],
                0,
                &[][..],
            ),
            (vec![], 0, &["the table knows no instance"][..]),
            (vec![mark(23, 4)], 2, &["2 dead letters"]),
            (
                vec![mark(23, 4), row(Gone, 1)],
                0,
                &["a: 1 log file versions are gone"],
            ),
            (
                vec![mark(23, 4), row(Quarantined, 20)],
                0,
                &["a: 1 log file versions are quarantined"],
            ),
            (
                vec![
                    instance(Presence::Vanished),
                    row(Queued, 1),
                    row(Complete, 1),
                ],
                0,
                &["a (db-A): gone from RDS with 1 unfinished versions"],
            ),
            (
                vec![instance(Presence::Closed), mark(1, 4), row(Complete, 1)],
                0,
                &[],
            ),
            (
                vec![instance(Presence::Closed), mark(1, 4), row(Leased, 1)],
                0,
                &["a (db-A): gone from RDS with 1 unfinished versions"],
            ),
            (vec![instance(Presence::There), mark(23, 4)], 0, &[]),
            (vec![mark(23, 0)], 0, &["a: auditing appears off"]),
            (
                vec![mark(12, 4)],
                0,
                &["a: possible gap: not enumerated since 2024-10-02T00:00:00Z"],
            ),
            (vec![row(Queued, 20)], 0, &["a: never enumerated"]),
            (
                vec![mark(23, 4), row(Leased, 13), row(Queued, 12)],
                0,
                &["a: audit/12 is unfinished 12 h"],
            ),
        ] {
            let mut instances = BTreeMap::new();
            for entry in entries {
                add(&mut instances, entry, at(24));
            }
            let instances: Vec<_> = instances.into_values().collect();
            let depth = Depth {
                visible: dead_letters,
                ..Depth::default()
            };
            let attention = needs_a_person(&instances, depth, at(24));
            assert_eq!(attention.len(), expected.len(), "{attention:?}");
            for (said, expected) in attention.iter().zip(expected) {
                assert!(said.starts_with(expected), "{said}");
            }
        }
    }
}
