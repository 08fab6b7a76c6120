//! RDS answers late, wrongly, or half: the file is tried again, and arrives whole.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::SignedDuration;
use tests::rds::{ANY, Fault, Where};
use tests::world::World;
use tests::world::by_hand::{FILE, INSTANCE, KEY, log, noise};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{errors_stopped, refusal};

#[tokio::test]
async fn a_download_that_fails_in_passing_is_tried_again_and_arrives_whole() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let after_bytes = 3000;
    let faults = [
        (
            Fault::Truncate { after_bytes },
            "ended after 3000 bytes, listed were 5000",
        ),
        (Fault::Reset { after_bytes }, "stopped after"),
        (Fault::Throttle, "Rate exceeded"),
        (refusal(500, "InternalFailure", "oh dear"), "oh dear"),
        (refusal(503, "ServiceUnavailable", "not now"), "not now"),
        (refusal(408, "RequestTimeout", "too slow"), "too slow"),
    ];
    let mut sent = Vec::new();
    for (seed, (fault, said)) in (1..).zip(faults) {
        let file = format!("audit/{said}");
        let times = if seed % 2 == 0 { 1 } else { 2 };
        world
            .rds
            .fail(Where::download(INSTANCE, &file), fault, times);
        let content = log(seed, 5000);
        sent.push((
            world.put_and_send(&file, content.clone()).await?,
            content,
            times,
        ));
    }
    let ended = world.work().await?;

    let warnings = ended.logged("WARN").join("\n");
    let objects = world.objects().await?;
    for (version, content, times) in sent {
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["attempts"], (times + 1).to_string(), "{row:?}");
        assert!(!row.contains_key("error"), "it is mended: {row:?}");
        assert!(objects[&row["key"]].raw == content, "{row:?}");
        let said = version.file.name.trim_start_matches("audit/");
        assert!(warnings.contains(said), "{said:?} in {warnings}");
    }
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn parts_of_a_download_that_broke_off_are_taken_back() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let after_bytes = (8 << 20) + (1 << 19);
    let truncate = Fault::Truncate { after_bytes };
    world.rds.fail(Where::download(ANY, ANY), truncate, 1);
    let content = noise(1, 9 << 20);
    world.put_and_send(FILE, content.clone()).await?;
    world.work().await?;

    let objects = world.objects().await?;
    assert!(
        objects[KEY].raw == content,
        "the object differs from the log file"
    );
    assert_eq!(objects[KEY].metadata["generation"], "2");
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(world.unfinished_uploads().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_download_that_falls_silent_is_given_up_and_tried_again() -> anyhow::Result<()> {
    let case = async |setting| {
        let world = World::with_aurora().await?;
        let stall = Fault::Stall { after_bytes: 3000 };
        world.rds.fail(Where::download(ANY, ANY), stall, 1);
        let content = log(2, 5000);
        let version = world.put_and_send(FILE, content.clone()).await?;
        let ended = world.work_with(&[(setting, "1s")]).await?;

        let warnings = ended.logged("WARN").join("\n");
        assert!(warnings.contains("stopped after 3000 bytes"), "{warnings}");
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["attempts"], "2", "{setting}");
        assert!(world.objects().await?[KEY].raw == content);
        anyhow::Ok(())
    };
    tokio::try_join!(case("DOWNLOAD_IDLE_TIMEOUT"), case("DOWNLOAD_TIMEOUT"))?;
    Ok(())
}

#[tokio::test]
async fn a_connection_for_a_download_that_does_not_open_is_given_up() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    // The kernel answers nobody any more once as many wait as may.
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(1)?;
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_secs(2), TcpStream::connect(address)).await {
        waiting.push(connected?);
    }
    let version = world.put_and_send(FILE, log(6, 5000)).await?;
    let with = [
        ("AWS_ENDPOINT_URL_RDS", &*format!("http://{address}")),
        ("DOWNLOAD_CONNECT_TIMEOUT", "1s"),
        ("DOWNLOAD_IDLE_TIMEOUT", "10m"),
    ];
    let worker = world.start_worker(&with)?;
    let row = world
        .until_row(&version, "an error", |row| row.contains_key("error"))
        .await?;
    assert!(row["error"].contains("stopped after 0 bytes"), "{row:?}");
    assert_eq!(errors_stopped(&world, worker).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn an_error_keeps_status_and_the_first_kibibyte_of_the_answer() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    // Six bytes each, behind some 130 of XML.
    let words: Vec<String> = (0..1000).map(|word| format!("w{word:04}")).collect();
    let long = refusal(502, "InternalFailure", &words.join(" "));
    world.rds.fail(Where::download(ANY, ANY), long, u32::MAX);
    let version = world.put_and_send(FILE, log(3, 5000)).await?;
    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "1s")])?;
    let row = world
        .until_row(&version, "an error", |row| row.contains_key("error"))
        .await?;
    world.rds.clear_faults();
    world.until(&version, "Complete").await?;
    worker.signal("TERM").await?;
    let ended = world.finish_worker(worker).await?;

    let logged = ended.logged("WARN");
    for (told, last) in [(&row["error"], "w0120"), (&logged[0], "w0145")] {
        assert!(told.contains("HTTP status 502: <ErrorResponse"), "{told}");
        assert!(told.contains(last), "{last} in {told}");
        assert!(!told.contains("w0152"), "more than 1 KiB: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_an_hour_off_is_allowed_for() -> anyhow::Result<()> {
    let case = async |hours| {
        let world = World::with_aurora().await?;
        world.rds.set_clock(SignedDuration::from_hours(hours));
        let with = [("CONCURRENCY", "1"), ("EXIT_WHEN_IDLE", "10s")];
        let worker = world.start_worker(&with)?;
        let downloads = || world.rds.count(&Where::download(INSTANCE, ANY));
        for (seed, asked) in [(1, 2), (2, 3)] {
            let file = format!("audit/{seed}");
            let version = world.put_and_send(&file, log(seed, 5000)).await?;
            let row = world.until(&version, "Complete").await?;
            assert_eq!(row["attempts"], "1", "{row:?}");
            assert_eq!(downloads(), asked, "it is learned once");
        }
        // Somebody sets the clock right.
        world.rds.set_clock(SignedDuration::ZERO);
        let version = world.put_and_send("audit/3", log(3, 5000)).await?;
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["attempts"], "1", "{row:?}");
        assert_eq!(errors_stopped(&world, worker).await?, [""; 0]);
        anyhow::Ok(())
    };
    tokio::try_join!(case(1), case(-1))?;
    Ok(())
}

#[tokio::test]
async fn a_listing_allows_for_a_clock_an_hour_off_too() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("maria");
    let content = log(4, 5000);
    world.rds.put_file(
        "maria",
        "audit/server_audit.log.1",
        content.clone(),
        tests::world::NOON,
    );
    world.rds.set_clock(SignedDuration::from_hours(1));
    let summary = world.enumerate().await?;
    assert_eq!(summary["sent"], 1, "{summary}");
    world.work().await?;
    let objects = world.objects().await?;
    assert!(objects.into_values().any(|object| object.raw == content));
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_a_fault_that_passes() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.expire_token();
    let version = world.put_and_send(FILE, log(5, 5000)).await?;
    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "1s")])?;
    world
        .until_row(&version, "ExpiredToken", |row| {
            row["state"] == "Queued" && row["error"].contains("ExpiredToken")
        })
        .await?;
    world.rds.set_access(world.rds.access());
    world.until(&version, "Complete").await?;
    assert_eq!(errors_stopped(&world, worker).await?, [""; 0]);
    Ok(())
}
