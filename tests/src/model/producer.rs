//! The producer (list, plan, send, record, move the watermark) and the operator's requeue (reset, send, delete the letter).

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use producer::plan::{Timing, plan};
use shared::checkpoint::{Known, State};
use shared::listing::Listing;
use shared::log_file::Family;

use super::table::{self, Row, Write};
use super::variants::Variant;
use super::{Answer, Protocol, Request, System, VERSIONS, With};

/// A run of the producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Producer {
    /// What it does next; once nothing is left of all these, it is idle.
    pub(super) records_next: bool,
    /// Versions still to be sent, one bit each.
    pub(super) send: u8,
    /// Versions still to be recorded as Queued.
    pub(super) record: u8,
    /// Where the watermark goes then; 0: nowhere.
    pub(super) mark: u8,
}

/// What RDS says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listed {
    /// The log file, in its latest version.
    Latest,
    /// Others only: this one is gone.
    Others,
    /// Nothing, which need not be true.
    Nothing,
}

/// What a plan comes to: versions to send (new, again) as bits, and where the watermark goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Planned {
    pub(super) new: u8,
    pub(super) again: u8,
    pub(super) mark: u8,
}

type Inputs = (Variant, bool, [Option<Row>; VERSIONS], u8, u8, Listed);

thread_local! {
    static PLANS: RefCell<HashMap<Inputs, Planned>> = RefCell::default();
}

/// Plans as production does, at a time when everything is due and stale: what is not sent then, SQS may have refused.
pub(super) fn planned(protocol: &Protocol, system: &System, listed: Listed) -> Planned {
    let (rows, watermark, latest) = (system.rows, system.watermark, system.latest);
    let inputs = (
        protocol.variant,
        !protocol.bounds.with(With::NoResend),
        rows,
        watermark,
        latest,
        listed,
    );
    let known = PLANS.with_borrow(|known| known.get(&inputs).copied());
    known.unwrap_or_else(|| {
        let planned = plan_afresh(inputs);
        PLANS.with_borrow_mut(|known| known.insert(inputs, planned));
        planned
    })
}

fn plan_afresh((variant, resends, rows, watermark, latest, listed): Inputs) -> Planned {
    let versions = || (1..).zip(rows);
    let passes = |mut row: Row| {
        if variant == Variant::QuarantinedPassed && row.state == State::Quarantined {
            row.state = State::Complete;
        }
        row
    };
    // With no overlap, the rows that production promises to know are those from the watermark on.
    let known = Known {
        marks: vec![table::watermark(watermark)],
        rows: versions()
            .filter(|(version, _)| *version >= watermark)
            .filter(|(version, _)| variant != Variant::ListingAlone || *version == latest)
            .filter_map(|(version, row)| Some(table::real(version, passes(row?))))
            .collect(),
        malformed: Vec::new(),
    };
    let listing = Listing {
        files: match listed {
            Listed::Latest => vec![table::message(latest).file],
            Listed::Others | Listed::Nothing => Vec::new(),
        },
        unreadable: Vec::new(),
        empty_page: listed == Listed::Nothing,
    };
    let timing = Timing {
        settle: Duration::from_hours(1),
        overlap: Duration::ZERO,
        resend_after: Duration::from_mins(30),
    };
    let plan = plan(
        "instance-1",
        &listing,
        &known,
        table::now() + Duration::from_hours(48),
        timing,
    );
    let sent_again = |version: u8, row: Option<Row>| {
        let state = row.map(|row| row.state);
        let dropped = match variant {
            Variant::QueuedNotResent => state == Some(State::Queued),
            Variant::LeasedNotResent => state == Some(State::Leased),
            _ => !resends,
        };
        let file = table::message(version).file;
        !dropped && plan.resend.iter().any(|again| again.file == file)
    };
    let bits = |chosen: &dyn Fn(u8, Option<Row>) -> bool| {
        let chosen = versions().filter(|(version, row)| chosen(*version, *row));
        chosen.fold(0, |bits, (version, _)| bits | 1 << version)
    };
    let mark = plan.watermarks.get(&Family::Aurora);
    Planned {
        new: bits(&|version, _| plan.send.contains(&table::message(version).file)),
        again: bits(&sent_again),
        mark: (1..=latest)
            .find(|version| mark == Some(&table::message(*version).file.version.last_written))
            .unwrap_or_default(),
    }
}

impl Producer {
    /// A run that has just planned.
    pub(super) fn start(planned: Planned, variant: Variant) -> Self {
        Self {
            records_next: variant == Variant::RecordedFirst,
            send: planned.new | planned.again,
            record: planned.new,
            mark: planned.mark,
        }
    }

    /// Sends all, then records all, then moves the watermark.
    pub(super) fn request(self) -> Option<Request> {
        let first = |bits: u8| u8::try_from(bits.trailing_zeros()).unwrap_or_default();
        let send = (self.send > 0).then(|| Request::Send(first(self.send)));
        let record = (self.record > 0).then(|| Request::Write(first(self.record), Write::Queued));
        let mark = (self.mark > 0).then_some(Request::Mark(self.mark));
        let (one, other) = if self.records_next {
            (record, send)
        } else {
            (send, record)
        };
        one.or(other).or(mark)
    }

    /// Goes on after its request was done; or `refused` by SQS, in which case there is nothing to record either.
    pub(super) fn answered(mut self, refused: bool) -> Self {
        match self.request() {
            Some(Request::Send(version)) => {
                self.send &= !(1 << version);
                if refused {
                    self.record &= !(1 << version);
                }
            }
            Some(Request::Write(version, _)) => self.record &= !(1 << version),
            _ => self.mark = 0,
        }
        if self.request().is_none() {
            Self::default()
        } else {
            self
        }
    }
}

/// A run of the operator's requeue, which has taken a dead letter: of which version, and from which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) enum Operator {
    #[default]
    Idle,
    Reset(u8, u8),
    Send(u8, u8),
    DeleteLetter(u8, u8),
}

impl Operator {
    /// What it asks of the world next.
    pub(super) fn request(self) -> Option<Request> {
        match self {
            Self::Idle => None,
            Self::Reset(version, _) => Some(Request::Write(version, Write::Requeue)),
            Self::Send(version, _) => Some(Request::Send(version)),
            Self::DeleteLetter(version, slot) => Some(Request::DeleteDead(version, slot)),
        }
    }

    /// Whether it has that letter.
    pub(super) fn holds(self, version: u8, slot: u8) -> bool {
        let letter = (version, slot);
        match self {
            Self::Idle => false,
            Self::Reset(of, slot) | Self::Send(of, slot) | Self::DeleteLetter(of, slot) => {
                (of, slot) == letter
            }
        }
    }

    /// Whether it has a letter of that version.
    pub(super) fn has(self, version: u8) -> bool {
        self.holds(version, 0) || self.holds(version, 1)
    }

    /// Calls a version's first letter its second, and the other way round.
    pub(super) fn swap(&mut self, version: u8) {
        match self {
            Self::Reset(of, slot) | Self::Send(of, slot) | Self::DeleteLetter(of, slot)
                if *of == version =>
            {
                *slot ^= 1;
            }
            _ => {}
        }
    }

    /// Goes on from an answer.
    pub(super) fn answered(self, variant: Variant, answer: Answer) -> Self {
        let early = variant == Variant::LetterDeletedFirst;
        match (self, answer) {
            (Self::Reset(of, slot), Answer::Row { applied, row }) => match row.state {
                _ if applied && early => Self::DeleteLetter(of, slot),
                State::Complete | State::Gone => Self::DeleteLetter(of, slot),
                // Its worker may be about to quarantine it, and this letter is then the only one.
                State::Leased if variant != Variant::LeasedPutBack => Self::Idle,
                State::Queued | State::Leased | State::Quarantined => Self::Send(of, slot),
            },
            (Self::Reset(of, slot), _) => Self::Send(of, slot),
            (Self::DeleteLetter(of, slot), _) if early => Self::Send(of, slot),
            (Self::Send(of, slot), _) if !early => Self::DeleteLetter(of, slot),
            _ => Self::Idle,
        }
    }
}
