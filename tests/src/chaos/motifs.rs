//! What is rare by chance and hard to survive: short sequences that the script is made from, with all else in between.

use fastrand::Rng;
use shared::step::{Step, When};

use super::script::{
    Action, Change, Log, Program, Refusal, Signal, Until, Way, choose, log, operator, when, write,
};

type Motif = fn(&mut Rng) -> Vec<Action>;

/// All of them.
pub(super) const MOTIFS: [Motif; 14] = [
    a_zombie_is_overtaken,
    a_zombie_wakes_up_after_a_requeue,
    a_requeue_stops_half_way,
    a_leased_version_is_dismissed,
    a_file_grows_under_a_claim,
    a_rotation_comes_before_the_commit,
    a_producer_wakes_up_when_the_watermark_has_moved,
    a_producer_wakes_up_before_it_sends,
    a_repair_runs_beside_workers,
    the_environment_breaks,
    the_file_is_deleted_under_a_claim,
    a_large_file_is_cut_off,
    files_rotate_away_unseen,
    all_goes_well_for_a_while,
];

const ENUMERATE: Action = Action::Run(Program::Enumerate, Way::ToTheEnd);
const WORKER: Action = Action::Run(Program::Worker, Way::Beside);
const REQUEUE: Action = Action::Run(Program::Requeue, Way::ToTheEnd);

fn stopped_worker(step: Step, when: When) -> Action {
    Action::Run(Program::Worker, Way::StopAt(step, when, 1))
}

fn stopped(program: Program, step: Step, when: When) -> Action {
    Action::Run(program, Way::StopAt(step, when, 1))
}

/// A worker stops on its way, another one takes over, the file grows and is shipped again, and the first one wakes up.
fn a_zombie_is_overtaken(random: &mut Rng) -> Vec<Action> {
    let step = *choose(
        random,
        &[Step::Claim, Step::PutObject, Step::Complete, Step::Delete],
    );
    let log = log(random);
    vec![
        Action::Rds(Change::Write(log, 2000)),
        stopped_worker(step, when(random)),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Await(Until::LeasesEnded),
        WORKER,
        Action::Await(Until::Changed),
        Action::Rds(Change::Write(log, 1000)),
        ENUMERATE,
        Action::Await(Until::Quiet),
        Action::ContinueAll,
    ]
}

/// What a worker has failed at is quarantined and put back while the worker sleeps.
fn a_zombie_wakes_up_after_a_requeue(random: &mut Rng) -> Vec<Action> {
    let step = *choose(
        random,
        &[
            Step::SendDeadLetter,
            Step::Quarantine,
            Step::Delete,
            Step::Release,
        ],
    );
    vec![
        Action::Rds(write(random)),
        Action::Refuse(Refusal::Broken, 4),
        stopped_worker(step, when(random)),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Await(Until::LeasesEnded),
        WORKER,
        Action::Await(Until::Quarantined),
        REQUEUE,
        Action::ContinueAll,
        Action::Await(Until::Changed),
    ]
}

fn a_requeue_stops_half_way(random: &mut Rng) -> Vec<Action> {
    let step = *choose(random, &[Step::Requeue, Step::Send, Step::Delete]);
    let program = *choose(random, &[Program::Requeue, Program::RequeueRows]);
    vec![
        Action::Rds(write(random)),
        Action::Refuse(Refusal::Truncate, 5),
        WORKER,
        ENUMERATE,
        Action::Await(Until::Quarantined),
        Action::Mend,
        stopped(program, step, when(random)),
        Action::Await(Until::Stopped),
        operator(random),
        ENUMERATE,
        Action::Await(Until::Changed),
        if random.bool() {
            Action::ContinueAll
        } else {
            Action::Send(Signal::Kill, 1)
        },
    ]
}

fn a_leased_version_is_dismissed(random: &mut Rng) -> Vec<Action> {
    let step = *choose(random, &[Step::Claim, Step::PutObject, Step::Complete]);
    vec![
        Action::Rds(write(random)),
        stopped_worker(step, when(random)),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Await(Until::LeasesEnded),
        Action::Run(Program::DismissUnfinished(random.u8(..2)), Way::ToTheEnd),
        ENUMERATE,
        Action::ContinueAll,
        Action::Await(Until::Changed),
    ]
}

fn a_file_grows_under_a_claim(random: &mut Rng) -> Vec<Action> {
    let log = *choose(
        random,
        &[Log::Stripe(0), Log::Stripe(1), Log::OtherOfAurora],
    );
    vec![
        Action::Rds(Change::Write(log, 1500)),
        stopped_worker(Step::Claim, When::After),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Rds(Change::Write(log, 700)),
        Action::Run(Program::Enumerate, Way::Beside),
        Action::ContinueAll,
        Action::DuringDownload(1, Change::Write(log, 300)),
        WORKER,
    ]
}

fn a_rotation_comes_before_the_commit(random: &mut Rng) -> Vec<Action> {
    vec![
        Action::Rds(Change::Write(Log::Active, 1800)),
        Action::Rds(Change::Rotate),
        stopped_worker(
            *choose(random, &[Step::Claim, Step::PutObject]),
            when(random),
        ),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Rds(Change::Write(Log::Active, 900)),
        Action::Rds(Change::Rotate),
        Action::DuringListing(random.u8(1..=2), Change::Rotate),
        Action::ContinueAll,
        Action::DuringDownload(1, Change::Rotate),
        WORKER,
    ]
}

fn a_producer_wakes_up_when_the_watermark_has_moved(random: &mut Rng) -> Vec<Action> {
    vec![
        Action::Rds(write(random)),
        stopped(
            Program::Enumerate,
            *choose(random, &[Step::RecordEnumerated, Step::RecordQueued]),
            when(random),
        ),
        WORKER,
        Action::Rds(write(random)),
        Action::Await(Until::Stopped),
        ENUMERATE,
        Action::Await(Until::Quiet),
        Action::Rds(write(random)),
        ENUMERATE,
        Action::Await(Until::Changed),
        Action::ContinueAll,
        Action::Run(Program::Enumerate, Way::Twice),
    ]
}

fn a_producer_wakes_up_before_it_sends(random: &mut Rng) -> Vec<Action> {
    let log = log(random);
    vec![
        Action::Rds(Change::Write(log, 2500)),
        stopped(Program::Enumerate, Step::Send, when(random)),
        WORKER,
        Action::Await(Until::Stopped),
        ENUMERATE,
        Action::Await(Until::Quiet),
        Action::Rds(Change::Write(log, 50)),
        Action::Lose,
        Action::ContinueAll,
    ]
}

fn a_repair_runs_beside_workers(random: &mut Rng) -> Vec<Action> {
    let step = *choose(
        random,
        &[Step::Complete, Step::Send, Step::RecordResent, Step::Reopen],
    );
    vec![
        Action::Rds(write(random)),
        ENUMERATE,
        stopped_worker(Step::PutObject, When::After),
        Action::Await(Until::Stopped),
        Action::Await(Until::LeasesEnded),
        stopped(Program::Repair, step, when(random)),
        Action::Run(Program::Repair, Way::Twice),
        Action::Rds(write(random)),
        WORKER,
        Action::Await(Until::Changed),
        Action::ContinueAll,
    ]
}

fn the_environment_breaks(random: &mut Rng) -> Vec<Action> {
    vec![
        Action::Rds(write(random)),
        Action::DenyFor(random.u8(3..=6)),
        WORKER,
        ENUMERATE,
        Action::Await(Until::Changed),
        Action::Rds(write(random)),
        ENUMERATE,
        Action::Await(Until::Changed),
    ]
}

fn the_file_is_deleted_under_a_claim(random: &mut Rng) -> Vec<Action> {
    vec![
        Action::Rds(write(random)),
        Action::Rds(Change::NewFile(0)),
        stopped_worker(Step::Claim, When::After),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Rds(Change::Delete(random.u8(..))),
        Action::Rds(Change::Delete(random.u8(..))),
        Action::Refuse(Refusal::Empty, random.u32(1..=2)),
        Action::ContinueAll,
        WORKER,
        Action::Await(Until::Changed),
    ]
}

fn a_large_file_is_cut_off(random: &mut Rng) -> Vec<Action> {
    // It takes the machine a while.
    if random.u8(..3) > 0 {
        return all_goes_well_for_a_while(random);
    }
    let step = *choose(
        random,
        &[Step::CreateUpload, Step::UploadPart, Step::CompleteUpload],
    );
    let log = Log::Stripe(1);
    vec![
        Action::Rds(Change::WriteLarge(log)),
        stopped_worker(step, when(random)),
        ENUMERATE,
        Action::Await(Until::Stopped),
        Action::Rds(Change::Write(log, 100)),
        ENUMERATE,
        Action::Await(Until::LeasesEnded),
        WORKER,
        Action::Await(Until::Changed),
        if random.bool() {
            Action::ContinueAll
        } else {
            Action::Send(Signal::Kill, 0)
        },
    ]
}

/// The active file is idle, something else is shipped, and only then the active file is rotated.
fn files_rotate_away_unseen(random: &mut Rng) -> Vec<Action> {
    let mut actions = vec![
        Action::Rds(Change::Write(Log::Active, 1200)),
        Action::Rds(Change::Write(Log::OtherOfMariaDb, 800)),
        WORKER,
        ENUMERATE,
        Action::Await(Until::Quiet),
        ENUMERATE,
    ];
    actions.extend((0..random.usize(1..=3)).map(|_nth| Action::Rds(Change::Rotate)));
    actions.extend([ENUMERATE, Action::Await(Until::Changed)]);
    actions
}

fn all_goes_well_for_a_while(random: &mut Rng) -> Vec<Action> {
    vec![
        Action::Mend,
        Action::ContinueAll,
        Action::Rds(write(random)),
        Action::Rds(write(random)),
        WORKER,
        ENUMERATE,
        Action::Await(Until::Quiet),
        ENUMERATE,
    ]
}
