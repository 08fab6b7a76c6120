//! Something is missing or forbidden: the worker stops taking, says so once, loses no attempt, and goes on by itself.

use aws_sdk_dynamodb::types::BillingMode;
use shared::message::Message;
use tests::eventually::eventually;
use tests::programs::Running;
use tests::rds::{ANY, Access, FOREVER, Where};
use tests::stack::{SECRET_KEY, SESSION_TOKEN};
use tests::world::World;
use tests::world::by_hand::{FILE, INSTANCE, log};

use super::{errors_stopped, refusal};

/// What the log says when a worker stops taking.
const STOPPED: &str = "stopped taking messages";

/// So that it polls often, and ends soon.
const IDLE: (&str, &str) = ("EXIT_WHEN_IDLE", "1s");

/// A denied permission.
const DENIED: (u16, &str, &str) = (
    403,
    "AccessDenied",
    "no identity-based policy allows the rds:DownloadCompleteDBLogFile action",
);

#[tokio::test]
async fn a_denied_download_stops_the_worker_and_counts_against_no_file() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let (status, code, message) = DENIED;
    let downloads = Where::download(ANY, ANY);
    world
        .rds
        .fail(downloads.clone(), refusal(status, code, message), FOREVER);
    let versions = backlog(&world, 20).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "2"), ("MAX_ATTEMPTS", "1"), IDLE])?;
    worker.says(STOPPED).await?;
    // Two at first, perhaps two taken before the first failure was known; then probes, ever more seldom.
    let tried = world.rds.count(&downloads);
    assert!(tried <= 10, "it went on through the backlog: {tried}");
    recovers(&world, worker, &versions, async || {
        world.rds.clear_faults();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_probe_that_proves_nothing_does_not_end_the_silence() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    world.expect_error("dead letter");
    let (status, code, message) = DENIED;
    let downloads = Where::download(ANY, ANY);
    world
        .rds
        .fail(downloads.clone(), refusal(status, code, message), FOREVER);
    backlog(&world, 1).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), IDLE])?;
    worker.says(STOPPED).await?;

    // It can be settled without any download.
    world.send("a message that means nothing").await?;
    worker.says("dead letter").await?;
    let tried = world.rds.count(&downloads);
    eventually("another probe", async || {
        let now = world.rds.count(&downloads);
        if now > tried { Ok(()) } else { Err(now) }
    })
    .await?;
    let errors = errors_stopped(&world, worker).await?;
    let stopped = errors.iter().filter(|error| error.contains(STOPPED));
    assert_eq!(stopped.count(), 1, "it is said once: {errors:?}");
    Ok(())
}

#[tokio::test]
async fn a_missing_bucket_stops_the_worker_until_there_is_one() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let bucket = world.resources.bucket.clone();
    world.s3.delete_bucket().bucket(&bucket).send().await?;
    let versions = backlog(&world, 3).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), IDLE])?;
    worker.says(STOPPED).await?;
    worker.says("NoSuchBucket").await?;
    recovers(&world, worker, &versions, async || {
        world.s3.create_bucket().bucket(&bucket).send().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_table_stops_the_worker_until_there_is_one() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let name = world.resources.table.clone();
    let described = world
        .dynamodb
        .describe_table()
        .table_name(&name)
        .send()
        .await?;
    let table = described.table.expect("it is there");
    world
        .dynamodb
        .delete_table()
        .table_name(&name)
        .send()
        .await?;
    let versions = backlog(&world, 3).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), IDLE])?;
    worker.says(STOPPED).await?;
    worker.says("ResourceNotFoundException").await?;
    assert_eq!(world.rds.requests(), [], "nothing is downloaded unclaimed");
    recovers(&world, worker, &versions, async || {
        let request = world.dynamodb.create_table().table_name(&name);
        request
            .set_attribute_definitions(table.attribute_definitions.clone())
            .set_key_schema(table.key_schema.clone())
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_queue_is_probed_until_there_is_one() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let url = world.resources.queue_url.clone();
    world.sqs.delete_queue().queue_url(&url).send().await?;
    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "10s")])?;
    worker.says(STOPPED).await?;
    let name = url.rsplit('/').next().unwrap_or_default();
    world.sqs.create_queue().queue_name(name).send().await?;
    let versions = backlog(&world, 3).await?;
    recovers(&world, worker, &versions, async || Ok(())).await
}

#[tokio::test]
async fn a_message_stays_until_its_dead_letter_is_kept() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    world.expect_error("dead letter");
    let url = world.resources.dead_letter_queue_url.clone();
    world.sqs.delete_queue().queue_url(&url).send().await?;
    world.send("a message that means nothing").await?;
    let worker = world.start_worker(&[("LEASE", "3s"), IDLE])?;
    worker.says(STOPPED).await?;
    let (visible, in_flight) = world.queued().await?;
    assert_eq!(visible + in_flight, 1);

    let name = url.rsplit('/').next().unwrap_or_default();
    world.sqs.create_queue().queue_name(name).send().await?;
    world.until_queued(0, 0).await?;
    errors_stopped(&world, worker).await?;
    let letters = world.take_dead_letters().await?;
    let bodies: Vec<_> = letters.iter().filter_map(|letter| letter.body()).collect();
    assert_eq!(bodies, ["a message that means nothing"]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_secret_is_said_once_and_costs_nothing() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let version = world.put_and_send(FILE, log(1, 5000)).await?;
    let worker = world.start_worker(&[("AWS_SECRET_ACCESS_KEY", "not the secret")])?;
    worker.says(STOPPED).await?;
    worker.says("SignatureDoesNotMatch").await?;
    let errors = errors_stopped(&world, worker).await?;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(world.queued().await?, (1, 0));
    assert_eq!(world.row(&version).await?, None);

    world.work().await?;
    world.until(&version, "Complete").await?;
    Ok(())
}

#[tokio::test]
async fn a_signature_that_rds_refuses_is_said_without_what_it_was_made_of() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(STOPPED);
    let right = world.rds.access();
    let wrong = Access {
        secret_key: "not the secret".to_owned(),
        ..right.clone()
    };
    world.rds.set_access(wrong);
    let versions = backlog(&world, 1).await?;
    let worker = world.start_worker(&[("CONCURRENCY", "1"), IDLE])?;
    worker.says(STOPPED).await?;
    worker.says("SignatureDoesNotMatch").await?;
    // RDS repeats all that was signed, the token among it.
    let row = world.until(&versions[0], "Queued").await?;
    let said = format!("{:?} {row:?}", worker.log());
    for secret in [SESSION_TOKEN, SECRET_KEY, "Signature="] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    recovers(&world, worker, &versions, async || {
        world.rds.set_access(right);
        Ok(())
    })
    .await
}

/// So many versions, sent.
async fn backlog(world: &World, files: u64) -> anyhow::Result<Vec<Message>> {
    let mut versions = Vec::new();
    for file in 0..files {
        let name = format!("audit/backlog-{file}");
        versions.push(world.put_and_send(&name, log(file, 5000)).await?);
    }
    Ok(versions)
}

/// Holds that once all is mended the worker ships everything, with one error line and no lost attempt.
async fn recovers(
    world: &World,
    worker: Running,
    versions: &[Message],
    mend: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    mend().await?;
    for version in versions {
        let row = world.until(version, "Complete").await?;
        assert_eq!(row["attempts"], "1", "{row:?}");
    }
    let errors = errors_stopped(world, worker).await?;
    assert_eq!(errors.len(), 1, "it is said once: {errors:?}");
    assert_eq!(
        (world.queued().await?, world.dead_letters().await?),
        ((0, 0), (0, 0))
    );
    assert_eq!(world.objects().await?.len(), versions.len());
    let downloads = world.rds.count(&Where::download(INSTANCE, ANY));
    assert!(downloads >= versions.len(), "{downloads}");
    Ok(())
}
