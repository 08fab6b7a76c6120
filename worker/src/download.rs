//! Bytes out of RDS: `downloadCompleteLogFile`, which no SDK has, signed by hand; bounded and counted.
//!
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/DownloadCompleteDBLogFile.html>

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use jiff::SignedDuration;
use jiff::fmt::rfc2822;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::redirect::Policy;
use reqwest::{Certificate, StatusCode};
use shared::aws::{Aws, CallError, chain};
use shared::credentials::Keys;
use shared::listing::says_later;
use shared::roots::Roots;
use tokio::sync::Mutex;
use tracing::warn;

use crate::config::DownloadTimeouts;

/// The name that our errors give to the call.
const OPERATION: &str = "downloadCompleteLogFile";

/// Unreserved characters of RFC 3986, and the slashes of a name, go as they are.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// How much of an error's body is kept.
const ERROR_BODY: usize = 1024;

/// Why there are no bytes, or not the right ones.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// RDS answered with an error.
    #[error(transparent)]
    Refused(CallError),
    /// There is nothing to sign with.
    #[error("no credentials to sign with: {0}")]
    Credentials(String),
    /// The connection failed before or within the body.
    #[error("stopped after {bytes} bytes: {detail}")]
    Broken {
        /// Received until then.
        bytes: u64,
        /// The causes, in a line.
        detail: String,
    },
    /// A rotated file, which can no longer grow, goes on after its listed size.
    #[error("goes on after the {size} bytes that were listed")]
    Long {
        /// Listed.
        size: u64,
    },
    /// The body ended cleanly, and too early.
    #[error("ended after {bytes} bytes, listed were {size}")]
    Short {
        /// Received.
        bytes: u64,
        /// Listed.
        size: u64,
    },
}

enum Answer {
    Bytes(reqwest::Response),
    /// With the `Date` that it bears.
    Refused {
        refusal: CallError,
        date: Option<String>,
    },
}

/// Where log files are downloaded from.
#[derive(Debug)]
pub struct Source {
    http: reqwest::Client,
    credentials: Keys,
    /// What to add to our clock to have AWS's. The SDK's own correction does not reach a request signed by hand.
    skew: Mutex<SignedDuration>,
    endpoint: String,
    region: String,
    whole: Duration,
}

impl Source {
    /// Connects nothing yet. `Err`: the TLS library cannot start.
    pub fn new(aws: &Aws, roots: &Roots, timeouts: DownloadTimeouts) -> reqwest::Result<Self> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.idle)
            // A signature holds for one host and path only.
            .redirect(Policy::none());
        if let Some(pem) = roots.pem() {
            http = http.tls_certs_only(Certificate::from_pem_bundle(pem)?);
        }
        let http = http.build()?;
        Ok(Self {
            http,
            credentials: aws.credentials.clone(),
            skew: Mutex::new(SignedDuration::ZERO),
            endpoint: aws.rds_endpoint.clone(),
            region: aws.region.clone(),
            whole: timeouts.whole,
        })
    }

    /// Starts the download of a log file, by its present name, as far as `size` bytes.
    pub async fn open(&self, instance: &str, name: &str, size: u64) -> Result<Body, DownloadError> {
        let mut answer = self.get(instance, name).await?;
        if let Answer::Refused { refusal, date } = &answer
            && self.adjust(refusal, date.as_deref()).await
        {
            answer = self.get(instance, name).await?;
        }
        match answer {
            Answer::Bytes(response) => Ok(Body {
                response,
                received: 0,
                size,
                excess: false,
            }),
            Answer::Refused { refusal, .. } => Err(DownloadError::Refused(refusal)),
        }
    }

    /// Does what a refusal of our signature asks for; whether it is worth signing once more.
    async fn adjust(&self, refusal: &CallError, date: Option<&str>) -> bool {
        let code = refusal.code().unwrap_or_default();
        if code.starts_with("ExpiredToken") {
            warn!("the credentials have expired: signing once more with others");
            self.credentials.expired();
            return true;
        }
        let Some(skew) = skew(refusal, date) else {
            return false;
        };
        warn!("the clock here is {skew:#} from AWS's: signing once more with theirs");
        *self.skew.lock().await = skew;
        true
    }

    async fn get(&self, instance: &str, name: &str) -> Result<Answer, DownloadError> {
        let (instance, name) = (
            utf8_percent_encode(instance, &ESCAPED),
            utf8_percent_encode(name, &ESCAPED),
        );
        let url = format!("{}/v13/{OPERATION}/{instance}/{name}", self.endpoint);
        let mut request = self.http.get(&url).timeout(self.whole);
        for (header, value) in self.signature(&url).await? {
            request = request.header(header, value);
        }
        let response = request.send().await.map_err(|error| broken(0, error))?;
        if response.status().is_success() {
            return Ok(Answer::Bytes(response));
        }
        let date = response
            .headers()
            .get("date")
            .and_then(|date| date.to_str().ok())
            .map(str::to_owned);
        Ok(Answer::Refused {
            refusal: refusal(response).await,
            date,
        })
    }

    /// The headers that sign a GET of `url`. They are never logged.
    async fn signature(&self, url: &str) -> Result<Vec<(String, String)>, DownloadError> {
        let unsignable =
            |error: &(dyn std::error::Error + 'static)| DownloadError::Credentials(chain(error));
        let credentials = self.credentials.get().await;
        let identity = credentials.map_err(|error| unsignable(&error))?.into();
        let skew = *self.skew.lock().await;
        let now = SystemTime::now();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("rds")
            .time(if skew.is_negative() {
                now - skew.unsigned_abs()
            } else {
                now + skew.unsigned_abs()
            })
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsignable(&error))?;
        let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::empty());
        let signed = request
            .and_then(|request| sign(request, &params.into()))
            .map_err(|error| unsignable(&error))?;
        let (headers, _query) = signed.into_parts().0.into_parts();
        Ok(headers
            .into_iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()))
            .collect())
    }
}

/// Reads what RDS has to say about a refusal, as far as the first KiB.
async fn refusal(mut response: reqwest::Response) -> CallError {
    let status = response.status();
    let mut body = Vec::new();
    while body.len() < ERROR_BODY
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(ERROR_BODY);
    let body = String::from_utf8_lossy(&body);
    let code = element(&body, "Code");
    let detail = format!(
        "HTTP status {}: {}",
        status.as_u16(),
        body.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    CallError::from_parts(OPERATION, status.as_u16(), code, &detail)
}

/// The text of the first such element of an error body.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim().to_owned())
}

/// How far our clock is from the `Date` of an answer that refuses our time; `None` if it refuses something else.
fn skew(refusal: &CallError, date: Option<&str>) -> Option<SignedDuration> {
    let about_time = match refusal.code()? {
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => true,
        "SignatureDoesNotMatch" | "InvalidSignatureException" => {
            let text = refusal.to_string();
            text.contains("Signature expired") || text.contains("Signature not yet current")
        }
        _ => false,
    };
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date?).ok()?;
    about_time.then(|| theirs.duration_since(jiff::Timestamp::now()))
}

fn broken(bytes: u64, error: reqwest::Error) -> DownloadError {
    DownloadError::Broken {
        bytes,
        detail: chain(&error.without_url()),
    }
}

/// The bytes of one version: as many as were listed.
#[derive(Debug)]
pub struct Body {
    response: reqwest::Response,
    received: u64,
    size: u64,
    /// Whether more than `size` has arrived.
    excess: bool,
}

impl Body {
    /// The next bytes; `None` once there were as many as listed. What an append-only file has grown by is not read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        if self.received == self.size {
            return Ok(None);
        }
        let chunk = self
            .response
            .chunk()
            .await
            .map_err(|error| broken(self.received, error))?;
        let Some(mut chunk) = chunk else {
            return Err(DownloadError::Short {
                bytes: self.received,
                size: self.size,
            });
        };
        let left = usize::try_from(self.size - self.received).unwrap_or(usize::MAX);
        self.excess = chunk.len() > left;
        chunk.truncate(left);
        self.received += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// After the last byte: `Err` if the file does not end here, as a rotated file must.
    pub async fn end(&mut self) -> Result<(), DownloadError> {
        let more = self.excess
            || self
                .response
                .chunk()
                .await
                .map_err(|error| broken(self.received, error))?
                .is_some();
        if more {
            Err(DownloadError::Long { size: self.size })
        } else {
            Ok(())
        }
    }
}

/// Whether the refusal means that the instance has no such log file.
pub(crate) fn says_missing(refusal: &CallError) -> bool {
    refusal.status() == Some(StatusCode::NOT_FOUND.as_u16()) && !says_later(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, status: u16, detail: &str) -> CallError {
        CallError::from_parts(OPERATION, status, Some(code.to_owned()), detail)
    }

    #[test]
    fn names_are_escaped_and_their_slashes_are_not() {
        let escaped = utf8_percent_encode("audit/a b:c+ü~-_.log", &ESCAPED).to_string();
        assert_eq!(escaped, "audit/a%20b%3Ac%2B%C3%BC~-_.log");
    }

    #[test]
    fn a_refusal_is_read() {
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>DBLogFileNotFoundFault</Code></Error></ErrorResponse>";
        assert_eq!(
            element(body, "Code").as_deref(),
            Some("DBLogFileNotFoundFault")
        );
        assert_eq!(element("<Code>cut of", "Code"), None);
        for (refusal, missing, later) in [
            (refused("DBLogFileNotFoundFault", 404, ""), true, false),
            (refused("DBInstanceNotFound", 404, ""), false, true),
            (refused("DBInstanceNotFoundFault", 404, ""), false, true),
            (refused("DBInstanceNotReady", 400, ""), false, true),
            (refused("AccessDenied", 403, ""), false, false),
        ] {
            assert_eq!(
                (says_missing(&refusal), says_later(&refusal)),
                (missing, later),
                "{refusal:?}"
            );
        }
    }

    #[test]
    fn only_a_refusal_of_our_time_moves_the_clock() {
        let date = Some("Tue, 01 Oct 2024 12:00:00 GMT");
        let expired = refused(
            "SignatureDoesNotMatch",
            403,
            "Signature expired: 20241001T113000Z is now earlier than …",
        );
        let moved = skew(&expired, date).unwrap();
        let theirs = jiff::Timestamp::now() + moved;
        assert_eq!(theirs.as_second(), 1_727_784_000);
        assert!(skew(&refused("RequestTimeTooSkewed", 403, ""), date).is_some());
        assert!(skew(&expired, None).is_none());
        assert!(skew(&expired, Some("yesterday")).is_none());
        assert!(
            skew(
                &refused(
                    "SignatureDoesNotMatch",
                    403,
                    "The request signature we calculated"
                ),
                date
            )
            .is_none()
        );
        assert!(skew(&refused("AccessDenied", 403, ""), date).is_none());
    }
}
