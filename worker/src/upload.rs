//! Bytes into S3 by compare-and-swap: per key the committed versions only ever increase.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use shared::aws::{CallError, Meaning};
use shared::checkpoint::Content;
use shared::log_file::{Beside, Version};
use tracing::warn;

use crate::compress::{Codec, Compressor};
use crate::failure::ShipError;

/// What goes up in one piece: the size of a part, and the most that is stored without parts. S3 wants at least 5 MiB.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const PART: usize = 8 << 20;

/// Object metadata: `LastWritten` in milliseconds since 1970.
const LAST_WRITTEN: &str = "last-written";
/// Object metadata: the version's size in bytes, before compression.
const SOURCE_SIZE: &str = "source-size";
/// Object metadata: of the claim that wrote it.
const GENERATION: &str = "generation";
/// Object metadata: of the bytes before compression; absent from multipart uploads, which fix metadata at their start.
const SHA256: &str = "sha256";

/// The archive.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The client that uploads.
    pub s3: aws_sdk_s3::Client,
    /// Its bucket.
    pub bucket: String,
    /// How objects are compressed.
    pub codec: Codec,
    /// Within what the codec has.
    pub level: i32,
}

/// What the archive has under a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its entity tag, to replace exactly this.
    pub etag: String,
    /// `None`: not written by us. It counts as older than anything.
    pub version: Option<Version>,
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

/// Why a conditional write did not take effect, or may not have.
enum Refusal {
    /// The condition did not hold.
    Condition,
    /// Perhaps it took effect, and only the answer is lost.
    Unclear(CallError),
    /// It did not.
    Failed(CallError),
}

impl Archive {
    /// Asks what is under a key; `None` if nothing is.
    pub async fn head(&self, key: &str) -> Result<Option<Archived>, CallError> {
        const OPERATION: &str = "HeadObject";
        let head = match self
            .s3
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
        {
            Ok(head) => head,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(HeadObjectError::is_not_found) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(CallError::new(OPERATION, &error)),
        };
        let number = |name| {
            head.metadata()
                .and_then(|all| all.get(name))
                .and_then(|text| text.parse().ok())
        };
        let version = number(LAST_WRITTEN)
            .zip(number(SOURCE_SIZE))
            .and_then(|(at, size)| Version::new(at, size));
        let etag = head
            .e_tag
            .ok_or_else(|| CallError::nonsense(OPERATION, "an object without ETag"))?;
        Ok(Some(Archived { etag, version }))
    }
}

/// One upload of one version to one key, compressed on its way.
pub struct Upload {
    archive: Archive,
    compressor: Compressor,
    key: String,
    version: Version,
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
        key: String,
        version: Version,
        generation: u64,
    ) -> Result<Self, ShipError> {
        let crc = Digest::new(CrcAlgorithm::Crc64Nvme);
        let compressor =
            Compressor::new(archive.codec, archive.level).map_err(ShipError::Compression)?;
        Ok(Self {
            archive: archive.clone(),
            compressor,
            key,
            version,
            generation,
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
            let part = self.compressor.take();
            self.part(part).await?;
        }
        Ok(())
    }

    /// Sends a part; the first one makes it a multipart upload.
    async fn part(&mut self, bytes: Vec<u8>) -> Result<(), CallError> {
        if self.multipart.is_none() {
            let request = self
                .archive
                .s3
                .create_multipart_upload()
                .bucket(&self.archive.bucket)
                .key(&self.key);
            let created = request
                .content_type(self.archive.codec.content_type())
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .checksum_type(ChecksumType::FullObject)
                .set_metadata(Some(self.metadata().into_iter().collect()))
                .send()
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
        let sent = request
            .part_number(number)
            .checksum_crc64_nvme(&crc)
            .body(ByteStream::from(bytes))
            .send()
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
        let rest = self.compressor.finish().map_err(ShipError::Compression)?;
        let rest = if self.multipart.is_some() && !rest.is_empty() {
            self.part(rest).await?;
            Bytes::new()
        } else {
            self.crc.update(&rest);
            self.stored_bytes += rest.len() as u64;
            Bytes::from(rest)
        };
        let mut condition = Condition::Absent;
        for _try in 1..=2 {
            let refusal = match self.put(&condition, &rest, content).await {
                Ok(etag) => return Ok(Committed::Stored { etag, found: false }),
                Err(Refusal::Failed(error)) => return Err(error.into()),
                Err(refusal) => refusal,
            };
            // The ETag to replace comes from the same answer as the version that was compared.
            let archived = self.archive.head(&self.key).await?;
            let beside = archived
                .as_ref()
                .and_then(|archived| archived.version)
                .map(|there| self.version.beside(there));
            match (archived, beside, refusal) {
                (Some(Archived { etag, .. }), Some(Beside::Same), _) => {
                    return Ok(Committed::Stored { etag, found: true });
                }
                (Some(Archived { etag, .. }), Some(Beside::Superseded), _) => {
                    return Ok(Committed::Superseded { etag });
                }
                (Some(_), Some(Beside::Apart), _) => return Ok(Committed::Apart),
                (_, _, Refusal::Unclear(error) | Refusal::Failed(error)) => {
                    return Err(error.into());
                }
                (Some(Archived { etag, .. }), Some(Beside::Grown) | None, Refusal::Condition) => {
                    condition = Condition::Is(etag);
                }
                (None, _, Refusal::Condition) => condition = Condition::Absent, // deleted meanwhile
            }
        }
        Err(ShipError::Raced(self.key.clone()))
    }

    /// Makes the object, if the condition holds; its ETag.
    async fn put(
        &mut self,
        condition: &Condition,
        rest: &Bytes,
        content: &Content,
    ) -> Result<String, Refusal> {
        let (if_none_match, if_match) = match condition {
            Condition::Absent => (Some("*".to_owned()), None),
            Condition::Is(etag) => (None, Some(etag.clone())),
        };
        let crc = encoded(self.crc.finalize());
        let (bucket, key) = (&self.archive.bucket, &self.key);
        let (operation, etag) = if let Some(multipart) = &self.multipart {
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
            let done = request
                .send()
                .await
                .map_err(|error| refusal("CompleteMultipartUpload", &error))?;
            self.multipart = None; // nothing left to abort
            ("CompleteMultipartUpload", done.e_tag)
        } else {
            let metadata = self
                .metadata()
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
                .content_type(self.archive.codec.content_type())
                .set_metadata(Some(metadata.collect()));
            let request = request
                .set_if_none_match(if_none_match)
                .set_if_match(if_match)
                .checksum_crc64_nvme(crc);
            let done = request
                .send()
                .await
                .map_err(|error| refusal("PutObject", &error))?;
            ("PutObject", done.e_tag)
        };
        etag.ok_or_else(|| {
            Refusal::Unclear(CallError::nonsense(operation, "an answer without ETag"))
        })
    }

    fn metadata(&self) -> [(String, String); 3] {
        [
            (
                LAST_WRITTEN.to_owned(),
                self.version.last_written.as_millisecond().to_string(),
            ),
            (SOURCE_SIZE.to_owned(), self.version.size.to_string()),
            (GENERATION.to_owned(), self.generation.to_string()),
        ]
    }

    /// Takes back what was sent and not committed. What this cannot reach, the bucket's lifecycle rule does.
    pub async fn abort(&mut self) {
        let Some(multipart) = self.multipart.take() else {
            return;
        };
        let request = self
            .archive
            .s3
            .abort_multipart_upload()
            .bucket(&self.archive.bucket)
            .key(&self.key);
        if let Err(error) = request.upload_id(multipart.id).send().await {
            warn!(
                "parts of {} stay until the bucket's lifecycle rule: {}",
                self.key,
                CallError::new("AbortMultipartUpload", &error)
            );
        }
    }
}

fn refusal<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failure = CallError::new(operation, error);
    match (failure.status(), failure.code()) {
        (Some(412), _) => Refusal::Condition,
        // Another write is under way: this upload must start over.
        (Some(409), _) => Refusal::Failed(failure),
        // The upload may be gone because an earlier try of ours completed it.
        (_, Some("NoSuchUpload")) => Refusal::Unclear(failure),
        _ => match failure.meaning() {
            Meaning::Transient => Refusal::Unclear(failure),
            Meaning::Environment | Meaning::Refused => Refusal::Failed(failure),
        },
    }
}

/// A checksum as S3 writes it: base64 of the big-endian bytes.
fn encoded(crc: u64) -> String {
    aws_smithy_types::base64::encode(crc.to_be_bytes())
}
