//! What requests are signed with: asked for in good time, and anew once AWS says that it has expired.
//!
//! The SDK's own cache asks only when credentials end by our clock. AWS goes by its own, and may have revoked them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::aws::chain;

/// Credentials this close to their end are asked for anew. AWS has new ones ready at least so long before.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
const EXPIRES_SOON: Duration = Duration::from_mins(5);

/// How long to be content with credentials that expire soon, after new ones were asked for in vain.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How long the provider may take. It is part of the first request's own time.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);

/// The credentials of all clients, cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: SharedCredentialsProvider,
    /// How long it may take.
    patience: Duration,
    /// Locked while new ones are asked for, so that a hundred requests ask once.
    kept: Mutex<Kept>,
    /// Whether AWS has refused what is kept.
    expired: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    credentials: Option<Credentials>,
    /// In vain.
    asked_at: Option<Instant>,
}

impl Keys {
    /// Asks for nothing yet.
    pub fn new(provider: SharedCredentialsProvider) -> Self {
        Self::with_patience(provider, PROVIDER_TIMEOUT)
    }

    fn with_patience(provider: SharedCredentialsProvider, patience: Duration) -> Self {
        Self(Arc::new(Inner {
            provider,
            patience,
            kept: Mutex::default(),
            expired: AtomicBool::new(false),
        }))
    }

    /// Credentials that are good for now, as far as anybody knows.
    pub async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut kept = self.0.kept.lock().await;
        if self.0.expired.swap(false, Ordering::Relaxed) {
            *kept = Kept::default();
        }
        let left = kept.credentials.as_ref().map(left);
        let content = match left {
            Some(left) if left > EXPIRES_SOON => true,
            Some(left) if left > Duration::ZERO => kept
                .asked_at
                .is_some_and(|asked_at| asked_at.elapsed() < ASK_AGAIN),
            _ => false,
        };
        if let Some(credentials) = kept.credentials.as_ref().filter(|_| content) {
            return Ok(credentials.clone());
        }
        let patience = self.0.patience;
        let asked = timeout(patience, self.0.provider.provide_credentials()).await;
        let asked =
            asked.unwrap_or_else(|_elapsed| Err(CredentialsError::provider_timed_out(patience)));
        match (asked, &kept.credentials) {
            (Ok(credentials), _) => {
                *kept = Kept {
                    credentials: Some(credentials.clone()),
                    asked_at: None,
                };
                Ok(credentials)
            }
            (Err(error), Some(credentials)) if left > Some(Duration::ZERO) => {
                warn!(
                    "failed to renew credentials that expire soon, using them on: {}",
                    chain(&error)
                );
                let credentials = credentials.clone();
                kept.asked_at = Some(Instant::now());
                Ok(credentials)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Drops what AWS calls expired: whoever needs credentials next asks for others.
    pub fn expired(&self) {
        self.0.expired.store(true, Ordering::Relaxed);
    }
}

/// How long they are good for by our clock.
fn left(credentials: &Credentials) -> Duration {
    credentials.expiry().map_or(Duration::MAX, |end| {
        end.duration_since(SystemTime::now()).unwrap_or_default()
    })
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// Has a request that was refused for its credentials sent again, signed with others. The SDK would give up.
impl ClassifyRetry for Keys {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        if !attempt.response().is_some_and(says_expired) {
            return RetryAction::NoActionIndicated;
        }
        self.expired();
        RetryAction::transient_error()
    }

    fn name(&self) -> &'static str {
        "expired credentials"
    }
}

/// Every protocol has the code somewhere in the body. The answer to a HEAD has no body: S3 makes it a bare 400.
fn says_expired(response: &HttpResponse) -> bool {
    const CODE: &[u8] = b"ExpiredToken";
    let body = response.body().bytes().unwrap_or_default();
    response.status().is_client_error()
        && (body.windows(CODE.len()).any(|text| text == CODE)
            || body.is_empty() && response.status().as_u16() == 400)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// Gives keys `1`, `2` and so on, good for so many seconds; after the last one it is silent for ever.
    #[derive(Debug)]
    struct Provider {
        seconds: u64,
        last: u32,
        asked: Arc<AtomicU32>,
    }

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            if number > self.last {
                return future::ProvideCredentials::new(std::future::pending());
            }
            let end = SystemTime::now() + Duration::from_secs(self.seconds);
            let key = number.to_string();
            let credentials = Credentials::new(key, "secret", None, Some(end), "test");
            future::ProvideCredentials::ready(Ok(credentials))
        }
    }

    /// With how often the provider was asked.
    fn keys(seconds: u64, last: u32) -> (Keys, Arc<AtomicU32>) {
        let asked = Arc::default();
        let provider = Provider {
            seconds,
            last,
            asked: Arc::clone(&asked),
        };
        let provider = SharedCredentialsProvider::new(provider);
        let keys = Keys::with_patience(provider, Duration::from_millis(1));
        (keys, asked)
    }

    async fn key(keys: &Keys) -> String {
        keys.get().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn good_credentials_are_kept_until_aws_calls_them_expired() {
        let (keys, _) = keys(3600, 2);
        assert_eq!(
            (key(&keys).await, key(&keys).await),
            ("1".into(), "1".into())
        );
        keys.expired();
        assert_eq!(
            (key(&keys).await, key(&keys).await),
            ("2".into(), "2".into())
        );
    }

    #[tokio::test]
    async fn credentials_that_expire_soon_are_renewed_and_used_until_then() {
        let (keys, asked) = keys(60, 2);
        assert_eq!(
            (key(&keys).await, key(&keys).await),
            ("1".into(), "2".into())
        );
        // The provider is silent now. It is asked once in a while, and not by every request.
        for expected in [3, 4] {
            assert_eq!(
                (key(&keys).await, key(&keys).await),
                ("2".into(), "2".into())
            );
            assert_eq!(asked.load(Ordering::Relaxed), expected);
            keys.0.kept.lock().await.asked_at = None;
        }
        // What AWS has refused is not used on.
        keys.expired();
        keys.get().await.unwrap_err();
    }

    #[tokio::test]
    async fn a_provider_that_never_answers_is_not_waited_for_for_ever() {
        let (keys, _) = keys(3600, 0);
        let error = keys.get().await.unwrap_err();
        let timed_out = matches!(error, CredentialsError::ProviderTimedOut(_));
        assert!(timed_out, "{error:?}");
    }

    #[test]
    fn expired_credentials_are_recognised_in_every_protocol() {
        for (status, body, expected) in [
            (400, "<Error><Code>ExpiredToken</Code></Error>", true),
            (
                403,
                "<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>",
                true,
            ),
            (
                400,
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#,
                true,
            ),
            (400, "", true), // HEAD
            (403, "", false),
            (403, "<Error><Code>AccessDenied</Code></Error>", false),
            (200, "ExpiredToken", false),
        ] {
            let status = StatusCode::try_from(status).unwrap();
            let response = HttpResponse::new(status, SdkBody::from(body));
            assert_eq!(says_expired(&response), expected, "{status:?} {body}");
        }
    }
}
