//! What CloudWatch is told: figures in its embedded metric format, once a run and once a minute, if there is where to.

use std::time::Duration;

use serde_json::Value;
use tests::eventually::eventually;
use tests::lambda::{Answer, Function};
use tests::rds::{FOREVER, Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World};

const NAMESPACE: (&str, &str) = ("METRICS_NAMESPACE", "Auditferry/test");

async fn world() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    Ok(world)
}

/// The figures that a program has printed, each with its declaration checked.
fn reports<'l>(log: impl Iterator<Item = &'l str>) -> Vec<Value> {
    let lines = log.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reports: Vec<Value> = lines.filter(|line| line.get("_aws").is_some()).collect();
    for report in &reports {
        let declared = &report["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Namespace"], "Auditferry/test");
        assert_eq!(declared["Dimensions"], serde_json::json!([[]]));
        let names: Vec<&Value> = declared["Metrics"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|metric| &metric["Name"])
            .collect();
        assert!(names.len() >= 5, "{report}");
        for name in names {
            let name = name.as_str().expect("a name");
            assert!(report[name].is_number(), "{name} in {report}");
        }
    }
    reports
}

#[tokio::test]
async fn a_worker_says_at_its_end_what_it_has_done_since_it_said_so_last() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("dead letter");
    world.enumerate().await?;
    world.send("no message").await?;
    let ended = world.work_with(&[NAMESPACE]).await?;
    let reports = reports(ended.stderr.lines());
    let [report] = &reports[..] else {
        panic!("{reports:?}")
    };
    for (name, expected) in [
        ("Shipped", 1.0),
        ("RawBytes", 9.0),
        ("Quarantined", 1.0),
        ("Released", 0.0),
        ("Gone", 0.0),
        ("BreakerOpen", 0.0),
    ] {
        assert_eq!(report[name].as_f64(), Some(expected), "{name} in {report}");
    }
    assert!(report["StoredBytes"].as_f64() > Some(20.0), "{report}");
    Ok(())
}

#[tokio::test]
async fn lost_evidence_is_told_and_a_worker_without_a_namespace_tells_nothing() -> anyhow::Result<()>
{
    let mut world = world().await?;
    world.enumerate().await?;
    world.rds.put_file(
        INSTANCE,
        "audit/audit.log.0.2024-10-01-13-00.0",
        "another\n",
        NOON,
    );
    world.rds.remove_file(INSTANCE, FILE);
    world.expect_error("gone, evidence is lost");
    let ended = world.work_with(&[NAMESPACE]).await?;
    let reports = reports(ended.stderr.lines());
    assert_eq!(reports[0]["Gone"], 1.0, "{reports:?}");

    world.enumerate().await?;
    let ended = world.work().await?;
    assert!(!ended.stderr.contains("_aws"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn what_waits_is_told_though_its_instance_cannot_be_listed() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.enumerate().await?;
    world.expect_error("failed to enumerate");
    world.expect_error("EnumerationIncomplete");
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "the reason why".to_owned(),
    };
    world.rds.fail(Where::listing(INSTANCE), denied, FOREVER);
    let mut function = Function::start(&world, &[NAMESPACE]).await?;
    let answer = function
        .invoke(&serde_json::json!({}), Duration::from_mins(5))
        .await?;
    assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    let report = eventually("the run is reported", async || {
        let reports = reports(function.log().iter().map(String::as_str));
        reports.into_iter().next().ok_or("nothing")
    })
    .await?;
    assert!(
        report["OldestUnfinishedHours"].as_f64() > Some(10_000.0),
        "{report}"
    );
    assert_eq!(report["Failures"], 1.0, "{report}");
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn each_run_of_the_producer_says_what_it_sent_and_how_long_the_oldest_has_waited()
-> anyhow::Result<()> {
    let world = world().await?;
    let mut function = Function::start(&world, &[NAMESPACE]).await?;
    let mut told = Vec::new();
    for run in 1..=3 {
        if run > 1 {
            world.work().await?;
        }
        let answer = function
            .invoke(&serde_json::json!({}), Duration::from_mins(5))
            .await?;
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
        told = eventually("the run is reported", async || {
            let reports = reports(function.log().iter().map(String::as_str));
            if reports.len() == run {
                Ok(reports)
            } else {
                Err(reports)
            }
        })
        .await?;
    }
    function.stop(&world).await?;
    let figure = |name: &str| -> Vec<f64> {
        told.iter()
            .filter_map(|report| report[name].as_f64())
            .collect()
    };
    assert_eq!(figure("Sent"), [1.0, 0.0, 0.0]);
    let hours = figure("OldestUnfinishedHours");
    // The file is of 2024, and archived before the second run.
    assert!(hours[0] > 10_000.0 && hours[1..] == [0.0, 0.0], "{hours:?}");
    Ok(())
}
