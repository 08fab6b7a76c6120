//! Connections, and on each one request in, one answer out.

use std::io;

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
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answers::Content;
use super::asked::Asked;
use super::body::{Resume, body, length};
use super::faults::{Fault, Interlude, Rest, Where};
use super::signature::{Received, Verifier};
use super::state::ErrorBody;
use super::xml::Refusal;
use super::{Access, Rds, Request};

const LARGEST_REQUEST: usize = 1 << 20;
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

const BACKLOG: u32 = 1024;

/// Accepts until dropped; that ends all connections too. Listens only while the server shall be reachable.
pub(super) async fn serve(mut listener: TcpListener, rds: Rds) {
    let mut reachable = rds.shared.reachable.subscribe();
    loop {
        accept(listener, &rds, &mut reachable).await;
        // Bound and not listening: the port stays ours, and connections to it are refused.
        let socket = TcpSocket::new_v4().expect("the process may open more sockets");
        let reserved = socket
            .set_reuseaddr(true)
            .and_then(|()| socket.bind(rds.shared.address));
        reserved.expect("the port was ours a moment ago");
        rds.shared.reached.send_replace(false);
        let again = reachable.wait_for(|reachable| *reachable).await;
        again.expect("the server holds the sender");
        listener = socket.listen(BACKLOG).expect("the port is ours");
        rds.shared.reached.send_replace(true);
    }
}

/// Accepts until the server shall not be reachable; ends all connections then.
async fn accept(listener: TcpListener, rds: &Rds, reachable: &mut watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("the process may open more sockets");
                connections.spawn(connection(stream, rds.clone()));
            }
            Some(ended) = connections.join_next() => ended.expect("no answer panics"),
            _ = reachable.wait_for(|reachable| !reachable) => break,
        }
    }
    connections.shutdown().await;
}

/// Serves one connection. An answer or a body that fails ends it with a TCP reset.
async fn connection(stream: TcpStream, rds: Rds) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let rds = rds.clone();
        Box::pin(async move { answer(&rds, request).await })
    });
    let mut served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if (&mut served).await.is_err() {
        let stream = served.into_parts().io.into_inner();
        stream.set_zero_linger().expect("the socket is open");
    }
}

async fn answer(rds: &Rds, request: hyper::Request<Incoming>) -> io::Result<Response<Body>> {
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
    match fault {
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Hang) => {
            let released = rds.shared.release.subscribe().changed().await;
            released.expect("the server holds the sender");
        }
        Some(Fault::Disconnect) => {
            record(rds, &head.headers, &asked, 0, None);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        _ => {}
    }

    let request_id = rds.state().next_request_id();
    let refused = fault.as_ref().and_then(Fault::refusal);
    let empty = fault == Some(Fault::EmptyListing);
    let result = verified
        .and_then(|()| refused.map_or(Ok(()), Err))
        .and_then(|()| rds.state().answer(&asked, empty, &request_id));
    let refusal = result.as_ref().err();
    let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
    let code = refusal.map(|refusal| refusal.code.clone());
    record(rds, &head.headers, &asked, status.as_u16(), code);
    let whole = fault.as_ref().is_none_or(|fault| !fault.breaks_body());
    let mut interlude = None;
    if let (Ok(_), Some(place)) = (&result, &asked.place) {
        if whole {
            interlude = rds.state().schedule.take_interlude(place);
        }
        let hooks = rds.state().schedule.take_hooks(place);
        for hook in hooks {
            hook(rds);
        }
    }

    let content = result.unwrap_or_else(|refusal| {
        let shape = match asked.place {
            Some(Where::Download { .. }) => rds.state().behaviour.error_body,
            _ => ErrorBody::Xml,
        };
        let (media_type, text) = refusal.body(shape, &request_id);
        Content::Text(media_type, text)
    });
    let gzip = accepts_gzip(&head.headers);
    let interlude = interlude.zip(asked.place).map(|(interlude, place)| {
        let after_bytes = interlude.after_bytes;
        (after_bytes, resume(rds.clone(), place, interlude))
    });
    let mut response = respond(rds, content, gzip, fault.as_ref(), interlude);
    *response.status_mut() = status;
    let request_id = request_id.parse().expect("hexadecimal and dashes");
    response
        .headers_mut()
        .insert("x-amzn-requestid", request_id);
    Ok(response)
}

/// Runs the hook of `interlude`, and says what the download of `place` continues with.
fn resume(rds: Rds, place: Where, interlude: Interlude) -> Resume {
    let Interlude {
        after_bytes,
        rest,
        hook,
    } = interlude;
    Box::new(move |original| {
        hook(&rds);
        match (rest, place) {
            (Rest::Current, Where::Download { instance, file }) => {
                let state = rds.state();
                let found = state.inventory.find(&instance);
                let file = found.and_then(|instance| instance.files.get(&file));
                let content = file.map(|file| file.content.clone()).unwrap_or_default();
                content.slice(after_bytes.min(content.len())..)
            }
            _ => original,
        }
    })
}

/// The response with `content`, broken as `fault` says.
fn respond(
    rds: &Rds,
    content: Content,
    gzip: bool,
    fault: Option<&Fault>,
    interlude: Option<(usize, Resume)>,
) -> Response<Body> {
    let (behaviour, now) = {
        let state = rds.state();
        (state.behaviour, state.now())
    };
    let (media_type, content, sized, gzip) = match content {
        Content::Text(media_type, text) => (media_type, text.into(), true, false),
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
    let body = body(content, fault, interlude, gzip, rds.shared.release.clone());
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

fn record(rds: &Rds, headers: &HeaderMap, asked: &Asked, status: u16, code: Option<String>) {
    let header = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    rds.state().requests.push(Request {
        action: asked.action.clone(),
        place: asked.place.clone(),
        params: asked.params.clone(),
        status,
        code,
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
