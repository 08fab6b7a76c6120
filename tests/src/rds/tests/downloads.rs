//! Files, whole and broken.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;

use super::*;

/// Three slices and a bit, of which none is like another.
pub(super) fn content() -> Bytes {
    (0..200_000_u32)
        .flat_map(u32::to_be_bytes)
        .take(200_000)
        .collect()
}

pub(super) fn serving(content: &Bytes) -> (Rds, String) {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/audit.log.0", content.clone(), 1);
    (rds, format!("{DOWNLOAD}audit/audit.log.0"))
}

pub(super) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let wait = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect(what);
}

#[tokio::test]
async fn a_file_is_served_with_or_without_its_length() {
    let (rds, path) = serving(&content());
    let chunked = get(&rds, &path).await;
    assert_eq!((chunked.status, chunked.broken), (200, None));
    assert_eq!(chunked.headers["transfer-encoding"], "chunked");
    assert_eq!(chunked.body, content());

    rds.configure(|behaviour| behaviour.content_length = true);
    let sized = get(&rds, &path).await;
    assert_eq!(sized.headers["content-length"], "200000");
    assert_eq!(sized.body, content());
}

#[tokio::test]
async fn gzip_is_for_those_who_ask() {
    let (rds, path) = serving(&content());
    let ask = async || {
        let authority = rds.shared.address.to_string();
        let request = ("GET", path.as_str(), "", "");
        let mut headers = signed_headers(&rds.access(), request, &authority, Timestamp::now());
        headers.insert("accept-encoding", "br, gzip".parse().unwrap());
        send(&rds, &path, headers).await
    };
    let answer = ask().await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    let mut decoded = Vec::new();
    GzDecoder::new(answer.body.as_slice())
        .read_to_end(&mut decoded)
        .unwrap();
    assert_eq!(decoded, content());

    rds.configure(|behaviour| behaviour.gzip = false);
    assert_eq!(ask().await.body, content());
}

#[tokio::test]
async fn names_are_decoded_but_for_slashes() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/a b%/ü+1", "found", 1);
    assert_eq!(
        get(&rds, &format!("{DOWNLOAD}audit/a%20b%25/%C3%BC+1"))
            .await
            .body,
        b"found"
    );
    let encoded = get(&rds, &format!("{DOWNLOAD}audit%2Fa%20b%25/%C3%BC+1")).await;
    assert_eq!(encoded.error().0, "DBLogFileNotFoundFault");
    let elsewhere = get(&rds, "/v13/downloadCompleteLogFile/db-2/audit/x").await;
    assert_eq!(
        (elsewhere.status, elsewhere.error().0.as_str()),
        (404, "DBInstanceNotFound")
    );
}

#[tokio::test]
async fn a_file_grows() {
    let (rds, path) = serving(&Bytes::from("1\n"));
    rds.grow_file("db-1", "audit/audit.log.0", b"2\n", 2);
    assert_eq!(get(&rds, &path).await.body, b"1\n2\n");
    rds.remove_file("db-1", "audit/audit.log.0");
    assert_eq!(get(&rds, &path).await.status, 404);
}

#[tokio::test]
async fn a_truncated_body_ends_properly() {
    let (rds, path) = serving(&content());
    for content_length in [false, true] {
        rds.configure(|behaviour| behaviour.content_length = content_length);
        rds.fail(
            Where::download(ANY, ANY),
            Fault::Truncate {
                after_bytes: 70_000,
            },
            1,
        );
        let answer = get(&rds, &path).await;
        assert_eq!((answer.body.len(), answer.broken), (70_000, None));
        assert_eq!(get(&rds, &path).await.body.len(), 200_000, "once only");
    }
}

#[tokio::test]
async fn a_reset_body_breaks() {
    let (rds, path) = serving(&content());
    for content_length in [false, true] {
        rds.configure(|behaviour| behaviour.content_length = content_length);
        rds.fail(
            Where::download("db-1", ANY),
            Fault::Reset {
                after_bytes: 70_000,
            },
            1,
        );
        let answer = get(&rds, &path).await;
        assert!(answer.body.len() <= 70_000);
        let broken = answer.broken.expect("an error");
        assert!(broken.contains("reset by peer"), "{broken}");
    }
}

#[tokio::test]
async fn a_stalled_body_goes_on_when_released() {
    let (rds, path) = serving(&content());
    rds.fail(
        Where::download("db-1", "audit/audit.log.0"),
        Fault::Stall { after_bytes: 9 },
        1,
    );
    let release = async {
        until("a stall", || rds.stalled() == 1).await;
        rds.release_stalls();
    };
    let (answer, ()) = tokio::join!(get(&rds, &path), release);
    assert_eq!((answer.body.len(), answer.broken), (200_000, None));
    assert_eq!(rds.stalled(), 0);
}

#[tokio::test]
async fn the_last_handle_stops_the_server() {
    let (rds, path) = serving(&content());
    rds.fail(Where::Everywhere, Fault::Stall { after_bytes: 9 }, FOREVER);
    let shared = Arc::clone(&rds.shared);
    let client = Rds {
        shared: Arc::clone(&shared),
        _server: None,
    };
    let mut asking = JoinSet::new();
    asking.spawn(async move { get(&client, &path).await });
    until("a stall", || rds.stalled() == 1).await;
    drop(rds);
    let answer = asking.join_next().await.unwrap().unwrap();
    assert!(answer.broken.is_some(), "the connection is gone");
    until("no server", || Arc::strong_count(&shared) == 1).await;
    std::net::TcpStream::connect(shared.address).expect_err("nobody listens");
}

#[tokio::test]
async fn faults_come_in_their_order_and_number() {
    let (rds, path) = serving(&content());
    let busy = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".to_owned(),
        message: "busy".to_owned(),
    };
    rds.fail(Where::download(ANY, ANY), busy, 2);
    rds.fail(
        Where::download(ANY, ANY),
        Fault::Delay(Duration::from_millis(1)),
        FOREVER,
    );
    rds.fail(Where::listing("db-1"), Fault::Throttle, FOREVER);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(get(&rds, &path).await.status);
    }
    assert_eq!(statuses, [503, 503, 200, 200]);
    rds.fail(Where::download(ANY, ANY), Fault::Throttle, 1);
    rds.clear_faults();
    assert_eq!(get(&rds, &path).await.status, 200);
}
