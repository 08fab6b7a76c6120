//! The one place that builds AWS clients, and that says what an error from AWS means.

use std::error::Error;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_rds::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_sqs::config::retry::{RetryConfig, RetryPartition};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::service_config::ServiceConfigKey;
use xmlparser::{ElementEnd, Token, Tokenizer};

use crate::credentials::Keys;
use crate::queue::LONG_POLL;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one try of a small request may take.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one try of an upload request may take: 8 MiB at a poor 100 KiB/s.
const DATA_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a long poll may hang beyond its own wait. The SDK has no read timeout, so without this it may hang for ever.
const POLL_SLACK: Duration = Duration::from_secs(10);

/// Tries of one request, first one included. Releasing a message is dearer than a few more tries.
const ATTEMPTS: u32 = 4;

/// `DescribeDBLogFiles` is throttled per account and region, for us together with every console and script.
///
/// Not with the SDK's adaptive retry: it limits every call of the client to the rate that it has measured before, and we
/// list so seldom that one throttled call then waits 20 s, and the calls beside it wait as well.
const RDS_ATTEMPTS: u32 = 8;

/// Long polls have a retry budget of their own. Every budget pays for some hundred retries and is refilled by success, so
/// that a service in trouble is not asked four times as often. Throttled polls would use up what deletes need, and a
/// message that is not deleted comes back.
const POLL_RETRIES: &str = "auditferry-poll";

/// Uploads have one, too: S3 slows down writers and answers a HEAD at once. What became of an upload is asked by HEAD.
const DATA_RETRIES: &str = "auditferry-data";

/// What every program needs of AWS.
#[derive(Debug, Clone)]
pub struct Aws {
    /// The region that requests are signed for.
    pub region: String,
    /// For requests that we sign ourselves. All clients have the same.
    pub credentials: Keys,
    /// The RDS endpoint as the SDK resolves it, without a trailing slash.
    pub rds_endpoint: String,
    /// Everything of the queues but long polls.
    pub sqs: aws_sdk_sqs::Client,
    /// Long polls.
    pub sqs_poll: aws_sdk_sqs::Client,
    /// Listings.
    pub rds: aws_sdk_rds::Client,
    /// Uploads.
    pub s3: aws_sdk_s3::Client,
    /// Everything of the archive but uploads.
    pub s3_control: aws_sdk_s3::Client,
    /// The checkpoint table.
    pub dynamodb: aws_sdk_dynamodb::Client,
}

/// Reads region, credentials and endpoints as every AWS SDK does. Builds no client yet.
pub async fn load() -> SdkConfig {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .app_name(AppName::new("auditferry").expect("letters only"))
        .load()
        .await
}

/// A configuration of AWS with which no client can work.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Neither environment nor profile nor instance metadata names a region.
    #[error("AWS_REGION is not set, and no profile names a region")]
    NoRegion,
    /// The SDK was told to go without.
    #[error("no credentials provider is configured")]
    NoCredentials,
    /// Region or endpoint settings contradict each other.
    #[error("AWS_ENDPOINT_URL_RDS and AWS_REGION give no RDS endpoint: {0}")]
    NoEndpoint(String),
}

impl Aws {
    /// Builds every client. Polls and uploads have retry budgets of their own; all else has the SDK's, one per service.
    pub async fn new(config: &SdkConfig) -> Result<Self, Unusable> {
        let region = config
            .region()
            .map(Region::to_string)
            .filter(|region| !region.is_empty())
            .ok_or(Unusable::NoRegion)?;
        let provider = config
            .credentials_provider()
            .ok_or(Unusable::NoCredentials)?;
        let credentials = Keys::new(provider);
        let config = &config
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .identity_cache(IdentityCache::no_cache())
            .build();
        let timeouts = |attempt| {
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(attempt)
                .build()
        };
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let sqs = aws_sdk_sqs::config::Builder::from(config)
            .timeout_config(timeouts(CONTROL_TIMEOUT))
            .retry_config(retries.clone())
            .retry_classifier(credentials.clone());
        let sqs_poll = sqs
            .clone()
            .timeout_config(timeouts(LONG_POLL + POLL_SLACK))
            .retry_partition(RetryPartition::new(POLL_RETRIES));
        let rds = rds(config)
            .timeout_config(timeouts(CONTROL_TIMEOUT))
            .retry_config(retries.clone().with_max_attempts(RDS_ATTEMPTS))
            .retry_classifier(credentials.clone());
        let s3_control = aws_sdk_s3::config::Builder::from(config)
            .timeout_config(timeouts(CONTROL_TIMEOUT))
            .retry_config(retries.clone())
            .retry_classifier(credentials.clone())
            // Endpoints of one's own seldom have a DNS name per bucket.
            .force_path_style(endpoint_override(config, "S3").is_some());
        let s3 = s3_control
            .clone()
            .timeout_config(timeouts(DATA_TIMEOUT))
            .retry_partition(RetryPartition::new(DATA_RETRIES));
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config)
            .timeout_config(timeouts(CONTROL_TIMEOUT))
            .retry_config(retries)
            .retry_classifier(credentials.clone());
        Ok(Self {
            credentials,
            rds_endpoint: rds_endpoint(config, &region).await?,
            region,
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            sqs_poll: aws_sdk_sqs::Client::from_conf(sqs_poll.build()),
            rds: aws_sdk_rds::Client::from_conf(rds.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            s3_control: aws_sdk_s3::Client::from_conf(s3_control.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        })
    }
}

/// The settings of an RDS client, without timeouts and retries.
pub fn rds(config: &SdkConfig) -> aws_sdk_rds::config::Builder {
    aws_sdk_rds::config::Builder::from(config).interceptor(WholeXml)
}

/// Refuses an answer of RDS that is not XML from beginning to end.
///
/// The SDK takes what it can read of one that is cut short or damaged: a listing without the entries, and without the
/// marker, that would have come after.
#[derive(Debug)]
struct WholeXml;

impl Intercept for WholeXml {
    fn name(&self) -> &'static str {
        "WholeXml"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_err() {
            return Ok(()); // it says more than we would
        }
        let body = context.response().body().bytes().unwrap_or_default();
        whole_xml(std::str::from_utf8(body)?)
    }
}

/// `Err` unless every element that is opened is closed, and nothing is out of place.
fn whole_xml(xml: &str) -> Result<(), BoxError> {
    let mut open = Vec::new();
    for token in Tokenizer::from(xml) {
        match token? {
            Token::ElementStart { prefix, local, .. } => open.push((prefix, local)),
            Token::ElementEnd { end, .. } => match end {
                ElementEnd::Open => {}
                ElementEnd::Empty => {
                    open.pop();
                }
                ElementEnd::Close(prefix, local) => {
                    let opened = open.pop();
                    if opened.map(|(p, l)| (p.as_str(), l.as_str()))
                        != Some((prefix.as_str(), local.as_str()))
                    {
                        return Err(format!("</{local}> closes another element").into());
                    }
                }
            },
            // The SDK stops reading at an attribute that it cannot unescape.
            Token::Attribute { local, value, .. } if value.contains('&') => {
                return Err(format!("a reference in attribute {local}").into());
            }
            _ => {}
        }
    }
    match open.last() {
        Some((_, local)) => Err(format!("the answer ends within <{local}>").into()),
        None => Ok(()),
    }
}

/// The endpoint that environment or profile set for a service, with the precedence that the SDK's own clients follow.
fn endpoint_override(config: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let for_service = config
        .service_config()
        .zip(key.ok())
        .and_then(|(settings, key)| settings.load_config(key));
    for_service.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Asks the SDK's resolver, since China, GovCloud, FIPS and dual-stack endpoints all differ.
async fn rds_endpoint(config: &SdkConfig, region: &str) -> Result<String, Unusable> {
    let params = Params::builder()
        .region(region)
        .use_fips(config.use_fips().unwrap_or_default())
        .use_dual_stack(config.use_dual_stack().unwrap_or_default())
        .set_endpoint(endpoint_override(config, "RDS"))
        .build()
        .map_err(|error| Unusable::NoEndpoint(error.to_string()))?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).await;
    let endpoint = endpoint.map_err(|error| Unusable::NoEndpoint(chain(error.as_ref())))?;
    Ok(endpoint.url().trim_end_matches('/').to_owned())
}

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
    use aws_credential_types::Credentials;
    use aws_smithy_types::retry::RetryMode;

    use super::*;

    #[tokio::test]
    async fn no_client_waits_for_ever_and_polls_and_uploads_pay_for_their_own_retries() {
        let credentials = Credentials::new("key", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        // All of them: a new client must choose, too.
        let Aws {
            region: _,
            credentials: _,
            rds_endpoint: _,
            sqs,
            sqs_poll,
            rds,
            s3,
            s3_control,
            dynamodb,
        } = Aws::new(&config).await.unwrap();
        let told = |timeouts: Option<&TimeoutConfig>, partition: Option<&RetryPartition>| {
            let timeouts = timeouts.unwrap();
            (
                timeouts.connect_timeout().unwrap().as_secs(),
                timeouts.operation_attempt_timeout().unwrap().as_secs(),
                partition.cloned(),
            )
        };
        let own = |name| Some(RetryPartition::new(name));
        for (client, told, expected) in [
            (
                "sqs",
                told(
                    sqs.config().timeout_config(),
                    sqs.config().retry_partition(),
                ),
                (5, 15, None),
            ),
            (
                "sqs_poll",
                told(
                    sqs_poll.config().timeout_config(),
                    sqs_poll.config().retry_partition(),
                ),
                (5, 30, own(POLL_RETRIES)),
            ),
            (
                "rds",
                told(
                    rds.config().timeout_config(),
                    rds.config().retry_partition(),
                ),
                (5, 15, None),
            ),
            (
                "s3",
                told(s3.config().timeout_config(), s3.config().retry_partition()),
                (5, 90, own(DATA_RETRIES)),
            ),
            (
                "s3_control",
                told(
                    s3_control.config().timeout_config(),
                    s3_control.config().retry_partition(),
                ),
                (5, 15, None),
            ),
            (
                "dynamodb",
                told(
                    dynamodb.config().timeout_config(),
                    dynamodb.config().retry_partition(),
                ),
                (5, 15, None),
            ),
        ] {
            assert_eq!(told, expected, "{client}");
        }
        let retries = rds.config().retry_config().unwrap();
        assert_eq!(
            (retries.mode(), retries.max_attempts()),
            (RetryMode::Standard, 8)
        );
    }

    #[test]
    fn an_answer_of_rds_is_read_whole_or_not_at_all() {
        let whole = "<?xml version=\"1.0\"?>\n<r:A xmlns:r=\"urn\"><B>1 &amp; 2</B><C/></r:A>\n";
        assert!(whole_xml(whole).is_ok());
        for (found, damaged, why) in [
            ("</r:A>\n", "", "ends within <A>"),
            ("</B><C/></r:A>\n", "", "ends within <B>"),
            ("</B>", "</D>", "</D> closes another"),
            ("</r:A>", "</A>", "</A> closes another"),
            ("<C/>", "<C", ""),
            ("1", "\u{1}", ""),
            ("urn", "&urn;", "a reference in attribute r"),
        ] {
            let error = whole_xml(&whole.replace(found, damaged)).unwrap_err();
            assert!(error.to_string().contains(why), "{damaged:?}: {error}");
        }
    }

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
