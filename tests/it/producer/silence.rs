//! Silence never looks as if all were well.

use serde_json::Value;
use tests::rds::{Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World, minutes_ago, number};

use super::{enumerate, report, says, texts};

const OFF: &str = "auditing appears off";
const GAP: &str = "possible gap";

async fn status(world: &World) -> anyhow::Result<(Option<i32>, Value)> {
    let ended = world.auditferry(&["status", "--json"]).await?;
    Ok((ended.code(), ended.json()?))
}

#[tokio::test]
async fn an_instance_without_audit_files_is_reported_as_auditing_appears_off() -> anyhow::Result<()>
{
    let world = World::with_aurora().await?;
    world.add_mariadb("legacy");
    world
        .rds
        .put_file("legacy", "audit/server_audit.log", "", minutes_ago(0));
    let error_log = "error/mysql-error.log";
    world.rds.put_file(INSTANCE, error_log, "x\n", NOON);
    for _ in 0..2 {
        let (code, summary) = enumerate(&world, &[]).await?;
        assert_eq!(code, Some(0));
        let report_of = |instance| report(&summary, instance);
        assert!(says(report_of(INSTANCE)?, "warnings", OFF), "{summary:#}");
        // One that is written to and has not rotated yet is fine.
        assert_eq!(texts(report_of("legacy")?, "warnings"), [""; 0]);
        // `status` still knows.
        let (code, status) = status(&world).await?;
        assert_eq!(code, Some(2), "{status:#}");
        let attention = texts(&status, "attention");
        assert_eq!(
            attention,
            ["instance-1: auditing appears off: RDS lists no audit log file"]
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_quiet_instance_is_not_taken_for_one_without_auditing() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON);
    world.enumerate().await?;
    let row = world.version_row(FILE).await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    // Nothing so late as the listing asks for.
    let mark = world.mark(INSTANCE, "aurora").await?;
    world.rewrite(&mark, "watermark", minutes_ago(60)).await?;
    let summary = world.enumerate().await?;
    assert_eq!(texts(report(&summary, INSTANCE)?, "warnings"), [""; 0]);
    assert_eq!(status(&world).await?.0, Some(0));
    Ok(())
}

#[tokio::test]
async fn an_instance_not_enumerated_for_12_hours_is_reported_as_a_possible_gap()
-> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "x\n", minutes_ago(61));
    world.enumerate().await?;
    let mark = world.mark(INSTANCE, "aurora").await?;
    for (hours, gap) in [(11, false), (12, true)] {
        let enumerated = minutes_ago(60 * hours);
        world
            .rewrite(&mark, "last_enumerated_at", enumerated)
            .await?;
        let (code, before) = status(&world).await?;
        assert_eq!(code, Some(if gap { 2 } else { 0 }), "{before:#}");
        let said = format!("{INSTANCE}: {GAP}: not enumerated since");
        assert_eq!(says(&before, "attention", &said), gap, "{before:#}");

        let summary = world.enumerate().await?;
        let said = format!("{GAP}: not enumerated since");
        let report = report(&summary, INSTANCE)?;
        assert_eq!(says(report, "warnings", &said), gap, "{summary:#}");
        // Said once: it has been enumerated now.
        let summary = world.enumerate().await?;
        assert!(!says(&summary["instances"][0], "warnings", GAP));
        assert_eq!(status(&world).await?.0, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_cannot_be_listed_is_not_counted_as_enumerated() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("failed to enumerate instance-1");
    world.rds.put_file(INSTANCE, FILE, "x\n", minutes_ago(61));
    world.enumerate().await?;
    let mark = world.mark(INSTANCE, "aurora").await?;
    let long_ago = minutes_ago(60 * 13);
    world.rewrite(&mark, "last_enumerated_at", long_ago).await?;
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "no".to_owned(),
    };
    world.rds.fail(Where::listing(INSTANCE), denied, 1);
    assert_eq!(enumerate(&world, &[]).await?.0, Some(1));
    let mark = world.mark(INSTANCE, "aurora").await?;
    assert_eq!(number(&mark, "last_enumerated_at")?, long_ago);
    assert_eq!(status(&world).await?.0, Some(2));
    Ok(())
}

#[tokio::test]
async fn rotated_files_that_may_have_come_and_gone_unseen_are_reported() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("legacy");
    let rotated = "audit/server_audit.log.1";
    let put = |minutes| {
        world
            .rds
            .put_file("legacy", rotated, "x\n", minutes_ago(minutes));
    };
    put(100);
    world.enumerate().await?;
    let row = world.version_row(rotated).await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;

    // (last enumerated, the oldest that is listed) in minutes before now
    for (enumerated, oldest, gap) in [(50, 51, false), (50, 49, true)] {
        let mark = world.mark("legacy", "server_audit").await?;
        let enumerated = minutes_ago(enumerated);
        world
            .rewrite(&mark, "last_enumerated_at", enumerated)
            .await?;
        put(oldest);
        let summary = world.enumerate().await?;
        let said = format!("{GAP}: the oldest rotated file");
        let report = report(&summary, "legacy")?;
        assert_eq!(says(report, "warnings", &said), gap, "{summary:#}");
        assert_eq!(report["sent"], 1, "{summary:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_listing_hides_no_gap() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("legacy");
    let rotated = "audit/server_audit.log.1";
    let put = |minutes| {
        world
            .rds
            .put_file("legacy", rotated, "x\n", minutes_ago(minutes));
    };
    put(100);
    world.enumerate().await?;
    let row = world.version_row(rotated).await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    let mark = world.mark("legacy", "server_audit").await?;
    world
        .rewrite(&mark, "last_enumerated_at", minutes_ago(50))
        .await?;

    // RDS lists nothing for an instance that has files: nothing was seen, so nothing is known since 50 minutes ago.
    put(10);
    world
        .rds
        .fail(Where::listing("legacy"), Fault::EmptyListing, 2);
    let summary = world.enumerate().await?;
    assert_eq!(report(&summary, "legacy")?["listed"], 0);
    let summary = world.enumerate().await?;
    let said = format!("{GAP}: the oldest rotated file");
    assert!(
        says(report(&summary, "legacy")?, "warnings", &said),
        "{summary:#}"
    );
    Ok(())
}
