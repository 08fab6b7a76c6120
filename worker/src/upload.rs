//! Bytes into S3 by compare-and-swap: per key the committed versions only ever increase.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use shared::archive::{Archive, Archived, SHA256, metadata};
use shared::aws::{CallError, Meaning};
use shared::checkpoint::{Claim, Content};
use shared::log_file::Beside;
use shared::message::Message;
use shared::step::{self, Step};
use tracing::warn;

use crate::compress::{Codec, Compressor};
use crate::failure::ShipError;

/// What goes up in one piece: the size of a part, and the most that is stored without parts. S3's minimum, since every
/// file in flight holds as much in memory; 10,000 parts are 50 GB after compression.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART: usize = 5 << 20;

/// What one block of input may add to a part that was not quite full.
const SLACK: usize = 256 << 10;

/// Bytes of output that an upload of a file of `size` bytes collects at most. Next to nothing makes a log longer.
pub fn buffer(size: u64) -> usize {
    const INCOMPRESSIBLE: u64 = 1 << 10;
    usize::try_from(size.saturating_add(INCOMPRESSIBLE))
        .map_or(PART + SLACK, |whole| whole.min(PART + SLACK))
}

/// How an upload ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Committed {
    /// This version is stored: by us, or `found` there already.
    Stored {
        /// The object's.
        etag: String,
        /// Whether somebody else had stored it.
        found: bool,
    },
    /// A later version of the same file is there.
    Superseded {
        /// The object's.
        etag: String,
    },
    /// What is there is not of the same growing file, so neither may replace the other: choose another key.
    Apart,
}

/// What must be true of the key for an upload to take effect.
enum Condition {
    Absent,
    Is(String),
}

/// What came of a conditional write.
enum Written {
    /// It took effect.
    Done(String),
    /// The condition did not hold.
    Unmet,
    /// Perhaps it took effect, and only the answer is lost.
    Unclear(CallError),
}

/// One upload of one version to one key, compressed on its way.
pub struct Upload {
    archive: Archive,
    codec: Codec,
    compressor: Compressor,
    key: String,
    message: Message,
    generation: u64,
    multipart: Option<Multipart>,
    crc: Digest,
    stored_bytes: u64,
}

struct Multipart {
    id: String,
    parts: Vec<CompletedPart>,
}

impl Upload {
    /// Starts with nothing sent.
    pub fn new(
        archive: &Archive,
        codec: Codec,
        level: i32,
        key: String,
        claim: &Claim,
    ) -> Result<Self, ShipError> {
        let crc = Digest::new(CrcAlgorithm::Crc64Nvme);
        let size = claim.message.file.version.size;
        let output = Vec::with_capacity(buffer(size));
        let compressor =
            Compressor::new(codec, level, size, output).map_err(ShipError::Compression)?;
        Ok(Self {
            archive: archive.clone(),
            codec,
            compressor,
            key,
            message: claim.message.clone(),
            generation: claim.generation,
            multipart: None,
            crc,
            stored_bytes: 0,
        })
    }

    /// The key that it writes.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes after compression, as far as they were sent.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Takes in the next bytes of the log file; sends a part when there is enough for one.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ShipError> {
        self.compressor
            .write(bytes)
            .map_err(ShipError::Compression)?;
        if self.compressor.waiting() > PART {
            let part = Bytes::from(self.compressor.take());
            self.part(part.clone()).await?;
            self.compressor.collect_in(emptied(part));
        }
        Ok(())
    }

    /// Sends a part; the first one makes it a multipart upload.
    async fn part(&mut self, bytes: Bytes) -> Result<(), CallError> {
        if self.multipart.is_none() {
            let request = self
                .archive
                .s3
                .create_multipart_upload()
                .bucket(&self.archive.bucket)
                .key(&self.key);
            let request = request
                .content_type(self.codec.content_type())
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .checksum_type(ChecksumType::FullObject)
                .set_metadata(Some(
                    metadata(&self.message, self.generation)
                        .into_iter()
                        .collect(),
                ));
            let created = step::take(Step::CreateUpload, request.send())
                .await
                .map_err(|error| CallError::new("CreateMultipartUpload", &error))?;
            let id = created
                .upload_id
                .ok_or_else(|| CallError::nonsense("CreateMultipartUpload", "no upload id"))?;
            self.multipart = Some(Multipart {
                id,
                parts: Vec::new(),
            });
        }
        self.crc.update(&bytes);
        self.stored_bytes += bytes.len() as u64;
        let multipart = self.multipart.as_mut().expect("made above");
        let number = i32::try_from(multipart.parts.len() + 1).expect("S3 refuses part 10,001");
        let crc = encoded(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &bytes));
        let request = self
            .archive
            .s3
            .upload_part()
            .bucket(&self.archive.bucket)
            .key(&self.key)
            .upload_id(&multipart.id);
        let request = request
            .part_number(number)
            .checksum_crc64_nvme(&crc)
            .body(ByteStream::from(bytes));
        let sent = step::take(Step::UploadPart, request.send())
            .await
            .map_err(|error| CallError::new("UploadPart", &error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .checksum_crc64_nvme(crc)
            .build();
        multipart.parts.push(part);
        Ok(())
    }

    /// Sends the rest and commits: only where nothing is, or what is there is an earlier version of the same file.
    pub async fn commit(&mut self, content: &Content) -> Result<Committed, ShipError> {
        let rest = Bytes::from(self.compressor.finish().map_err(ShipError::Compression)?);
        let rest = if self.multipart.is_some() && !rest.is_empty() {
            self.part(rest).await?;
            Bytes::new()
        } else {
            self.crc.update(&rest);
            self.stored_bytes += rest.len() as u64;
            rest
        };
        let mut condition = Condition::Absent;
        for _try in 1..=2 {
            let unclear = match self.put(&condition, &rest, content).await? {
                Written::Done(etag) => return Ok(Committed::Stored { etag, found: false }),
                Written::Unmet => None,
                Written::Unclear(error) => Some(error),
            };
            // The ETag to replace comes from the same answer as the version that is compared.
            let archived = match self.archive.head(&self.key).await {
                Ok(archived) => archived,
                // Without ListBucket an absent key answers 403: then it is the first error that counts.
                Err(error) => return Err(unclear.unwrap_or(error).into()),
            };
            let Message { instance, file } = &self.message;
            let beside = archived
                .as_ref()
                .and_then(|archived| archived.beside(instance, file.version));
            condition = match (archived, beside, unclear) {
                (Some(Archived { etag, .. }), Some(Beside::Same), _) => {
                    return Ok(Committed::Stored { etag, found: true });
                }
                (Some(Archived { etag, .. }), Some(Beside::Superseded), _) => {
                    return Ok(Committed::Superseded { etag });
                }
                (Some(_), Some(Beside::Apart), _) => return Ok(Committed::Apart),
                (_, _, Some(error)) => return Err(error.into()),
                (Some(Archived { etag, .. }), Some(Beside::Grown) | None, None) => {
                    Condition::Is(etag)
                }
                (None, _, None) => Condition::Absent, // deleted meanwhile
            };
        }
        Err(ShipError::Raced(self.key.clone()))
    }

    /// Makes the object, if the condition holds. `Err`: it took no effect, for another reason.
    async fn put(
        &mut self,
        condition: &Condition,
        rest: &Bytes,
        content: &Content,
    ) -> Result<Written, CallError> {
        let (if_none_match, if_match) = match condition {
            Condition::Absent => (Some("*".to_owned()), None),
            Condition::Is(etag) => (None, Some(etag.clone())),
        };
        let crc = encoded(self.crc.finalize());
        let (bucket, key) = (&self.archive.bucket, &self.key);
        if let Some(multipart) = &self.multipart {
            let parts = CompletedMultipartUpload::builder()
                .set_parts(Some(multipart.parts.clone()))
                .build();
            let request = self
                .archive
                .s3
                .complete_multipart_upload()
                .bucket(bucket)
                .key(key)
                .upload_id(&multipart.id);
            let request = request
                .multipart_upload(parts)
                .set_if_none_match(if_none_match)
                .set_if_match(if_match);
            let request = request
                .checksum_crc64_nvme(crc)
                .checksum_type(ChecksumType::FullObject);
            let request =
                request.mpu_object_size(i64::try_from(self.stored_bytes).unwrap_or(i64::MAX));
            let answer = step::take(Step::CompleteUpload, request.send()).await;
            let written = written("CompleteMultipartUpload", answer.map(|done| done.e_tag))?;
            if matches!(written, Written::Done(_)) {
                self.multipart = None; // nothing is left to take back
            }
            return Ok(written);
        }
        let metadata = metadata(&self.message, self.generation)
            .into_iter()
            .chain([(SHA256.to_owned(), content.sha256.clone())]);
        let request = self
            .archive
            .s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from(rest.clone()));
        let request = request
            .content_type(self.codec.content_type())
            .set_metadata(Some(metadata.collect()));
        let request = request
            .set_if_none_match(if_none_match)
            .set_if_match(if_match)
            .checksum_crc64_nvme(crc);
        let answer = step::take(Step::PutObject, request.send()).await;
        written("PutObject", answer.map(|done| done.e_tag))
    }

    /// Takes back what was sent and not committed. What this cannot reach, the bucket's lifecycle rule does.
    pub async fn abort(&mut self) {
        let Some(multipart) = self.multipart.take() else {
            return;
        };
        let request = self
            .archive
            .control
            .abort_multipart_upload()
            .bucket(&self.archive.bucket)
            .key(&self.key);
        let request = request.upload_id(multipart.id);
        let aborted = step::take(Step::AbortUpload, request.send())
            .await
            .map_err(|error| CallError::new("AbortMultipartUpload", &error));
        if let Err(error) = aborted
            && error.code() != Some("NoSuchUpload")
        {
            warn!(
                "parts of {} stay until the bucket's lifecycle rule: {error}",
                self.key
            );
        }
    }
}

fn written<E>(
    operation: &'static str,
    answer: Result<Option<String>, SdkError<E, HttpResponse>>,
) -> Result<Written, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failure = match answer {
        Ok(Some(etag)) => return Ok(Written::Done(etag)),
        Ok(None) => {
            return Ok(Written::Unclear(CallError::nonsense(
                operation,
                "an answer without ETag",
            )));
        }
        Err(error) => CallError::new(operation, &error),
    };
    match (failure.status(), failure.code()) {
        (Some(412), _) => Ok(Written::Unmet),
        // Another write is under way: this upload must start over.
        (Some(409), _) => Err(failure),
        // It took effect, but the answer cannot be read; or an earlier try of ours had completed the upload.
        (Some(200..300), _) | (_, Some("NoSuchUpload")) => Ok(Written::Unclear(failure)),
        _ => match failure.meaning() {
            Meaning::Transient => Ok(Written::Unclear(failure)),
            Meaning::Environment | Meaning::Refused => Err(failure),
        },
    }
}

/// The memory of a part that was sent, for the next one: what is freed in pieces of this size, glibc keeps.
fn emptied(part: Bytes) -> Vec<u8> {
    part.try_into_mut().map_or_else(
        |_still_held| Vec::with_capacity(PART + SLACK),
        |mut part| {
            part.clear();
            part.into()
        },
    )
}

/// A checksum as S3 writes it: base64 of the big-endian bytes.
fn encoded(crc: u64) -> String {
    aws_smithy_types::base64::encode(crc.to_be_bytes())
}
