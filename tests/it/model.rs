//! The protocol is checked in every order that its steps can take, and so is what is left of it without each of its rules.

use stateright::{Checker, HasDiscoveries, Model, Path};
use tests::model::{Bounds, Protocol, Variant, With, explore};
use tests::proof;

/// The property that no single state has: see [`explore`].
const ENDS: &str = "an end stays in reach";

// What the evaluator says is what a table does.
mod expressions;

const QUARANTINE: Bounds = Bounds {
    name: "one version, quarantine and requeue, zombies",
    versions: 1,
    workers: 2,
    messages: 1,
    max_attempts: Some(1),
    with: &[
        With::Producer,
        With::Operator,
        With::Crashes,
        With::Zombies,
        With::AnyClock,
        With::Failures,
    ],
    reaches: &[
        "a worker has lost its claim to another",
        "an upload is under way when its worker is dead",
        "a version is quarantined",
        "a quarantined version is put back",
        "the watermark reaches the last version",
    ],
};

const GROWTH: Bounds = Bounds {
    name: "three versions of a growing file, zombies",
    versions: 3,
    workers: 2,
    messages: 1,
    max_attempts: None,
    with: &[With::Crashes, With::Zombies, With::AnyClock],
    reaches: &[
        "a worker has lost its claim to another",
        "a version is superseded before it is uploaded",
        "an older version's object is about to be replaced",
        "an upload is under way when its worker is dead",
    ],
};

/// Enough to break what takes many steps.
const GROWING_ONCE: Bounds = Bounds {
    name: "two versions of a growing file, zombies",
    versions: 2,
    ..GROWTH
};

const WATERMARK: Bounds = Bounds {
    name: "two versions of a growing file, one worker, the producer, zombies",
    versions: 2,
    workers: 1,
    messages: 1,
    max_attempts: None,
    with: &[
        With::Producer,
        With::Crashes,
        With::Zombies,
        With::AnyClock,
        With::Losses,
        With::Expiry,
        With::Deletion,
    ],
    reaches: &[
        "a version is superseded before it is uploaded",
        "a version is gone",
        "the watermark reaches the last version",
        "a finished row has expired",
    ],
};

const LOSSES: Bounds = Bounds {
    name: "one version, messages are lost",
    versions: 1,
    workers: 2,
    messages: 2,
    max_attempts: None,
    with: &[
        With::Producer,
        With::Crashes,
        With::Zombies,
        With::AnyClock,
        With::Losses,
        With::Expiry,
        With::Foreign,
    ],
    reaches: &[
        "an upload is under way when its worker is dead",
        "the watermark reaches the last version",
        "a finished row has expired",
    ],
};

const LETTERS: Bounds = Bounds {
    name: "one version, two messages, dead letters",
    versions: 1,
    workers: 2,
    messages: 2,
    max_attempts: Some(1),
    with: &[
        With::Producer,
        With::Operator,
        With::Crashes,
        With::AnyClock,
        With::Failures,
    ],
    reaches: &[
        "a worker has lost its claim to another",
        "a version is quarantined",
        "a quarantined version is put back",
    ],
};

const GONE: Bounds = Bounds {
    name: "two versions, RDS deletes the file, and lies",
    versions: 2,
    workers: 2,
    messages: 1,
    max_attempts: None,
    with: &[
        With::Crashes,
        With::Zombies,
        With::AnyClock,
        With::Deletion,
        With::Lies,
    ],
    reaches: &[
        "a worker has lost its claim to another",
        "a version is gone",
        "a version is recorded as gone, and proved then",
    ],
};

const CALM: Bounds = Bounds {
    name: "no crash, right clocks: answers are lost, messages come twice, workers are stopped",
    versions: 1,
    workers: 2,
    messages: 2,
    max_attempts: Some(1),
    with: &[With::Producer, With::CutOff, With::Losses, With::Lies],
    reaches: &["the watermark reaches the last version"],
};

const KILLER: Bounds = Bounds {
    name: "a file that kills workers",
    versions: 1,
    workers: 2,
    messages: 1,
    max_attempts: Some(2),
    with: &[With::Producer, With::Crashes, With::AnyClock, With::Killer],
    reaches: &["a version is quarantined"],
};

/// A producer that only sends what is new, and queues that lose nothing.
const NO_RESEND: Bounds = Bounds {
    name: "nothing is sent again, and no message is lost",
    versions: 1,
    workers: 2,
    messages: 1,
    max_attempts: None,
    with: &[
        With::Producer,
        With::Crashes,
        With::AnyClock,
        With::NoResend,
    ],
    reaches: &["the watermark reaches the last version"],
};

/// Which rule of the protocol is broken how (0: what must be true of Gone), where that shows, and what fails then.
const BROKEN: [(u8, Variant, Bounds, &str); 25] = [
    (1, Variant::RecordedFirst, NO_RESEND, ENDS),
    (2, Variant::QueuedNotResent, LOSSES, ENDS),
    (2, Variant::LeasedNotResent, LOSSES, ENDS),
    (
        2,
        Variant::ListingAlone,
        WATERMARK,
        "the watermark passes only what is finished",
    ),
    (
        3,
        Variant::QuarantinedPassed,
        QUARANTINE,
        "the watermark passes only what is finished",
    ),
    (
        3,
        Variant::WatermarkMovesBack,
        WATERMARK,
        "the watermark never moves back",
    ),
    (4, Variant::AttemptNotCounted, KILLER, ENDS),
    (
        4,
        Variant::LeaseIgnored,
        CALM,
        "no healthy file is quarantined",
    ),
    (
        4,
        Variant::OwnerNotRecognised,
        CALM,
        "no healthy file is quarantined",
    ),
    (5, Variant::GoneUnfenced, GONE, "Complete stays"),
    (5, Variant::QuarantineUnfenced, LETTERS, "Complete stays"),
    (5, Variant::ReleaseUnfenced, GONE, "Complete stays"),
    (
        5,
        Variant::CompleteUnproved,
        GROWTH,
        "Complete means an object as new",
    ),
    (
        6,
        Variant::DeletedFirst,
        GROWTH,
        "a message goes only when it is settled",
    ),
    (
        6,
        Variant::DeletedBeforeDeadLetter,
        LETTERS,
        "a message goes only when it is settled",
    ),
    (
        7,
        Variant::QuarantinedFirst,
        LETTERS,
        "a message goes only when it is settled",
    ),
    (
        7,
        Variant::LetterDeletedFirst,
        LETTERS,
        "a dead letter goes only when it is settled or sent again",
    ),
    (
        7,
        Variant::LeasedPutBack,
        LETTERS,
        "a message goes only when it is settled",
    ),
    (7, Variant::AttemptsKept, LETTERS, ENDS),
    (
        8,
        Variant::LoserDeletes,
        GROWTH,
        "a message goes only when it is settled",
    ),
    (
        9,
        Variant::PutUnconditional,
        GROWTH,
        "committed versions only increase",
    ),
    (
        9,
        Variant::EtagOfAnotherRead,
        GROWING_ONCE,
        "at most one commit per key and version",
    ),
    (
        9,
        Variant::AnyObjectProves,
        GROWTH,
        "Complete means an object as new",
    ),
    (
        0,
        Variant::ArchiveNotAsked,
        GONE,
        "Gone is only what is gone",
    ),
    (
        0,
        Variant::EmptyListingBelieved,
        GONE,
        "Gone is only what is gone",
    ),
];

/// Rules whose breaking nothing fails by, within these bounds, and why.
const REPAIRED: [(u8, Variant, Bounds, &str); 2] = [
    (
        1,
        Variant::RecordedFirst,
        LOSSES,
        "rule 2 sends again what was recorded and not sent",
    ),
    (
        7,
        Variant::GenerationKept,
        LETTERS,
        "the next claim raises the generation, and has another owner",
    ),
];

#[test]
fn one_version_survives_crashes_zombies_wrong_clocks_and_quarantine() -> anyhow::Result<()> {
    holds(QUARANTINE)
}

#[test]
fn three_versions_of_a_growing_file_are_never_mixed_up() -> anyhow::Result<()> {
    holds(GROWTH)
}

#[test]
fn the_watermark_never_says_more_than_is_true() -> anyhow::Result<()> {
    holds(WATERMARK)
}

#[test]
fn lost_messages_are_sent_again() -> anyhow::Result<()> {
    holds(LOSSES)?;
    holds(NO_RESEND)
}

#[test]
fn dead_letters_are_put_back_and_never_forgotten() -> anyhow::Result<()> {
    holds(LETTERS)?;
    holds(KILLER)
}

#[test]
fn gone_is_only_what_rds_has_lost() -> anyhow::Result<()> {
    holds(GONE)
}

#[test]
fn without_crashes_no_healthy_file_is_quarantined() -> anyhow::Result<()> {
    holds(CALM)
}

#[test]
fn each_rule_of_the_protocol_is_needed() -> anyhow::Result<()> {
    for (rule, variant, bounds, expected) in BROKEN {
        let found = failures(Protocol { bounds, variant });
        println!("rule {rule}, {variant:?}: {found:?}, in: {}", bounds.name);
        assert!(
            found.contains(&expected),
            "{variant:?}: {found:?}, not {expected}"
        );
    }
    for (rule, variant, bounds, why) in REPAIRED {
        let found = failures(Protocol { bounds, variant });
        println!(
            "rule {rule}, {variant:?}: nothing, since {why}; in: {}",
            bounds.name
        );
        assert_eq!(found, [""; 0], "{variant:?}");
    }
    let (broken, repaired) = (u64::try_from(BROKEN.len())?, u64::try_from(REPAIRED.len())?);
    proof::add("model", "broken variants found wrong", broken)?;
    proof::add("model", "broken variants that other rules repair", repaired)
}

/// Checks the protocol as it is, within bounds, and records how much that was.
#[expect(
    clippy::print_stdout,
    reason = "how much was checked is for people, too"
)]
fn holds(bounds: Bounds) -> anyhow::Result<()> {
    let variant = Variant::Faithful;
    let protocol = Protocol { bounds, variant };
    let checker = protocol.checker().spawn_bfs().join();
    let explored = explore(&protocol, |system| protocol.settled(system));
    println!(
        "{}: {} states, {} steps, depth {}",
        bounds.name,
        explored.states,
        explored.steps,
        checker.max_depth()
    );
    let found = checker.discoveries();
    for property in protocol.properties() {
        let discovery = found.get(property.name).cloned().map(Path::into_actions);
        let fails = property.expectation.discovery_is_failure();
        assert_eq!(
            discovery.is_some(),
            !fails,
            "{}: {}: {discovery:#?}",
            bounds.name,
            property.name
        );
    }
    assert_eq!(
        explored.stuck, 0,
        "{}: {ENDS}: {:#?}",
        bounds.name, explored.trace
    );
    assert_eq!(
        explored.states,
        checker.unique_state_count(),
        "{}",
        bounds.name
    );
    proof::add("model", "configurations", 1)?;
    proof::add("model", "states", u64::try_from(explored.states)?)?;
    proof::add(
        "model",
        "steps between them",
        u64::try_from(explored.steps)?,
    )
}

/// Which properties fail first; where none does, whether an end stays in reach.
fn failures(protocol: Protocol) -> Vec<&'static str> {
    let first = HasDiscoveries::AnyFailures;
    let checker = protocol.checker().finish_when(first).spawn_bfs().join();
    let found = checker.discoveries();
    let properties = protocol.properties().into_iter();
    let mut failures: Vec<_> = properties
        .filter(|property| property.expectation.discovery_is_failure())
        .map(|property| property.name)
        .filter(|name| found.contains_key(name))
        .collect();
    if failures.is_empty() && explore(&protocol, |system| protocol.settled(system)).stuck > 0 {
        failures.push(ENDS);
    }
    failures
}
