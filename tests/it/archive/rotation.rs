//! MySQL and MariaDB rename files while we look: a version is found under whatever name it has.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tests::rds::{ANY, Fault, Rotation, Where};
use tests::world::by_hand::log;
use tests::world::{MINUTE, NOON, World};

const MARIA: &str = "maria";

/// Where the file lies that was written last at 12:`minute`.
fn key(minute: i64, size: usize) -> String {
    format!(
        "maria/audit/2024/10/01/12/maria/server_audit.log.2024-10-01T12-{minute:02}-00.000Z-{size}.gz"
    )
}

/// A standalone instance with rotated files of these sizes, last written at 12:09, 12:08, …, and an active one.
async fn rotated(
    digits: usize,
    active: usize,
    sizes: &[usize],
) -> anyhow::Result<(World, BTreeMap<String, Vec<u8>>)> {
    let world = World::new().await?;
    world.add_mariadb(MARIA);
    world
        .rds
        .set_rotation(MARIA, Rotation { history: 5, digits });
    let mut archive = BTreeMap::new();
    for ((number, minute), size) in (1..).zip((1..10).rev()).zip(sizes) {
        let content = log(number, *size);
        let name = format!("audit/server_audit.log.{number:0digits$}");
        let last_written = NOON + minute * MINUTE;
        world
            .rds
            .put_file(MARIA, &name, content.clone(), last_written);
        archive.insert(key(minute, *size), content);
    }
    world.rds.put_file(
        MARIA,
        "audit/server_audit.log",
        log(100, active),
        NOON + 10 * MINUTE,
    );
    let summary = world.enumerate().await?;
    assert_eq!(
        summary["sent"],
        sizes.len(),
        "only what is rotated: {summary}"
    );
    Ok((world, archive))
}

/// Ships, allowing no failed attempt, and compares.
async fn ships(world: &World, archive: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    world.work_with(&[("MAX_ATTEMPTS", "1")]).await?;
    let objects = world.objects().await?;
    assert_eq!(
        objects.keys().collect::<Vec<_>>(),
        archive.keys().collect::<Vec<_>>()
    );
    for (key, content) in archive {
        assert!(
            objects[key].raw == *content,
            "{key} differs from the log file"
        );
    }
    for row in world.all_versions().await? {
        assert_eq!(
            (row["state"].as_str(), row["reason"].as_str()),
            ("Complete", "shipped"),
            "{row:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_rotation_before_the_worker_looks_is_followed() -> anyhow::Result<()> {
    for digits in [1, 2] {
        let (world, archive) = rotated(digits, 30_000, &[20_000, 25_000]).await?;
        world.rds.rotate(MARIA, NOON + 11 * MINUTE);
        ships(&world, &archive).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rotation_between_listing_and_download_is_followed() -> anyhow::Result<()> {
    // What then has the name is longer, or of the same length.
    for active in [30_000, 20_000] {
        let (world, archive) = rotated(1, active, &[20_000]).await?;
        world.rds.rotate_after_listing(MARIA, 1, NOON + 11 * MINUTE);
        ships(&world, &archive).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rotation_that_puts_a_shorter_file_in_the_place_is_no_failed_attempt()
-> anyhow::Result<()> {
    let (world, archive) = rotated(1, 10_000, &[20_000]).await?;
    world.rds.rotate_after_listing(MARIA, 1, NOON + 11 * MINUTE);
    ships(&world, &archive).await
}

#[tokio::test]
async fn a_rotation_after_the_download_is_followed() -> anyhow::Result<()> {
    let (world, archive) = rotated(1, 30_000, &[20_000, 25_000]).await?;
    world
        .rds
        .rotate_after_download(MARIA, 1, NOON + 11 * MINUTE);
    ships(&world, &archive).await
}

#[tokio::test]
async fn a_rotation_during_the_download_is_followed() -> anyhow::Result<()> {
    let (world, archive) = rotated(1, 30_000, &[20_000, 25_000]).await?;
    let stall = Fault::Stall { after_bytes: 5000 };
    world.rds.fail(Where::download(MARIA, ANY), stall, 2);
    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "1s"), ("MAX_ATTEMPTS", "1")])?;
    world.until_stalled(2).await?;
    world.rds.rotate(MARIA, NOON + 11 * MINUTE);
    world.rds.release_stalls();
    world.finish_worker(worker).await?;
    ships(&world, &archive).await
}

#[tokio::test]
async fn twins_that_differ_are_both_archived() -> anyhow::Result<()> {
    let (one, other) = (log(4, 20_000), log(5, 20_000));
    let world = twins(&one, &other).await?;
    let objects = world.objects().await?;
    let of_content = |content: &[u8]| {
        let sha256: String = hex::encode(Sha256::digest(content))
            .chars()
            .take(10)
            .collect();
        key(2, 20_000).replace(".gz", &format!("-{sha256}.gz"))
    };
    assert_eq!(objects.len(), 2, "{:?}", objects.keys());
    for content in [one, other] {
        let key = of_content(&content);
        let object = objects.get(&key);
        assert!(object.is_some_and(|object| object.raw == content), "{key}");
        let rows = world.all_versions().await?;
        let told = rows
            .iter()
            .any(|row| row["key"] == key || row["more_keys"] == key);
        assert!(told, "no row names {key}: {rows:?}");
    }
    Ok(())
}

#[tokio::test]
async fn twins_that_are_equal_are_archived_once() -> anyhow::Result<()> {
    let content = log(6, 20_000);
    let world = twins(&content, &content).await?;
    let objects = world.objects().await?;
    assert_eq!(objects.len(), 1, "{:?}", objects.keys());
    assert!(objects.values().all(|object| object.raw == content));
    Ok(())
}

/// What has become of two rotated files of the same size and time.
async fn twins(one: &[u8], other: &[u8]) -> anyhow::Result<World> {
    let world = World::new().await?;
    world.add_mariadb(MARIA);
    for (number, content) in [(1, one), (2, other)] {
        world.rds.put_file(
            MARIA,
            &format!("audit/server_audit.log.{number}"),
            content.to_vec(),
            NOON + 2 * MINUTE,
        );
    }
    world.enumerate().await?;
    world.work().await?;
    for row in world.all_versions().await? {
        assert_eq!(row["state"], "Complete", "{row:?}");
    }
    assert_eq!(world.queued().await?, (0, 0));
    Ok(world)
}
