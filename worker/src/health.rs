//! Answers health checks: whether the worker runs, and whether it takes messages.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::breaker::Breaker;

/// Whether the process runs its loop. Only this is a reason to restart it.
const LIVE: &str = "/livez";

/// Whether it takes messages.
const READY: &str = "/readyz";

/// Connections at a time; others wait in the kernel's queue.
const CONNECTIONS: usize = 16;

/// How long a client may take to ask.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one connection may last; it is for one answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a worker may take to say that it runs.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What readiness depends on.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) stopping: CancellationToken,
}

impl Readiness {
    /// Why no messages are taken, unless they are.
    fn lacking(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("stopping".to_owned());
        }
        let why = self.breaker.why()?;
        Some(format!(
            "stopped taking messages until this is mended: {why}"
        ))
    }

    fn answer(&self, method: &Method, path: &str) -> Response<String> {
        let (status, text) = match (method, path) {
            (&Method::GET | &Method::HEAD, LIVE) => (StatusCode::OK, "alive".to_owned()),
            (&Method::GET | &Method::HEAD, READY) => match self.lacking() {
                None => (StatusCode::OK, "ready".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            },
            (_, LIVE | READY) => (StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned()),
            _ => (StatusCode::NOT_FOUND, format!("only {LIVE} and {READY}")),
        };
        let mut answer = Response::new(text + "\n");
        *answer.status_mut() = status;
        answer
    }
}

/// Listens for health checks, and says where.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on HEALTH_ADDRESS {address}"))?;
    let address = listener.local_addr()?;
    info!(%address, "answering health checks");
    Ok(listener)
}

/// Answers health checks for ever, if there is where to. A sibling of the loop: it answers only while that one yields.
pub(crate) async fn serve(listener: Option<TcpListener>, readiness: Readiness) -> Infallible {
    let Some(listener) = listener else {
        return pending().await;
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(timeout(CONNECTION_TIMEOUT, connection(stream, readiness.clone())));
                }
                Err(error) => {
                    warn!("failed to accept a health check: {error}");
                    sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// One request, one answer. What it brings besides its headers is not read.
async fn connection(stream: TcpStream, readiness: Readiness) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = readiness.answer(request.method(), request.uri().path());
        ready(Ok::<_, Infallible>(answer))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    drop(served.await); // A client that went away or asked nonsense is no fault of the worker.
}

/// Asks the worker that listens at `address` whether it runs; `Err` says what is wrong.
pub async fn check(address: SocketAddr) -> Result<(), String> {
    let asked = timeout(CHECK_TIMEOUT, ask(address)).await;
    let answer =
        asked.map_err(|_elapsed| format!("{address} has not answered within {CHECK_TIMEOUT:?}"))?;
    let answer = answer.map_err(|error| format!("{address}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(format!("{address} answered {answer:?}"))
    }
}

/// The first bytes of the answer.
async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {LIVE} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(256).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
