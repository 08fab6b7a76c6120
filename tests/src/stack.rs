//! The local stack: SQS, DynamoDB and S3 in one process of our own.
//!
//! It verifies every signature, holds everything in memory, and dies with us. `tests/it/stack.rs` says what of AWS it
//! does as AWS does.

// Queues, a table and a bucket in it, shaped as in production.
mod resources;

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::OnceCell;

pub use self::resources::Resources;

use crate::rds::Access;
use crate::venv;

/// The access key that the stack accepts; AWS's own example.
pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
/// The secret that belongs to it.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// The session token without which both are refused: in production there always is one.
pub const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////token==";
/// The region that requests must be signed for.
pub const REGION: &str = "us-east-1";
/// The account that owns everything.
pub const ACCOUNT: &str = "123456789012";

/// The emulator behind a check of signatures.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/stack/serve.py");

/// Its packages.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/stack/requirements.txt");

/// How long the emulator may take to start: it takes less than a second unless the machine is very busy.
const START: Duration = Duration::from_mins(1);

/// How long the emulator may take to end once it is told so; then it is killed.
const END: Duration = Duration::from_secs(5);

/// How long one request of a test's own client may take: a long poll takes 20 s.
const REQUEST: Duration = Duration::from_secs(30);

/// Lines of the emulator's standard error that are kept for the error message.
const TAIL: usize = 40;

static SHARED: OnceCell<Result<Stack, String>> = OnceCell::const_new();

/// A running stack. It ends with this value, or with this process, however that ends.
pub struct Stack {
    /// Where all of its services answer: `http://127.0.0.1:PORT`.
    pub endpoint: String,
    child: Child,
    /// Says nothing more, but closes when the process ends.
    stdout: Mutex<Receiver<String>>,
}

impl Stack {
    /// Starts one, and waits until it answers. The first time this installs it, which takes a while and the network.
    pub fn start() -> anyhow::Result<Self> {
        let python = Self::python()?;
        let mut child = Command::new(&python)
            // Deaf to PYTHONPATH and friends, and leaving no bytecode beside the script.
            .args(["-E", "-s", "-B", SCRIPT])
            .args([ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, REGION, ACCOUNT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", python.display()))?;
        let stdout = lines(child.stdout.take().context("the stack has no stdout")?)?;
        let stderr = tail(child.stderr.take().context("the stack has no stderr")?)?;

        // From here on, dropping it ends the process.
        let mut stack = Self {
            endpoint: String::new(),
            child,
            stdout: Mutex::new(stdout),
        };
        let started = match stack
            .stdout
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(START)
        {
            Ok(line) => {
                port(&line).with_context(|| format!("the stack said {line:?} instead of its port"))
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(anyhow!("the stack has not started within {START:?}"))
            }
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the stack ended while it started")),
        };
        let port = match started {
            Ok(port) => port,
            Err(error) => {
                drop(stack);
                let said = stderr
                    .join()
                    .map_err(|_panic| anyhow!("read what the stack said"))?;
                return Err(anyhow!("{error:#}; it said:\n{said}"));
            }
        };
        stack.endpoint = format!("http://127.0.0.1:{port}");
        Ok(stack)
    }

    /// A Python that has AWS's SDK for it, and all else that the stack needs.
    pub fn python() -> anyhow::Result<PathBuf> {
        venv::python(REQUIREMENTS).context("install the local stack")
    }

    /// The one stack of this process, started by whoever asks first.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        // A failure is kept, too: a hundred tests shall not fail one after the other for the same reason.
        let started = SHARED
            .get_or_init(|| async {
                let started = tokio::task::spawn_blocking(Self::start).await;
                started
                    .map_err(anyhow::Error::from)
                    .flatten()
                    .map_err(|error| format!("{error:#}"))
            })
            .await;
        started.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// For a test's own clients. They do not retry: a test sees the first answer.
    ///
    /// Make one per test: a client's connections belong to the runtime that opened them.
    pub fn sdk_config(&self) -> SdkConfig {
        self.sdk_config_with(Credentials::new(
            ACCESS_KEY,
            SECRET_KEY,
            Some(SESSION_TOKEN.to_owned()),
            None,
            "stack",
        ))
    }

    /// The same with other credentials.
    pub fn sdk_config_with(&self, credentials: Credentials) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(REQUEST).build())
            .build()
    }

    /// What a server must be signed for that programs with [`Self::environment`] are to use.
    pub fn access() -> Access {
        Access {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            session_token: Some(SESSION_TOKEN.to_owned()),
            region: REGION.to_owned(),
            account: ACCOUNT.to_owned(),
        }
    }

    /// Accepts these credentials, too; or answers `ExpiredToken` to them from now on.
    pub async fn accept(&self, access: &Access, expired: bool) -> anyhow::Result<()> {
        let body = serde_json::json!({
            "access_key": access.access_key,
            "secret_key": access.secret_key,
            "session_token": access.session_token,
            "expired": expired,
        });
        let client = reqwest::Client::builder().build()?;
        let request = client.put(format!("{}/_credentials", self.endpoint));
        let answer = request.body(body.to_string()).send().await?;
        answer.error_for_status()?;
        Ok(())
    }

    /// The environment variables with which a program of ours finds the stack.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN.to_owned()),
        ]
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stack")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The end of its input makes it kill its group, children of its own included.
        drop(self.child.stdin.take());
        let stdout = self
            .stdout
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        while stdout.recv_timeout(END).is_ok() {}
        // Both fail only when it has already ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The port in `listening PORT`.
fn port(line: &str) -> Option<u16> {
    line.strip_prefix("listening ")?.parse().ok()
}

/// Reads a stream to its end, with which the channel closes.
fn lines(stream: impl Read + Send + 'static) -> anyhow::Result<Receiver<String>> {
    let (sender, receiver) = mpsc::channel();
    let reading = thread::Builder::new()
        .name("stack-stdout".to_owned())
        .spawn(move || {
            BufReader::new(stream)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
    reading.context("start a thread")?;
    Ok(receiver)
}

/// Reads a stream to its end, and then has the last lines.
fn tail(stream: impl Read + Send + 'static) -> anyhow::Result<JoinHandle<String>> {
    let reading = thread::Builder::new()
        .name("stack-stderr".to_owned())
        .spawn(move || {
            let mut last = VecDeque::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                last.push_back(line);
                if last.len() > TAIL {
                    last.pop_front();
                }
            }
            Vec::from(last).join("\n")
        });
    reading.context("start a thread")
}
