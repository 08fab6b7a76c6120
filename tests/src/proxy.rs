//! Stands between a program and S3, DynamoDB or SQS, and loses or forges answers.
//!
//! Faults happen on the wire, where they happen in production. Signatures stay good: they cover the host that the
//! program has asked for, and the stack checks them against the `Host` header as it arrives.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Larger than any part.
const LARGEST_BODY: usize = 64 << 20;

/// What becomes of one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is passed on, and its answer returned.
    Pass,
    /// It is passed on, and takes effect; but its answer is lost, and the connection with it.
    Lost,
    /// It is not passed on; this is the answer.
    Refused {
        /// The HTTP status.
        status: u16,
        /// As `AccessDenied`.
        code: &'static str,
    },
}

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    client: reqwest::Client,
    /// Operations, what becomes of them, and how often yet.
    script: Mutex<VecDeque<(String, Answer, u32)>>,
    /// All operations so far.
    seen: Mutex<Vec<String>>,
}

impl Proxy {
    /// Starts one before `target`, as `http://127.0.0.1:PORT`, in the current runtime.
    pub fn start(target: &str) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            client: reqwest::Client::builder().build()?,
            script: Mutex::default(),
            seen: Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(serve(TcpListener::from_std(listener)?, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _server: server,
        })
    }

    /// The value for `AWS_ENDPOINT_URL_S3` or its like.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next `times` requests of an operation, such as `PutObject`, like this. What was said earlier comes first.
    pub fn answer(&self, operation: &str, answer: Answer, times: u32) {
        let mut script = lock(&self.shared.script);
        script.push_back((operation.to_owned(), answer, times));
    }

    /// Passes everything on from now on.
    pub fn mend(&self) {
        lock(&self.shared.script).clear();
    }

    /// How many requests of an operation there were.
    pub fn count(&self, operation: &str) -> usize {
        let seen = lock(&self.shared.seen);
        seen.iter().filter(|seen| *seen == operation).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("the process may open more sockets");
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                connections.spawn(async move {
                    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(served.await); // It fails where an answer is to be lost.
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// `Err` closes the connection.
async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> anyhow::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), LARGEST_BODY).await?;
    let query = head.uri.query().unwrap_or_default();
    let operation = operation(&head.method, query, &head.headers);
    lock(&shared.seen).push(operation.clone());
    match shared.next(&operation) {
        Answer::Pass => shared.pass_on(&head, body).await,
        Answer::Lost => {
            shared.pass_on(&head, body).await?;
            bail!("the answer is lost")
        }
        Answer::Refused { status, code } => refusal(&head.headers, status, code),
    }
}

impl Shared {
    fn next(&self, operation: &str) -> Answer {
        let mut script = lock(&self.script);
        let planned = script
            .iter_mut()
            .find(|(planned, _, times)| planned == operation && *times > 0);
        planned.map_or(Answer::Pass, |(_, answer, times)| {
            *times -= 1;
            answer.clone()
        })
    }

    async fn pass_on(
        &self,
        head: &axum::http::request::Parts,
        body: Bytes,
    ) -> anyhow::Result<Response<Body>> {
        let path = head.uri.path_and_query().context("no path")?;
        let mut headers = head.headers.clone();
        headers.remove(EXPECT); // answered already
        let sent = self
            .client
            .request(head.method.clone(), format!("{}{path}", self.target))
            .headers(headers)
            .body(body)
            .send()
            .await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = sent.status();
        *response.headers_mut() = sent.headers().clone();
        *response.body_mut() = Body::from_stream(sent.bytes_stream());
        Ok(response)
    }
}

/// The API's name for a request; for S3 only of what the worker does.
fn operation(method: &Method, query: &str, headers: &HeaderMap) -> String {
    if let Some(target) = headers.get("x-amz-target") {
        let target = target.to_str().unwrap_or_default();
        return target.rsplit('.').next().unwrap_or_default().to_owned();
    }
    let has = |name: &str| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some(name))
    };
    let operation = match method.as_str() {
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" => "CompleteMultipartUpload",
        "DELETE" => "AbortMultipartUpload",
        "HEAD" => "HeadObject",
        _ => "GetObject",
    };
    operation.to_owned()
}

/// An error as the service spells it that was asked.
fn refusal(asked: &HeaderMap, status: u16, code: &str) -> anyhow::Result<Response<Body>> {
    let (kind, body) = if asked.contains_key("x-amz-target") {
        let body = serde_json::json!({"__type": code, "message": "the proxy says so"});
        ("application/x-amz-json-1.0", body.to_string())
    } else {
        let body =
            format!("<Error><Code>{code}</Code><Message>the proxy says so</Message></Error>");
        ("application/xml", body)
    };
    let response = Response::builder().status(status);
    Ok(response.header(CONTENT_TYPE, kind).body(body.into())?)
}
