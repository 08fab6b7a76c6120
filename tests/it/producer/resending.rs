//! Messages that got lost are sent again: what the table knows as unfinished is never forgotten.

use serde_json::json;
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{MINUTE, NOON, World, minutes_ago, number};

use super::enumerate;

/// A world in which a version is Queued, and its message is lost.
async fn lost() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one\n", NOON);
    world.enumerate().await?;
    world.take(1).await?;
    Ok(world)
}

#[tokio::test]
async fn a_lost_message_is_sent_again_ever_more_rarely() -> anyhow::Result<()> {
    let world = lost().await?;
    let row = world.version_row(FILE).await?;
    for (minutes, resent, next) in [
        (29, 0, None),
        (30, 1, Some(60)),
        (59, 0, Some(60)),
        (60, 1, Some(120)),
        (120, 1, Some(240)),
        (240, 1, Some(360)),
        (359, 0, Some(360)),
        (360, 1, Some(360)), // no more rarely than every six hours
    ] {
        let queued_at = minutes_ago(minutes);
        world.rewrite(&row, "queued_at", queued_at).await?;
        let asked_at = minutes_ago(0);
        let summary = world.enumerate().await?;
        assert_eq!(
            (&summary["sent"], &summary["resent"]),
            (&json!(0), &json!(resent)),
            "after {minutes} minutes"
        );
        let now = world.version_row(FILE).await?;
        let resend_after = number(&now, "resend_after").ok();
        assert_eq!(resend_after, next.map(|minutes: i64| minutes * MINUTE));
        assert_eq!(number(&now, "queued_at")? >= asked_at, resent == 1);
        let unchanged = ["state", "generation", "attempts"];
        assert!(
            unchanged
                .iter()
                .all(|name| now.get(*name) == row.get(*name)),
            "{now:#?}"
        );
    }
    // All five are the same message, and one of them ships it.
    let bodies = world.take_bodies(5).await?;
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
    world.send(&bodies[0].to_string()).await?;
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn resend_after_says_when_a_message_is_lost() -> anyhow::Result<()> {
    let world = lost().await?;
    let row = world.version_row(FILE).await?;
    world.rewrite(&row, "queued_at", minutes_ago(5)).await?;
    let (_, summary) = enumerate(&world, &[("RESEND_AFTER", "6m")]).await?;
    assert_eq!(summary["resent"], 0);
    let (_, summary) = enumerate(&world, &[("RESEND_AFTER", "5m")]).await?;
    assert_eq!(summary["resent"], 1);
    Ok(())
}

#[tokio::test]
async fn a_version_whose_worker_died_is_sent_again_long_after_its_lease() -> anyhow::Result<()> {
    let world = lost().await?;
    let row = world.version_row(FILE).await?;
    world.rewrite_state(&row, "Leased").await?;
    world.rewrite(&row, "queued_at", minutes_ago(999)).await?;
    for (lease_ended, resent) in [(-2, 0), (29, 0), (30, 1)] {
        let lease_until = minutes_ago(lease_ended);
        world.rewrite(&row, "lease_until", lease_until).await?;
        let summary = world.enumerate().await?;
        assert_eq!(summary["resent"], resent, "{lease_ended} minutes after it");
    }
    // Still the dead worker's, until another one claims it.
    let now = world.version_row(FILE).await?;
    assert_eq!(
        (&*now["state"], number(&now, "resend_after")?),
        ("Leased", 60 * MINUTE)
    );
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn what_is_finished_or_quarantined_is_never_sent_again() -> anyhow::Result<()> {
    let world = lost().await?;
    let row = world.version_row(FILE).await?;
    world.rewrite(&row, "queued_at", minutes_ago(9999)).await?;
    for state in ["Complete", "Gone", "Quarantined"] {
        world.rewrite_state(&row, state).await?;
        let summary = world.enumerate().await?;
        assert_eq!(
            (&summary["sent"], &summary["resent"]),
            (&json!(0), &json!(0)),
            "{state}"
        );
    }
    world.take(0).await?;
    Ok(())
}

#[tokio::test]
async fn an_unfinished_version_that_no_listing_has_any_more_is_sent_again_and_holds_the_watermark()
-> anyhow::Result<()> {
    let world = lost().await?;
    world.rds.grow_file(INSTANCE, FILE, b"two\n", NOON + MINUTE);
    assert_eq!(world.enumerate().await?["sent"], 1);
    world.work().await?;
    let versions = world.versions(FILE).await?;
    let [before, after] = versions.as_slice() else {
        panic!("two versions: {versions:#?}")
    };
    assert_eq!(
        (&*before["state"], &*after["state"]),
        ("Queued", "Complete")
    );

    // The archive has the newer version, yet nothing has proved that it holds the older one.
    assert_eq!(world.enumerate().await?["resent"], 0);
    assert_eq!(world.watermarks().await?["instance-1 aurora"], "");
    world.rewrite(before, "queued_at", minutes_ago(30)).await?;
    assert_eq!(world.enumerate().await?["resent"], 1);
    assert_eq!(world.watermarks().await?["instance-1 aurora"], "");

    world.work().await?;
    world.enumerate().await?;
    let before = &world.versions(FILE).await?[0];
    assert_eq!(
        (&*before["state"], &*before["reason"]),
        ("Complete", "superseded")
    );
    assert_eq!(
        world.watermarks().await?["instance-1 aurora"],
        (NOON + MINUTE).to_string()
    );
    Ok(())
}

#[tokio::test]
async fn what_was_queued_by_a_former_name_is_sent_again_by_the_present_one() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one\n", NOON);
    let version = world.version(FILE)?;
    world.enumerate().await?;
    world.rds.rename_instance(INSTANCE, "renamed");
    // An instance that is not found may yet be created, so the worker gives the version back, again and again.
    let worker = world.start_worker(&[])?;
    worker.says("released audit/").await?;
    world.until(&version, "Queued").await?;
    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["resent"]),
        (&json!(0), &json!(1))
    );
    let row = world.until(&version, "Complete").await?;
    assert_eq!(row["instance"], "renamed");
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    assert_eq!(world.enumerate().await?["resent"], 0);
    Ok(())
}
