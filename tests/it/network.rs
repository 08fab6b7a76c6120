//! Whatever goes wrong on the wire to any of the four services, producer and worker lose nothing and double nothing.

// One fault before one service: what meets it, and what must be true in the end.
mod case;
// Uploads in a black hole.
mod uploads;

use anyhow::Context;
use futures_util::future::try_join_all;
use tests::proxy::{Fault, Service};

use self::case::{Case, Extent, HEAD, operations};

#[tokio::test]
async fn requests_and_answers_that_come_late_only_take_longer() -> anyhow::Result<()> {
    survives(Kind::Late).await
}

#[tokio::test]
async fn a_reset_before_after_or_within_an_answer_loses_and_doubles_nothing() -> anyhow::Result<()>
{
    survives(Kind::Reset).await
}

#[tokio::test]
async fn a_connection_closed_on_one_side_loses_and_doubles_nothing() -> anyhow::Result<()> {
    survives(Kind::HalfClosed).await
}

#[tokio::test]
async fn a_storm_of_server_errors_or_throttling_passes() -> anyhow::Result<()> {
    survives(Kind::Storm).await
}

#[tokio::test]
async fn a_black_hole_costs_one_timeout_and_is_tried_again() -> anyhow::Result<()> {
    survives(Kind::BlackHole).await
}

#[test]
fn every_fault_is_survived_in_a_test() {
    let source = include_str!("network.rs");
    for kind in Fault::all().map(Kind::of) {
        let body = format!("    survives(Kind::{kind:?}).await\n");
        assert!(source.contains(&body), "no test says {body:?}");
    }
}

/// Faults that have a test together: most of their time they only wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Late,
    Reset,
    HalfClosed,
    Storm,
    BlackHole,
}

impl Kind {
    fn of(fault: Fault) -> Self {
        match fault {
            Fault::LateRequest | Fault::LateAnswer => Self::Late,
            Fault::ResetBefore | Fault::ResetAfter | Fault::ResetWithin => Self::Reset,
            Fault::HalfClosed | Fault::HalfAnswered => Self::HalfClosed,
            Fault::ServerError | Fault::BadGateway | Fault::Throttled => Self::Storm,
            Fault::BlackHole => Self::BlackHole,
        }
    }
}

/// Holds that nothing is lost or doubled while one fault comes between us and one service.
async fn survives(kind: Kind) -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for fault in Fault::all().filter(|fault| Kind::of(*fault) == kind) {
        for service in Service::all() {
            let extents = extents(service, fault).into_iter();
            cases.extend(extents.map(|extent| Case {
                service,
                fault,
                extent,
            }));
        }
    }
    let run = async |case: Case| case.run().await.with_context(|| format!("{case:?}"));
    try_join_all(cases.into_iter().map(run)).await.map(drop)
}

fn extents(service: Service, fault: Fault) -> Vec<Extent> {
    let once_each = || {
        let each = operations(service).iter().copied();
        each.map(Extent::Once).collect()
    };
    match (Kind::of(fault), service) {
        (Kind::Late, _) => vec![Extent::Throughout],
        // Uploads have a minute and a half: see `uploads`.
        (Kind::BlackHole, Service::S3) => vec![Extent::Once(HEAD)],
        // One timeout after the other, of 15 s and more, would take minutes.
        (Kind::BlackHole, _) => once_each(),
        // So it would if everything was throttled: the SDK then asks RDS but once in ten seconds.
        (Kind::Storm, Service::Rds) if fault == Fault::Throttled => once_each(),
        // One large file after the other is enough for the machine.
        (Kind::Reset | Kind::HalfClosed | Kind::Storm, Service::S3) => vec![Extent::Storm],
        (Kind::Reset | Kind::HalfClosed | Kind::Storm, _) => {
            vec![Extent::OnAndOff, Extent::Storm]
        }
    }
}
