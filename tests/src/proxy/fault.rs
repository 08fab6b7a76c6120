//! What goes wrong on the wire.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use clap::ValueEnum;
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;

/// How late requests and answers are.
pub(super) const LATENCY: Duration = Duration::from_millis(300);

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// It is passed on late.
    LateRequest,
    /// It is passed on, and its answer comes late.
    LateAnswer,
    /// It is not passed on: the connection is reset.
    ResetBefore,
    /// It is passed on, and takes effect; but instead of the answer there is a reset.
    ResetAfter,
    /// It is passed on, and the connection is reset in the middle of the answer.
    ResetWithin,
    /// It is passed on; but instead of the answer the server closes its side of the connection, and no more than that.
    HalfClosed,
    /// It is passed on, and in the middle of the answer the server closes its side of the connection.
    HalfAnswered,
    /// It is not passed on, and there is never an answer.
    BlackHole,
    /// It is not passed on: the service has an internal error, and says so in its own way.
    ServerError,
    /// It is not passed on: something before the service answers 502, in HTML.
    BadGateway,
    /// It is not passed on: the service throttles, and says so in its own way.
    Throttled,
}

impl Fault {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// Whether the request takes effect, and nobody learns of it.
    pub fn loses_the_answer(self) -> bool {
        match self {
            Self::ResetAfter | Self::ResetWithin | Self::HalfClosed | Self::HalfAnswered => true,
            Self::LateRequest
            | Self::LateAnswer
            | Self::ResetBefore
            | Self::BlackHole
            | Self::ServerError
            | Self::BadGateway
            | Self::Throttled => false,
        }
    }
}

/// How a connection ends instead of an answer, or within one.
#[derive(Debug)]
pub(super) struct Cut {
    /// What there is of an answer.
    sent: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides at once.
    Close,
    /// With a TCP reset.
    Reset,
    /// Our side alone; the client may go on for as long as it likes.
    HalfClose,
}

impl Cut {
    /// Without a byte of an answer.
    pub(super) fn silent(end: End) -> Self {
        let sent = Vec::new();
        Self { sent, end }
    }

    /// In the middle of an answer's body; of its headers where it has none.
    pub(super) fn within(status: StatusCode, headers: &HeaderMap, body: &Bytes, end: End) -> Self {
        let mut answer = format!("HTTP/1.1 {status}\r\n").into_bytes();
        let framing = [CONTENT_LENGTH, TRANSFER_ENCODING];
        for (name, value) in headers.iter().filter(|(name, _)| !framing.contains(name)) {
            answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        answer.extend(format!("{CONTENT_LENGTH}: {}\r\n\r\n", body.len()).into_bytes());
        if body.is_empty() {
            answer.truncate(answer.len() / 2);
        } else {
            answer.extend(body.iter().take(body.len() / 2));
        }
        Self { sent: answer, end }
    }

    /// Ends the connection. A client that has gone away before is none the worse for it.
    pub(super) async fn end(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.write_all(&self.sent).await?;
        match self.end {
            End::Close => Ok(()),
            End::Reset => stream.set_zero_linger(),
            End::HalfClose => {
                stream.shutdown().await?;
                copy(&mut stream, &mut sink()).await.map(drop)
            }
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after {} bytes", self.end, self.sent.len())
    }
}

impl Error for Cut {}
