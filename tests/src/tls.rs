//! TLS before a server that speaks plain HTTP, as `localhost`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Who vouches for the server: a file for `AWS_CA_BUNDLE`. Its own key is thrown away.
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/stack/authority.pem");

/// Good until 2126.
const CERTIFICATE: &[u8] = include_bytes!("../stack/localhost.pem");
const KEY: &[u8] = include_bytes!("../stack/localhost.key");

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Tls {
    port: u16,
    _server: JoinSet<()>,
}

impl Tls {
    /// Starts one before `target`, as `http://127.0.0.1:PORT`, in the current runtime.
    pub fn start(target: &str) -> anyhow::Result<Self> {
        let target: SocketAddr = target
            .strip_prefix("http://")
            .context("the target speaks no plain HTTP")?
            .parse()?;
        let acceptor = acceptor()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let mut server = JoinSet::new();
        server.spawn(serve(TcpListener::from_std(listener)?, acceptor, target));
        Ok(Self {
            port,
            _server: server,
        })
    }

    /// Host and port, as in a `Host` header.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The value for `AWS_ENDPOINT_URL_RDS` or its like.
    pub fn url(&self) -> String {
        format!("https://{}", self.authority())
    }
}

/// Makes a connection one of TLS, as `localhost`.
pub(crate) fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let certificate = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<Vec<_>, _>>()?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificate, PrivateKeyDer::from_pem_slice(KEY)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, target: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("the process may open more sockets");
                connections.spawn(connection(stream, acceptor.clone(), target));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection, until one side ends it. A client that does not trust us ends it at once.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, target: SocketAddr) {
    let Ok(mut near) = acceptor.accept(stream).await else {
        return;
    };
    if let Ok(mut far) = TcpStream::connect(target).await {
        drop(copy_bidirectional(&mut near, &mut far).await);
    }
}
