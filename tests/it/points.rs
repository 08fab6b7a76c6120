//! Every durable step: real processes are stopped right before it and right after it, and killed there, or left asleep
//! until others have done their work. Then everything is settled as it must be.

// Worlds in which programs meet each step.
mod plots;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use shared::step::{Step, When};
use tests::invariants::{Expected, Fate, history};
use tests::programs::Running;
use tests::proof;
use tests::world::World;
use tests::world::by_hand::INSTANCE;

use self::plots::Plot;

/// Which programs meet a step, and in which worlds.
fn cases(step: Step) -> Vec<Case> {
    use Plot::{
        DeadLetter, Deleted, Due, Duplicate, Failing, Finished, Forgotten, Grown, Held, Large,
        LargeCutShort, Lost, Queued, Refused, Stale, Stalled, Unreadable, UnreadableLetter,
    };
    match step {
        Step::Send => vec![
            enumerate(Due),
            enumerate(Stale),
            operator(BACKFILL, Due),
            requeue(DeadLetter),
            operator(RECONCILE, Deleted),
        ],
        Step::RecordQueued => vec![enumerate(Due), operator(BACKFILL, Due)],
        Step::Register => vec![enumerate(Due)],
        Step::RecordResent => vec![enumerate(Stale)],
        Step::RecordEnumerated => vec![enumerate(Due), enumerate(Finished)],
        Step::Claim => vec![worker(Queued), worker(Duplicate)],
        Step::Renew => vec![worker(Stalled)],
        Step::Hide => vec![
            worker(Stalled),
            worker(Refused),
            worker(Held),
            requeue(UnreadableLetter),
            operator(&["requeue", "--dry-run"], DeadLetter),
        ],
        Step::CreateUpload | Step::UploadPart | Step::CompleteUpload => vec![worker(Large)],
        Step::PutObject => vec![worker(Queued), worker(Grown).the_second_time()],
        Step::AbortUpload => vec![worker(LargeCutShort)],
        Step::Complete => vec![
            worker(Queued),
            worker(Grown),
            operator(RECONCILE, Forgotten),
        ],
        Step::Delete => vec![
            worker(Queued),
            worker(Duplicate),
            worker(Failing),
            worker(Lost).ends_as(Fate::Gone),
            worker(Unreadable),
            requeue(DeadLetter),
        ],
        Step::Release => vec![worker(Refused)],
        Step::SendDeadLetter => vec![worker(Failing), worker(Unreadable)],
        Step::Quarantine => vec![worker(Failing)],
        Step::Gone => vec![worker(Lost).ends_as(Fate::Gone)],
        Step::Requeue => vec![requeue(DeadLetter)],
        Step::Dismiss => vec![operator(DISMISS, DeadLetter).ends_as(Fate::Gone)],
        Step::Reopen => vec![operator(RECONCILE, Deleted)],
    }
}

/// A test of each end for each step. The README names tests by their `fn`.
macro_rules! tests_of_each {
    ($(fn $name:ident() at $step:ident;)*) => {
        /// Every step that there is, or this does not compile.
        fn tested(step: Step) -> &'static str {
            match step {
                $(Step::$step => stringify!($name),)*
            }
        }

        const TESTS: &[&str] = &[$(stringify!($name)),*];

        mod kill_points {
            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    super::meet(shared::step::Step::$step, super::End::Killed).await
                }
            )*
        }

        mod zombies {
            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    super::meet(shared::step::Step::$step, super::End::Asleep).await
                }
            )*
        }
    };
}

tests_of_each! {
    fn send() at Send;
    fn record_queued() at RecordQueued;
    fn record_resent() at RecordResent;
    fn record_enumerated() at RecordEnumerated;
    fn register() at Register;
    fn claim() at Claim;
    fn renew() at Renew;
    fn hide() at Hide;
    fn create_upload() at CreateUpload;
    fn upload_part() at UploadPart;
    fn complete_upload() at CompleteUpload;
    fn put_object() at PutObject;
    fn abort_upload() at AbortUpload;
    fn complete() at Complete;
    fn delete() at Delete;
    fn release() at Release;
    fn send_dead_letter() at SendDeadLetter;
    fn quarantine() at Quarantine;
    fn gone() at Gone;
    fn requeue() at Requeue;
    fn dismiss() at Dismiss;
    fn reopen() at Reopen;
}

/// What becomes of a process that was stopped at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// SIGKILL.
    Killed,
    /// SIGCONT, once everything is done.
    Asleep,
}

/// One program in one world.
#[derive(Debug, Clone, Copy)]
struct Case {
    program: Program,
    plot: Plot,
    /// How often it meets the step until it is stopped there.
    nth: u32,
    /// What becomes of the world's first version, if it is not archived.
    fate: Option<Fate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// `auditferry-worker`
    Worker,
    /// `auditferry` with these arguments, which may be run again at any time.
    Operator(&'static [&'static str]),
}

const ENUMERATE: &[&str] = &["enumerate"];
const REQUEUE: &[&str] = &["requeue"];
const BACKFILL: &[&str] = &["backfill", "--from", "2024-01-01", "--to", "2024-12-31"];
const DISMISS: &[&str] = &[
    "dismiss",
    "--instance",
    INSTANCE,
    "--reason",
    "nobody needs it",
];
/// What is reopened and not sent counts as lost at once, instead of in half an hour.
const RECONCILE: &[&str] = &[
    "reconcile",
    "--repair",
    "--since",
    "2024-01-01",
    "--resend-after",
    "1ms",
];

fn worker(plot: Plot) -> Case {
    Case {
        program: Program::Worker,
        plot,
        nth: 1,
        fate: None,
    }
}

fn operator(arguments: &'static [&'static str], plot: Plot) -> Case {
    Case {
        program: Program::Operator(arguments),
        ..worker(plot)
    }
}

fn enumerate(plot: Plot) -> Case {
    operator(ENUMERATE, plot)
}

fn requeue(plot: Plot) -> Case {
    operator(REQUEUE, plot)
}

impl Case {
    fn the_second_time(self) -> Self {
        Self { nth: 2, ..self }
    }

    fn ends_as(self, fate: Fate) -> Self {
        Self {
            fate: Some(fate),
            ..self
        }
    }

    /// Whether there is a dead letter that nobody settles but a person with a requeue.
    fn needs_a_person(self) -> bool {
        match self.plot {
            Plot::Failing => true,
            Plot::DeadLetter => self.fate.is_none() && self.program != Program::Operator(REQUEUE),
            _ => false,
        }
    }
}

/// Holds that each program may end at each point of a step.
async fn meet(step: Step, end: End) -> anyhow::Result<()> {
    let points = cases(step)
        .into_iter()
        .flat_map(|case| [(case, When::Before), (case, When::After)]);
    let each = points.map(async |(case, when)| {
        let point = format!("{}@{}", step.point(when), case.nth);
        let (world, mut expected) = case.plot.stage().await?;
        if let (Some(fate), Some(due)) = (case.fate, expected.due.first_mut()) {
            due.fates = vec![fate];
        }
        let held = match end {
            End::Killed => killed(&world, expected, case, &point).await,
            End::Asleep => asleep(&world, expected, case, &point).await,
        };
        held.with_context(|| format!("{end:?} at {point}: {case:?}\n{}", world.said()))
    });
    let failed: Vec<String> = join_all(each)
        .await
        .into_iter()
        .filter_map(|held| held.err().map(|error| format!("{error:?}")))
        .collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    let end = match end {
        End::Killed => "killed",
        End::Asleep => "put to sleep until others had finished",
    };
    let points = u64::try_from(2 * cases(step).len())?;
    proof::add(
        "points",
        &format!("durable steps at which processes were {end}"),
        1,
    )?;
    proof::add("points", &format!("processes {end}"), points)
}

/// It is killed there, and all is done again as an operator would.
async fn killed(
    world: &World,
    mut expected: Expected,
    case: Case,
    point: &str,
) -> anyhow::Result<()> {
    let process = stopped_at(world, case, point).await?;
    process.signal("KILL").await?;
    world.finish("a process, killed,", process).await?;

    // Whatever it had begun to upload is the business of the bucket's lifecycle rule.
    expected.unfinished_uploads = usize::from(case.plot.large());
    recover(world, &expected, case).await?;
    expected.hold(world).await
}

/// It is left asleep there until others have finished everything. Then it goes on, and has no say any more.
async fn asleep(
    world: &World,
    mut expected: Expected,
    case: Case,
    point: &str,
) -> anyhow::Result<()> {
    let process = stopped_at(world, case, point).await?;
    case.plot.move_on(world, &mut expected)?;
    expected.unfinished_uploads = usize::from(case.plot.large());
    recover(world, &expected, case).await?;
    expected
        .hold(world)
        .await
        .context("while it is still asleep")?;
    let (writes, watermarks) = (history(world).await?, world.watermarks().await?);

    process.signal("CONT").await?;
    if case.program == Program::Worker {
        process.signal("TERM").await?;
    }
    let ended = world.finish("a process, slept,", process).await?;
    ensure!(ended.code().is_some(), "it crashed: {ended:?}");
    // It may have sent again what was sent.
    world.work_with(case.plot.settings()).await?;
    // Its work is dropped as soon as it wakes up; an upload that begins just then is nobody's, and the lifecycle rule's.
    let begins = Step::CreateUpload.point(When::Before);
    expected.unfinished_uploads = usize::from(point.starts_with(&begins));
    expected.hold(world).await?;
    let now = history(world).await?;
    ensure!(now == writes, "it wrote: {now:#?} instead of {writes:#?}");
    let now = world.watermarks().await?;
    ensure!(
        watermarks
            .iter()
            .all(|(name, mark)| now.get(name) >= Some(mark)),
        "a watermark went back: {now:#?} after {watermarks:#?}"
    );
    Ok(())
}

/// Starts the program, and waits until it has stopped itself at the point.
async fn stopped_at(world: &World, case: Case, point: &str) -> anyhow::Result<Running> {
    let mut settings = case.plot.settings().to_vec();
    // The shortest lease that there is: others take over soon.
    settings.extend([("LEASE", "3s"), ("STOP_AT", point)]);
    let process = match case.program {
        Program::Worker => {
            // One at a time, so that it has nothing else under way. And short polls.
            settings.extend([("CONCURRENCY", "1"), ("EXIT_WHEN_IDLE", "1s")]);
            world.start_worker(&settings)?
        }
        Program::Operator(arguments) => {
            let environment = world.environment(&settings);
            Running::start_with("auditferry", arguments, &environment)?
        }
    };
    process.stopped().await?;
    case.plot.met(world).await?;
    Ok(process)
}

/// What an operator and the schedule do anyway: the same command again, the producer, workers; and if a person is needed,
/// the person.
async fn recover(world: &World, expected: &Expected, case: Case) -> anyhow::Result<()> {
    // What a requeue holds is hidden for minutes.
    world
        .come_back(&world.resources.dead_letter_queue_url)
        .await?;
    if let Program::Operator(arguments) = case.program
        && arguments != ENUMERATE
    {
        let ended = world.auditferry(arguments).await?;
        ensure!(ended.code() == Some(case.plot.exit_code()), "{ended:?}");
    }
    let settings = case.plot.settings();
    world.enumerate().await?;
    world.work_with(settings).await?;
    if case.needs_a_person() {
        // What has grown since may have been luckier.
        let mut quarantined = expected.clone();
        for due in quarantined.due.iter_mut().skip(1) {
            due.fates.push(Fate::Quarantined);
        }
        for due in quarantined.due.iter_mut().take(1) {
            due.fates = vec![Fate::Quarantined];
        }
        let held = quarantined.hold(world).await;
        held.context("while a person is needed")?;
        world.rds.clear_faults();
        let ended = world.auditferry(&["requeue"]).await?;
        ensure!(ended.code() == Some(0), "{ended:?}");
        world.work_with(settings).await?;
    }
    world.enumerate().await?; // for the watermark
    Ok(())
}

#[test]
fn every_durable_step_is_tested_at_every_point() {
    for step in Step::ALL {
        assert!(!cases(step).is_empty(), "{}", tested(step));
    }
    let mut listed = Step::ALL.map(tested);
    listed.sort_unstable();
    let mut tests = TESTS.to_vec();
    tests.sort_unstable();
    assert_eq!(tests, listed, "Step::ALL lacks a step");
}
