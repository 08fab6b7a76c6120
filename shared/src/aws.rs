//! The one place that builds AWS clients.

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_rds::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_sqs::config::retry::{RetryConfig, RetryPartition};
use aws_types::service_config::ServiceConfigKey;

use crate::credentials::Keys;
use crate::queue::LONG_POLL;
use crate::roots::Roots;

// What a call goes over.
mod connections;
// What a failed call means.
mod errors;
// An answer of RDS counts only if it is whole.
mod whole_xml;

use connections::Connections;
pub use errors::{CallError, Meaning, chain};
use whole_xml::WholeXml;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one try of a small request may take.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one try of an upload request may take: a part of 5 MiB at a poor 60 KiB/s.
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

/// Reads region, credentials and endpoints as every AWS SDK does. Builds no client yet but that of HTTP, which all share.
pub async fn load(roots: &Roots) -> SdkConfig {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .app_name(AppName::new("auditferry").expect("letters only"))
        .http_client(Connections::new(roots))
        .load()
        .await
}

/// For what a deployed stack says of itself.
pub fn cloudformation(config: &SdkConfig) -> aws_sdk_cloudformation::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(CONTROL_TIMEOUT);
    let config = aws_sdk_cloudformation::config::Builder::from(config)
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    aws_sdk_cloudformation::Client::from_conf(config.build())
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
}
