//! Health checks: whether a worker runs, and whether it takes messages.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;
use tests::eventually::eventually;
use tests::programs::{self, Environment, Running};
use tests::rds::{ANY, FOREVER, Fault, Where};
use tests::world::World;
use tests::world::by_hand::{FILE, log};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What the log says when a worker stops taking.
const STOPPED: &str = "stopped taking messages";

/// A free port, chosen by the kernel.
const HEALTH: (&str, &str) = ("HEALTH_ADDRESS", "127.0.0.1:0");

/// Where a worker answers health checks.
async fn address(worker: &Running) -> anyhow::Result<SocketAddr> {
    let address = eventually("the worker to listen", async || {
        let log = worker.log();
        let lines = log
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut addresses =
            lines.filter_map(|line| Some(line.get("address")?.as_str()?.to_owned()));
        addresses.next().ok_or(log)
    })
    .await?;
    Ok(address.parse()?)
}

/// The whole answer to a request that begins like this.
async fn ask(address: SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{request}\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until a worker answers this, and has these words for it.
async fn until(address: SocketAddr, path: &str, status: u16, words: &str) -> anyhow::Result<()> {
    let what = format!("{path} to answer {status} {words}");
    eventually(&what, async || {
        let answer = ask(address, &format!("GET {path} HTTP/1.1")).await;
        match &answer {
            Ok(text)
                if text.starts_with(&format!("HTTP/1.1 {status} ")) && text.contains(words) =>
            {
                Ok(())
            }
            _ => Err(answer),
        }
    })
    .await
}

async fn check(address: &str) -> anyhow::Result<programs::Ended> {
    let nothing = Environment::new();
    programs::run(
        "auditferry-worker",
        &["health", "--address", address],
        &nothing,
    )
    .await
}

#[tokio::test]
async fn a_worker_is_ready_unless_it_has_stopped_taking_messages() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let worker = world.start_worker(&[("CONCURRENCY", "1"), HEALTH])?;
    let address = address(&worker).await?;
    until(address, "/livez", 200, "alive").await?;
    until(address, "/readyz", 200, "ready").await?;

    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "no policy allows it".to_owned(),
    };
    world.rds.fail(Where::download(ANY, ANY), denied, FOREVER);
    let version = world.put_and_send(FILE, log(1, 5000)).await?;
    until(address, "/readyz", 503, "no policy allows it").await?;
    until(address, "/livez", 200, "alive").await?;
    assert_eq!(
        check(&address.to_string()).await?.code(),
        Some(0),
        "no reason to restart it"
    );

    world.rds.clear_faults();
    world.until(&version, "Complete").await?;
    until(address, "/readyz", 200, "ready").await?;
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_drains_is_alive_and_not_ready() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let stall = Fault::Stall { after_bytes: 1000 };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    let version = world.put_and_send(FILE, log(2, 5000)).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), HEALTH])?;
    let address = address(&worker).await?;
    world.until_stalled(1).await?;
    until(address, "/readyz", 200, "ready").await?;
    worker.signal("TERM").await?;
    until(address, "/readyz", 503, "stopping").await?;
    until(address, "/livez", 200, "alive").await?;
    world.rds.release_stalls();
    world.finish_worker(worker).await?;
    world.until(&version, "Complete").await?;
    assert_eq!(
        check(&address.to_string()).await?.code(),
        Some(1),
        "it is gone"
    );
    Ok(())
}

#[tokio::test]
async fn clients_that_say_nothing_too_much_or_nonsense_keep_nobody_out() -> anyhow::Result<()> {
    let world = World::new().await?;
    let worker = world.start_worker(&[HEALTH])?;
    let address = address(&worker).await?;
    // More than are served at a time, which never ask.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).await?);
    }
    let asked = Instant::now();
    until(address, "/livez", 200, "alive").await?;
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "{:?}",
        asked.elapsed()
    );
    for (request, status) in [
        ("GET / HTTP/1.1", "404"),
        ("POST /readyz HTTP/1.1", "405"),
        ("HEAD /livez HTTP/1.1", "200"),
        ("GET /livez?verbose HTTP/1.1", "200"),
        ("GET /livez HTTP/1.1\r\ncontent-length: 1000000000", "200"),
        ("nonsense", "400"),
    ] {
        let answer = ask(address, request).await?;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        assert!(answer.contains("connection: close"), "{request}: {answer}");
    }
    let mut endless = TcpStream::connect(address).await?;
    let header = vec![b'x'; 64 * 1024];
    while endless.write_all(&header).await.is_ok() {}
    until(address, "/readyz", 200, "ready").await?;
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    Ok(())
}

#[tokio::test]
async fn nobody_listens_unless_told_to_and_a_taken_address_is_said_plainly() -> anyhow::Result<()> {
    let mut world = World::new().await?;
    world.expect_error("HEALTH_ADDRESS");
    let silent = world.work().await?;
    assert!(!silent.stderr.contains("health"), "{}", silent.stderr);

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = taken.local_addr()?.to_string();
    let environment = world.environment(&[("HEALTH_ADDRESS", &address)]);
    let ended = programs::run("auditferry-worker", &[], &environment).await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let said = format!("listen on HEALTH_ADDRESS {address}: Address already in use");
    assert!(ended.stderr.contains(&said), "{said:?} in {}", ended.stderr);

    // It listens, and never answers.
    let began = Instant::now();
    let ended = check(&address).await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("has not answered within 2s"),
        "{}",
        ended.stderr
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    Ok(())
}
