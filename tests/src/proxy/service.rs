//! The services: what they are asked, and how they spell errors.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use clap::ValueEnum;
use serde_json::json;

/// A service of AWS that we depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Service {
    /// The queues.
    Sqs,
    /// The checkpoint table.
    DynamoDb,
    /// The archive.
    S3,
    /// Listings and downloads.
    Rds,
}

impl Service {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// The environment variable that says where it is.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::S3 => "AWS_ENDPOINT_URL_S3",
            Self::Rds => "AWS_ENDPOINT_URL_RDS",
        }
    }

    /// Status and code of its throttling.
    pub(super) fn throttling(self) -> (u16, &'static str) {
        match self {
            Self::Sqs => (400, "RequestThrottled"),
            Self::DynamoDb => (400, "ProvisionedThroughputExceededException"),
            Self::S3 => (503, "SlowDown"),
            Self::Rds => (400, "Throttling"),
        }
    }

    /// The code of its internal errors, whose status is 500.
    pub(super) fn internal_error(self) -> &'static str {
        match self {
            Self::Sqs | Self::Rds => "InternalFailure",
            Self::DynamoDb => "InternalServerError",
            Self::S3 => "InternalError",
        }
    }

    /// The one that a request is meant for.
    pub(super) fn of(head: &Parts) -> Self {
        let header = |name| head.headers.get(name).and_then(|text| text.to_str().ok());
        match header("x-amz-target") {
            Some(target) if target.starts_with("AmazonSQS.") => Self::Sqs,
            Some(_) => Self::DynamoDb,
            None if head.uri.path().starts_with("/v13/") => Self::Rds,
            None => match header("content-type") {
                Some("application/x-www-form-urlencoded") => Self::Rds,
                _ => Self::S3,
            },
        }
    }

    /// The API's name for a request; for S3 only of what our programs do.
    pub(super) fn operation(self, head: &Parts, body: &[u8]) -> String {
        let operation = match self {
            Self::Sqs | Self::DynamoDb => {
                let target = head.headers.get("x-amz-target");
                let target = target.and_then(|target| target.to_str().ok());
                target.and_then(|target| target.rsplit('.').next())
            }
            Self::S3 => Some(object_operation(head)),
            Self::Rds if body.is_empty() => head.uri.path().split('/').nth(2),
            Self::Rds => {
                let form = std::str::from_utf8(body).unwrap_or_default();
                form.split('&')
                    .find_map(|pair| pair.strip_prefix("Action="))
            }
        };
        operation.unwrap_or_default().to_owned()
    }

    /// An error as it spells them.
    pub(super) fn refusal(self, status: u16, code: &str) -> Response<Body> {
        const MESSAGE: &str = "the proxy says so";
        let error = format!("<Error><Code>{code}</Code><Message>{MESSAGE}</Message></Error>");
        let (kind, body) = match self {
            Self::Sqs | Self::DynamoDb => {
                let body = json!({"__type": code, "message": MESSAGE});
                ("application/x-amz-json-1.0", body.to_string())
            }
            Self::S3 => ("application/xml", error),
            Self::Rds => (
                "text/xml",
                format!("<ErrorResponse>{error}</ErrorResponse>"),
            ),
        };
        respond(status, kind, body)
    }
}

/// What answers where no service does.
pub(super) fn bad_gateway() -> Response<Body> {
    let page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
    respond(502, "text/html", page.to_owned())
}

fn respond(status: u16, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("an HTTP status");
    let kind = kind.parse().expect("a media type");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// S3's name for a request, of those that our programs make.
pub(crate) fn object_operation(head: &Parts) -> &'static str {
    let has = |name: &str| {
        let query = head.uri.query().unwrap_or_default();
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some(name))
    };
    // `/bucket/key` has one, `/bucket` and `/bucket/` have none.
    let key = head.uri.path().splitn(3, '/').nth(2).unwrap_or_default();
    match head.method.as_str() {
        "HEAD" if key.is_empty() => "HeadBucket",
        "GET" if key.is_empty() => "ListObjectsV2",
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" => "CompleteMultipartUpload",
        "DELETE" => "AbortMultipartUpload",
        "HEAD" => "HeadObject",
        _ => "GetObject",
    }
}
