//! A fast S3: counts, checks and forgets what it is sent, and remembers what objects there would be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use aws_smithy_types::base64;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, ETAG};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode};
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use futures_util::TryStreamExt;
use hyper::Request;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::server::Server;
use crate::proxy::object_operation;

/// The checksum that S3 keeps of whole objects, and that the worker sends with each part.
const CRC: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;
const CRC_HEADER: &str = "x-amz-checksum-crc64nvme";

/// A running sink; dropping it stops it.
#[derive(Debug)]
pub struct Sink {
    server: Server,
    kept: Arc<Mutex<Kept>>,
}

/// What an object would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Bytes of it.
    pub size: u64,
    /// CRC64NVME of all of them.
    pub crc: u64,
}

/// What came of all requests.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// By key.
    pub objects: BTreeMap<String, Object>,
    /// Requests by operation.
    pub requests: BTreeMap<String, u64>,
    /// When the last object was complete.
    pub last: Option<Instant>,
    uploads: HashMap<u64, BTreeMap<u32, Object>>,
    last_upload: u64,
}

impl Sink {
    /// Starts one in the current runtime.
    pub fn start(tls: bool) -> anyhow::Result<Self> {
        let kept = Arc::<Mutex<Kept>>::default();
        let shared = Arc::clone(&kept);
        let server = Server::start(tls, move |request| answer(Arc::clone(&shared), request))?;
        Ok(Self { server, kept })
    }

    /// The value for `AWS_ENDPOINT_URL_S3`.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// What came of all requests so far.
    pub fn kept(&self) -> Kept {
        lock(&self.kept).clone()
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(kept: Arc<Mutex<Kept>>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let received = match receive(&head.headers, body).await {
        Ok(received) => received,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("{error:#}")),
    };
    let operation = object_operation(&head);
    let mut kept = lock(&kept);
    *kept.requests.entry(operation.to_owned()).or_default() += 1;
    kept.answer(operation, &head, received)
        .unwrap_or_else(|error| refusal(StatusCode::BAD_REQUEST, &format!("{error:#}")))
}

/// Reads a body to its end.
async fn receive(headers: &HeaderMap, body: Incoming) -> anyhow::Result<Object> {
    let (mut crc, mut size) = (Digest::new(CRC), 0);
    let mut body = Body::new(body).into_data_stream();
    while let Some(bytes) = body.try_next().await? {
        crc.update(&bytes);
        size += bytes.len() as u64;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // The length without the framing, of a body that is sent in chunks of AWS's own.
    if let Some(decoded) = text("x-amz-decoded-content-length") {
        size = decoded.parse()?;
    }
    Ok(Object {
        size,
        crc: crc.finalize(),
    })
}

/// Holds what came against the checksum that came with it.
fn check(crc: u64, headers: &HeaderMap) -> anyhow::Result<()> {
    let Some(sent) = headers.get(CRC_HEADER) else {
        return Ok(());
    };
    let crc = base64::encode(crc.to_be_bytes());
    anyhow::ensure!(
        *sent == crc,
        "BadDigest: {CRC_HEADER} is {sent:?}, but should be {crc}"
    );
    Ok(())
}

impl Kept {
    fn answer(
        &mut self,
        operation: &str,
        head: &Parts,
        received: Object,
    ) -> anyhow::Result<Response<Body>> {
        // Buckets are named in the path where endpoints are our own.
        let (_bucket, key) = head
            .uri
            .path()
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or_default();
        let parameter = |name: &str| {
            let query = head.uri.query().unwrap_or_default();
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let id = parameter("uploadId").and_then(|id| id.parse::<u64>().ok());
        let mut response = Response::new(Body::empty());
        match operation {
            "PutObject" => {
                check(received.crc, &head.headers)?;
                response.headers_mut().insert(ETAG, etag(received).parse()?);
                self.store(key, received);
            }
            "CreateMultipartUpload" => {
                self.last_upload += 1;
                self.uploads.insert(self.last_upload, BTreeMap::new());
                let id = self.last_upload;
                *response.body_mut() = format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>").into();
            }
            "UploadPart" => {
                let part = parameter("partNumber").context("no partNumber")?.parse()?;
                let parts = id.and_then(|id| self.uploads.get_mut(&id));
                check(received.crc, &head.headers)?;
                parts.context("NoSuchUpload")?.insert(part, received);
                response.headers_mut().insert(ETAG, etag(received).parse()?);
            }
            "CompleteMultipartUpload" => {
                let parts = id
                    .and_then(|id| self.uploads.remove(&id))
                    .context("NoSuchUpload")?;
                let whole = whole(parts.into_values());
                check(whole.crc, &head.headers)?;
                self.store(key, whole);
                let etag = etag(whole);
                *response.body_mut() = format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>").into();
            }
            "AbortMultipartUpload" => {
                id.and_then(|id| self.uploads.remove(&id));
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            "HeadBucket" => {}
            "HeadObject" => match self.objects.get(key) {
                Some(object) => {
                    response.headers_mut().insert(ETAG, etag(*object).parse()?);
                    response
                        .headers_mut()
                        .insert(CONTENT_LENGTH, object.size.into());
                }
                None => *response.status_mut() = StatusCode::NOT_FOUND,
            },
            other => anyhow::bail!("{other} is none of what this can do"),
        }
        Ok(response)
    }

    fn store(&mut self, key: &str, object: Object) {
        self.objects.insert(key.to_owned(), object);
        self.last = Some(Instant::now());
    }
}

/// What the parts make in their order.
fn whole(parts: impl Iterator<Item = Object>) -> Object {
    let nothing = Object {
        size: 0,
        crc: Digest::new(CRC).finalize(),
    };
    parts.fold(nothing, |before, part| Object {
        size: before.size + part.size,
        crc: checksum_combine(CRC, before.crc, part.crc, part.size),
    })
}

fn etag(object: Object) -> String {
    format!("\"{:016x}\"", object.crc)
}

fn refusal(status: StatusCode, what: &str) -> Response<Body> {
    let code = what.split(':').next().unwrap_or_default();
    let body = format!("<Error><Code>{code}</Code><Message>{what}</Message></Error>");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bytes: &[u8]) -> Object {
        Object {
            size: bytes.len() as u64,
            crc: crc_fast::checksum(CRC, bytes),
        }
    }

    #[test]
    fn parts_make_the_object_that_they_are_parts_of() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        assert_eq!(whole(bytes.chunks(1_000).map(object)), object(&bytes));
        assert_eq!(whole(std::iter::empty()), object(b""));
    }
}
