//! HTTP/1.1 on a loopback port, over TLS if it is to be. Cheap, since it shares the cores with what is measured.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use axum::body::Body;
use axum::http::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::tls::acceptor;

/// A running server. Dropping it ends it, and all its connections.
#[derive(Debug)]
pub(super) struct Server {
    url: String,
    _accepting: JoinSet<()>,
}

impl Server {
    /// Starts one in the current runtime.
    pub(super) fn start<A, R>(tls: bool, answer: A) -> anyhow::Result<Self>
    where
        A: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls.then(acceptor).transpose()?, answer));
        let url = if tls {
            format!("https://localhost:{}", address.port())
        } else {
            format!("http://{address}")
        };
        Ok(Self {
            url,
            _accepting: accepting,
        })
    }

    /// The value for `AWS_ENDPOINT_URL_S3` or its like.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

async fn accept<A, R>(listener: TcpListener, tls: Option<TlsAcceptor>, answer: A)
where
    A: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("the process may open more sockets").0,
            Some(_) = connections.join_next() => continue,
        };
        stream.set_nodelay(true).expect("the socket is open");
        let (tls, answer) = (tls.clone(), answer.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, answer).await,
                Some(tls) => {
                    // A client that does not trust us says so itself.
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn connection<A, R>(stream: impl AsyncRead + AsyncWrite + Unpin + Send, answer: A)
where
    A: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(served.await); // A client that goes away has ended, or says what went wrong.
}
