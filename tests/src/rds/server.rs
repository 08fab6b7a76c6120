//! Connections, and on each one request in, one answer out.

use std::convert::Infallible;

use axum::body::{Body, to_bytes};
use axum::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE,
    USER_AGENT,
};
use axum::http::{HeaderMap, HeaderName, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answers::Content;
use super::asked::Asked;
use super::body::{body, length};
use super::faults::Fault;
use super::signature::{Received, Verifier};
use super::xml::Refusal;
use super::{Access, Rds, Request};

const LARGEST_REQUEST: usize = 1 << 20;
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Accepts until dropped; that ends all connections too.
pub(super) async fn serve(listener: TcpListener, rds: Rds) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("the process may open more sockets");
                connections.spawn(connection(stream, rds.clone()));
            }
            Some(ended) = connections.join_next() => ended.expect("no answer panics"),
        }
    }
}

/// Serves one connection. A body that fails ends it with a TCP reset.
async fn connection(stream: TcpStream, rds: Rds) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let rds = rds.clone();
        Box::pin(async move { Ok::<_, Infallible>(answer(&rds, request).await) })
    });
    let mut served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if (&mut served).await.is_err() {
        let stream = served.into_parts().io.into_inner();
        stream.set_zero_linger().expect("the socket is open");
    }
}

async fn answer(rds: &Rds, request: hyper::Request<Incoming>) -> Response<Body> {
    let (head, sent) = request.into_parts();
    // A body that does not arrive counts as empty: its signature will not hold.
    let sent = to_bytes(Body::new(sent), LARGEST_REQUEST)
        .await
        .unwrap_or_default();
    let received = Received {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body: &sent,
    };
    let asked = Asked::of(&received);
    let verified = verify(rds, &received);
    let fault = match (&verified, &asked.place) {
        (Ok(()), Some(place)) => rds.state().schedule.take_fault(place),
        _ => None,
    };
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }

    let request_id = rds.state().next_request_id();
    let refused = fault.as_ref().and_then(Fault::refusal);
    let empty = fault == Some(Fault::EmptyListing);
    let result = verified
        .and_then(|()| refused.map_or(Ok(()), Err))
        .and_then(|()| rds.state().answer(&asked, empty, &request_id));
    record(rds, &head.headers, &asked, &result);
    if let (Ok(_), Some(place)) = (&result, &asked.place) {
        let hooks = rds.state().schedule.take_hooks(place);
        for hook in hooks {
            hook(rds);
        }
    }

    let (status, content) = match result {
        Ok(content) => (StatusCode::OK, content),
        Err(refusal) => (refusal.status, Content::Xml(refusal.body(&request_id))),
    };
    let gzip = accepts_gzip(&head.headers);
    let mut response = respond(rds, content, gzip, fault.as_ref());
    *response.status_mut() = status;
    let request_id = request_id.parse().expect("hexadecimal and dashes");
    response
        .headers_mut()
        .insert("x-amzn-requestid", request_id);
    response
}

/// The response with `content`, broken as `fault` says.
fn respond(rds: &Rds, content: Content, gzip: bool, fault: Option<&Fault>) -> Response<Body> {
    let (behaviour, now) = {
        let state = rds.state();
        (state.behaviour, state.now())
    };
    let (media_type, content, sized, gzip) = match content {
        Content::Xml(xml) => ("text/xml", xml.into(), true, false),
        Content::File(bytes) => {
            let (sized, gzip) = (behaviour.content_length, behaviour.gzip && gzip);
            ("application/octet-stream", bytes, sized && !gzip, gzip)
        }
    };
    let mut response = Response::builder()
        .header(DATE, now.strftime(HTTP_DATE).to_string())
        .header(CONTENT_TYPE, media_type);
    if gzip {
        response = response.header(CONTENT_ENCODING, "gzip");
    }
    if sized {
        response = response.header(CONTENT_LENGTH, length(&content, fault));
    }
    let body = body(content, fault, gzip, rds.shared.release.clone());
    response.body(body).expect("all headers are valid")
}

fn verify(rds: &Rds, received: &Received<'_>) -> Result<(), Refusal> {
    let state = rds.state();
    let authorization = received.headers.get(AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let used = |access: &&Access| {
        let credential = format!("Credential={}/", access.access_key);
        authorization.is_some_and(|text| text.contains(&credential))
    };
    let access = state.others.iter().find(used).unwrap_or(&state.access);
    let address = rds.shared.address.to_string();
    let verifier = Verifier {
        access,
        token_expired: state.expired.contains(&access.access_key),
        service: "rds",
        authority: state.authority.as_ref().unwrap_or(&address),
        now: state.now(),
    };
    verifier.verify(received)
}

fn record(rds: &Rds, headers: &HeaderMap, asked: &Asked, result: &Result<Content, Refusal>) {
    let header = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let refusal = result.as_ref().err();
    rds.state().requests.push(Request {
        action: asked.action.clone(),
        place: asked.place.clone(),
        params: asked.params.clone(),
        status: refusal
            .map_or(StatusCode::OK, |refusal| refusal.status)
            .as_u16(),
        code: refusal.map(|refusal| refusal.code.clone()),
        had_session_token: headers.contains_key("x-amz-security-token"),
        accept_encoding: header(ACCEPT_ENCODING),
        user_agent: header(USER_AGENT),
    });
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim() == "gzip")
}
