//! How a worker ends: it finishes or gives back what it has, at once, and takes nothing more.

use std::time::Duration;

use tests::programs::{Ended, Running};
use tests::rds::{ANY, Fault, Where};
use tests::world::World;
use tests::world::by_hand::{FILE, KEY, log, noise};
use tokio::time::Instant;

/// A poll of a few seconds is waited for. A lease, and the grace, take more than a minute.
const QUICKLY: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_idle_worker_ends_at_once() -> anyhow::Result<()> {
    let case = async |signal| {
        let world = World::with_aurora().await?;
        let worker = world.start_worker(&[])?;
        worker.says("worker started").await?;
        let ended = told_to_stop(&world, worker, signal).await?;
        for step in ["received", "stopped taking", "worker stopped"] {
            assert!(ended.stderr.contains(step), "{step:?} in {}", ended.stderr);
        }
        anyhow::Ok(())
    };
    tokio::try_join!(case("TERM"), case("INT"))?;
    Ok(())
}

#[tokio::test]
async fn a_file_in_flight_is_finished_and_nothing_new_is_taken() -> anyhow::Result<()> {
    let case = async |signal| {
        let world = World::with_aurora().await?;
        let stall = Fault::Stall { after_bytes: 1000 };
        world.rds.fail(Where::download(ANY, ANY), stall, 1);
        let content = log(1, 5000);
        let version = world.put_and_send(FILE, content.clone()).await?;
        // Busy with one, it has room for another, and so waits for one when it is told to stop.
        let worker = world.start_worker(&[("CONCURRENCY", "2")])?;
        world.until_stalled(1).await?;
        worker.signal(signal).await?;
        worker.says("received").await?;
        let new = world.put_and_send("audit/new", log(2, 5000)).await?;
        worker.says("stopped taking messages").await?;
        world.rds.release_stalls();
        let ended = world.finish_worker(worker).await?;

        assert!(!ended.stderr.contains("grace is over"), "{}", ended.stderr);
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["attempts"], "1");
        assert!(world.objects().await?[KEY].raw == content);
        assert_eq!(world.row(&new).await?, None, "it was claimed");
        assert_eq!(world.queued().await?, (1, 0), "the new one is not visible");
        anyhow::Ok(())
    };
    tokio::try_join!(case("TERM"), case("INT"))?;
    Ok(())
}

#[tokio::test]
async fn what_outlasts_the_grace_is_given_back_at_once() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    // Far enough for a part to be in S3.
    let stall = Fault::Stall {
        after_bytes: (8 << 20) + (1 << 19),
    };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    let content = noise(3, 9 << 20);
    let version = world.put_and_send(FILE, content.clone()).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), ("SHUTDOWN_GRACE", "1s")])?;
    world.until_stalled(1).await?;
    tests::eventually::eventually("a part to be in S3", async || {
        match world.unfinished_uploads().await {
            Ok(1) => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    let ended = told_to_stop(&world, worker, "TERM").await?;

    assert!(ended.stderr.contains("grace is over"), "{}", ended.stderr);
    assert_eq!(world.queued().await?, (1, 0), "not visible");
    let row = world.until(&version, "Queued").await?;
    assert_eq!(row["attempts"], "0", "nothing is wrong with the file");
    assert!(!row.contains_key("owner"), "{row:?}");
    assert_eq!(world.unfinished_uploads().await?, 0, "parts are left");
    assert_eq!(world.objects().await?.len(), 0);

    world.work().await?;
    let row = world.until(&version, "Complete").await?;
    assert_eq!(
        (row["attempts"].as_str(), row["generation"].as_str()),
        ("1", "2")
    );
    assert!(world.objects().await?[KEY].raw == content);
    Ok(())
}

#[tokio::test]
async fn a_probe_in_flight_does_not_outlast_the_grace() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("stopped taking messages");
    let downloads = || Where::download(ANY, ANY);
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "denied".to_owned(),
    };
    world.rds.fail(downloads(), denied, 1);
    world
        .rds
        .fail(downloads(), Fault::Stall { after_bytes: 1000 }, 1);
    let version = world.put_and_send(FILE, log(4, 5000)).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), ("SHUTDOWN_GRACE", "1s")])?;
    world.until_stalled(1).await?;
    told_to_stop(&world, worker, "TERM").await?;
    assert_eq!(world.until(&version, "Queued").await?["attempts"], "0");
    assert_eq!(world.queued().await?, (1, 0), "not visible");
    Ok(())
}

#[tokio::test]
async fn a_worker_does_not_call_itself_idle_while_a_message_is_in_flight_elsewhere()
-> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let version = world.put_and_send(FILE, log(5, 5000)).await?;
    let received = world
        .sqs
        .receive_message()
        .queue_url(&world.resources.queue_url)
        .visibility_timeout(600)
        .send()
        .await?;
    let receipt = received.messages()[0].receipt_handle().expect("it has one");
    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "1s")])?;
    worker.says("worker started").await?;
    // Others that were started later have ended, twice.
    for _ in 0..2 {
        World::new().await?.work().await?;
    }
    assert!(
        !worker.log().concat().contains("worker stopped"),
        "{:?}",
        worker.log()
    );

    world
        .sqs
        .change_message_visibility()
        .queue_url(&world.resources.queue_url)
        .receipt_handle(receipt)
        .visibility_timeout(0)
        .send()
        .await?;
    world.until(&version, "Complete").await?;
    world.finish_worker(worker).await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_does_not_call_itself_idle_while_a_message_is_delayed() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let version = world.put_and_send(FILE, log(6, 5000)).await?;
    for message in world.take_messages().await? {
        world
            .sqs
            .send_message()
            .queue_url(&world.resources.queue_url)
            .set_message_body(message.body)
            .delay_seconds(5)
            .send()
            .await?;
    }
    world.work().await?;
    world.until(&version, "Complete").await?;
    Ok(())
}

/// Sends a signal, upon which the worker must end well, and soon.
async fn told_to_stop(world: &World, worker: Running, signal: &str) -> anyhow::Result<Ended> {
    let told = Instant::now();
    worker.signal(signal).await?;
    let ended = world.finish_worker(worker).await?;
    let took = told.elapsed();
    assert!(took < QUICKLY, "it took {took:?}");
    Ok(ended)
}
