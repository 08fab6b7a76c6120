//! What the archive has: the object of a key, and which version of a log file it holds.

use std::collections::HashMap;

use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
pub use aws_sdk_s3::primitives::ByteStream;

use crate::aws::{Aws, CallError};
use crate::checkpoint::Proof;
use crate::instance::Instance;
use crate::log_file::{Beside, KeyForm, KeyRejected, Version};
use crate::message::Message;

/// What keys of gzip objects end in.
pub const GZIP: &str = "gz";
/// What keys of zstd objects end in.
pub const ZSTD: &str = "zst";
/// What any key may end in.
pub const EXTENSIONS: [&str; 2] = [GZIP, ZSTD];

/// Object metadata: `LastWritten` in milliseconds since 1970.
const LAST_WRITTEN: &str = "last-written";
/// Object metadata: the version's size in bytes, before compression.
const SOURCE_SIZE: &str = "source-size";
/// Object metadata: `DbiResourceId` of the instance, since instances take over each other's names.
const RESOURCE_ID: &str = "resource-id";
/// Object metadata: of the claim that wrote it.
const GENERATION: &str = "generation";
/// Object metadata: of the bytes before compression; absent from multipart uploads, which fix metadata at their start.
pub const SHA256: &str = "sha256";

/// The archive.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The client that uploads.
    pub s3: aws_sdk_s3::Client,
    /// The client for all else.
    pub control: aws_sdk_s3::Client,
    /// Its bucket.
    pub bucket: String,
    /// What its keys begin with.
    pub prefix: String,
}

/// What the archive has under a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its entity tag, to replace exactly this.
    pub etag: String,
    /// `None`: not written by us. It counts as older than anything.
    pub version: Option<Version>,
    /// Whose log file it is, where it says so.
    pub resource_id: Option<String>,
}

impl Archived {
    /// Reads an object's metadata.
    pub fn read(etag: String, metadata: Option<&HashMap<String, String>>) -> Self {
        let text = |name| metadata.and_then(|all| all.get(name));
        // Spelled as we spell it, or it is not ours.
        let number = |name| {
            let number = text(name)?.parse::<i64>().ok()?;
            (number.to_string() == *text(name)?).then_some(number)
        };
        let version = number(LAST_WRITTEN)
            .zip(number(SOURCE_SIZE))
            .and_then(|(at, size)| Version::new(at, size));
        Self {
            etag,
            version,
            resource_id: text(RESOURCE_ID).cloned(),
        }
    }

    /// How a version stands to it; `None`: it may be replaced.
    pub fn beside(&self, instance: &Instance, version: Version) -> Option<Beside> {
        if self
            .resource_id
            .as_ref()
            .is_some_and(|id| *id != instance.resource_id)
        {
            return Some(Beside::Apart); // of an earlier instance of this name
        }
        self.version.map(|archived| version.beside(archived))
    }
}

/// The metadata of an object, for [`Archived::read`]; all but the hash.
pub fn metadata(message: &Message, generation: u64) -> [(String, String); 4] {
    let Message { instance, file } = message;
    let Version { last_written, size } = file.version;
    [
        (LAST_WRITTEN, last_written.as_millisecond().to_string()),
        (SOURCE_SIZE, size.to_string()),
        (RESOURCE_ID, instance.resource_id.clone()),
        (GENERATION, generation.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

impl Archive {
    /// The archive in that bucket, under that prefix.
    pub fn new(aws: &Aws, bucket: String, prefix: String) -> Self {
        Self {
            s3: aws.s3.clone(),
            control: aws.s3_control.clone(),
            bucket,
            prefix,
        }
    }

    /// `Err` if there is no such bucket: then a key that is not there proves nothing.
    pub async fn check_bucket(&self) -> Result<(), CallError> {
        match self
            .control
            .head_bucket()
            .bucket(&self.bucket)
            .send()
            .await
            .map_err(|error| CallError::new("HeadBucket", &error))
        {
            Err(error) if error.status() == Some(404) => Err(CallError::from_parts(
                "HeadBucket",
                404,
                Some("NoSuchBucket".to_owned()),
                &format!("there is no bucket {}", self.bucket),
            )),
            // Whoever may not ask for the bucket may yet ask for keys.
            _ => Ok(()),
        }
    }

    /// Asks what is under a key; `None` if nothing is.
    pub async fn head(&self, key: &str) -> Result<Option<Archived>, CallError> {
        const OPERATION: &str = "HeadObject";
        let head = match self
            .control
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
        let etag = head
            .e_tag
            .clone()
            .ok_or_else(|| CallError::nonsense(OPERATION, "an object without ETag"))?;
        Ok(Some(Archived::read(etag, head.metadata())))
    }

    /// Opens an object; `None` if nothing is under the key. What comes of it may break off.
    pub async fn open(&self, key: &str) -> Result<Option<ByteStream>, CallError> {
        match self
            .control
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
        {
            Ok(object) => Ok(Some(object.body)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetObjectError::is_no_such_key) =>
            {
                Ok(None)
            }
            Err(error) => Err(CallError::new("GetObject", &error)),
        }
    }

    /// The keys that begin with `start`, in S3's order.
    pub async fn keys(&self, start: &str) -> Result<Vec<String>, CallError> {
        let mut keys = Vec::new();
        let mut more = None;
        loop {
            let page = self
                .control
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(start)
                .set_continuation_token(more)
                .send()
                .await
                .map_err(|error| CallError::new("ListObjectsV2", &error))?;
            keys.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|object| object.key),
            );
            more = page.next_continuation_token;
            if more.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Looks for a version under each key that it may have. `None`: the archive has nothing of it that is as new.
    ///
    /// Twins are not found: their keys depend on their content.
    pub async fn find(&self, message: &Message) -> Result<Option<Proof>, Unfindable> {
        let Message { instance, file } = message;
        for form in [KeyForm::Plain, KeyForm::Versioned] {
            for extension in EXTENSIONS {
                if file.twins > 1 {
                    continue;
                }
                let key = file.object_key(&self.prefix, instance, form, extension)?;
                let archived = match self.head(&key).await {
                    // To a role without ListBucket a key that is not there is forbidden.
                    Err(error) if error.status() == Some(403) => None,
                    archived => archived?,
                };
                let Some(archived) = archived else { continue };
                let reason = match archived.beside(instance, file.version) {
                    Some(Beside::Same) => "stored",
                    Some(Beside::Superseded) => "superseded",
                    Some(Beside::Grown | Beside::Apart) | None => continue,
                };
                return Ok(Some(Proof {
                    reason,
                    keys: vec![key],
                    etag: Some(archived.etag),
                    content: None,
                    stored_bytes: None,
                }));
            }
        }
        Ok(None)
    }
}

/// Why a version was not looked for.
#[derive(Debug, thiserror::Error)]
pub enum Unfindable {
    /// It can have no key.
    #[error(transparent)]
    Rejected(#[from] KeyRejected),
    /// S3 did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metadata_spelled_as_ours_is_a_version() {
        let version = |at: &str, size: &str| {
            let metadata = [(LAST_WRITTEN, at), (SOURCE_SIZE, size)];
            let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Archived::read("etag".to_owned(), Some(&metadata.into())).version
        };
        assert_eq!(
            version("1727784000123", "1000123"),
            Version::new(1_727_784_000_123, 1_000_123)
        );
        for (at, size) in [
            ("+1727784000123", "5"),
            ("01727784000123", "5"),
            ("1727784000123", "+5"),
            ("1727784000123", "05"),
            ("1727784000123", "-0"),
            ("1727784000123 ", "5"),
            ("-1", "5"),
            ("10000000000000", "5"),
            ("", ""),
        ] {
            assert_eq!(version(at, size), None, "{at:?} {size:?}");
        }
        assert_eq!(Archived::read("etag".to_owned(), None).version, None);
    }
}
