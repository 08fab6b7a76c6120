//! The fake over the wire: asked by the SDK, and by hand.

use axum::http::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;

use super::signature::tests::signed_headers;
use super::*;

mod calls;
mod downloads;
mod files;
mod instances;
mod interludes;
mod listings;
mod outages;
mod pages;
mod refusals;

const DOWNLOAD: &str = "/v13/downloadCompleteLogFile/db-1/";

/// A server with the standalone instance `db-1`.
fn rds_with_instance() -> Rds {
    let rds = Rds::start().unwrap();
    rds.add_instance(instance("db-1", None));
    rds
}

fn instance(name: &str, cluster: Option<&str>) -> NewInstance {
    NewInstance {
        name: name.to_owned(),
        cluster: cluster.map(str::to_owned),
        engine: "mariadb".to_owned(),
        tags: vec![("Team".to_owned(), "Audit & <Co>".to_owned())],
    }
}

/// What a client saw of an answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Why the body ended, if not properly.
    broken: Option<String>,
}

impl Answer {
    /// The error's code and message.
    fn error(&self) -> (String, String) {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let field = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>")).unwrap();
            rest.split_once("</").unwrap().0.to_owned()
        };
        (field("Code"), field("Message"))
    }
}

/// A GET signed properly and now.
async fn get(rds: &Rds, target: &str) -> Answer {
    let authority = rds.shared.address.to_string();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = ("GET", path, query, "");
    let headers = signed_headers(&rds.access(), request, &authority, Timestamp::now());
    send(rds, target, headers).await
}

async fn send(rds: &Rds, path: &str, headers: HeaderMap) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}{path}", rds.url())).headers(headers);
    let mut response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    let broken = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break None,
            Err(error) => break Some(format!("{:#}", anyhow::Error::new(error))),
        }
    };
    Answer {
        status,
        headers,
        body,
        broken,
    }
}
