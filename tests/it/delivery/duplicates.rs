//! The same message twice, or to two workers: one object, one row.

use tests::rds::{ANY, Fault, Where};
use tests::world::World;
use tests::world::by_hand::{FILE, INSTANCE, KEY, log};

#[tokio::test]
async fn messages_that_come_twice_to_two_workers_are_shipped_once() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let mut versions = Vec::new();
    for file in 0..8 {
        let version = world
            .put_and_send(&format!("audit/file-{file}"), log(file, 5000))
            .await?;
        world.send(&version.to_wire()).await?;
        versions.push(version);
    }
    // What finds its version claimed comes back when the lease would have ended.
    let with = [("LEASE", "3s")];
    tokio::try_join!(world.work_with(&with), world.work_with(&with))?;

    let objects = world.objects().await?;
    assert_eq!(objects.len(), 8);
    for key in objects.keys() {
        assert_eq!(world.writes(key).await?, 1, "{key}");
    }
    for version in versions {
        let row = world.until(&version, "Complete").await?;
        assert_eq!(
            (row["generation"].as_str(), row["reason"].as_str()),
            ("1", "shipped"),
            "{row:?}"
        );
    }
    assert_eq!(world.rds.count(&Where::download(ANY, ANY)), 8);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_second_worker_does_not_download_what_the_first_has_claimed() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let stall = Fault::Stall { after_bytes: 1000 };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    let claimed = world.put_and_send(FILE, log(1, 5000)).await?;
    // One at a time, so that what was sent later is done later.
    let with = [("CONCURRENCY", "1"), ("EXIT_WHEN_IDLE", "1s")];
    let first = world.start_worker(&with)?;
    world.until_stalled(1).await?;

    let second = world.start_worker(&with)?;
    world.send(&claimed.to_wire()).await?;
    let later = world.put_and_send("audit/later", log(2, 5000)).await?;
    world.until(&later, "Complete").await?;
    assert_eq!(world.rds.count(&Where::download(INSTANCE, FILE)), 1);
    let row = world.until(&claimed, "Leased").await?;
    assert_eq!(
        (row["generation"].as_str(), row["attempts"].as_str()),
        ("1", "1")
    );

    world.rds.release_stalls();
    world.until(&claimed, "Complete").await?;
    for worker in [first, second] {
        worker.signal("TERM").await?;
        world.finish_worker(worker).await?;
    }
    assert_eq!(world.rds.count(&Where::download(INSTANCE, FILE)), 1);
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(
        world.queued().await?,
        (0, 1),
        "the duplicate waits for the lease"
    );
    Ok(())
}

#[tokio::test]
async fn a_message_of_which_nothing_is_left_to_do_is_just_deleted() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let version = world.put_and_send(FILE, log(3, 5000)).await?;
    world.work().await?;
    for state in ["Complete", "Gone", "Quarantined"] {
        world.rewrite_row(&version, &[("state", state)]).await?;
        let row = world.row(&version).await?;
        world.send(&version.to_wire()).await?;
        world.work().await?;
        assert_eq!(
            world.row(&version).await?,
            row,
            "the row of a {state} version"
        );
    }
    assert_eq!(world.rds.count(&Where::download(INSTANCE, FILE)), 1);
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(
        (world.queued().await?, world.dead_letters().await?),
        ((0, 0), (0, 0))
    );
    Ok(())
}
