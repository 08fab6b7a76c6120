//! Who has a version, and until when: claims are renewed, lost, and taken over.

use jiff::Timestamp;
use shared::message::Message;
use tests::programs::Running;
use tests::rds::{ANY, Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE, KEY, log, noise};
use tests::world::{MINUTE, NOON, Row, World};

/// The shortest that there is.
const LEASE: (&str, &str) = ("LEASE", "3s");

/// The same, in milliseconds.
const LEASE_MS: i64 = 3000;

#[tokio::test]
async fn a_file_of_a_killed_worker_is_taken_over_after_its_lease() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(1, 30_000);
    let (version, worker) = stalled(&world, content.clone(), 1000).await?;
    worker.signal("KILL").await?;
    worker.ended().await?;
    world.rds.release_stalls();
    let row = world.until(&version, "Leased").await?;
    assert_eq!(told(&row), ["1", "1"]);

    world.work_with(&[LEASE]).await?;
    assert!(world.objects().await?[KEY].raw == content);
    let row = world.until(&version, "Complete").await?;
    assert_eq!(told(&row), ["2", "2"], "generation and attempts");
    assert_eq!(world.objects().await?[KEY].metadata["generation"], "2");
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn heartbeats_keep_a_download_that_takes_longer_than_its_lease() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(2, 30_000);
    let (version, worker) = stalled(&world, content.clone(), 1000).await?;
    let began = Timestamp::now().as_millisecond();
    let row = world
        .until_row(&version, "the lease to be renewed often", |row| {
            lease_until(row) > began + 3 * LEASE_MS
        })
        .await?;
    assert_eq!(told(&row), ["1", "1"], "nobody else has claimed it");
    assert_eq!(world.queued().await?, (0, 1), "the message stays hidden");

    world.rds.release_stalls();
    world.until(&version, "Complete").await?;
    stop(&world, worker).await?;
    assert!(world.objects().await?[KEY].raw == content);
    assert_eq!(world.rds.count(&Where::download(INSTANCE, FILE)), 1);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_has_lost_its_claim_drops_the_work_and_touches_nothing() -> anyhow::Result<()>
{
    let world = World::with_aurora().await?;
    // Far enough for a part to be in S3.
    let (version, worker) = stalled(&world, noise(3, 9 << 20), (8 << 20) + (1 << 19)).await?;
    let in_an_hour = Timestamp::now().as_millisecond() + 60 * MINUTE;
    let theirs = [
        ("owner", "another worker"),
        ("generation", "9"),
        ("lease_until", &in_an_hour.to_string()),
    ];
    world.rewrite_row(&version, &theirs).await?;
    let row = world.row(&version).await?;

    worker.says("the claim was lost: another has it").await?;
    world.rds.release_stalls();
    stop(&world, worker).await?;
    assert_eq!(world.row(&version).await?, row, "the row is theirs");
    assert_eq!(world.objects().await?.len(), 0);
    assert_eq!(
        world.unfinished_uploads().await?,
        0,
        "its own parts are left"
    );
    let (visible, in_flight) = world.queued().await?;
    assert_eq!(visible + in_flight, 1, "the message is theirs");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_cannot_renew_stops_before_its_lease_ends() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("stopped taking messages");
    let (_version, worker) = stalled(&world, log(4, 30_000), 1000).await?;
    world
        .dynamodb
        .delete_table()
        .table_name(&world.resources.table)
        .send()
        .await?;
    worker
        .says("the claim was lost: it could not be renewed in time")
        .await?;
    world.rds.release_stalls();
    stop(&world, worker).await?;
    assert_eq!(world.objects().await?.len(), 0);
    let (visible, in_flight) = world.queued().await?;
    assert_eq!(visible + in_flight, 1);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_slept_through_its_lease_overwrites_nothing() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(5, 50_000);
    let (before, after) = content.split_at(30_000);
    let (first, sleeper) = stalled(&world, before.to_vec(), 1000).await?;
    sleeper.signal("STOP").await?;

    world.work_with(&[LEASE]).await?;
    let first_row = world.until(&first, "Complete").await?;
    assert_eq!(told(&first_row), ["2", "2"]);
    world
        .rds
        .grow_file(INSTANCE, FILE, after, NOON + 2 * MINUTE);
    let second = world.send_version(FILE).await?;
    world.work_with(&[LEASE]).await?;
    let second_row = world.until(&second, "Complete").await?;

    world.rds.release_stalls();
    sleeper.signal("CONT").await?;
    sleeper.says("the claim was lost").await?;
    stop(&world, sleeper).await?;
    assert!(world.objects().await?[KEY].raw == content);
    assert_eq!(world.writes(KEY).await?, 2);
    assert_eq!(world.row(&first).await?, Some(first_row));
    assert_eq!(world.row(&second).await?, Some(second_row));
    Ok(())
}

#[tokio::test]
async fn a_row_is_claimed_when_its_lease_has_ended_and_not_before() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let now = Timestamp::now().as_millisecond();
    let mut versions = Vec::new();
    for (file, lease_until) in [("audit/held", now + 60 * MINUTE), ("audit/left", now - 1)] {
        world
            .rds
            .put_file(INSTANCE, file, log(6, 5000), NOON + MINUTE);
        versions.push((world.version(file)?, lease_until.to_string()));
    }
    world.enumerate().await?;
    for (version, lease_until) in &versions {
        let leased = [
            ("state", "Leased"),
            ("owner", "a worker"),
            ("generation", "6"),
            ("attempts", "1"),
            ("lease_until", lease_until),
        ];
        world.rewrite_row(version, &leased).await?;
    }
    let [(held, _), (left, _)] = versions.as_slice() else {
        unreachable!("there are two")
    };
    let held_row = world.row(held).await?;

    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "1s")])?;
    let row = world.until(left, "Complete").await?;
    assert_eq!(told(&row), ["7", "2"]);
    world.until_queued(0, 1).await?;
    stop(&world, worker).await?;
    assert_eq!(world.row(held).await?, held_row);
    assert_eq!(world.queued().await?, (0, 1), "the message waits, too");
    let downloads = |file| world.rds.count(&Where::download(INSTANCE, file));
    assert_eq!((downloads("audit/held"), downloads("audit/left")), (0, 1));
    Ok(())
}

/// A version whose download is silent after so many bytes, and the worker with the short lease that waits for more.
async fn stalled(
    world: &World,
    content: Vec<u8>,
    after_bytes: usize,
) -> anyhow::Result<(Message, Running)> {
    world
        .rds
        .fail(Where::download(ANY, ANY), Fault::Stall { after_bytes }, 1);
    let version = world.put_and_send(FILE, content).await?;
    // Busy with this one, it does not poll: what dies in a poll takes a message with it, until its lease.
    let with = [LEASE, ("CONCURRENCY", "1"), ("EXIT_WHEN_IDLE", "1s")];
    let worker = world.start_worker(&with)?;
    world.until_stalled(1).await?;
    Ok((version, worker))
}

async fn stop(world: &World, worker: Running) -> anyhow::Result<()> {
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    Ok(())
}

/// Generation and attempts.
fn told(row: &Row) -> [&str; 2] {
    ["generation", "attempts"].map(|name| row[name].as_str())
}

fn lease_until(row: &Row) -> i64 {
    row["lease_until"].parse().expect("milliseconds")
}
