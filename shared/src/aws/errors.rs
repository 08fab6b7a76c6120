//! What a failed call to AWS means to us.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// What a failed call means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Throttling, 5xx, timeouts, resets, expired credentials: it may work in a moment.
    Transient,
    /// A missing permission, key, bucket, table or queue: it will not work before somebody changes something.
    Environment,
    /// AWS understood the request and refuses this one.
    Refused,
}

/// A failed call to AWS, reduced to what is decided and logged by.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct CallError {
    operation: &'static str,
    detail: String,
    code: Option<String>,
    status: Option<u16>,
    meaning: Meaning,
}

impl CallError {
    /// Reads the SDK's error; `operation` is the API's name for the call.
    pub fn new<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code)
            .map(str::to_owned);
        let message = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::message);
        let detail = match (&code, message, status) {
            (Some(code), Some(message), _) => format!("{code}: {message}"),
            (Some(code), None, _) => code.clone(),
            (None, _, Some(status)) => format!("HTTP status {status}: {}", chain(error)),
            (None, _, None) => chain(error),
        };
        let meaning = if lacks_credentials(error) {
            Meaning::Environment
        } else if let SdkError::ResponseError(_) = error {
            // It broke off, or cannot be read: whatever its status, it is no answer.
            Meaning::Transient
        } else {
            meaning(code.as_deref(), status)
        };
        Self {
            operation,
            detail: unsigned(&detail),
            code,
            status,
            meaning,
        }
    }

    /// For calls that no SDK knows.
    pub fn from_parts(
        operation: &'static str,
        status: u16,
        code: Option<String>,
        detail: &str,
    ) -> Self {
        let meaning = meaning(code.as_deref(), Some(status));
        Self {
            operation,
            detail: unsigned(detail),
            code,
            status: Some(status),
            meaning,
        }
    }

    /// For an answer that AWS never gives.
    pub fn nonsense(operation: &'static str, detail: impl Into<String>) -> Self {
        Self {
            operation,
            detail: detail.into(),
            code: None,
            status: None,
            meaning: Meaning::Transient,
        }
    }

    /// What it means to us.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// AWS's error code, if an answer arrived and had one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The HTTP status, if an answer arrived.
    pub fn status(&self) -> Option<u16> {
        self.status
    }
}

/// Judges by code where there is one, else by status; an answer that never came is transient.
fn meaning(code: Option<&str>, status: Option<u16>) -> Meaning {
    match (code.unwrap_or_default(), status) {
        (code, _) if PASSING.contains(&code) => Meaning::Transient,
        (code, _) if STANDING.contains(&code) => Meaning::Environment,
        (code, _) if code.starts_with("KMS.") || code.starts_with("Kms") => Meaning::Environment,
        (code, _) if code.contains("AccessDenied") || code.contains("NotAuthorized") => {
            Meaning::Environment
        }
        (_, Some(401 | 403)) => Meaning::Environment,
        // 2xx: done, but the answer cannot be read.
        ("", Some(200..300)) | (_, Some(408 | 429 | 500..) | None) => Meaning::Transient,
        (_, Some(_)) => Meaning::Refused,
    }
}

/// Codes of faults that pass, whatever their status.
const PASSING: [&str; 26] = [
    // Credentials are renewed by their provider, clock skew is corrected by the SDK.
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "BandwidthLimitExceeded",
    "KMS.ThrottlingException",
    "KMSThrottlingException",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "TransactionInProgressException",
    "InternalError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    // Another writer, or a body that was damaged on its way.
    "BadDigest",
    "ConditionalRequestConflict",
    "OperationAborted",
];

/// Codes of faults that stay until somebody changes something, whatever their status.
const STANDING: [&str; 17] = [
    "AWS.SimpleQueueService.NonExistentQueue",
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "AuthorizationHeaderMalformed",
    "AllAccessDisabled",
    "IllegalLocationConstraintException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidAddress",
    "InvalidBucketName",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NoSuchBucket",
    "OptInRequired",
    "PermanentRedirect",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
];

/// Whether the request was never sent since there is nothing to sign it with, and will not be in a moment.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|error| error.downcast_ref())
        .any(|error| !matches!(error, CredentialsError::ProviderTimedOut(_)))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

/// What AWS says of a wrong signature, without the canonical request that it repeats: that has the session token in it.
fn unsigned(detail: &str) -> String {
    match detail.split_once("The Canonical String") {
        Some((said, _)) => format!("{said}[…]"),
        None => detail.to_owned(),
    }
}

/// An error and its sources on one line, each said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for error in causes(error) {
        let text = error.to_string();
        if !line.ends_with(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_not_repeated() {
        let said = "The request signature we calculated does not match. The Canonical String for this request should \
                    have been 'GET\n/\n\nx-amz-security-token:secret'";
        let error =
            CallError::from_parts("Test", 403, Some("SignatureDoesNotMatch".to_owned()), said);
        assert_eq!(
            error.to_string(),
            "Test: The request signature we calculated does not match. […]"
        );
    }

    #[test]
    fn a_failed_call_means_what_its_code_says() {
        use Meaning::{Environment, Refused, Transient};
        for (code, status, expected) in [
            (None, None, Transient), // no answer: timeout, reset, refused connection
            (None, Some(500), Transient),
            (None, Some(503), Transient),
            (None, Some(429), Transient),
            (None, Some(403), Environment), // HEAD has no body, so no code
            (None, Some(400), Refused),
            (None, Some(200), Transient), // an answer that cannot be read
            (Some("Throttling"), Some(400), Transient),
            (
                Some("ProvisionedThroughputExceededException"),
                Some(400),
                Transient,
            ),
            (Some("SlowDown"), Some(503), Transient),
            (Some("ExpiredToken"), Some(403), Transient),
            (Some("RequestTimeTooSkewed"), Some(403), Transient),
            (Some("KMS.ThrottlingException"), Some(400), Transient),
            (Some("KMS.DisabledException"), Some(400), Environment),
            (Some("AccessDenied"), Some(403), Environment),
            (Some("AccessDeniedException"), Some(400), Environment),
            (Some("NoSuchBucket"), Some(404), Environment),
            (Some("ResourceNotFoundException"), Some(400), Environment),
            (
                Some("AWS.SimpleQueueService.NonExistentQueue"),
                Some(400),
                Environment,
            ),
            (Some("QueueDoesNotExist"), Some(400), Environment),
            (Some("InvalidClientTokenId"), Some(403), Environment),
            (Some("SignatureDoesNotMatch"), Some(403), Environment),
            (Some("UnrecognizedClientException"), Some(400), Environment),
            (Some("ConditionalRequestConflict"), Some(409), Transient),
            (Some("PreconditionFailed"), Some(412), Refused),
            (Some("ValidationException"), Some(400), Refused),
            (Some("DBInstanceNotFound"), Some(404), Refused),
        ] {
            assert_eq!(meaning(code, status), expected, "{code:?} {status:?}");
        }
    }
}
