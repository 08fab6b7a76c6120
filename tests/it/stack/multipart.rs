//! Parts become an object under the same conditions, and with a checksum of the whole.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use tests::stack::Resources;

use super::refusal;
use super::s3::{crc, read, world};

/// S3's least size of every part but the last.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART: usize = 5 * 1024 * 1024;

#[tokio::test]
async fn joins_parts_only_with_the_checksum_of_the_whole() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let whole = random(PART + 1000);
    let upload = Upload::create(&s3, &bucket, "key").await?;
    let parts = upload.send(&whole).await?;

    let wrong_whole = upload
        .complete(&parts, &crc(b"something else"), whole.len())
        .if_none_match("*")
        .send()
        .await;
    assert_eq!(refusal(wrong_whole), (400, "BadDigest".to_owned()));
    let wrong_size = upload
        .complete(&parts, &crc(&whole), whole.len() + 1)
        .if_none_match("*")
        .send()
        .await;
    assert_eq!(refusal(wrong_size), (400, "InvalidRequest".to_owned()));
    let mut swapped = parts.clone();
    swapped[1]
        .checksum_crc64_nvme
        .clone_from(&parts[0].checksum_crc64_nvme);
    let wrong_part = upload
        .complete(&swapped, &crc(&whole), whole.len())
        .if_none_match("*")
        .send()
        .await;
    assert_eq!(refusal(wrong_part), (400, "InvalidPart".to_owned()));
    assert!(
        s3.head_object()
            .bucket(&bucket)
            .key("key")
            .send()
            .await
            .is_err(),
        "none of these made an object"
    );

    let done = upload
        .complete(&parts, &crc(&whole), whole.len())
        .if_none_match("*")
        .send()
        .await?;
    assert_eq!(done.checksum_crc64_nvme(), Some(crc(&whole).as_str()));
    assert_eq!(done.checksum_type(), Some(&ChecksumType::FullObject));
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("key")
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await?;
    assert_eq!(head.content_length(), i64::try_from(whole.len()).ok());
    assert_eq!(head.e_tag(), done.e_tag());
    assert_eq!(head.checksum_crc64_nvme(), Some(crc(&whole).as_str()));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
    // Metadata is what it was when the upload began.
    assert_eq!(
        head.metadata()
            .and_then(|metadata| metadata.get("source-size"))
            .map(String::as_str),
        Some("42")
    );
    Ok(())
}

#[tokio::test]
async fn compares_before_it_swaps_in_what_came_in_parts() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let old = s3
        .put_object()
        .bucket(&bucket)
        .key("key")
        .body(ByteStream::from_static(b"old"))
        .send()
        .await?;
    let whole = b"one part may be small, as it is the last".as_slice();
    let upload = Upload::create(&s3, &bucket, "key").await?;
    let parts = upload.send(whole).await?;
    let complete = || upload.complete(&parts, &crc(whole), whole.len());

    assert_eq!(
        refusal(complete().if_none_match("*").send().await),
        (412, "PreconditionFailed".to_owned())
    );
    let stale = complete()
        .if_match("\"0123456789abcdef0123456789abcdef\"")
        .send()
        .await;
    assert_eq!(refusal(stale), (412, "PreconditionFailed".to_owned()));
    // Refused, it is still an upload, which can be completed or aborted.
    complete().set_if_match(old.e_tag).send().await?;
    assert_eq!(read(&s3, &bucket, "key").await?.as_bytes(), whole);
    Ok(())
}

#[tokio::test]
async fn refuses_small_parts_but_the_last_and_wrong_ones() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let upload = Upload::create(&s3, &bucket, "key").await?;
    let wrong = upload
        .part(1, b"part")
        .checksum_crc64_nvme(crc(b"other"))
        .send()
        .await;
    assert_eq!(refusal(wrong), (400, "BadDigest".to_owned()));

    let parts = [
        upload.send_part(1, b"small").await?,
        upload.send_part(2, b"last").await?,
    ];
    let small = upload.complete(&parts, &crc(b"smalllast"), 9).send().await;
    assert_eq!(refusal(small), (400, "EntityTooSmall".to_owned()));
    Ok(())
}

#[tokio::test]
async fn forgets_an_aborted_upload() -> anyhow::Result<()> {
    let (s3, Resources { bucket, .. }) = world().await?;
    let upload = Upload::create(&s3, &bucket, "key").await?;
    let parts = upload.send(b"body").await?;
    let pending = s3.list_multipart_uploads().bucket(&bucket).send().await?;
    assert_eq!(pending.uploads().len(), 1);

    s3.abort_multipart_upload()
        .bucket(&bucket)
        .key("key")
        .upload_id(&upload.id)
        .send()
        .await?;
    let pending = s3.list_multipart_uploads().bucket(&bucket).send().await?;
    assert_eq!(pending.uploads().len(), 0);
    let gone = (404, "NoSuchUpload".to_owned());
    assert_eq!(refusal(upload.part(2, b"body").send().await), gone);
    assert_eq!(
        refusal(upload.complete(&parts, &crc(b"body"), 4).send().await),
        gone
    );
    assert!(
        s3.head_object()
            .bucket(&bucket)
            .key("key")
            .send()
            .await
            .is_err()
    );
    Ok(())
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}

/// A multipart upload as the worker makes them: every part with its checksum, and in the end that of the whole.
struct Upload<'a> {
    s3: &'a aws_sdk_s3::Client,
    bucket: &'a str,
    key: &'a str,
    id: String,
}

impl<'a> Upload<'a> {
    async fn create(
        s3: &'a aws_sdk_s3::Client,
        bucket: &'a str,
        key: &'a str,
    ) -> anyhow::Result<Self> {
        let create = s3
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .metadata("source-size", "42");
        let create = create
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject);
        let created = create.send().await?;
        assert_eq!(
            created.checksum_algorithm(),
            Some(&ChecksumAlgorithm::Crc64Nvme)
        );
        assert_eq!(created.checksum_type(), Some(&ChecksumType::FullObject));
        Ok(Self {
            s3,
            bucket,
            key,
            id: created.upload_id.expect("S3 gives every upload one"),
        })
    }

    fn part(&self, number: i32, body: &[u8]) -> UploadPartFluentBuilder {
        let part = self
            .s3
            .upload_part()
            .bucket(self.bucket)
            .key(self.key)
            .upload_id(&self.id)
            .part_number(number);
        part.body(ByteStream::from(body.to_vec()))
    }

    async fn send_part(&self, number: i32, body: &[u8]) -> anyhow::Result<CompletedPart> {
        let sent = self
            .part(number, body)
            .checksum_crc64_nvme(crc(body))
            .send()
            .await?;
        assert_eq!(sent.checksum_crc64_nvme(), Some(crc(body).as_str()));
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .checksum_crc64_nvme(crc(body));
        Ok(part.build())
    }

    async fn send(&self, whole: &[u8]) -> anyhow::Result<Vec<CompletedPart>> {
        let mut parts = Vec::new();
        for (number, body) in (1..).zip(whole.chunks(PART)) {
            parts.push(self.send_part(number, body).await?);
        }
        Ok(parts)
    }

    fn complete(
        &self,
        parts: &[CompletedPart],
        checksum: &str,
        size: usize,
    ) -> CompleteMultipartUploadFluentBuilder {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.to_vec()))
            .build();
        let complete = self
            .s3
            .complete_multipart_upload()
            .bucket(self.bucket)
            .key(self.key)
            .upload_id(&self.id);
        let complete = complete
            .multipart_upload(parts)
            .checksum_crc64_nvme(checksum);
        complete
            .checksum_type(ChecksumType::FullObject)
            .mpu_object_size(i64::try_from(size).expect("it is small"))
    }
}
