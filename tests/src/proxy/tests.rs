//! Each fault is on the wire what it is said to be.

use std::io::ErrorKind;

use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::fault::LATENCY;
use super::{Answer, Calls, Fault, Proxy};
use crate::rds::Rds;

const DOWNLOAD: &str = "downloadCompleteLogFile";

/// A download that nobody has signed, so that RDS has little to say.
const REQUEST: &str = "GET /v13/downloadCompleteLogFile/i/audit/x HTTP/1.1\r\nhost: rds\r\n\r\n";

#[tokio::test]
async fn a_client_sees_the_fault_and_the_service_the_request() -> anyhow::Result<()> {
    let case = async |fault: Fault| {
        let rds = Rds::start()?;
        let proxy = Proxy::start(&rds.url())?;
        let _fault = proxy.inject(fault, None, Calls::First(1));
        let mut stream = TcpStream::connect(proxy.authority()).await?;
        stream.write_all(REQUEST.as_bytes()).await?;
        let began = Instant::now();
        let (said, end) = read(&mut stream).await;

        let status = said.split(' ').nth(1).unwrap_or_default();
        let whole = said.ends_with("</ErrorResponse>");
        let asked = rds.requests().len();
        let saw = (status, whole, end, asked);
        let expected = match fault {
            Fault::LateRequest | Fault::LateAnswer => ("403", true, End::Open, 1),
            Fault::ResetBefore => ("", false, End::Reset, 0),
            Fault::ResetAfter => ("", false, End::Reset, 1),
            Fault::ResetWithin => ("403", false, End::Reset, 1),
            Fault::HalfClosed => ("", false, End::Closed, 1),
            Fault::HalfAnswered => ("403", false, End::Closed, 1),
            Fault::BlackHole => ("", false, End::Open, 0),
            Fault::ServerError => ("500", true, End::Open, 0),
            Fault::BadGateway => ("502", false, End::Open, 0),
            Fault::Throttled => ("400", true, End::Open, 0),
        };
        assert_eq!(saw, expected, "{fault:?}: {said}");
        if let Fault::LateRequest | Fault::LateAnswer = fault {
            assert!(began.elapsed() >= LATENCY, "{fault:?}");
        }
        if end == End::Closed {
            stream.write_all(b"there is nobody to refuse this").await?;
        }
        assert_eq!(proxy.faults()[DOWNLOAD], 1, "{fault:?}");
        anyhow::Ok(())
    };
    try_join_all(Fault::all().map(case)).await.map(drop)
}

#[tokio::test]
async fn faults_are_met_as_often_as_they_should_and_end_with_their_guard() -> anyhow::Result<()> {
    let rds = Rds::start()?;
    let proxy = Proxy::start(&rds.url())?;
    proxy.answer(DOWNLOAD, Answer::Faulty(Fault::ServerError), 1);
    let fault = proxy.inject(Fault::BadGateway, Some(DOWNLOAD), Calls::EveryOther(2));
    let other = proxy.inject(Fault::Throttled, Some("PutObject"), Calls::All);
    let throttled = proxy.inject(Fault::Throttled, None, Calls::All);
    let statuses = async |requests| {
        let mut statuses = Vec::new();
        for _ in 0..requests {
            let answer = reqwest::get(format!("{}/v13/{DOWNLOAD}/i/x", proxy.url())).await?;
            statuses.push(answer.status().as_u16());
        }
        anyhow::Ok(statuses)
    };
    assert_eq!(statuses(6).await?, [500, 502, 400, 502, 400, 400]);
    drop(throttled);
    assert_eq!(statuses(1).await?, [403]);
    drop((fault, other));
    assert_eq!(proxy.count(DOWNLOAD), 7);
    assert_eq!(proxy.faults()[DOWNLOAD], 6);
    Ok(())
}

/// How the client finds the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Reset,
}

/// What arrives until the connection ends, or is silent for longer than it can be late.
async fn read(stream: &mut TcpStream) -> (String, End) {
    let mut said = Vec::new();
    let end = loop {
        match timeout(LATENCY * 10, stream.read_buf(&mut said)).await {
            Err(_silent) => break End::Open,
            Ok(Ok(0)) => break End::Closed,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break End::Reset;
            }
        }
    };
    (String::from_utf8_lossy(&said).into_owned(), end)
}
