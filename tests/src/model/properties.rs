//! What must be true of every state; and what of some, or the check would say nothing.

use shared::checkpoint::State;
use stateright::Property;

use super::worker::{self, At, Worker};
use super::{Bounds, On, Operator, Protocol, Request, System, With, Wrong};

/// All of them, for a configuration.
pub(super) fn all(bounds: &Bounds) -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::always(
            "at most one commit per key and version",
            |_, system: &System| system.wrong != Some(Wrong::CommittedTwice),
        ),
        Property::always("committed versions only increase", |_, system: &System| {
            system.wrong != Some(Wrong::CommittedOlder)
        }),
        Property::always("Complete means an object as new", |_, system: &System| {
            (1..=system.latest).all(|version| {
                let complete = system
                    .row(version)
                    .is_some_and(|row| row.state == State::Complete);
                !complete || worker::stored(version, system.object)
            })
        }),
        Property::always("Complete stays", |_, system: &System| {
            system.wrong != Some(Wrong::CompleteUndone)
        }),
        Property::always(
            "a message goes only when it is settled",
            |_, system: &System| system.wrong != Some(Wrong::MessageForgotten),
        ),
        Property::always(
            "a dead letter goes only when it is settled or sent again",
            |_, system: &System| system.wrong != Some(Wrong::LetterForgotten),
        ),
        Property::always(
            "the watermark passes only what is finished",
            |_, system: &System| system.wrong != Some(Wrong::WatermarkPassed),
        ),
        Property::always("the watermark never moves back", |_, system: &System| {
            system.wrong != Some(Wrong::WatermarkBack)
        }),
        Property::always("Gone is only what is gone", |_, system: &System| {
            system.wrong != Some(Wrong::NotGone)
        }),
    ];
    if !bounds.with(With::Crashes) {
        properties.push(Property::always(
            "no healthy file is quarantined",
            |_, system: &System| {
                !system
                    .rows
                    .iter()
                    .flatten()
                    .any(|row| row.state == State::Quarantined)
            },
        ));
    }
    let reached = REACHED
        .iter()
        .filter(|(name, _)| bounds.reaches.contains(name));
    properties.extend(reached.map(|(name, condition)| Property::sometimes(name, *condition)));
    properties
}

type Condition = fn(&Protocol, &System) -> bool;

/// What makes a configuration worth checking: it does come to this.
const REACHED: [(&str, Condition); 10] = [
    (
        "a worker has lost its claim to another",
        |_, system: &System| {
            system.workers.iter().any(|worker| {
                let leased = system
                    .rows
                    .iter()
                    .flatten()
                    .any(|row| row.state == State::Leased);
                worker.working() && leased && worker.fenced(system)
            })
        },
    ),
    (
        "a version is superseded before it is uploaded",
        |_, system: &System| {
            let late =
                |worker: &Worker| worker.at == At::Complete && system.object > worker.version;
            system.workers.iter().any(late)
        },
    ),
    (
        "an older version's object is about to be replaced",
        |_, system: &System| {
            let replaces = |worker: &Worker| {
                matches!(
                    worker.at,
                    At::Put {
                        on: On::Is(1..=3),
                        ..
                    }
                )
            };
            system.workers.iter().any(replaces)
        },
    ),
    (
        "an upload is under way when its worker is dead",
        |_, system: &System| {
            let idle = system.workers.iter().all(|worker| worker.at == At::Idle);
            idle && matches!(system.astray, Some(Request::Put { .. }))
        },
    ),
    ("a version is quarantined", |_, system: &System| {
        any(system, State::Quarantined)
    }),
    ("a quarantined version is put back", |_, system: &System| {
        matches!(system.operator, Operator::Send(..)) && any(system, State::Queued)
    }),
    ("a version is gone", |_, system: &System| {
        any(system, State::Gone)
    }),
    (
        "a version is recorded as gone, and proved then",
        |_, system: &System| {
            let proves = |worker: &Worker| worker.at == At::Complete;
            any(system, State::Gone) && system.workers.iter().any(proves)
        },
    ),
    (
        "the watermark reaches the last version",
        |protocol: &Protocol, system: &System| system.watermark == protocol.bounds.versions,
    ),
    ("a finished row has expired", |_, system: &System| {
        system.watermark > 0 && system.row(system.watermark).is_none()
    }),
];

fn any(system: &System, state: State) -> bool {
    system.rows.iter().flatten().any(|row| row.state == state)
}
