//! The real `bootstrap` under a stub of the Lambda runtime API, which hands out events and takes answers.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::fmt;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::eventually::BOUND;
use crate::programs::{Environment, Running};
use crate::world::World;

/// What a function answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To `…/response`.
    Done(Value),
    /// To `…/error`.
    Failed {
        /// What alarms and retries see.
        error_type: String,
        /// For people.
        error_message: String,
    },
}

/// The runtime API of one function. Dropping it stops the server.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<Invocation>,
    answers: mpsc::UnboundedReceiver<(String, Answer)>,
    shared: Arc<Shared>,
    invoked: usize,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Invocation {
    id: String,
    deadline: Timestamp,
    event: String,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    answers: mpsc::UnboundedSender<(String, Answer)>,
    requests: AtomicUsize,
}

impl RuntimeApi {
    /// Starts one on a free port, in the current runtime.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            answers: answer,
            requests: AtomicUsize::default(),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(done))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async {
            let served = axum::serve(listener, routes).await;
            served.expect("it ends only when it is dropped");
        });
        Ok(Self {
            address,
            invocations,
            answers,
            shared,
            invoked: 0,
            _server: server,
        })
    }

    /// These settings, and what Lambda itself sets.
    pub fn environment(&self, mut environment: Environment) -> Environment {
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "producer".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "producer".to_owned()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "1".to_owned()),
        ] {
            environment.push((name.to_owned(), value));
        }
        environment
    }

    /// Hands out an event, to be answered in `time_left`; the id of the invocation.
    pub fn invoke(&mut self, event: &Value, time_left: Duration) -> anyhow::Result<String> {
        self.invoked += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.invoked);
        self.invocations.send(Invocation {
            id: id.clone(),
            deadline: Timestamp::now() + time_left,
            event: event.to_string(),
        })?;
        Ok(id)
    }

    /// How many requests it has had.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

/// Waits for the next invocation, as long as it takes.
async fn next(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let invocation = shared.waiting.lock().await.recv().await;
    let Some(Invocation {
        id,
        deadline,
        event,
    }) = invocation
    else {
        return pending().await; // the test is over
    };
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:producer";
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millisecond().to_string(),
        ),
        ("lambda-runtime-invoked-function-arn", arn.to_owned()),
        (
            "lambda-runtime-trace-id",
            "Root=1-66fbe700-000000000000000000000000".to_owned(),
        ),
    ];
    (headers, event)
}

async fn done(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: String,
) -> StatusCode {
    let answer = serde_json::from_str(&body).map(Answer::Done);
    settle(&shared, id, answer.ok())
}

async fn failed(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: String,
) -> StatusCode {
    let answer = serde_json::from_str::<Value>(&body).ok().and_then(|error| {
        let text = |name| error.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Answer::Failed {
            error_type: text("errorType")?,
            error_message: text("errorMessage")?,
        })
    });
    settle(&shared, id, answer)
}

/// Keeps an answer; one that Lambda could not read is refused.
fn settle(shared: &Shared, id: String, answer: Option<Answer>) -> StatusCode {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let Some(answer) = answer else {
        return StatusCode::BAD_REQUEST;
    };
    match shared.answers.send((id, answer)) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_test_is_over) => StatusCode::GONE,
    }
}

/// The running function: one process, as between two cold starts.
pub struct Function {
    api: RuntimeApi,
    running: Running,
}

impl Function {
    /// Starts it with a world's settings, and these instead or besides.
    pub async fn start(world: &World, with: &[(&str, &str)]) -> anyhow::Result<Self> {
        let api = RuntimeApi::start().await?;
        let running = Running::start("bootstrap", &api.environment(world.environment(with)))?;
        Ok(Self { api, running })
    }

    /// Invokes it with an event, to be answered in `time_left`; its answer.
    pub async fn invoke(&mut self, event: &Value, time_left: Duration) -> anyhow::Result<Answer> {
        let id = self.api.invoke(event, time_left)?;
        let answered = timeout(BOUND, self.api.answers.recv()).await;
        let log = || format!("it said {:#?}", self.running.log());
        let (to, answer) = answered
            .with_context(|| format!("no answer within {BOUND:?}; {}", log()))?
            .context("the runtime API has ended")?;
        anyhow::ensure!(to == id, "{id} was asked, {to} answered; {}", log());
        Ok(answer)
    }

    /// What it has said so far.
    pub fn log(&self) -> Vec<String> {
        self.running.log()
    }

    /// Its process: the same for all invocations.
    pub fn id(&self) -> Option<u32> {
        self.running.id()
    }

    /// Stops it; what errors it has logged must be those that the world expects. They are returned.
    pub async fn stop(self, world: &World) -> anyhow::Result<Vec<String>> {
        self.running.signal("KILL").await?;
        let errors = self.running.ended().await?.logged("ERROR");
        world.note_errors(errors.clone());
        Ok(errors)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}
