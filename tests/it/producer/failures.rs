//! What is wrong with one instance stops no other; what is wrong with all is said once.

use serde_json::json;
use tests::rds::{FOREVER, Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World};

use super::{enumerate, report, says, texts};

const OTHER: &str = "instance-2";

/// Two instances, each with one file that is due.
async fn world() -> anyhow::Result<World> {
    let world = World::new().await?;
    world.add_aurora("my-rds-cluster", &[INSTANCE, OTHER]);
    for instance in [INSTANCE, OTHER] {
        world.rds.put_file(instance, FILE, "x\n", NOON);
    }
    Ok(world)
}

fn status(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        code: code.to_owned(),
        message: "the reason why".to_owned(),
    }
}

#[tokio::test]
async fn a_broken_instance_is_counted_and_named_and_the_others_are_sent() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("failed to enumerate instance-1: DescribeDBLogFiles: AccessDenied");
    let denied = status(403, "AccessDenied");
    world.rds.fail(Where::listing(INSTANCE), denied, FOREVER);
    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!((code, &summary["failures"]), (Some(1), &json!(1)));
    let why = "DescribeDBLogFiles: AccessDenied: the reason why";
    assert_eq!(report(&summary, INSTANCE)?["error"], why);
    assert_eq!(report(&summary, OTHER)?["error"], json!(null));
    let sent = world.take_bodies(1).await?;
    assert_eq!(sent[0]["instance"], OTHER);

    // People read the same.
    let ended = world.auditferry(&["enumerate"]).await?;
    assert_eq!(ended.code(), Some(1));
    let said = format!("failures:\n  {INSTANCE}: {why}");
    assert!(ended.stdout.contains(&said), "{}", ended.stdout);
    assert_eq!(ended.logged("ERROR").len(), 1, "{ended:?}");

    // Mended, it is sent as if nothing had been.
    world.rds.clear_faults();
    assert_eq!(world.enumerate().await?["sent"], 1);
    Ok(())
}

#[tokio::test]
async fn a_throttled_listing_is_asked_for_again() -> anyhow::Result<()> {
    let world = world().await?;
    let listing = || Where::listing(INSTANCE);
    world.rds.fail(listing(), Fault::Throttle, 1);
    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["failures"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(world.rds.count(&listing()), 2);
    Ok(())
}

#[tokio::test]
async fn what_rds_fails_at_in_passing_is_asked_for_again() -> anyhow::Result<()> {
    let world = world().await?;
    let places = [
        Where::Clusters,
        Where::Instances,
        Where::listing(INSTANCE),
        Where::listing(OTHER),
    ];
    for place in places.clone() {
        world.rds.fail(place, status(500, "InternalFailure"), 1);
    }
    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["failures"]),
        (&json!(2), &json!(0))
    );
    for place in places {
        assert_eq!(world.rds.count(&place), 2, "{place:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_not_ready_is_left_for_later() -> anyhow::Result<()> {
    let world = world().await?;
    for not_ready in ["creating", "paused"] {
        world.rds.set_instance_status(INSTANCE, not_ready);
        let (code, summary) = enumerate(&world, &[]).await?;
        assert_eq!(code, Some(0), "{not_ready}: {summary:#}");
        let warns = says(
            report(&summary, INSTANCE)?,
            "warnings",
            "not ready, so left for later",
        );
        assert!(warns, "{not_ready}: {summary:#}");
    }
    world.rds.set_instance_status(INSTANCE, "available");
    assert_eq!(world.enumerate().await?["sent"], 1);
    Ok(())
}

#[tokio::test]
async fn an_available_instance_that_vanishes_is_a_failure() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("failed to enumerate instance-1: DescribeDBLogFiles: DBInstanceNotFound");
    let vanish = |rds: &tests::rds::Rds| rds.remove_instance(INSTANCE);
    world.rds.after(Where::Instances, 1, vanish);
    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!(
        (code, &summary["sent"]),
        (Some(1), &json!(1)),
        "{summary:#}"
    );
    Ok(())
}

#[tokio::test]
async fn an_instance_whose_rows_were_tampered_with_is_a_failure_of_its_own() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("failed to enumerate instance-1: ");
    world.enumerate().await?;
    let rows = world.versions(FILE).await?;
    let row = rows.iter().find(|row| row["instance"] == INSTANCE);
    let row = row.expect("there is a row of each instance");
    world.rewrite_state(row, "Lost").await?;
    world.rds.put_file(OTHER, "audit/more", "x\n", NOON);
    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!((code, &summary["failures"]), (Some(1), &json!(1)));
    let report_of = |instance| report(&summary, instance);
    assert!(report_of(INSTANCE)?["error"].is_string(), "{summary:#}");
    let which = report_of(INSTANCE)?.to_string();
    assert!(which.contains("state is missing or malformed"), "{which}");
    assert_eq!(report_of(OTHER)?["sent"], 1, "{summary:#}");
    Ok(())
}

#[tokio::test]
async fn what_serves_all_instances_and_is_not_there_is_one_error() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("SendMessageBatch: ");
    world.expect_error("Query: ");
    world.expect_error("DescribeDBClusters: ");
    for n in 3..20 {
        world.add_aurora(&format!("cluster-{n}"), &[&format!("instance-{n}")]);
    }
    let no_queue = format!("{}-absent", world.resources.queue_url);
    for (what, value, names) in [
        ("QUEUE_URL", no_queue.as_str(), "SendMessageBatch: "),
        ("CHECKPOINT_TABLE", "absent", "Query: "),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "DescribeDBClusters: "),
    ] {
        let ended = world
            .auditferry_with(&["enumerate"], &[(what, value)])
            .await?;
        assert_eq!(ended.code(), Some(1), "{what}: {ended:?}");
        let errors = ended.logged("ERROR");
        assert_eq!(errors.len(), 1, "{what}: {ended:?}");
        assert!(errors[0].starts_with(names), "{what}: {ended:?}");
        // What was not sent is not recorded, and what was not recorded is sent the next time.
        assert_eq!(world.all_versions().await?.len(), 0, "{what}");
    }
    assert_eq!(world.enumerate().await?["sent"], 2);
    Ok(())
}

#[tokio::test]
async fn rds_that_refuses_altogether_is_one_error() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("DescribeDBInstances: AccessDenied");
    let denied = status(403, "AccessDenied");
    world.rds.fail(Where::Instances, denied, 1);
    let ended = world.auditferry(&["enumerate", "--json"]).await?;
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.logged("ERROR").len(), 1, "{ended:?}");
    assert_eq!(texts(&world.enumerate().await?, "problems"), [""; 0]);
    Ok(())
}
