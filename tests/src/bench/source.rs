//! A fast RDS: serves slices of one log in memory, and checks nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, Incoming};
use tokio::time::Instant;

use super::files::Files;
use super::server::Server;

/// What goes onto the wire at a time.
const FRAME: usize = 256 * 1024;

/// A running source; dropping it stops it.
#[derive(Debug)]
pub struct Source {
    server: Server,
    asked: Arc<Mutex<Asked>>,
}

/// What it was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// How many downloads.
    pub downloads: u64,
    /// When the first one began.
    pub first: Option<Instant>,
}

impl Source {
    /// Starts one that serves these files out of `log`, in the current runtime.
    pub fn start(files: Files, log: Bytes, tls: bool) -> anyhow::Result<Self> {
        let asked = Arc::<Mutex<Asked>>::default();
        let shared = Arc::clone(&asked);
        let server = Server::start(tls, move |request: Request<Incoming>| {
            note(&mut lock(&shared));
            let body = slices(files, &log, request.uri().path());
            async { body.map_or_else(not_found, Response::new) }
        })?;
        Ok(Self { server, asked })
    }

    /// The value for `AWS_ENDPOINT_URL_RDS`.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Asked {
        *lock(&self.asked)
    }
}

fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(asked: &mut Asked) {
    asked.downloads += 1;
    asked.first.get_or_insert_with(Instant::now);
}

/// What `/v13/downloadCompleteLogFile/{instance}/{name}` brings.
fn slices(files: Files, log: &Bytes, path: &str) -> Option<Body> {
    let name = path.strip_prefix("/v13/downloadCompleteLogFile/")?;
    let number = files.number(name)?;
    Some(Body::new(Slices {
        log: log.clone(),
        at: files.begin(number, log.len()),
        left: files.size,
    }))
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// A log over and over, from somewhere within, for so many bytes: none of them is copied, and the length is not announced.
struct Slices {
    log: Bytes,
    at: usize,
    left: u64,
}

impl hyper::body::Body for Slices {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(FRAME);
        let end = self.log.len().min(self.at + most);
        let slice = self.log.slice(self.at..end);
        self.at = if end == self.log.len() { 0 } else { end };
        self.left -= slice.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }
}
