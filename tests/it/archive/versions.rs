//! Files that grow: versions of one key only ever increase.

use aws_sdk_s3::primitives::ByteStream;
use shared::message::Message;
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, Row, World};

/// The key of a version that may not have the plain one.
const APART: &str = "my-rds-cluster/audit/2024/10/01/12/instance-1/audit.log.0.2024-10-01-12-00.0.2024-10-01T12-05-00.000Z-500.gz";

#[tokio::test]
async fn a_grown_file_replaces_its_object_and_the_row_of_the_shorter_one_stays()
-> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(1, 50_000);
    let (before, after) = content.split_at(30_000);
    world
        .rds
        .put_file(INSTANCE, FILE, before.to_vec(), NOON + MINUTE);
    let first = world.version(FILE)?;
    world.enumerate().await?;
    world.work().await?;
    let first_row = world.until(&first, "Complete").await?;
    assert!(world.objects().await?[KEY].raw == before);

    world
        .rds
        .grow_file(INSTANCE, FILE, after, NOON + 2 * MINUTE);
    let second = world.version(FILE)?;
    let summary = world.enumerate().await?;
    assert_eq!(summary["sent"], 1, "{summary}");
    world.work().await?;

    let objects = world.objects().await?;
    assert_eq!(objects.keys().collect::<Vec<_>>(), [KEY]);
    assert!(
        objects[KEY].raw == content,
        "the object is not the whole file"
    );
    assert_eq!(objects[KEY].metadata["source-size"], "50000");
    let second_row = world.until(&second, "Complete").await?;
    assert_eq!(
        (second_row["reason"].as_str(), second_row["key"].as_str()),
        ("shipped", KEY)
    );
    assert_ne!(second_row["etag"], first_row["etag"]);
    assert_eq!(world.row(&first).await?, Some(first_row));
    assert_eq!(world.writes(KEY).await?, 2);
    Ok(())
}

#[tokio::test]
async fn an_older_version_that_arrives_late_finds_the_newer_one() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(2, 50_000);
    let (before, after) = content.split_at(30_000);
    world
        .rds
        .put_file(INSTANCE, FILE, before.to_vec(), NOON + MINUTE);
    let older = world.version(FILE)?;
    world
        .rds
        .grow_file(INSTANCE, FILE, after, NOON + 2 * MINUTE);
    let newer = world.send_version(FILE).await?;
    world.work().await?;
    let newer_row = world.until(&newer, "Complete").await?;

    world.send(&older.to_wire()).await?;
    world.work().await?;
    let row = world.until(&older, "Complete").await?;
    assert_eq!(
        (row["reason"].as_str(), row["etag"].as_str()),
        ("superseded", newer_row["etag"].as_str())
    );
    assert!(world.objects().await?[KEY].raw == content);
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn an_object_of_the_old_script_is_replaced() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world
        .s3
        .put_object()
        .bucket(&world.resources.bucket)
        .key(KEY)
        .body(ByteStream::from_static(b"who knows what this is"))
        .metadata("uploaded-by", "the old script")
        .send()
        .await?;
    let content = log(3, 50_000);
    let version = world.put_and_send(FILE, content.clone()).await?;
    world.work().await?;

    assert_eq!(
        world.until(&version, "Complete").await?["reason"],
        "shipped"
    );
    let objects = world.objects().await?;
    assert!(
        objects[KEY].raw == content,
        "the object differs from the log file"
    );
    assert!(!objects[KEY].metadata.contains_key("uploaded-by"));
    assert_eq!(world.writes(KEY).await?, 2, "the bucket keeps both");
    Ok(())
}

#[tokio::test]
async fn a_newer_but_smaller_version_gets_a_key_of_its_own_and_overwrites_nothing()
-> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let long = log(4, 50_000);
    world.put_and_send(FILE, long.clone()).await?;
    world.work().await?;

    // The instance was restored, say, and began the file anew.
    let short = log(5, 500);
    world
        .rds
        .put_file(INSTANCE, FILE, short.clone(), NOON + 5 * MINUTE);
    let version = world.send_version(FILE).await?;
    world.work().await?;

    let objects = world.objects().await?;
    assert_eq!(objects.keys().collect::<Vec<_>>(), [APART, KEY]);
    assert!(objects[KEY].raw == long, "the older evidence was touched");
    assert!(objects[APART].raw == short, "the newer evidence differs");
    assert_eq!(world.writes(KEY).await?, 1);
    let row = world.until(&version, "Complete").await?;
    assert_eq!(
        (row["reason"].as_str(), row["key"].as_str()),
        ("shipped", APART)
    );

    // Once more, after the table was lost: both are found where they are.
    forget(&world, &version).await?;
    world.send(&version.to_wire()).await?;
    world.work().await?;
    let row = world.until(&version, "Complete").await?;
    assert_eq!(
        (row["reason"].as_str(), row["key"].as_str()),
        ("stored", APART)
    );
    assert_eq!(
        (world.writes(KEY).await?, world.writes(APART).await?),
        (1, 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_file_of_an_instance_that_took_over_a_name_overwrites_nothing() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let theirs = log(7, 400);
    world.put_and_send(FILE, theirs.clone()).await?;
    world.work().await?;

    // Restored from a snapshot under the old name: the file seems to have grown.
    world.rds.remove_instance(INSTANCE);
    world.add_instance(INSTANCE, Some(CLUSTER), "aurora-mysql", &[]);
    let ours = log(8, 500);
    world
        .rds
        .put_file(INSTANCE, FILE, ours.clone(), NOON + 5 * MINUTE);
    let version = world.send_version(FILE).await?;
    world.work().await?;

    let objects = world.objects().await?;
    assert_eq!(objects.keys().collect::<Vec<_>>(), [APART, KEY]);
    assert!(objects[KEY].raw == theirs, "the older evidence was touched");
    assert!(objects[APART].raw == ours, "the newer evidence differs");
    assert_eq!(world.until(&version, "Complete").await?["key"], APART);
    assert_eq!(world.writes(KEY).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_stored_already_is_not_stored_again() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let version = world.put_and_send(FILE, log(6, 50_000)).await?;
    world.work().await?;
    let shipped = world.until(&version, "Complete").await?;

    forget(&world, &version).await?;
    world.send(&version.to_wire()).await?;
    world.work().await?;
    let stored = world.until(&version, "Complete").await?;
    assert_eq!(stored["reason"], "stored");
    let told =
        |row: &Row| ["key", "etag", "sha256", "raw_bytes", "lines"].map(|name| row[name].clone());
    assert_eq!(told(&stored), told(&shipped));
    assert_eq!(world.writes(KEY).await?, 1);
    Ok(())
}

/// Loses the row of a version.
async fn forget(world: &World, version: &Message) -> anyhow::Result<()> {
    let row = world.until(version, "Complete").await?;
    let mut request = world
        .dynamodb
        .delete_item()
        .table_name(&world.resources.table);
    for name in ["pk", "sk"] {
        let value = aws_sdk_dynamodb::types::AttributeValue::S(row[name].clone());
        request = request.key(name, value);
    }
    request.send().await?;
    Ok(())
}
