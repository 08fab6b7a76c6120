//! Outages that begin and end, and one denied instance among healthy ones.

use super::downloads::{content, serving, until};
use super::listings::{list, sdk};
use super::*;

const LIST: &str = "/?Version=2014-10-31&DBInstanceIdentifier=db-1&Action=DescribeDBLogFiles";

#[tokio::test]
async fn an_outage_lasts_until_it_is_ended() {
    let (rds, path) = serving(&content());
    let downloads = Where::download(ANY, ANY);
    for (fault, status, code) in [
        (Fault::internal_error(), 500, "InternalFailure"),
        (Fault::unavailable(), 503, "ServiceUnavailable"),
        (Fault::Throttle, 400, "Throttling"),
    ] {
        rds.start_outage(downloads.clone(), fault);
        for _ in 0..3 {
            let answer = get(&rds, &path).await;
            assert_eq!((answer.status, answer.error().0.as_str()), (status, code));
        }
        assert_eq!(list(&rds).await.0.len(), 1, "listings go on");
    }
    rds.end_outage(&downloads);
    assert_eq!(get(&rds, &path).await.status, 200);

    rds.start_outage(Where::listing(ANY), Fault::internal_error());
    rds.start_outage(Where::Everywhere, Fault::unavailable());
    assert_eq!(get(&rds, LIST).await.status, 503, "the latest decides");
    rds.end_outage(&Where::Everywhere);
    assert_eq!(get(&rds, LIST).await.status, 500);
    assert_eq!(get(&rds, &path).await.status, 200);
    rds.end_outages();
    assert_eq!(get(&rds, LIST).await.status, 200);
}

#[tokio::test]
async fn faults_wait_for_the_end_of_an_outage() {
    let (rds, path) = serving(&content());
    rds.fail(Where::download(ANY, ANY), Fault::Throttle, 1);
    rds.start_outage(Where::Everywhere, Fault::internal_error());
    assert_eq!(get(&rds, &path).await.status, 500);
    rds.end_outages();
    assert_eq!(get(&rds, &path).await.status, 400);
    assert_eq!(get(&rds, &path).await.status, 200);
}

#[tokio::test]
async fn a_disconnect_resets_before_any_answer() {
    let (rds, path) = serving(&content());
    rds.start_outage(Where::download(ANY, ANY), Fault::Disconnect);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = ("GET", path.as_str(), "", "");
    let authority = rds.shared.address.to_string();
    let headers = signed_headers(&rds.access(), request, &authority, Timestamp::now());
    let request = client.get(format!("{}{path}", rds.url())).headers(headers);
    let error = request.send().await.expect_err("no answer");
    let error = format!("{:#}", anyhow::Error::new(error));
    assert!(error.contains("reset by peer"), "{error}");
    let requests = rds.requests();
    assert!(requests.iter().all(|request| request.status == 0));
    assert_eq!(rds.calls("db-1").refused, requests.len());
    rds.end_outages();
    assert_eq!(get(&rds, &path).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_hangs_comes_when_released() {
    let (rds, path) = serving(&content());
    rds.fail(Where::download(ANY, ANY), Fault::Hang, 1);
    let release = async {
        until("a silent answer", || rds.stalled() == 1).await;
        rds.grow_file("db-1", "audit/audit.log.0", b"more", 2);
        rds.release_stalls();
    };
    let (answer, ()) = tokio::join!(get(&rds, &path), release);
    assert_eq!((answer.body.len(), answer.broken), (200_004, None));
}

#[tokio::test]
async fn an_unreachable_server_refuses_connections_until_it_is_back() {
    let (rds, path) = serving(&content());
    let stall = Fault::Stall { after_bytes: 9 };
    rds.fail(Where::download(ANY, ANY), stall, 1);
    let vanish = async {
        until("a stall", || rds.stalled() == 1).await;
        rds.set_reachable(false).await;
    };
    let (answer, ()) = tokio::join!(get(&rds, &path), vanish);
    assert!(answer.broken.is_some(), "the connection is cut");
    let address = rds.shared.address;
    for _ in 0..3 {
        let refused = std::net::TcpStream::connect(address).expect_err("no listener");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    rds.set_reachable(false).await;
    rds.set_reachable(true).await;
    assert_eq!(rds.shared.address, address);
    assert_eq!(get(&rds, &path).await.body, content());
    rds.set_reachable(false).await;
    rds.set_reachable(true).await;
    assert_eq!(get(&rds, &path).await.status, 200);
}

#[tokio::test]
async fn one_instance_is_denied_among_healthy_ones() {
    let (rds, path) = serving(&content());
    rds.add_instance(instance("db-2", None));
    rds.put_file("db-2", "audit/2", "two", 1);
    let healthy = "/v13/downloadCompleteLogFile/db-2/audit/2";
    rds.deny_downloads("db-1");
    let answer = get(&rds, &path).await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (403, "AccessDenied")
    );
    assert_eq!(get(&rds, LIST).await.status, 200);
    assert_eq!(get(&rds, healthy).await.body, b"two");

    rds.deny("db-1");
    assert_eq!(get(&rds, LIST).await.status, 403);
    let described = sdk(&rds).describe_db_instances().send().await.unwrap();
    assert_eq!(described.db_instances().len(), 2);
    assert_eq!(get(&rds, healthy).await.body, b"two");

    rds.allow("db-1");
    assert_eq!(get(&rds, LIST).await.status, 200);
    assert_eq!(get(&rds, &path).await.status, 200);
}

#[tokio::test]
async fn a_refused_download_is_told_in_xml_or_json() {
    let (rds, path) = serving(&content());
    rds.deny("db-1");
    for (shape, code) in [
        (ErrorBody::JsonType, "/__type"),
        (ErrorBody::JsonShape, "/__type"),
        (ErrorBody::JsonError, "/Error/Code"),
    ] {
        rds.configure(|behaviour| behaviour.error_body = shape);
        let answer = get(&rds, &path).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let code = body.pointer(code).and_then(serde_json::Value::as_str);
        let expected = match shape {
            ErrorBody::JsonShape => "com.amazonaws.rds#AccessDenied",
            _ => "AccessDenied",
        };
        assert_eq!((answer.status, code), (403, Some(expected)), "{body}");
        assert_eq!(get(&rds, LIST).await.error().0, "AccessDenied", "in XML");
    }
}
