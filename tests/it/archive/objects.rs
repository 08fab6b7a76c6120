//! One version, one object: its bytes, its name, what is written on it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use shared::message::Message;
use tests::archive::Object;
use tests::world::by_hand::{FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World};

#[tokio::test]
async fn a_gzip_object_is_the_file_byte_for_byte_and_says_which_version() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(1, 300_000);
    let version = world.put_and_send(FILE, content.clone()).await?;
    world.work().await?;

    let object = only_object(&world, KEY).await?;
    assert!(
        object.raw == content,
        "the object differs from the log file"
    );
    assert_eq!(object.content_type.as_deref(), Some("application/gzip"));
    assert_eq!(object.content_encoding, None);
    assert_eq!(object.metadata, metadata(&version, &content));
    // RFC 1952: magic, deflate, no name, no time.
    assert_eq!(object.stored[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);

    let row = world.until(&version, "Complete").await?;
    let lines = content.split(|byte| *byte == b'\n').count() - 1;
    for (attribute, expected) in [
        ("reason", "shipped"),
        ("key", KEY),
        ("raw_bytes", "300000"),
        ("stored_bytes", &object.stored.len().to_string()),
        ("lines", &lines.to_string()),
        ("sha256", &object.metadata["sha256"]),
        ("generation", "1"),
        ("attempts", "1"),
    ] {
        assert_eq!(row[attribute], expected, "{attribute} in {row:?}");
    }
    let head = world
        .s3
        .head_object()
        .bucket(&world.resources.bucket)
        .key(KEY)
        .send()
        .await?;
    assert_eq!(head.e_tag(), Some(row["etag"].as_str()));
    assert!(
        !row.contains_key("owner") && !row.contains_key("lease_until"),
        "nobody has it any more: {row:?}"
    );
    assert_eq!(world.queued().await?, (0, 0), "the message is deleted");
    Ok(())
}

#[tokio::test]
async fn a_zstd_object_is_the_file_byte_for_byte_under_a_key_of_its_own() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(2, 300_000);
    let version = world.put_and_send(FILE, content.clone()).await?;
    world.work_with(&[("COMPRESSION", "zstd")]).await?;

    let object = only_object(&world, &KEY.replace(".gz", ".zst")).await?;
    assert!(
        object.raw == content,
        "the object differs from the log file"
    );
    assert_eq!(object.content_type.as_deref(), Some("application/zstd"));
    assert_eq!(object.content_encoding, None);
    assert_eq!(object.metadata, metadata(&version, &content));
    Ok(())
}

#[tokio::test]
async fn every_key_begins_with_the_prefix() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(3, 1000);
    world.put_and_send(FILE, content.clone()).await?;
    world.work_with(&[("S3_PREFIX", "evidence/rds-")]).await?;
    let object = only_object(&world, &format!("evidence/rds-{KEY}")).await?;
    assert!(
        object.raw == content,
        "the object differs from the log file"
    );
    Ok(())
}

#[tokio::test]
async fn a_file_of_an_unknown_kind_has_its_version_in_its_key() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(4, 1000);
    world
        .put_and_send("audit/sub dir/mysql:audit+ü.json", content.clone())
        .await?;
    world.work().await?;
    let key = "my-rds-cluster/audit/2024/10/01/12/instance-1/sub dir/mysql:audit+ü.json.2024-10-01T12-01-00.000Z-1000.gz";
    let object = only_object(&world, key).await?;
    assert!(
        object.raw == content,
        "the object differs from the log file"
    );
    Ok(())
}

#[tokio::test]
async fn an_empty_file_is_complete_without_an_object() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let version = world.put_and_send(FILE, "").await?;
    world.work().await?;
    let row = world.until(&version, "Complete").await?;
    assert_eq!(row["reason"], "empty");
    assert!(!row.contains_key("key"), "{row:?}");
    assert_eq!(world.objects().await?.len(), 0);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_version_is_exactly_its_first_size_bytes_though_the_file_has_grown() -> anyhow::Result<()>
{
    for content_length in [true, false] {
        let world = World::with_aurora().await?;
        world
            .rds
            .configure(|rds| rds.content_length = content_length);
        let content = log(5, 200_000);
        // Cut in the middle of a line, as a listing may.
        let (before, after) = content.split_at(150_001);
        let version = world.put_and_send(FILE, before.to_vec()).await?;
        world
            .rds
            .grow_file(INSTANCE, FILE, after, NOON + 2 * MINUTE);
        world.work().await?;

        let object = only_object(&world, KEY).await?;
        assert!(object.raw == before, "the object is not the version");
        assert_eq!(object.metadata, metadata(&version, before));
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["raw_bytes"], "150001");
    }
    Ok(())
}

#[tokio::test]
async fn the_same_file_gives_the_same_bytes_in_two_worlds() -> anyhow::Result<()> {
    let content = log(6, 1_000_000);
    for codec in ["gzip", "zstd"] {
        let mut stored = Vec::new();
        for content_length in [true, false] {
            let world = World::with_aurora().await?;
            world
                .rds
                .configure(|rds| rds.content_length = content_length);
            // In one of them the file has grown meanwhile, so that the network cuts it otherwise.
            world.put_and_send(FILE, content.clone()).await?;
            if content_length {
                world
                    .rds
                    .grow_file(INSTANCE, FILE, b"and more\n", NOON + 2 * MINUTE);
            }
            world.work_with(&[("COMPRESSION", codec)]).await?;
            stored.extend(
                world
                    .objects()
                    .await?
                    .into_values()
                    .map(|object| object.stored),
            );
        }
        assert_eq!(stored.len(), 2);
        assert!(stored[0] == stored[1], "{codec}: the stored bytes differ");
    }
    Ok(())
}

/// The only object that there is, which must have this key.
async fn only_object(world: &World, key: &str) -> anyhow::Result<Object> {
    let mut objects = world.objects().await?;
    assert_eq!(objects.keys().collect::<Vec<_>>(), [key]);
    Ok(objects.remove(key).expect("it is there"))
}

/// What the first claim writes on the object of a version that was last written a minute after noon.
fn metadata(version: &Message, content: &[u8]) -> BTreeMap<String, String> {
    let pairs = [
        ("last-written", (NOON + MINUTE).to_string()),
        ("source-size", content.len().to_string()),
        ("resource-id", version.instance.resource_id.clone()),
        ("generation", "1".to_owned()),
        ("sha256", hex::encode(Sha256::digest(content))),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
