//! A requeue may end anywhere; the next one, or a worker meanwhile, has then done a part of the work.

use shared::step::{Step, When};
use tests::rds::{ANY, FOREVER, Where};
use tests::world::by_hand::{FILE, INSTANCE, log};
use tests::world::{NOON, World, number};

use super::{count, requeue, with_dead_letters};
use crate::faults::refusal;

#[tokio::test]
async fn a_letter_whose_row_is_reset_already_is_sent_and_deleted() -> anyhow::Result<()> {
    let world = with_dead_letters(1).await?;
    let row = world.version_row(FILE).await?;
    world.rewrite_state(&row, "Queued").await?;
    world.rewrite(&row, "generation", 2).await?;
    world.rewrite(&row, "attempts", 0).await?;
    world.rewrite(&row, "requeues", 1).await?;
    let reset = world.version_row(FILE).await?;

    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    assert_eq!(world.version_row(FILE).await?, reset);
    assert_eq!(world.dead_letters().await?, (0, 0));
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn a_letter_whose_version_is_being_shipped_is_left() -> anyhow::Result<()> {
    let world = with_dead_letters(1).await?;
    let row = world.version_row(FILE).await?;
    world.rewrite_state(&row, "Leased").await?;
    let leased = world.version_row(FILE).await?;
    for arguments in [&["--dry-run"][..], &[]] {
        let (code, letters) = requeue(&world, arguments).await?;
        assert_eq!((code, count(&letters, "left")), (Some(1), 1));
        let error = letters[0]["error"].to_string();
        assert!(error.contains("a worker has it"), "{error}");
        assert_eq!(world.version_row(FILE).await?, leased);
        assert_eq!(world.dead_letters().await?, (1, 0));
    }
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_letter_put_back_before_its_row_is_quarantined_is_not_lost() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter");
    let (broken, downloads) = (
        refusal(500, "InternalFailure", "so far"),
        Where::download(ANY, ANY),
    );
    world.rds.fail(downloads, broken, FOREVER);
    let version = world.put_and_send(FILE, log(1, 5000)).await?;
    let stop = Step::Quarantine.point(When::Before);
    let worker =
        world.start_worker(&[("MAX_ATTEMPTS", "1"), ("LEASE", "3s"), ("STOP_AT", &stop)])?;
    worker.stopped().await?;
    assert_eq!(world.dead_letters().await?, (1, 0));
    requeue(&world, &[]).await?;
    worker.signal("CONT").await?;
    let row = world.until(&version, "Quarantined").await?;
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    assert_eq!(world.letters().await?, [version.to_wire()], "{row:?}");

    world.rds.clear_faults();
    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    world.work().await?;
    world.until(&version, "Complete").await?;
    assert_eq!(world.letters().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_letter_of_a_finished_version_is_deleted_and_nothing_is_sent() -> anyhow::Result<()> {
    let world = with_dead_letters(2).await?;
    let rows = world.all_versions().await?;
    for (row, state) in rows.iter().zip(["Complete", "Gone"]) {
        world.rewrite_state(row, state).await?;
    }
    let rows = world.all_versions().await?;
    let (code, letters) = requeue(&world, &["--dry-run"]).await?;
    assert_eq!((code, count(&letters, "finished")), (Some(0), 2));
    assert_eq!(world.dead_letters().await?, (2, 0));
    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "finished")), (Some(0), 2));
    assert_eq!(world.dead_letters().await?, (0, 0));
    world.take(0).await?;
    assert_eq!(world.all_versions().await?, rows);
    Ok(())
}

#[tokio::test]
async fn a_letter_without_a_row_is_sent_and_shipped() -> anyhow::Result<()> {
    // What SQS itself moves to the dead letters, no worker has ever claimed; the row may be lost, too.
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    world.enumerate().await?;
    let messages = world.take(1).await?;
    let body = messages[0].body().unwrap_or_default();
    world.send_dead_letter(body).await?;
    world.lose_row(&world.version_row(FILE).await?).await?;

    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    assert_eq!(letters[0]["reason"], serde_json::Value::Null);
    assert_eq!(world.dead_letters().await?, (0, 0));
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    assert_eq!(world.objects().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn two_letters_of_one_version_are_both_settled() -> anyhow::Result<()> {
    // A worker that dies between the dead letter and the row leaves the message: the next one makes a second letter.
    let world = with_dead_letters(1).await?;
    let letters = world.take_dead_letters().await?;
    let body = letters[0].body().unwrap_or_default();
    for _ in 0..2 {
        world.send_dead_letter(body).await?;
    }
    let (code, _) = requeue(&world, &[]).await?;
    assert_eq!(code, Some(0));
    assert_eq!(world.dead_letters().await?, (0, 0));
    let row = world.version_row(FILE).await?;
    assert_eq!((&*row["state"], number(&row, "requeues")?), ("Queued", 1));
    // One at a time: else the second copy waits for the end of the first one's lease.
    world.work_with(&[("CONCURRENCY", "1")]).await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn copies_of_one_letter_hide_no_other_letter() -> anyhow::Result<()> {
    let world = with_dead_letters(2).await?;
    let letters = world.take_dead_letters().await?;
    let body = |n: usize| letters[n].body().unwrap_or_default();
    for _ in 0..25 {
        world.send_dead_letter(body(0)).await?;
    }
    world.send_dead_letter(body(1)).await?;
    let (code, _) = requeue(&world, &[]).await?;
    assert_eq!(code, Some(0));
    for row in world.all_versions().await? {
        assert_eq!(row["state"], "Queued", "{row:#?}");
    }
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}
