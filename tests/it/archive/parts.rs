//! Large objects go up in parts.

use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use sha2::{Digest, Sha256};
use tests::world::by_hand::{FILE, INSTANCE, KEY, log, noise};
use tests::world::{MINUTE, NOON, World};

/// Two parts, stored: the first is of 5 MiB.
const LARGE: usize = 9 << 20;

#[tokio::test]
async fn a_large_object_goes_up_in_parts_with_a_checksum_of_the_whole() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = noise(1, LARGE);
    let version = world.put_and_send(FILE, content.clone()).await?;
    world.work().await?;

    let object = &world.objects().await?[KEY];
    assert!(
        object.raw == content,
        "the object differs from the log file"
    );
    let head = world
        .s3
        .head_object()
        .bucket(&world.resources.bucket)
        .key(KEY)
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await?;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &object.stored);
    assert_eq!(
        (head.checksum_crc64_nvme(), head.checksum_type()),
        (
            Some(aws_smithy_types::base64::encode(crc.to_be_bytes()).as_str()),
            Some(&ChecksumType::FullObject)
        )
    );
    let etag = head.e_tag().unwrap_or_default();
    assert!(etag.ends_with("-2\""), "not of two parts: {etag}");
    assert_eq!(object.content_type.as_deref(), Some("application/gzip"));
    assert_eq!(object.metadata["last-written"], (NOON + MINUTE).to_string());
    assert_eq!(object.metadata["source-size"], LARGE.to_string());
    assert_eq!(object.metadata["generation"], "1");
    // It was not known when the upload began: only the row has it.
    assert_eq!(object.metadata.get("sha256"), None);

    let row = world.until(&version, "Complete").await?;
    let lines = content.split(|byte| *byte == b'\n').count() - 1;
    for (attribute, expected) in [
        ("reason", "shipped"),
        ("key", KEY),
        ("etag", etag),
        ("raw_bytes", &LARGE.to_string()),
        ("stored_bytes", &object.stored.len().to_string()),
        ("lines", &lines.to_string()),
        ("sha256", &hex::encode(Sha256::digest(&content))),
    ] {
        assert_eq!(row[attribute], expected, "{attribute} in {row:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_has_grown_large_replaces_its_object() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = noise(2, LARGE);
    let (before, after) = content.split_at(1 << 20);
    world.put_and_send(FILE, before.to_vec()).await?;
    world.work().await?;
    world
        .rds
        .grow_file(INSTANCE, FILE, after, NOON + 2 * MINUTE);
    let version = world.send_version(FILE).await?;
    world.work().await?;

    assert_eq!(
        world.until(&version, "Complete").await?["reason"],
        "shipped"
    );
    let objects = world.objects().await?;
    assert_eq!(objects.keys().collect::<Vec<_>>(), [KEY]);
    assert!(
        objects[KEY].raw == content,
        "the object is not the whole file"
    );
    assert_eq!(world.writes(KEY).await?, 2);
    assert_eq!(world.unfinished_uploads().await?, 0);
    Ok(())
}

#[tokio::test]
async fn parts_that_may_not_become_the_object_are_taken_back() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = noise(3, LARGE + 1000);
    world
        .rds
        .put_file(INSTANCE, FILE, content[..LARGE].to_vec(), NOON + MINUTE);
    let older = world.version(FILE)?;
    world
        .rds
        .grow_file(INSTANCE, FILE, &content[LARGE..], NOON + 2 * MINUTE);
    let newer = world.send_version(FILE).await?;
    world.work().await?;
    let etag = world.until(&newer, "Complete").await?["etag"].clone();

    world.send(&older.to_wire()).await?;
    world.work().await?;
    let row = world.until(&older, "Complete").await?;
    assert_eq!(
        (row["reason"].as_str(), row["etag"].as_str()),
        ("superseded", etag.as_str())
    );
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(world.unfinished_uploads().await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_shrinks_to_one_part_goes_up_in_one_piece() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(4, 20 << 20);
    world.put_and_send(FILE, content.clone()).await?;
    world.work().await?;
    let object = &world.objects().await?[KEY];
    assert!(
        object.raw == content,
        "the object differs from the log file"
    );
    assert_eq!(
        object.metadata["sha256"],
        hex::encode(Sha256::digest(&content))
    );
    Ok(())
}
