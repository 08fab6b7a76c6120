//! The rows of the model, as items of DynamoDB: every write is production's own, and so is what is read from its answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use shared::checkpoint::transition::{self, Transition};
use shared::checkpoint::{Claim, Claimed, Item, Mark, Proof, Row as RealRow, State};
use shared::instance::Instance;
use shared::log_file::{Family, LogFile, Version};
use shared::message::Message;
use tokio::time::Instant;

use super::variants::Variant;
use crate::dynamodb;
use crate::world::{MINUTE, NOON};

const LEASE: Duration = Duration::from_mins(2);

/// What tells one row from another. Times are not part of it: the model's clocks say anything, at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Row {
    /// Where the version stands.
    pub(super) state: State,
    /// The fencing number.
    pub(super) generation: u8,
    /// Claims that count.
    pub(super) attempts: u8,
    /// Whose claim; 0 if nobody's.
    pub(super) owner: u8,
}

/// What a worker remembers of its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Held {
    /// Which try it is.
    pub(super) attempts: u8,
    /// The fencing number.
    pub(super) generation: u8,
    /// Another one for each claim.
    pub(super) owner: u8,
}

/// A conditional write to the row of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Write {
    /// Producer: sent.
    Queued,
    /// Worker: claim, by a clock after which a lease has ended, or has not.
    Claim { held: Held, late: bool },
    /// Worker: give back.
    Release { held: Held, counted: bool },
    /// Worker: a person is needed.
    Quarantine(Held),
    /// Worker: RDS lost it. `in_vain`: the archive had something as new already when it was claimed.
    Gone { held: Held, in_vain: bool },
    /// Worker: S3 has proved it.
    Complete,
    /// Operator: put back.
    Requeue,
}

/// What a claim has come to, for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ours(Held),
    Settled,
    Theirs,
}

/// A write to a row.
type Asked = (Variant, Option<Row>, Write);
/// The row after it, and whether the condition held.
type Written = (Option<Row>, bool);

thread_local! {
    static WRITES: RefCell<HashMap<Asked, Written>> = RefCell::default();
    static VERDICTS: RefCell<HashMap<(Row, u8), Verdict>> = RefCell::default();
    static MARKS: RefCell<HashMap<(Variant, u8, u8), u8>> = RefCell::default();
}

/// Makes a write; the row afterwards, and whether the condition held.
pub(super) fn write(variant: Variant, row: Option<Row>, write: Write) -> Written {
    let known = WRITES.with_borrow(|known| known.get(&(variant, row, write)).copied());
    known.unwrap_or_else(|| {
        let transition = variant.transition(transition_of(write));
        let item = row.map(item);
        let written = dynamodb::write("I#db-1", "F#1", item.as_ref(), &transition);
        let after = match written.expect("production's expressions are understood") {
            Some(item) => (Some(read(&item)), true),
            None => (row, false),
        };
        WRITES.with_borrow_mut(|known| known.insert((variant, row, write), after));
        after
    })
}

/// Decides as production does, from the row that a claim has left or was refused by.
pub(super) fn claimed(owner: u8, row: Row) -> Verdict {
    let known = VERDICTS.with_borrow(|known| known.get(&(row, owner)).copied());
    known.unwrap_or_else(|| {
        let row_read = RealRow::read(&item(row)).expect("rows are well-formed");
        let owner_name = owner.to_string();
        let verdict = match Claimed::by(&owner_name, &row_read, &message(1), now(), Instant::now())
        {
            Claimed::Ours(claim) => Verdict::Ours(Held {
                attempts: small(claim.attempts),
                generation: small(claim.generation),
                owner,
            }),
            Claimed::Finished(_) | Claimed::Quarantined => Verdict::Settled,
            Claimed::Theirs(_) => Verdict::Theirs,
        };
        VERDICTS.with_borrow_mut(|known| known.insert((row, owner), verdict));
        verdict
    })
}

/// Moves the watermark from one version to another; where it is afterwards.
pub(super) fn mark(variant: Variant, from: u8, to: u8) -> u8 {
    let known = MARKS.with_borrow(|known| known.get(&(variant, from, to)).copied());
    known.unwrap_or_else(|| {
        let enumerated =
            |version| transition::enumerated(&watermark(version), last_written(version));
        let key = ("I#db-1", "M#aurora");
        let write = |item: Option<&Item>, transition: &Transition| {
            let written = dynamodb::write(key.0, key.1, item, transition);
            written.expect("production's expressions are understood")
        };
        let before = write(None, &enumerated(from)).expect("there is none yet");
        let after = write(Some(&before), &variant.transition(enumerated(to))).unwrap_or(before);
        let reached = after.get("watermark").and_then(|at| at.as_n().ok());
        let after = (1..=u8::MAX)
            .find(|version| {
                last_written(*version)
                    .map(|at| at.as_millisecond().to_string())
                    .as_ref()
                    == reached
            })
            .unwrap_or_default();
        MARKS.with_borrow_mut(|known| known.insert((variant, from, to), after));
        after
    })
}

/// A version's row as production reads it.
pub(super) fn real(version: u8, row: Row) -> RealRow {
    let mut real = RealRow::read(&item(row)).expect("rows are well-formed");
    real.message = message(version);
    real
}

/// The watermark as production has it.
pub(super) fn watermark(version: u8) -> Mark {
    Mark {
        resource_id: "db-1".to_owned(),
        instance: "instance-1".to_owned(),
        cluster: "cluster".to_owned(),
        family: Family::Aurora,
        watermark: last_written(version),
        last_processed_at: None,
        last_enumerated_at: now(),
        listed: 1,
    }
}

/// One version of the one log file: each is a minute younger and a kilobyte longer than the one before.
pub(super) fn message(version: u8) -> Message {
    let name = || "instance-1".to_owned();
    Message {
        instance: Instance {
            resource_id: "db-1".to_owned(),
            name: name(),
            cluster: "cluster".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
        },
        file: LogFile {
            name: "audit/audit.log.0.2024-10-01-12-00.0".to_owned(),
            version: self::version(version),
            twins: 1,
        },
    }
}

/// Lends the instance.
pub(super) fn with_instance<T>(see: impl FnOnce(&Instance) -> T) -> T {
    thread_local! { static INSTANCE: Instance = message(1).instance; }
    INSTANCE.with(see)
}

/// What a listing says of a version.
pub(super) fn version(version: u8) -> Version {
    let at = NOON + i64::from(version) * MINUTE;
    Version::new(at, i64::from(version) * 1000).expect("a time and a size")
}

/// A time at which no lease has ended, and nothing is stale.
pub(super) fn now() -> Timestamp {
    Timestamp::from_millisecond(NOON).expect("a time of day")
}

fn last_written(version: u8) -> Option<Timestamp> {
    (version > 0).then(|| self::version(version).last_written)
}

fn transition_of(write: Write) -> Transition {
    let (message, now, why) = (message(1), now(), "why");
    let claim = |held: Held| Claim {
        message: message.clone(),
        generation: held.generation.into(),
        attempts: held.attempts.into(),
        deadline: Instant::now(),
        owner: held.owner.to_string(),
    };
    match write {
        Write::Queued => transition::queued(&message, now),
        Write::Claim { held, late } => {
            let now = if late { now + 2 * LEASE } else { now };
            transition::claimed(&message, &held.owner.to_string(), now, LEASE)
        }
        Write::Release { held, counted } => transition::released(&claim(held), now, why, counted),
        Write::Quarantine(held) => transition::quarantined(&claim(held), now, why),
        Write::Gone { held, .. } => transition::gone(&claim(held), now, why),
        Write::Complete => {
            let proof = Proof {
                reason: "shipped",
                keys: vec!["key".to_owned()],
                etag: None,
                content: None,
                stored_bytes: None,
            };
            transition::complete(&message, 0, 0, &proof, now)
        }
        Write::Requeue => transition::requeued(now, u32::MAX),
    }
}

/// The item that a row stands for.
fn item(row: Row) -> Item {
    let queued = transition::queued(&message(1), now());
    let written = dynamodb::write("I#db-1", "F#1", None, &queued);
    let mut item = written
        .expect("production's expressions are understood")
        .expect("there is none yet");
    let number = |value: u8| AttributeValue::N(value.to_string());
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("state", AttributeValue::S(row.state.as_str().to_owned()));
    set("generation", number(row.generation));
    set("attempts", number(row.attempts));
    if row.owner > 0 {
        set("owner", AttributeValue::S(row.owner.to_string()));
        let until = (now() + LEASE).as_millisecond();
        set("lease_until", AttributeValue::N(until.to_string()));
    }
    item
}

/// The row that an item is.
fn read(item: &Item) -> Row {
    let row = RealRow::read(item).expect("production writes well-formed rows");
    let owner = row.owner.and_then(|owner| owner.parse().ok());
    Row {
        state: row.state,
        generation: small(row.generation),
        attempts: small(row.attempts),
        owner: owner.unwrap_or_default(),
    }
}

fn small<N>(number: N) -> u8
where
    u8: TryFrom<N>,
{
    u8::try_from(number).unwrap_or(u8::MAX)
}
