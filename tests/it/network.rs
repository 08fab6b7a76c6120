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
async fn requests_that_arrive_late_only_take_longer() -> anyhow::Result<()> {
    survives(Fault::LateRequest).await
}

#[tokio::test]
async fn answers_that_arrive_late_only_take_longer() -> anyhow::Result<()> {
    survives(Fault::LateAnswer).await
}

#[tokio::test]
async fn a_request_lost_to_a_reset_is_made_again() -> anyhow::Result<()> {
    survives(Fault::ResetBefore).await
}

#[tokio::test]
async fn an_effect_whose_answer_was_lost_to_a_reset_is_found_and_not_doubled() -> anyhow::Result<()>
{
    survives(Fault::ResetAfter).await
}

#[tokio::test]
async fn an_answer_that_a_reset_cuts_in_two_is_not_believed() -> anyhow::Result<()> {
    survives(Fault::ResetWithin).await
}

#[tokio::test]
async fn a_connection_half_closed_without_an_answer_is_not_waited_on() -> anyhow::Result<()> {
    survives(Fault::HalfClosed).await
}

#[tokio::test]
async fn an_answer_that_a_half_closed_connection_cuts_in_two_is_not_believed() -> anyhow::Result<()>
{
    survives(Fault::HalfAnswered).await
}

#[tokio::test]
async fn a_storm_of_internal_errors_passes() -> anyhow::Result<()> {
    survives(Fault::ServerError).await
}

#[tokio::test]
async fn a_storm_of_bad_gateways_passes() -> anyhow::Result<()> {
    survives(Fault::BadGateway).await
}

#[tokio::test]
async fn a_storm_of_throttling_passes() -> anyhow::Result<()> {
    survives(Fault::Throttled).await
}

#[tokio::test]
async fn a_black_hole_costs_one_timeout_and_is_tried_again() -> anyhow::Result<()> {
    survives(Fault::BlackHole).await
}

#[test]
fn every_fault_is_survived_by_a_test() {
    let source = include_str!("network.rs");
    for fault in Fault::all() {
        let test = format!("    survives(Fault::{fault:?}).await\n");
        assert!(source.contains(&test), "no test has {test:?}");
    }
}

/// Holds that nothing is lost or doubled while a fault comes between us and each service, one at a time.
async fn survives(fault: Fault) -> anyhow::Result<()> {
    let cases = Service::all().flat_map(|service| {
        let extents = extents(service, fault).into_iter();
        extents.map(move |extent| Case {
            service,
            fault,
            extent,
        })
    });
    let run = async |case: Case| case.run().await.with_context(|| format!("{case:?}"));
    try_join_all(cases.map(run)).await.map(drop)
}

fn extents(service: Service, fault: Fault) -> Vec<Extent> {
    let once_each = || {
        let each = operations(service).iter().copied();
        each.map(Extent::Once).collect()
    };
    match (fault, service) {
        (Fault::LateRequest | Fault::LateAnswer, _) => vec![Extent::Throughout],
        // Uploads have a minute and a half: see `uploads`.
        (Fault::BlackHole, Service::S3) => vec![Extent::Once(HEAD)],
        // Timeouts of 15 s and more; and once throttled, the SDK asks RDS for something once in ten seconds. One after the
        // other, that would take minutes.
        (Fault::BlackHole, _) | (Fault::Throttled, Service::Rds) => once_each(),
        (
            Fault::ResetBefore
            | Fault::ResetAfter
            | Fault::ResetWithin
            | Fault::HalfClosed
            | Fault::HalfAnswered
            | Fault::ServerError
            | Fault::BadGateway
            | Fault::Throttled,
            service,
        ) => match service {
            // One large file after the other is enough for the machine.
            Service::S3 => vec![Extent::Storm],
            Service::Sqs | Service::DynamoDb | Service::Rds => {
                vec![Extent::OnAndOff, Extent::Storm]
            }
        },
    }
}
