//! What happens in one world, action by action: a pure function of the seed.

use std::fmt;

use fastrand::Rng;
use shared::step::{Step, When};

use super::motifs::MOTIFS;
use crate::proxy::{Calls, Fault, Service};

/// A log file, or rather who writes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// The file that an Aurora stripe is writing.
    Stripe(u8),
    /// The file that MariaDB is writing.
    Active,
    /// A file of the Aurora instance whose name says nothing.
    OtherOfAurora,
    /// The same of the MariaDB instance.
    OtherOfMariaDb,
}

/// How RDS goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many bytes are appended to a log file, or begin it.
    Write(Log, usize),
    /// More than one part's worth is, and no codec makes it less.
    WriteLarge(Log),
    /// A stripe begins a new file.
    NewFile(u8),
    /// MariaDB renames all its files; the oldest may fall off.
    Rotate,
    /// There is a file whose name gives no key.
    Escape,
    /// RDS deletes one of the log files, whichever this number means.
    Delete(u8),
}

/// What RDS answers instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Downloads and listings: an internal error.
    Broken,
    /// Downloads: there is no such file.
    NoFile,
    /// Downloads: there is no such instance.
    NoInstance,
    /// Downloads: `AccessDenied`.
    Denied,
    /// Listings: nothing at all.
    Empty,
    /// Downloads: silence after some bytes.
    Stall,
    /// Downloads: an early end.
    Truncate,
    /// Downloads: a reset after some bytes.
    Reset,
}

/// A program of ours and what it is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A worker.
    Worker,
    /// One run of the producer.
    Enumerate,
    /// Says how all stands.
    Status,
    /// Puts dead letters back.
    Requeue,
    /// Puts rows back that are quarantined.
    RequeueRows,
    /// Sends what the table does not know.
    Backfill,
    /// Compares.
    Reconcile,
    /// Compares, and mends.
    Repair,
    /// Gives up what is gone or quarantined, of the instance that this number means.
    Dismiss(u8),
    /// Gives up also what waits or whose worker is gone.
    DismissUnfinished(u8),
}

/// For how long a program may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing else happens until its end; it is killed if that takes too long.
    ToTheEnd,
    /// Another one of the same begins at the same time; else as above.
    Twice,
    /// Other things happen meanwhile.
    Beside,
    /// Beside other things; it stops itself when it gets to a durable step for the nth time.
    StopAt(Step, When, u8),
    /// It is killed once the services have seen so many more requests.
    KilledAfter(u8),
    /// The same with SIGINT.
    InterruptedAfter(u8),
}

/// A message that no producer has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// It cannot be read.
    Unreadable,
    /// It is of a version that nobody knows yet.
    FromTheFuture,
    /// RDS never had such a file.
    NoSuchFile,
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
    /// SIGTERM.
    Term,
    /// SIGINT.
    Interrupt,
}

impl Signal {
    /// As `kill` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Term => "TERM",
            Self::Interrupt => "INT",
        }
    }
}

/// What to wait for, if it happens soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Some row has changed.
    Changed,
    /// Some program has stopped itself.
    Stopped,
    /// No lease is left that has not ended.
    LeasesEnded,
    /// Something is quarantined.
    Quarantined,
    /// Nothing is left to do.
    Quiet,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// RDS goes on.
    Rds(Change),
    /// RDS will go on behind the nth listing from now on.
    DuringListing(u8, Change),
    /// RDS will go on behind the nth download from now on.
    DuringDownload(u8, Change),
    /// RDS refuses that many times.
    Refuse(Refusal, u32),
    /// RDS denies all downloads, for so many actions.
    DenyFor(u8),
    /// Whatever RDS refuses, it does no more.
    Mend,
    /// The wire to a service is bad, for so many actions.
    Wire(Service, Fault, Calls, u8),
    /// A program begins.
    Run(Program, Way),
    /// A program that runs gets a signal: whichever this number means.
    Send(Signal, u8),
    /// All that are stopped go on.
    ContinueAll,
    /// A version's message is sent once more: whichever this number means.
    Duplicate(u8),
    /// A message is lost.
    Lose,
    /// All messages that are hidden come back.
    ComeBack,
    /// A message is forged.
    Forge(Forgery),
    /// Time passes.
    Await(Until),
}

/// Settings of one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// `CONCURRENCY`.
    pub concurrency: u32,
    /// `COMPRESSION`.
    pub compression: &'static str,
    /// `OVERLAP`.
    pub overlap: &'static str,
    /// Entries on a page of a listing.
    pub page_size: usize,
    /// Rotated files that MariaDB keeps.
    pub history: usize,
}

/// All that happens in one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What it was made from.
    pub seed: u64,
    /// Settings.
    pub settings: Settings,
    /// One after the other.
    pub actions: Vec<Action>,
}

impl Script {
    /// The script of a seed: the same one each time.
    pub fn of(seed: u64) -> Self {
        let random = &mut Rng::with_seed(seed);
        let settings = Settings::any(random);
        let mut actions = vec![
            Action::Rds(Change::Write(Log::Stripe(0), 3000)),
            Action::Rds(Change::Write(Log::Active, 2000)),
        ];
        for _motif in 0..random.usize(3..=5) {
            for _single in 0..random.usize(1..=3) {
                actions.push(any(random));
            }
            let motif = choose(random, &MOTIFS)(random);
            for action in motif {
                actions.push(action);
                // What belongs together is what nothing comes between; mostly.
                if random.u8(..) < 40 {
                    actions.push(any(random));
                }
            }
        }
        Self {
            seed,
            settings,
            actions,
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.settings)?;
        self.actions
            .iter()
            .enumerate()
            .try_for_each(|(index, action)| writeln!(f, "{:>4}. {action:?}", index + 1))
    }
}

impl Settings {
    fn any(random: &mut Rng) -> Self {
        // What changes between two pages of a listing may be missed by it: only the overlap finds it later.
        let (page_size, overlap) = *choose(random, &[(100, "1s"), (100, "1s"), (2, "6h")]);
        Self {
            max_attempts: *choose(random, &[1, 2, 2, 5]),
            concurrency: *choose(random, &[1, 2, 3]),
            compression: *choose(random, &["gzip", "zstd"]),
            overlap,
            page_size,
            history: *choose(random, &[2, 4, 10]),
        }
    }
}

/// Where a worker may be stopped.
const OF_WORKERS: [Step; 10] = [
    Step::Claim,
    Step::Renew,
    Step::Hide,
    Step::PutObject,
    Step::Complete,
    Step::Delete,
    Step::Release,
    Step::SendDeadLetter,
    Step::Quarantine,
    Step::Gone,
];

/// Where a producer may be stopped.
const OF_PRODUCERS: [Step; 5] = [
    Step::Send,
    Step::RecordQueued,
    Step::RecordResent,
    Step::RecordEnumerated,
    Step::Register,
];

/// Where an operator's command may be stopped.
const OF_OPERATORS: [Step; 7] = [
    Step::Requeue,
    Step::Send,
    Step::Delete,
    Step::Dismiss,
    Step::Reopen,
    Step::Complete,
    Step::RecordResent,
];

pub(super) fn choose<'a, T>(random: &mut Rng, choices: &'a [T]) -> &'a T {
    random.choice(choices).expect("there is a choice")
}

pub(super) fn when(random: &mut Rng) -> When {
    *choose(random, &[When::Before, When::After])
}

pub(super) fn log(random: &mut Rng) -> Log {
    let logs = [
        Log::Stripe(0),
        Log::Stripe(0),
        Log::Stripe(1),
        Log::Active,
        Log::OtherOfAurora,
        Log::OtherOfMariaDb,
    ];
    *choose(random, &logs)
}

pub(super) fn write(random: &mut Rng) -> Change {
    Change::Write(log(random), random.usize(1..6000))
}

fn change(random: &mut Rng) -> Change {
    match random.u8(..100) {
        0..60 => write(random),
        60..75 => Change::NewFile(random.u8(..2)),
        75..91 => Change::Rotate,
        91 => Change::Escape,
        _ => Change::Delete(random.u8(..)),
    }
}

fn way(random: &mut Rng, steps: &[Step]) -> Way {
    match random.u8(..100) {
        0..45 => Way::ToTheEnd,
        45..60 => Way::Twice,
        60..70 => Way::Beside,
        70..85 => Way::StopAt(*choose(random, steps), when(random), random.u8(1..=2)),
        85..95 => Way::KilledAfter(random.u8(1..20)),
        _ => Way::InterruptedAfter(random.u8(1..20)),
    }
}

pub(super) fn worker(random: &mut Rng) -> Action {
    let way = match random.u8(..100) {
        0..50 => Way::Beside,
        50..85 => Way::StopAt(*choose(random, &OF_WORKERS), when(random), random.u8(1..=2)),
        _ => Way::KilledAfter(random.u8(1..40)),
    };
    Action::Run(Program::Worker, way)
}

pub(super) fn operator(random: &mut Rng) -> Action {
    let programs = [
        Program::Status,
        Program::Requeue,
        Program::Requeue,
        Program::Requeue,
        Program::RequeueRows,
        Program::Backfill,
        Program::Reconcile,
        Program::Repair,
        Program::Repair,
        Program::Dismiss(random.u8(..2)),
    ];
    Action::Run(*choose(random, &programs), way(random, &OF_OPERATORS))
}

fn refuse(random: &mut Rng) -> Action {
    let refusals = [
        Refusal::Broken,
        Refusal::Broken,
        Refusal::NoFile,
        Refusal::NoInstance,
        Refusal::Empty,
        Refusal::Empty,
        Refusal::Stall,
        Refusal::Truncate,
        Refusal::Reset,
        Refusal::Denied,
    ];
    Action::Refuse(*choose(random, &refusals), random.u32(1..=3))
}

fn wire(random: &mut Rng) -> Action {
    let services: Vec<Service> = Service::all().collect();
    let service = *choose(random, &services);
    let mut faults: Vec<Fault> = Fault::all().collect();
    // Once RDS has throttled, the SDK asks it for something once in ten seconds.
    faults.retain(|fault| (service, *fault) != (Service::Rds, Fault::Throttled));
    let fault = *choose(random, &faults);
    let calls = match random.u8(..3) {
        // One timeout is long enough.
        _ if fault == Fault::BlackHole => Calls::First(1),
        0 => Calls::First(random.u32(1..=3)),
        1 => Calls::EveryOther(random.u32(1..=4)),
        _ if service == Service::Rds => Calls::First(2),
        _ => Calls::First(6),
    };
    Action::Wire(service, fault, calls, random.u8(1..=6))
}

/// Anything, if only it is likely to matter.
fn any(random: &mut Rng) -> Action {
    match random.u8(..100) {
        0..22 => Action::Rds(change(random)),
        22..30 => Action::DuringListing(random.u8(1..=3), change(random)),
        30..38 => Action::DuringDownload(random.u8(1..=2), change(random)),
        38..46 => refuse(random),
        46..47 => Action::DenyFor(random.u8(2..=5)),
        47..56 => wire(random),
        56..68 => Action::Run(Program::Enumerate, way(random, &OF_PRODUCERS)),
        68..76 => worker(random),
        76..82 => operator(random),
        82..88 => {
            let signals = [Signal::Kill, Signal::Stop, Signal::Cont, Signal::Term];
            Action::Send(*choose(random, &signals), random.u8(..))
        }
        88..91 => Action::Duplicate(random.u8(..)),
        91..93 => Action::Lose,
        93..95 => Action::ComeBack,
        95..97 => {
            let forgeries = [
                Forgery::Unreadable,
                Forgery::FromTheFuture,
                Forgery::NoSuchFile,
            ];
            Action::Forge(*choose(random, &forgeries))
        }
        _ => Action::Await(Until::Changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_script_each_time_and_another_seed_another() {
        for seed in 0..50 {
            assert_eq!(Script::of(seed), Script::of(seed));
            assert_ne!(Script::of(seed).actions, Script::of(seed + 1).actions);
        }
    }
}
