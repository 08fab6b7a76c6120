//! `auditferry requeue`: dead letters back on the work queue, however often it is interrupted.

// Some of the letters.
mod some;
// Rows whose dead letters are lost.
mod rows;
// Versions that fail again and again.
mod again;
// Letters that come back while it works.
mod returning;
// Signals in the middle.
mod interrupts;
// What a rerun finds half done.
mod reruns;

use anyhow::ensure;
use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};
use shared::message::Message;
use tests::rds::{ANY, FOREVER, Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World, minutes_ago};

/// Why they are dead letters.
const WHY: &str = "attempt 5 of 5: the reason why";

/// A world with so many versions that a worker has made dead letters, the real way; RDS is mended since.
async fn with_dead_letters(count: usize) -> anyhow::Result<World> {
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter, ");
    for n in 0..count {
        let name = file(n);
        world.rds.put_file(INSTANCE, &name, "one line\n", NOON);
    }
    world.enumerate().await?;
    let broken = Fault::Status {
        status: 500,
        code: "InternalFailure".to_owned(),
        message: "the reason why".to_owned(),
    };
    world.rds.fail(Where::download(ANY, ANY), broken, FOREVER);
    world.work_with(&[("MAX_ATTEMPTS", "1")]).await?;
    world.rds.clear_faults();
    let letters = world.dead_letters().await?;
    ensure!(letters == (u64::try_from(count)?, 0), "{letters:?}");
    Ok(world)
}

/// A world with so many quarantined versions and their dead letters, as a worker leaves them.
async fn quarantined(count: usize) -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    for n in 0..count {
        world.rds.put_file(INSTANCE, &file(n), "one line\n", NOON);
    }
    world.enumerate().await?;
    world.take(count).await?;
    for n in 0..count {
        quarantine(&world, &world.version(&file(n))?, WHY).await?;
    }
    Ok(world)
}

/// As a worker does it: the dead letter, then the row, which must be there.
async fn quarantine(world: &World, version: &Message, why: &str) -> anyhow::Result<()> {
    send_dead_letter(world, &version.to_wire(), why).await?;
    ensure!(world.row(version).await?.is_some(), "no row: {version:?}");
    let now = minutes_ago(0).to_string();
    let quarantined = [
        ("state", "Quarantined"),
        ("error", why),
        ("attempts", "5"),
        ("generation", "5"),
        ("quarantined_at", &now),
    ];
    world.rewrite_row(version, &quarantined).await
}

async fn send_dead_letter(world: &World, body: &str, why: &str) -> anyhow::Result<()> {
    let reason = MessageAttributeValue::builder()
        .data_type("String")
        .string_value(why);
    let letter = world
        .sqs
        .send_message()
        .queue_url(&world.resources.dead_letter_queue_url)
        .message_body(body)
        .message_attributes("reason", reason.build()?);
    letter.send().await?;
    Ok(())
}

/// The names of the log files of letters, in order.
fn files(letters: &Value) -> Vec<&str> {
    let letters = letters.as_array().into_iter().flatten();
    let mut files: Vec<&str> = letters
        .filter_map(|letter| letter["file"].as_str())
        .collect();
    files.sort_unstable();
    files
}

/// The states of all versions, in no order that matters.
async fn states(world: &World) -> anyhow::Result<Vec<String>> {
    let rows = world.all_versions().await?;
    let mut states: Vec<String> = rows.iter().map(|row| row["state"].clone()).collect();
    states.sort_unstable();
    Ok(states)
}

/// The name of the nth log file, from 0.
fn file(n: usize) -> String {
    FILE.replace("log.0", &format!("log.{n}"))
}

/// Requeues; the exit code and what became of each letter.
async fn requeue(world: &World, arguments: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let arguments: Vec<_> = ["requeue", "--json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let ended = world.auditferry(&arguments).await?;
    Ok((ended.code(), ended.json()?))
}

/// How many letters had this outcome.
fn count(letters: &Value, outcome: &str) -> usize {
    let letters = letters.as_array().into_iter().flatten();
    let outcomes = letters.filter(|letter| letter.get("outcome") == Some(&json!(outcome)));
    outcomes.count()
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_put_back_and_changes_nothing() -> anyhow::Result<()> {
    let world = with_dead_letters(1).await?;
    let rows = world.rows().await?;
    for _ in 0..2 {
        let (code, letters) = requeue(&world, &["--dry-run"]).await?;
        assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
        assert_eq!(
            (&letters[0]["instance"], &letters[0]["file"]),
            (&json!(INSTANCE), &json!(FILE))
        );
        let reason = letters[0]["reason"].to_string();
        for said in ["attempt 1 of 1", "the reason why"] {
            assert!(reason.contains(said), "{reason}");
        }
        assert_eq!(world.rows().await?, rows);
        assert_eq!(world.queued().await?, (0, 0));
        // Not hidden: whoever looks next finds it.
        assert_eq!(world.dead_letters().await?, (1, 0));
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_is_put_back_with_a_new_generation_and_no_attempts_and_is_shipped()
-> anyhow::Result<()> {
    let world = with_dead_letters(1).await?;
    let before = world.version_row(FILE).await?;
    assert_eq!((&*before["generation"], &*before["attempts"]), ("1", "1"));

    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    let row = world.version_row(FILE).await?;
    assert_eq!(row["state"], "Queued");
    assert_eq!((&*row["generation"], &*row["attempts"]), ("2", "0"));
    assert_eq!(row["requeues"], "1");
    assert_eq!(world.queued().await?, (1, 0));
    assert_eq!(world.dead_letters().await?, (0, 0));

    world.work().await?;
    let row = world.version_row(FILE).await?;
    assert_eq!((&*row["state"], &*row["generation"]), ("Complete", "3"));
    assert_eq!(world.objects().await?.len(), 1);
    // Nothing is left to do.
    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, letters), (Some(0), json!([])));
    Ok(())
}

#[tokio::test]
async fn people_read_what_became_of_each_letter() -> anyhow::Result<()> {
    let world = with_dead_letters(1).await?;
    for (arguments, said) in [
        (
            &["requeue", "--dry-run"][..],
            "(dry run: nothing was changed)",
        ),
        (&["requeue"], "1 requeued, 0 already finished, 0 left"),
        (&["requeue"], "no dead letters"),
    ] {
        let ended = world.auditferry(arguments).await?;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert!(ended.stdout.contains(said), "{}", ended.stdout);
        let named = ended.stdout.contains(INSTANCE) && ended.stdout.contains(FILE);
        assert_eq!(named, said != "no dead letters", "{}", ended.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn more_letters_than_fit_in_one_receive_are_all_put_back() -> anyhow::Result<()> {
    let world = with_dead_letters(23).await?;
    let (code, letters) = requeue(&world, &["--dry-run"]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 23));
    assert_eq!(world.dead_letters().await?, (23, 0));
    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 23));
    assert_eq!(world.dead_letters().await?, (0, 0));
    assert_eq!(world.queued().await?, (23, 0));
    world.work().await?;
    assert_eq!(world.objects().await?.len(), 23);
    Ok(())
}

#[tokio::test]
async fn two_requeues_at_once_lose_nothing() -> anyhow::Result<()> {
    let world = with_dead_letters(12).await?;
    let (one, other) = tokio::join!(requeue(&world, &[]), requeue(&world, &[]));
    let (one, other) = (one?, other?);
    assert_eq!((one.0, other.0), (Some(0), Some(0)));
    let requeued = count(&one.1, "requeued") + count(&other.1, "requeued");
    assert_eq!(requeued, 12, "{one:?} {other:?}");
    assert_eq!(world.dead_letters().await?, (0, 0));
    for row in world.all_versions().await? {
        assert_eq!((&*row["state"], &*row["requeues"]), ("Queued", "1"));
    }
    let mut files: Vec<_> = world
        .take_bodies(12)
        .await?
        .into_iter()
        .filter_map(|body| body["file"].as_str().map(str::to_owned))
        .collect();
    files.sort();
    let mut expected: Vec<_> = (0..12).map(file).collect();
    expected.sort();
    assert_eq!(files, expected);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_left_and_stops_nothing() -> anyhow::Result<()> {
    let world = with_dead_letters(1).await?;
    for body in ["hello", r#"{"v":2,"of":"a newer producer"}"#] {
        world.send_dead_letter(body).await?;
    }
    for requeued in [1, 0] {
        let (code, letters) = requeue(&world, &[]).await?;
        assert_eq!(code, Some(1), "{letters:#}");
        let counts = (count(&letters, "requeued"), count(&letters, "left"));
        assert_eq!(counts, (requeued, 2), "{letters:#}");
        let all = letters.to_string();
        for why in ["unparsable message", "unknown message version 2"] {
            assert!(all.contains(why), "{letters:#}");
        }
        // Where they were, unharmed.
        assert_eq!(world.dead_letters().await?, (2, 0));
    }
    assert_eq!(world.take_bodies(1).await?[0]["file"], FILE);
    let mut left = world.take_dead_letters().await?;
    left.sort_by_key(|letter| letter.body.clone());
    assert_eq!(left[0].body(), Some("hello"));
    Ok(())
}

#[tokio::test]
async fn a_queue_or_table_that_is_not_there_is_one_error_and_the_letter_stays() -> anyhow::Result<()>
{
    let mut world = with_dead_letters(1).await?;
    for error in ["GetQueueAttributes: ", "UpdateItem: ", "SendMessageBatch: "] {
        world.expect_error(error);
    }
    let absent = format!("{}-absent", world.resources.queue_url);
    for (variable, value) in [
        ("DEAD_LETTER_QUEUE_URL", absent.as_str()),
        ("CHECKPOINT_TABLE", "absent"),
        ("QUEUE_URL", &absent),
    ] {
        let with = [(variable, value)];
        let ended = world.auditferry_with(&["requeue"], &with).await?;
        assert_eq!(ended.code(), Some(1), "{variable}: {ended:?}");
        assert_eq!(ended.logged("ERROR").len(), 1, "{variable}: {ended:?}");
        assert_eq!(world.dead_letters().await?, (1, 0), "{variable}");
    }
    // The last one had reset the row already.
    assert_eq!(world.version_row(FILE).await?["state"], "Queued");
    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    world.take(1).await?;
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}
