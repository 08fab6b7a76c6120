//! Retries are paid from budgets: a storm on one kind of call leaves the others theirs.

use std::time::Duration;

use futures_util::future::join_all;
use shared::aws::{Aws, CallError};
use shared::queue::Queue;
use tests::eventually::eventually;
use tests::proxy::{Answer, Proxy};
use tests::stack::Stack;
use tests::world::by_hand::{FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World};

use super::errors_stopped;

/// So many requests that fail until the client gives up cost more than a budget holds.
const STORM: u32 = 40;

/// As often as an SDK client tries one request, while it can pay for it.
const TRIES: usize = 4;

const BROKEN: Answer = Answer::Refused {
    status: 500,
    code: "InternalError",
};

#[tokio::test]
async fn a_storm_on_uploads_leaves_the_archives_other_calls_their_retries() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    let proxy = Proxy::start(&Stack::shared().await?.endpoint)?;
    world.expect_error("dead letter");
    let content = log(1, 5000);
    world.put_and_send(FILE, content[..3000].to_vec()).await?;
    world.work().await?;

    proxy.answer("PutObject", BROKEN, u32::MAX);
    // What became of it is not to be known either; nor does an answer refill a budget.
    let denied = Answer::Refused {
        status: 403,
        code: "AccessDenied",
    };
    proxy.answer("HeadObject", denied, STORM);
    for file in 0..STORM {
        let name = format!("audit/storm-{file}");
        world.put_and_send(&name, log(file.into(), 1000)).await?;
    }
    let with = [
        ("AWS_ENDPOINT_URL_S3", &*proxy.url()),
        ("CONCURRENCY", "20"),
        ("MAX_ATTEMPTS", "1"),
    ];
    let worker = world.start_worker(&with)?;
    eventually("the storm to be over", async || {
        match world.dead_letters().await {
            Ok((letters, _)) if letters == u64::from(STORM) => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    let tried = proxy.count("PutObject");
    assert!(tried < TRIES * STORM as usize, "it is not over: {tried}");

    proxy.mend();
    proxy.answer("HeadObject", BROKEN, 1);
    let asked = proxy.count("HeadObject");
    world
        .rds
        .grow_file(INSTANCE, FILE, &content[3000..], NOON + 2 * MINUTE);
    let version = world.send_version(FILE).await?;
    world.until(&version, "Complete").await?;
    assert_eq!(proxy.count("HeadObject") - asked, 2, "it was tried again");
    assert!(world.objects().await?[KEY].raw == content);
    errors_stopped(&world, worker).await?;
    Ok(())
}

#[tokio::test]
async fn a_storm_on_polls_leaves_deletes_their_retries() -> anyhow::Result<()> {
    let world = World::new().await?;
    let stack = Stack::shared().await?;
    let proxy = Proxy::start(&stack.endpoint)?;
    let config = stack.sdk_config().into_builder();
    let aws = Aws::new(&config.endpoint_url(proxy.url()).build()).await?;
    let queue = Queue::new(&aws, world.resources.queue_url.clone());
    world.send("a message").await?;
    let receive = || queue.receive(1, Duration::ZERO, Duration::from_mins(5));
    let received = receive().await?;

    proxy.answer("ReceiveMessage", BROKEN, u32::MAX);
    let polls = join_all((0..STORM).map(|_| receive())).await;
    assert!(polls.iter().all(Result::is_err));
    let tried = proxy.count("ReceiveMessage");
    assert!(tried < TRIES * STORM as usize, "it is no storm: {tried}");

    proxy.answer("DeleteMessage", BROKEN, 1);
    queue.delete(&received[0].receipt).await?;
    assert_eq!(proxy.count("DeleteMessage"), 2);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_batch_deletes_what_it_can_and_says_what_it_could_not() -> anyhow::Result<()> {
    let world = World::new().await?;
    let aws = Aws::new(&Stack::shared().await?.sdk_config()).await?;
    let queue = Queue::new(&aws, world.resources.queue_url.clone());
    world.send("a message").await?;
    let received = queue.receive(1, Duration::ZERO, Duration::from_mins(5));
    let receipt = received.await?.remove(0).receipt;
    let left = queue.delete_batch(&["none".to_owned(), receipt]).await?;
    let codes: Vec<_> = left
        .iter()
        .map(|left| left.as_ref().and_then(CallError::code))
        .collect();
    assert_eq!(codes, [Some("ReceiptHandleIsInvalid"), None]);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}
