//! The protocol as a state machine, to be checked in every order that its steps can take, with every fault.
//!
//! Every write to the table is production's own ([`shared::checkpoint::transition`]), applied to an item of DynamoDB by an
//! evaluator that a test holds to a real table. So are the decisions: what a claim has come to, how a version stands to
//! the object, what becomes of a failure, what the producer plans. Modelled by hand is what calls them, in the order of
//! `worker/src/ship.rs`, `worker/src/carry.rs`, `Upload::commit`, `producer/src/enqueue.rs` and `producer/src/requeue.rs`.
//!
//! What is modelled: one log file that grows, deleted by RDS or not; its key in S3; its rows and watermark; its messages and
//! dead letters; two workers, a producer and an operator, each of which may die between any two steps. Every answer may
//! be lost, every message delivered twice, and a request may take effect long after its sender gave it up. Clocks say
//! anything: leases end, and rows are stale, at any time. What may happen, may happen any number of times.
//!
//! What is not covered:
//! - anything over more than one log file, instance or key: twins, renamed files, files that shrink, an `OVERLAP` that is
//!   needed since a listing lags behind;
//! - more than two workers, three versions, two messages and two dead letters of a version at a time, one request in
//!   flight whose sender has given it up, one requeue at a time;
//! - bytes: parts of an upload, compression, checksums; an object is its version;
//! - `dismiss`, `reopen` and `registered`, whose expressions only the evaluator's test covers; renewals, which move nothing
//!   but a lease's end, and that comes at any time here; cancellation, since a worker that is stopped is one that died, and
//!   one that goes on though it should have been stopped is one that is slow;
//! - the producer's reads as separate steps: it sees table and listing at one moment, and acts on it at any later one;
//! - how long anything takes: that an end stays in reach is shown, not when it comes.
//!
//! One left-over is taken for an end: a version that was sent and not recorded may be claimed when a later version has
//! moved the watermark past it; if its worker dies then, and SQS loses its message as well, the row stays unfinished. Nothing
//! of the version is missing, since the later one begins with it.
#![expect(
    clippy::indexing_slicing,
    reason = "versions and workers are few, and counted from what is indexed"
)]

use shared::checkpoint::State;
use stateright::{Model, Property};

// The rows, and the writes that production makes to them.
mod table;
// What becomes of a request, and what must never become of it.
mod effects;
// Which states are one.
mod canonical;
// What must be true of every state, and what of some.
mod properties;
// Who acts: each says what it asks for next, and goes on from the answer.
mod producer;
mod worker;
// What the protocol is without one of its rules.
mod variants;
// From every state, is there a way to the end?
mod explore;

pub use self::explore::{Explored, explore};
pub use self::producer::Listed;
use self::producer::{Operator, Producer};
use self::table::{Held, Row, Write};
pub use self::variants::Variant;
pub use self::worker::Saw;
use self::worker::{At, Worker};

/// Versions of the one log file, at most.
const VERSIONS: usize = 3;

/// An object that is not ours: it says no version, and counts as older than any.
const FOREIGN: u8 = 9;

/// What there is in a configuration and what may happen in it, any number of times and in any order.
///
/// Within these bounds a check is exhaustive: states differ only in what the protocol can see, so that there are finitely
/// many.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What it is called.
    pub name: &'static str,
    /// Versions to which the log file grows, three at most.
    pub versions: u8,
    /// One or two.
    pub workers: usize,
    /// Messages of one version that there are at a time: one or two. Each may be received by both workers.
    pub messages: u8,
    /// Tries before quarantine; `None`: there is no quarantine.
    pub max_attempts: Option<u8>,
    /// Who and what else.
    pub with: &'static [With],
    /// What must be reached, or the check says nothing.
    pub reaches: &'static [&'static str],
}

/// A participant or a fault. Lost answers and duplicate deliveries are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// The producer; without it, every version was sent and recorded, and the file has grown already.
    Producer,
    /// The operator, who puts dead letters back.
    Operator,
    /// A process dies.
    Crashes,
    /// A request takes effect after its sender has given it up, or has died; one at a time.
    Zombies,
    /// A lease ends at any time; without it, only when its worker is not at work any more.
    AnyClock,
    /// A download or another call fails.
    Failures,
    /// A worker is told to stop while it works.
    CutOff,
    /// RDS deletes the file.
    Deletion,
    /// RDS says that it has no such file, and lists nothing.
    Lies,
    /// SQS loses a message.
    Losses,
    /// Complete rows expire, when nothing else speaks of their version any more.
    Expiry,
    /// The key may hold an object that is not ours.
    Foreign,
    /// The file kills every worker that reads it.
    Killer,
    /// Not a fault, but a help that is missing: the producer sends nothing again.
    NoResend,
}

impl Bounds {
    fn with(&self, what: With) -> bool {
        self.with.contains(&what)
    }

    /// As production is told.
    fn most(&self) -> u32 {
        self.max_attempts.map_or(u32::MAX, u32::from)
    }

    /// Attempts beyond this are counted as this many: what is decided is the same.
    fn attempts(&self) -> u8 {
        self.max_attempts.map_or(1, |most| most + 1)
    }
}

/// The condition of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum On {
    /// Nothing is there.
    Absent,
    /// This is there: its version stands for its ETag.
    Is(u8),
    /// Whatever is there; only in a broken variant.
    Anything,
}

/// Something that changes the world outside of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Request {
    Write(u8, Write),
    Mark(u8),
    Put { version: u8, on: On },
    Send(u8),
    SendDead(u8),
    Delete(u8, u8),
    DeleteDead(u8, u8),
}

/// What comes of a request; of a write, also the row that it left or was refused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    Refused,
    Row { applied: bool, row: Row },
}

/// The rule of the protocol that a step has broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wrong {
    CommittedTwice,
    CommittedOlder,
    CompleteUndone,
    MessageForgotten,
    LetterForgotten,
    WatermarkPassed,
    WatermarkBack,
    NotGone,
}

/// The messages of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Messages {
    /// Which slots hold a message, one bit each.
    present: u8,
    /// Which of them had a copy in the dead-letter queue since they were sent.
    copied: u8,
}

/// Everything: RDS, S3, the table, the queues, and the programs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct System {
    latest: u8,
    lost: bool,
    /// The version that is under the key; 0 if nothing is.
    object: u8,
    rows: [Option<Row>; VERSIONS],
    watermark: u8,
    queue: [Messages; VERSIONS],
    /// Dead letters of each version, one bit each.
    dead: [u8; VERSIONS],
    workers: [Worker; 2],
    producer: Producer,
    operator: Operator,
    /// A request in flight that its sender has given up.
    astray: Option<Request>,
    wrong: Option<Wrong>,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// One of the workers.
    Worker(usize),
    /// The producer.
    Producer,
    /// The operator's requeue.
    Operator,
}

/// How a request fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It takes effect, and its sender learns what came of it.
    Answered,
    /// It takes effect, and the answer is lost: its sender tries again.
    AnswerLost,
    /// It may take effect later; its sender tries again.
    Delayed,
    /// It may take effect later; its sender is dead.
    Orphaned,
}

/// A step of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The log file has its next version.
    Grows,
    /// RDS deletes the log file.
    RdsDeletes,
    /// A version's finished row expires.
    Expires(u8),
    /// SQS loses a message: of which version, from which slot.
    MessageLost(u8, u8),
    /// The request that was given up takes effect after all.
    Lands,
    /// It never does.
    Vanishes,
    /// A worker receives a message.
    Receives(usize, u8, u8),
    /// A worker sees something of RDS or the archive.
    Sees(usize, Saw),
    /// A process asks for what it needs next; a claim perhaps by a clock at which every lease has ended.
    Asks(Who, Fate, bool),
    /// SQS does not take the producer's message.
    NotTaken,
    /// A process dies.
    Dies(Who),
    /// A worker's grace is over.
    CutOff(usize),
    /// A worker learns that its claim is not its own any more.
    LosesClaim(usize),
    /// The producer lists, reads the table, and plans.
    Enumerates(Listed),
    /// The operator takes a dead letter.
    TakesLetter(u8, u8),
}

/// The protocol, or a broken variant, within bounds.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// Within which it is checked.
    pub bounds: Bounds,
    /// As it is, or broken.
    pub variant: Variant,
}

impl System {
    fn row(&self, version: u8) -> Option<Row> {
        self.rows[index(version)]
    }

    fn finished(&self, version: u8) -> bool {
        self.row(version).is_some_and(|row| row.state.finished())
    }

    /// Whether nothing is left to do.
    fn settled(&self, protocol: &Protocol) -> bool {
        let idle = self.workers == [Worker::default(); 2]
            && self.producer == Producer::default()
            && self.operator == Operator::Idle
            && self.astray.is_none();
        let queued = self.queue.iter().any(|messages| messages.present > 0);
        let row = |version| match self.row(version) {
            // A person must look at a file that kills workers; its letter says so.
            Some(row) if protocol.bounds.with(With::Killer) && row.state == State::Quarantined => {
                self.dead[index(version)] > 0
            }
            // What a finished later version holds can no longer be missed; see the note on left-overs above.
            Some(row) => {
                self.dead[index(version)] == 0
                    && (row.state.finished()
                        || version < self.watermark && self.kept(version, self.watermark))
            }
            None => version < self.latest || self.lost || self.watermark >= version,
        };
        idle && !queued && (1..=self.latest).all(row)
    }

    fn request(&self, who: Who, late: bool) -> Option<Request> {
        match who {
            Who::Worker(which) => self.workers[which].request(late),
            Who::Producer => self.producer.request(),
            Who::Operator => self.operator.request(),
        }
    }

    fn dies(&mut self, who: Who) {
        match who {
            Who::Worker(which) => self.workers[which] = Worker::default(),
            Who::Producer => self.producer = Producer::default(),
            Who::Operator => self.operator = Operator::default(),
        }
    }

    fn answered(&mut self, protocol: &Protocol, who: Who, answer: Answer) {
        match who {
            Who::Worker(which) => {
                self.workers[which] = self.workers[which].answered(protocol, self, answer);
            }
            Who::Producer => self.producer = self.producer.answered(false),
            Who::Operator => self.operator = self.operator.answered(protocol.variant, answer),
        }
    }
}

impl Request {
    fn version(self) -> u8 {
        match self {
            Self::Write(version, _)
            | Self::Mark(version)
            | Self::Put { version, .. }
            | Self::Send(version)
            | Self::SendDead(version)
            | Self::Delete(version, _)
            | Self::DeleteDead(version, _) => version,
        }
    }

    fn held(mut self) -> Option<Held> {
        self.held_mut().copied()
    }

    fn held_mut(&mut self) -> Option<&mut Held> {
        match self {
            Self::Write(
                _,
                Write::Release { held, .. }
                | Write::Quarantine(held)
                | Write::Gone { held, .. }
                | Write::Claim { held, .. },
            ) => Some(held),
            _ => None,
        }
    }
}

impl Model for Protocol {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        let bounds = &self.bounds;
        let mut system = System {
            latest: 1,
            lost: false,
            object: 0,
            rows: [None; VERSIONS],
            watermark: 0,
            queue: [Messages::default(); VERSIONS],
            dead: [0; VERSIONS],
            workers: [Worker::default(); 2],
            producer: Producer::default(),
            operator: Operator::Idle,
            astray: None,
            wrong: None,
        };
        if !bounds.with(With::Producer) {
            // Every version was sent and recorded.
            system.latest = bounds.versions;
            for version in 1..=bounds.versions {
                system.land(self, Request::Send(version));
                system.land(self, Request::Write(version, Write::Queued));
            }
        }
        let with_foreign = System {
            object: FOREIGN,
            ..system.clone()
        };
        if bounds.with(With::Foreign) {
            vec![system, with_foreign]
        } else {
            vec![system]
        }
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        let bounds = &self.bounds;
        if system.wrong.is_some() {
            return;
        }
        if bounds.with(With::Producer) && system.latest < bounds.versions && !system.lost {
            actions.push(Action::Grows);
        }
        if bounds.with(With::Deletion) && !system.lost {
            actions.push(Action::RdsDeletes);
        }
        if system.astray.is_some() {
            actions.extend([Action::Lands, Action::Vanishes]);
        }
        let slots = || {
            (1..=system.latest)
                .flat_map(|version| (0..bounds.messages).map(move |slot| (version, slot)))
        };
        let present =
            |(version, slot): &(u8, u8)| system.queue[index(*version)].present >> slot & 1 == 1;
        for version in (1..=system.latest).filter(|_| bounds.with(With::Expiry)) {
            if Self::expires(system, version) {
                actions.push(Action::Expires(version));
            }
        }
        for (version, slot) in slots().filter(present) {
            if bounds.with(With::Losses) {
                actions.push(Action::MessageLost(version, slot));
            }
        }
        let twins = system.workers[0] == system.workers[1];
        for which in (0..2).filter(|which| *which < bounds.workers && !(twins && *which == 1)) {
            self.worker_actions(system, which, &mut |action| actions.push(action));
            if system.workers[which].at == At::Idle {
                let receives = slots().filter(present);
                actions
                    .extend(receives.map(|(version, slot)| Action::Receives(which, version, slot)));
            }
        }
        if bounds.with(With::Producer) {
            if system.producer == Producer::default() {
                let truth = if system.lost {
                    Listed::Others
                } else {
                    Listed::Latest
                };
                actions.push(Action::Enumerates(truth));
                if bounds.with(With::Lies) {
                    actions.push(Action::Enumerates(Listed::Nothing));
                }
            } else {
                if matches!(system.producer.request(), Some(Request::Send(_))) {
                    actions.push(Action::NotTaken);
                }
                self.asks(system, Who::Producer, &mut |action| actions.push(action));
            }
        }
        if bounds.with(With::Operator) {
            match system.operator {
                Operator::Idle => {
                    let letters =
                        (1..=system.latest).flat_map(|version| [(version, 0), (version, 1)]);
                    let there =
                        |(version, slot): &(u8, u8)| system.dead[index(*version)] >> slot & 1 == 1;
                    actions.extend(
                        letters
                            .filter(there)
                            .map(|(version, slot)| Action::TakesLetter(version, slot)),
                    );
                }
                _ => self.asks(system, Who::Operator, &mut |action| actions.push(action)),
            }
        }
    }

    fn next_state(&self, last: &System, action: Action) -> Option<System> {
        let mut next = last.clone();
        match action {
            Action::Grows => next.latest += 1,
            Action::RdsDeletes => next.lost = true,
            Action::Expires(version) => next.rows[index(version)] = None,
            Action::MessageLost(version, slot) => {
                let messages = &mut next.queue[index(version)];
                messages.present &= !(1 << slot);
                messages.copied &= !(1 << slot);
            }
            Action::Lands => {
                let request = next.astray.take()?;
                next.land(self, request)?;
            }
            Action::Vanishes => next.astray = None,
            Action::Receives(which, version, slot) => {
                let owner = next.new_owner();
                next.workers[which] = Worker {
                    at: At::Claim,
                    version,
                    slot,
                    in_vain: false,
                    held: Held {
                        owner,
                        ..Held::default()
                    },
                };
            }
            Action::Sees(which, saw) => {
                next.workers[which] = next.workers[which].saw(self, last, saw);
            }
            Action::Asks(who, fate, late) => {
                let request = next.request(who, late)?;
                self.fares(&mut next, who, fate, request)?;
            }
            Action::NotTaken => next.producer = next.producer.answered(true),
            Action::Dies(who) => next.dies(who),
            Action::CutOff(which) => next.workers[which].at = At::Release { counted: false },
            Action::LosesClaim(which) => match self.variant {
                Variant::LoserDeletes => next.workers[which].at = At::Delete,
                _ => next.workers[which] = Worker::default(),
            },
            Action::Enumerates(listed) => {
                let planned = producer::planned(self, last, listed);
                let passes = |version: &u8| (last.watermark < *version) && *version <= planned.mark;
                let unfinished =
                    |version| last.row(version).is_some_and(|row| !row.state.finished());
                if (1..=last.latest).filter(passes).any(unfinished) {
                    next.wrong = Some(Wrong::WatermarkPassed);
                }
                next.producer = Producer::start(planned, self.variant);
            }
            Action::TakesLetter(version, slot) => next.operator = Operator::Reset(version, slot),
        }
        let next = next.canonical(self);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(&self.bounds)
    }
}

impl Protocol {
    /// Whether nothing is left to do.
    pub fn settled(&self, system: &System) -> bool {
        system.settled(self)
    }

    fn expires(system: &System, version: u8) -> bool {
        let complete = system
            .row(version)
            .is_some_and(|row| row.state == State::Complete);
        // Longer than SQS keeps anything, or than any request is under way.
        let forgotten = system.queue[index(version)].present == 0
            && system.dead[index(version)] == 0
            && system
                .workers
                .iter()
                .all(|worker| worker.version != version)
            && !system.operator.has(version)
            && system.producer == Producer::default()
            && system
                .astray
                .is_none_or(|request| request.version() != version);
        complete && forgotten && version <= system.watermark
    }

    fn worker_actions(&self, system: &System, which: usize, push: &mut impl FnMut(Action)) {
        let bounds = &self.bounds;
        let worker = &system.workers[which];
        if worker.at == At::Idle {
            return;
        }
        if bounds.with(With::Killer) && worker.at == At::Fetch {
            return push(Action::Dies(Who::Worker(which)));
        }
        for saw in worker.sees(system, bounds) {
            push(Action::Sees(which, saw));
        }
        self.asks(system, Who::Worker(which), push);
        if worker.working() && bounds.with(With::CutOff) {
            push(Action::CutOff(which));
        }
        if worker.working() && worker.fenced(system) {
            push(Action::LosesClaim(which));
        }
    }

    fn asks(&self, system: &System, who: Who, push: &mut impl FnMut(Action)) {
        let bounds = &self.bounds;
        if bounds.with(With::Crashes) {
            push(Action::Dies(who));
        }
        let Some(request) = system.request(who, false) else {
            return;
        };
        let mut clocks = vec![false];
        if let Request::Write(version, Write::Claim { .. }) = request
            && let Some(Row {
                state: State::Leased,
                owner,
                ..
            }) = system.row(version)
        {
            let alive = system.workers.iter().any(|worker| {
                let at_work = !matches!(worker.at, At::Idle | At::Claim | At::Delete);
                worker.held.owner == owner || worker.version == version && at_work
            });
            if bounds.with(With::AnyClock) || !alive {
                clocks.push(true);
            }
        }
        for late in clocks {
            push(Action::Asks(who, Fate::Answered, late));
            push(Action::Asks(who, Fate::AnswerLost, late));
            if bounds.with(With::Zombies) && system.astray.is_none() {
                push(Action::Asks(who, Fate::Delayed, late));
                if matches!(request, Request::Put { .. }) {
                    push(Action::Asks(who, Fate::Orphaned, late));
                }
            }
        }
    }

    /// What becomes of a request and its sender.
    fn fares(&self, next: &mut System, who: Who, fate: Fate, request: Request) -> Option<()> {
        let answer = match fate {
            Fate::Answered | Fate::AnswerLost => Some(next.land(self, request)?),
            Fate::Delayed | Fate::Orphaned => {
                next.astray = Some(request);
                None
            }
        };
        match (fate, answer, who) {
            (Fate::Answered, Some(answer), _) => next.answered(self, who, answer),
            (Fate::Orphaned, ..) => next.dies(who),
            // Only an upload is not simply sent again: its worker looks at what there is.
            (_, _, Who::Worker(which)) => {
                if let At::Put { again, .. } = next.workers[which].at {
                    next.workers[which] = next.workers[which].unclear(self, next, again);
                }
            }
            _ => {}
        }
        Some(())
    }
}

fn index(version: u8) -> usize {
    usize::from(version) - 1
}
