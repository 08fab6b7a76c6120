//! S3, the table and the queue lose or refuse answers: what took effect is found, what did not is done again.

use shared::message::Message;
use tests::eventually::eventually;
use tests::proxy::{Answer, Calls, Fault, Proxy};
use tests::stack::Stack;
use tests::world::by_hand::{FILE, INSTANCE, KEY, log, noise};
use tests::world::{MINUTE, NOON, Row, World};

use super::errors_stopped;

/// As often as an SDK client tries one request.
const TRIES: u32 = 4;

/// Two parts, stored: the first is of 5 MiB.
const LARGE: usize = 9 << 20;

/// For ever.
const ALWAYS: u32 = u32::MAX;

/// What the log says when a worker stops taking.
const STOPPED: &str = "stopped taking messages";

const S3: &str = "AWS_ENDPOINT_URL_S3";
const DYNAMODB: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const SQS: &str = "AWS_ENDPOINT_URL_SQS";

/// So that what was left to its lease comes back soon.
const LEASE: (&str, &str) = ("LEASE", "3s");

/// So that it polls often, and ends soon.
const IDLE: (&str, &str) = ("EXIT_WHEN_IDLE", "1s");

#[tokio::test]
async fn an_object_whose_upload_was_answered_with_silence_is_found() -> anyhow::Result<()> {
    let case = async |size, operation, lost| {
        let (world, proxy) = world().await?;
        proxy.answer(operation, Answer::Lost, lost);
        let content = noise(1, size);
        let version = world.put_and_send(FILE, content.clone()).await?;
        world.work_with(&[(S3, &proxy.url())]).await?;

        let row = world.until(&version, "Complete").await?;
        assert_eq!(told(&row), ["1", "1"], "{operation} lost {lost} times");
        assert!(world.objects().await?[KEY].raw == content);
        assert_eq!(world.writes(KEY).await?, 1);
        assert_eq!(world.unfinished_uploads().await?, 0);
        anyhow::Ok(())
    };
    // The SDK tries again by itself; or no answer comes at all, and it gives up.
    tokio::try_join!(
        case(5000, "PutObject", 1),
        case(5000, "PutObject", TRIES),
        case(LARGE, "CompleteMultipartUpload", 1),
        case(LARGE, "CompleteMultipartUpload", TRIES),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_grown_object_whose_upload_was_answered_with_silence_is_found() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    let content = log(2, 5000);
    world.put_and_send(FILE, content[..3000].to_vec()).await?;
    world.work().await?;
    world
        .rds
        .grow_file(INSTANCE, FILE, &content[3000..], NOON + 2 * MINUTE);
    let version = world.send_version(FILE).await?;
    // The first try meets the shorter version; the second one replaces it, and nobody says so.
    proxy.answer("PutObject", Answer::Pass, 1);
    proxy.answer("PutObject", Answer::Lost, TRIES);
    world.work_with(&[(S3, &proxy.url())]).await?;

    let row = world.until(&version, "Complete").await?;
    assert_eq!(told(&row), ["1", "1"]);
    assert!(world.objects().await?[KEY].raw == content);
    assert_eq!(world.writes(KEY).await?, 2);
    Ok(())
}

#[tokio::test]
async fn an_upload_that_fails_is_done_again_from_its_start() -> anyhow::Result<()> {
    let (case, complete) = (done_again, "CompleteMultipartUpload");
    tokio::try_join!(
        // The SDK tries again by itself. S3 may say 200 and then fail.
        case("UploadPart", 503, "SlowDown", 2, "1"),
        case(complete, 200, "InternalError", 1, "1"),
        // The attempt fails.
        case("UploadPart", 503, "SlowDown", TRIES, "2"),
        case(complete, 200, "InternalError", TRIES, "2"),
        case(complete, 409, "ConditionalRequestConflict", 1, "2"),
        case(complete, 404, "NoSuchUpload", 1, "2"),
    )?;
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_condition_does_not_hold_looks_again() -> anyhow::Result<()> {
    for operation in ["PutObject", "CompleteMultipartUpload"] {
        // What stood in the way is gone when it is looked for: once by chance, twice in a race.
        done_again(operation, 412, "PreconditionFailed", 1, "1").await?;
        done_again(operation, 412, "PreconditionFailed", 2, "2").await?;
    }
    done_again("PutObject", 409, "ConditionalRequestConflict", 1, "2").await
}

/// Holds that a file whose upload is refused so many times is stored, once, after so many attempts.
async fn done_again(
    operation: &str,
    status: u16,
    code: &'static str,
    times: u32,
    attempts: &str,
) -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    proxy.answer(operation, Answer::Refused { status, code }, times);
    let in_one_piece = operation == "PutObject";
    let content = noise(3, if in_one_piece { 5000 } else { LARGE });
    let version = world.put_and_send(FILE, content.clone()).await?;
    world.work_with(&[(S3, &proxy.url())]).await?;

    let what = format!("{operation}: {status} {code}, {times} times");
    let row = world.until(&version, "Complete").await?;
    assert_eq!(row["attempts"], attempts, "{what}");
    assert!(world.objects().await?[KEY].raw == content, "{what}");
    assert_eq!(world.writes(KEY).await?, 1, "{what}");
    assert_eq!(world.unfinished_uploads().await?, 0, "{what}");
    Ok(())
}

#[tokio::test]
async fn a_denied_upload_stops_the_worker_and_counts_against_no_file() -> anyhow::Result<()> {
    let case = async |size, operation, code| {
        let (mut world, proxy) = world().await?;
        world.expect_error(STOPPED);
        let denied = Answer::Refused { status: 403, code };
        proxy.answer(operation, denied, ALWAYS);
        let version = world.put_and_send(FILE, noise(4, size)).await?;
        let with = [(S3, &*proxy.url()), ("MAX_ATTEMPTS", "1"), IDLE];
        let worker = world.start_worker(&with)?;
        let row = world.until(&version, "Queued").await?;
        assert_eq!(row["attempts"], "0", "{row:?}");
        assert!(row["error"].contains(code), "{row:?}");
        worker.says(STOPPED).await?;

        proxy.mend();
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["attempts"], "1", "{row:?}");
        let errors = errors_stopped(&world, worker).await?;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(world.unfinished_uploads().await?, 0);
        anyhow::Ok(())
    };
    tokio::try_join!(
        case(5000, "PutObject", "AccessDenied"),
        case(5000, "PutObject", "KMS.DisabledException"),
        case(5000, "PutObject", "SignatureDoesNotMatch"),
        case(LARGE, "UploadPart", "AccessDenied"),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_lost_file_is_gone_also_to_a_role_that_may_not_list_the_bucket() -> anyhow::Result<()> {
    let (mut world, proxy) = world().await?;
    world.expect_error("gone, evidence is lost");
    let version = lost(&world).await?;
    // So S3 answers a HEAD of nothing to such a role.
    let denied = Answer::Refused {
        status: 403,
        code: "AccessDenied",
    };
    proxy.answer("HeadObject", denied.clone(), ALWAYS);
    proxy.answer("HeadBucket", denied, ALWAYS);
    let ended = world.work_with(&[(S3, &proxy.url())]).await?;
    world.until(&version, "Gone").await?;
    assert_eq!(ended.logged("ERROR").len(), 1);
    Ok(())
}

#[tokio::test]
async fn no_file_is_called_gone_while_the_archive_cannot_be_asked() -> anyhow::Result<()> {
    let (mut world, _proxy) = world().await?;
    world.expect_error(STOPPED);
    world.expect_error("gone, evidence is lost");
    let version = lost(&world).await?;
    let bucket = &world.resources.bucket;
    world.s3.delete_bucket().bucket(bucket).send().await?;
    let worker = world.start_worker(&[("MAX_ATTEMPTS", "1"), IDLE])?;
    let row = world.until(&version, "Queued").await?;
    assert_eq!(row["attempts"], "0", "{row:?}");

    world.s3.create_bucket().bucket(bucket).send().await?;
    world.until(&version, "Gone").await?;
    let errors = errors_stopped(&world, worker).await?;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}

/// A version that was sent, and then deleted by RDS.
async fn lost(world: &World) -> anyhow::Result<Message> {
    let version = world.put_and_send(FILE, log(5, 5000)).await?;
    world.rds.remove_file(INSTANCE, FILE);
    world
        .rds
        .put_file(INSTANCE, "audit/neighbour", "x\n", NOON + MINUTE);
    Ok(version)
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_still_ours() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    proxy.answer("UpdateItem", Answer::Lost, 1);
    let version = world.put_and_send(FILE, log(6, 5000)).await?;
    world.work_with(&[(DYNAMODB, &proxy.url())]).await?;
    let row = world.until(&version, "Complete").await?;
    assert_eq!(told(&row), ["1", "1"]);
    assert_eq!(proxy.count("UpdateItem"), 3, "claim, claim again, complete");
    Ok(())
}

#[tokio::test]
async fn a_claim_that_nobody_answers_is_taken_over_after_its_lease() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    proxy.answer("UpdateItem", Answer::Lost, TRIES);
    let version = world.put_and_send(FILE, log(7, 5000)).await?;
    world.work_with(&[(DYNAMODB, &proxy.url()), LEASE]).await?;
    let row = world.until(&version, "Complete").await?;
    assert_eq!(told(&row), ["2", "2"]);
    Ok(())
}

#[tokio::test]
async fn a_claim_whose_answer_always_breaks_off_makes_no_dead_letter() -> anyhow::Result<()> {
    // The first answer says that the claim is ours, the others that it is taken; of none there is more than a half.
    for fault in [Fault::ResetWithin, Fault::HalfAnswered] {
        let (world, proxy) = world().await?;
        let version = world.put_and_send(FILE, log(14, 5000)).await?;
        let _fault = proxy.inject(fault, Some("UpdateItem"), Calls::First(TRIES));
        world.work_with(&[(DYNAMODB, &proxy.url()), LEASE]).await?;
        shipped_once(&world, &version, ["2", "2"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_not_done_twice() -> anyhow::Result<()> {
    for lost in [1, TRIES] {
        let (world, proxy) = world().await?;
        proxy.answer("UpdateItem", Answer::Pass, 1);
        proxy.answer("UpdateItem", Answer::Lost, lost);
        let version = world.put_and_send(FILE, log(8, 5000)).await?;
        world.work_with(&[(DYNAMODB, &proxy.url()), LEASE]).await?;
        shipped_once(&world, &version, ["1", "1"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_uploaded_but_not_recorded_is_found_by_the_next_claim() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    proxy.answer("UpdateItem", Answer::Pass, 1);
    let broken = Answer::Refused {
        status: 500,
        code: "InternalServerError",
    };
    proxy.answer("UpdateItem", broken, TRIES);
    let version = world.put_and_send(FILE, log(9, 5000)).await?;
    // Long enough that no renewal comes between claim and completion, and takes one of the answers.
    let lease = ("LEASE", "12s");
    world.work_with(&[(DYNAMODB, &proxy.url()), lease]).await?;
    let row = shipped_once(&world, &version, ["2", "2"]).await?;
    assert_eq!(row["reason"], "stored");
    Ok(())
}

#[tokio::test]
async fn a_message_that_could_not_be_deleted_is_deleted_when_it_comes_back() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    let broken = Answer::Refused {
        status: 500,
        code: "InternalFailure",
    };
    proxy.answer("DeleteMessageBatch", broken, TRIES);
    let version = world.put_and_send(FILE, log(10, 5000)).await?;
    world.work_with(&[(SQS, &proxy.url()), LEASE]).await?;
    shipped_once(&world, &version, ["1", "1"]).await?;
    Ok(())
}

#[tokio::test]
async fn throttling_and_lost_answers_of_queue_and_table_cost_no_attempt() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    let throttled = |code| Answer::Refused { status: 400, code };
    proxy.answer("ReceiveMessage", throttled("ThrottlingException"), TRIES);
    proxy.answer(
        "GetQueueAttributes",
        throttled("ThrottlingException"),
        TRIES,
    );
    proxy.answer(
        "UpdateItem",
        throttled("ProvisionedThroughputExceededException"),
        TRIES + 1,
    );
    let version = world.put_and_send(FILE, log(11, 5000)).await?;
    let url = proxy.url();
    let ended = world.work_with(&[(SQS, &url), (DYNAMODB, &url)]).await?;
    shipped_once(&world, &version, ["1", "1"]).await?;
    assert!(!ended.logged("WARN").is_empty(), "it is said");
    Ok(())
}

#[tokio::test]
async fn a_renewal_that_fails_once_does_not_lose_the_claim() -> anyhow::Result<()> {
    let (world, proxy) = world().await?;
    let stall = tests::rds::Fault::Stall { after_bytes: 1000 };
    let downloads = tests::rds::Where::download(INSTANCE, FILE);
    world.rds.fail(downloads, stall, 1);
    proxy.answer("UpdateItem", Answer::Pass, 1);
    let broken = Answer::Refused {
        status: 400,
        code: "ValidationException",
    };
    proxy.answer("UpdateItem", broken, 1);
    let version = world.put_and_send(FILE, log(12, 5000)).await?;
    let with = [(DYNAMODB, &*proxy.url()), LEASE, IDLE];
    let worker = world.start_worker(&with)?;
    worker.says("failed to renew a claim").await?;
    let failed = proxy.count("UpdateItem");
    eventually("the next renewals", async || {
        let renewals = proxy.count("UpdateItem") - failed;
        if renewals >= 3 { Ok(()) } else { Err(renewals) }
    })
    .await?;
    world.rds.release_stalls();
    world.finish_worker(worker).await?;
    shipped_once(&world, &version, ["1", "1"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_of_which_no_row_can_be_made_is_kept_as_a_dead_letter() -> anyhow::Result<()> {
    let (mut world, proxy) = world().await?;
    world.expect_error("dead letter");
    let refused = Answer::Refused {
        status: 400,
        code: "ValidationException",
    };
    proxy.answer("UpdateItem", refused, 1);
    let version = world.put_and_send(FILE, log(13, 5000)).await?;
    world.work_with(&[(DYNAMODB, &proxy.url())]).await?;
    let letters = world.take_dead_letters().await?;
    let bodies: Vec<_> = letters.iter().filter_map(|letter| letter.body()).collect();
    assert_eq!(bodies, [version.to_wire()]);
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

/// A world, and a proxy before the stack.
async fn world() -> anyhow::Result<(World, Proxy)> {
    let proxy = Proxy::start(&Stack::shared().await?.endpoint)?;
    Ok((World::with_aurora().await?, proxy))
}

/// Holds that a version is Complete, its object written once, its message deleted; its row.
async fn shipped_once(
    world: &World,
    version: &Message,
    expected: [&str; 2],
) -> anyhow::Result<Row> {
    let row = world.until(version, "Complete").await?;
    assert_eq!(told(&row), expected, "generation and attempts of {row:?}");
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(
        (world.queued().await?, world.dead_letters().await?),
        ((0, 0), (0, 0))
    );
    Ok(row)
}

/// Generation and attempts.
fn told(row: &Row) -> [&str; 2] {
    ["generation", "attempts"].map(|name| row[name].as_str())
}
