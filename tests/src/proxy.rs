//! Stands between a program and a service of AWS, and loses, forges, delays or breaks answers.
//!
//! Faults happen on the wire, where they happen in production. Signatures stay good: they cover the host that the
//! program has asked for, and stack and RDS check them against the `Host` header as it arrives.

// What goes wrong on the wire.
mod fault;
// What becomes of which request.
mod script;
// What the services are asked, and how they spell errors.
mod service;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Response;
use axum::http::header::EXPECT;
use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub use self::fault::Fault;
use self::fault::{Cut, End, LATENCY};
pub use self::script::Calls;
use self::script::Script;
pub use self::service::Service;
use self::service::bad_gateway;
pub(crate) use self::service::object_operation;

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
    /// Something goes wrong.
    Faulty(Fault),
    /// It is passed on once its [`Hold`] is dropped.
    Held(watch::Receiver<()>),
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
    script: Mutex<Script>,
    calls: mpsc::UnboundedSender<Call>,
}

/// A request that has come by.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it had come.
    pub at: Instant,
    /// The API's name for it, such as `UpdateItem`.
    pub operation: String,
    /// What it asked for, and under which conditions.
    pub head: Parts,
    /// What it brought.
    pub body: Bytes,
}

/// A fault that goes on until this is dropped, or its calls are over.
#[derive(Debug)]
#[must_use = "dropping it ends the fault"]
pub struct Injection {
    shared: Arc<Shared>,
    id: u64,
}

/// Calls wait until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets the calls go on"]
pub struct Hold {
    _injection: Injection,
    _until: watch::Sender<()>,
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.shared.script().remove(self.id);
    }
}

impl Proxy {
    /// Starts one before `target`, as `http://127.0.0.1:PORT`, in the current runtime.
    pub fn start(target: &str) -> anyhow::Result<Self> {
        Self::start_watched(target).map(|(proxy, _calls)| proxy)
    }

    /// Starts one that tells of each call, as long as somebody listens.
    pub fn start_watched(target: &str) -> anyhow::Result<(Self, mpsc::UnboundedReceiver<Call>)> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (calls, told) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            client: reqwest::Client::builder().build()?,
            script: Mutex::default(),
            calls,
        });
        let mut server = JoinSet::new();
        server.spawn(serve(TcpListener::from_std(listener)?, Arc::clone(&shared)));
        let proxy = Self {
            address,
            shared,
            _server: server,
        };
        Ok((proxy, told))
    }

    /// Host and port, as in a `Host` header.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The value for `AWS_ENDPOINT_URL_S3` or its like.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next `times` requests of an operation, such as `PutObject`, like this. What was said earlier comes first.
    pub fn answer(&self, operation: &str, answer: Answer, times: u32) {
        let mut script = self.shared.script();
        script.add(Some(operation), answer, Calls::First(times));
    }

    /// Lets calls of an operation, or of each one, meet a fault. What was said earlier comes first.
    pub fn inject(&self, fault: Fault, operation: Option<&str>, calls: Calls) -> Injection {
        let mut script = self.shared.script();
        Injection {
            id: script.add(operation, Answer::Faulty(fault), calls),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Lets calls of an operation wait.
    pub fn hold(&self, operation: &str) -> Hold {
        let (until, held) = watch::channel(());
        let mut script = self.shared.script();
        let id = script.add(Some(operation), Answer::Held(held), Calls::All);
        Hold {
            _injection: Injection {
                id,
                shared: Arc::clone(&self.shared),
            },
            _until: until,
        }
    }

    /// Passes everything on from now on.
    pub fn mend(&self) {
        self.shared.script().clear();
    }

    /// How many requests of an operation there were.
    pub fn count(&self, operation: &str) -> usize {
        let seen = self.seen();
        seen.get(operation).map_or(0, |count| *count as usize)
    }

    /// How many requests of each operation there were.
    pub fn seen(&self) -> BTreeMap<String, u32> {
        self.shared.script().seen().clone()
    }

    /// How many of them were not simply passed on.
    pub fn faults(&self) -> BTreeMap<String, u32> {
        self.shared.script().faults().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("the process may open more sockets");
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection, until one side or a fault ends it.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(Arc::clone(&shared), request));
    let mut served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut served).await else {
        return;
    };
    if let Some(cut) = error.source().and_then(|cause| cause.downcast_ref::<Cut>()) {
        drop(cut.end(served.into_parts().io.into_inner()).await);
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), LARGEST_BODY)
        .await
        .map_err(|_gone| Cut::silent(End::Close))?;
    let service = Service::of(&head);
    let operation = service.operation(&head, &body);
    let answer = shared.script().next(&operation);
    let call = Call {
        at: Instant::now(),
        operation,
        head: head.clone(),
        body: body.clone(),
    };
    drop(shared.calls.send(call)); // Mostly, nobody listens.
    match answer {
        Answer::Pass => shared.pass_on(&head, body).await,
        Answer::Lost => Err(shared.pass_on_and_end(&head, body, End::Close).await?),
        Answer::Refused { status, code } => Ok(service.refusal(status, code)),
        Answer::Faulty(fault) => shared.spoil(fault, service, &head, body).await,
        Answer::Held(mut until) => {
            drop(until.changed().await); // nothing is ever sent: it fails at the end
            shared.pass_on(&head, body).await
        }
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn spoil(
        &self,
        fault: Fault,
        service: Service,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Cut> {
        match fault {
            Fault::LateRequest => {
                sleep(LATENCY).await;
                self.pass_on(head, body).await
            }
            Fault::LateAnswer => {
                let answer = self.pass_on(head, body).await;
                sleep(LATENCY).await;
                answer
            }
            Fault::ResetBefore => Err(Cut::silent(End::Reset)),
            Fault::ResetAfter => Err(self.pass_on_and_end(head, body, End::Reset).await?),
            Fault::ResetWithin => Err(self.pass_on_and_cut(head, body, End::Reset).await?),
            Fault::HalfClosed => Err(self.pass_on_and_end(head, body, End::HalfClose).await?),
            Fault::HalfAnswered => Err(self.pass_on_and_cut(head, body, End::HalfClose).await?),
            Fault::BlackHole => pending().await,
            Fault::ServerError => Ok(service.refusal(500, service.internal_error())),
            Fault::BadGateway => Ok(bad_gateway()),
            Fault::Throttled => {
                let (status, code) = service.throttling();
                Ok(service.refusal(status, code))
            }
        }
    }

    async fn pass_on(&self, head: &Parts, body: Bytes) -> Result<Response<Body>, Cut> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = head.headers.clone();
        headers.remove(EXPECT); // answered already
        let sent = self
            .client
            .request(head.method.clone(), format!("{}{path}", self.target))
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|_broken| Cut::silent(End::Close))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = sent.status();
        *response.headers_mut() = sent.headers().clone();
        *response.body_mut() = Body::from_stream(sent.bytes_stream());
        Ok(response)
    }

    /// Waits for the whole answer, and keeps it.
    async fn pass_on_and_end(&self, head: &Parts, body: Bytes, end: End) -> Result<Cut, Cut> {
        self.whole(head, body).await?;
        Ok(Cut::silent(end))
    }

    /// Waits for the whole answer, and gives out the first half of it.
    async fn pass_on_and_cut(&self, head: &Parts, body: Bytes, end: End) -> Result<Cut, Cut> {
        let (answer, body) = self.whole(head, body).await?;
        Ok(Cut::within(answer.status(), answer.headers(), &body, end))
    }

    async fn whole(&self, head: &Parts, body: Bytes) -> Result<(Response<()>, Bytes), Cut> {
        let (answer, body) = self.pass_on(head, body).await?.into_parts();
        let body = to_bytes(body, LARGEST_BODY).await;
        let body = body.map_err(|_broken| Cut::silent(End::Close))?;
        Ok((Response::from_parts(answer, ()), body))
    }
}
