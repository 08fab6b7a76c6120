//! What becomes of messages: each version is shipped once, by one worker at a time, or ends where a person looks.

// The same message twice, or to two workers.
mod duplicates;
// Who has a version, and until when.
mod leases;
// What cannot be shipped.
mod poison;

use tests::rds::{ANY, Fault, Where};
use tests::world::World;
use tests::world::by_hand::log;

#[tokio::test]
async fn a_worker_takes_only_what_it_has_room_for() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let stall = Fault::Stall { after_bytes: 1000 };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    for file in 0..5 {
        world
            .put_and_send(&format!("audit/file-{file}"), log(file, 5000))
            .await?;
    }
    let with = [
        ("CONCURRENCY", "1"),
        ("LEASE", "3s"),
        ("EXIT_WHEN_IDLE", "1s"),
    ];
    let worker = world.start_worker(&with)?;
    world.until_stalled(1).await?;
    let rows = world.all_versions().await?;
    assert_eq!(rows.len(), 1, "only one is claimed: {rows:?}");
    let version = world.version(&rows[0]["name"])?;
    world
        .until_row(&version, "a renewal", |row| {
            row["lease_until"] > rows[0]["lease_until"]
        })
        .await?;
    assert_eq!(world.queued().await?, (4, 1), "more was taken meanwhile");

    world.rds.release_stalls();
    world.finish_worker(worker).await?;
    assert_eq!(world.objects().await?.len(), 5);
    Ok(())
}
