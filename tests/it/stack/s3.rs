//! An object is there or not, is the one that was meant or not, and arrives whole or not at all.

use std::collections::HashMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};
use crc_fast::{CrcAlgorithm, checksum};
use futures_util::future::join_all;
use tests::stack::{Resources, Stack};

use super::refusal;

#[tokio::test]
async fn compares_before_it_swaps() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    // Characters of real names, and one that must not be taken for a separator.
    let key = "my cluster/audit/2024/10/01/12/instance-1/audit.log.0.2024-10-01-12-00.0+%2F.gz";
    let put = |body: &'static str| {
        s3.put_object()
            .bucket(&bucket)
            .key(key)
            .body(ByteStream::from_static(body.as_bytes()))
    };

    let first = put("first")
        .if_none_match("*")
        .metadata("last-written", "1700000000000")
        .send()
        .await?;
    assert_eq!(
        refusal(put("again").if_none_match("*").send().await),
        (412, "PreconditionFailed".to_owned())
    );
    let head = s3.head_object().bucket(&bucket).key(key).send().await?;
    assert_eq!(
        (head.content_length(), head.e_tag()),
        (Some(5), first.e_tag())
    );
    assert_eq!(
        head.metadata(),
        Some(&HashMap::from([(
            "last-written".to_owned(),
            "1700000000000".to_owned()
        )]))
    );

    let etag = first.e_tag().expect("S3 gives every object one");
    let second = put("second").if_match(etag).send().await?;
    assert_eq!(
        refusal(put("third").if_match(etag).send().await),
        (412, "PreconditionFailed".to_owned())
    );
    let head = s3.head_object().bucket(&bucket).key(key).send().await?;
    assert_eq!(
        (head.e_tag(), head.metadata()),
        (second.e_tag(), Some(&HashMap::new()))
    );
    assert_eq!(read(&s3, &bucket, key).await?, "second");
    Ok(())
}

#[tokio::test]
async fn says_404_of_what_is_not_there() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let absent = s3
        .head_object()
        .bucket(&bucket)
        .key("absent")
        .send()
        .await
        .expect_err("nothing is there");
    assert_eq!(
        absent
            .raw_response()
            .map(|response| response.status().as_u16()),
        Some(404)
    );
    assert!(absent.into_service_error().is_not_found());
    // There is nothing that an ETag could match.
    let put = s3
        .put_object()
        .bucket(&bucket)
        .key("absent")
        .if_match("\"0123456789abcdef0123456789abcdef\"")
        .send()
        .await;
    assert_eq!(refusal(put), (404, "NoSuchKey".to_owned()));
    Ok(())
}

#[tokio::test]
async fn lets_one_of_many_win() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let puts = (0..16).map(|writer: u32| {
        let body = ByteStream::from(writer.to_string().into_bytes());
        s3.put_object()
            .bucket(&bucket)
            .key("key")
            .if_none_match("*")
            .body(body)
            .send()
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(puts).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for lost in lost {
        assert_eq!(refusal(lost), (412, "PreconditionFailed".to_owned()));
    }
    Ok(())
}

#[tokio::test]
async fn takes_an_object_only_with_its_checksum() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let put = |checksum: String| {
        let put = s3
            .put_object()
            .bucket(&bucket)
            .key("key")
            .body(ByteStream::from_static(b"123456789"));
        put.checksum_crc64_nvme(checksum).send()
    };
    assert_eq!(
        refusal(put(crc(b"12345678")).await),
        (400, "BadDigest".to_owned())
    );
    assert!(
        s3.head_object()
            .bucket(&bucket)
            .key("key")
            .send()
            .await
            .is_err()
    );
    let done = put(crc(b"123456789")).await?;
    assert_eq!(done.checksum_type(), Some(&ChecksumType::FullObject));
    assert_eq!(done.checksum_crc64_nvme(), Some(crc(b"123456789").as_str()));
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("key")
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await?;
    // The algorithm's published check value.
    assert_eq!(
        head.checksum_crc64_nvme(),
        Some(aws_smithy_types::base64::encode(
            0xAE8B_1486_0A79_9888_u64.to_be_bytes()
        ))
        .as_deref()
    );
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
    Ok(())
}

#[tokio::test]
async fn takes_a_stream() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    // Larger than a chunk. Without TLS the SDK signs every chunk, and the checksum behind the last one.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    let put = s3
        .put_object()
        .bucket(&bucket)
        .key("key")
        .body(ByteStream::from_path(path).await?);
    put.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
        .send()
        .await?;
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("key")
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await?;
    let content = std::fs::read(path)?;
    assert_eq!(head.checksum_crc64_nvme(), Some(crc(&content).as_str()));
    assert_eq!(read(&s3, &bucket, "key").await?.as_bytes(), content);
    Ok(())
}

pub(super) async fn world() -> anyhow::Result<(aws_sdk_s3::Client, Resources)> {
    let stack = Stack::shared().await?;
    Ok((
        aws_sdk_s3::Client::new(&stack.sdk_config()),
        Resources::create(stack).await?,
    ))
}

/// CRC-64/NVME as S3 writes it.
pub(super) fn crc(bytes: &[u8]) -> String {
    aws_smithy_types::base64::encode(checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
}

pub(super) async fn read(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
    key: &str,
) -> anyhow::Result<String> {
    let mut body = s3.get_object().bucket(bucket).key(key).send().await?.body;
    let mut bytes = Vec::new();
    while let Some(piece) = body.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(bytes)?)
}
