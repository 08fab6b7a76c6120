//! `--from checkpoint`: dead letters expire and are purged by mistake; the rows know what they were.

use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{MINUTE, NOON, World, minutes_ago};

use super::{count, file, files, quarantine, quarantined, requeue, states};

const CHECKPOINT: [&str; 2] = ["--from", "checkpoint"];

/// The same without the dead letters.
async fn without_letters(count: usize) -> anyhow::Result<World> {
    let world = quarantined(count).await?;
    world.take_dead_letters().await?;
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(world)
}

/// With these arguments besides.
async fn from_rows(
    world: &World,
    arguments: &[&str],
) -> anyhow::Result<(Option<i32>, serde_json::Value)> {
    let arguments: Vec<_> = CHECKPOINT.iter().chain(arguments).copied().collect();
    requeue(world, &arguments).await
}

#[tokio::test]
async fn what_is_quarantined_without_a_dead_letter_is_put_back_from_its_row_and_shipped()
-> anyhow::Result<()> {
    let world = without_letters(2).await?;
    assert_eq!(requeue(&world, &[]).await?.1, serde_json::json!([]));
    let rows = world.rows().await?;
    let (code, letters) = from_rows(&world, &["--dry-run"]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 2));
    assert_eq!(world.rows().await?, rows);
    world.take(0).await?;

    let (code, letters) = from_rows(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 2));
    assert_eq!(letters[0]["reason"], super::WHY);
    for row in world.all_versions().await? {
        assert_eq!((&*row["state"], &*row["requeues"]), ("Queued", "1"));
        assert_eq!((&*row["generation"], &*row["attempts"]), ("6", "0"));
    }
    // The message is the one that the producer had sent.
    let messages = world.take(2).await?;
    for n in 0..2 {
        let body = world.version(&file(n))?.to_wire();
        assert!(messages.iter().any(|message| message.body() == Some(&body)));
        world.send(&body).await?;
    }
    world.work().await?;
    assert_eq!(states(&world).await?, ["Complete"; 2]);

    let ended = world
        .auditferry(&["requeue", "--from", "checkpoint"])
        .await?;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(ended.stdout, "no quarantined versions\n");
    Ok(())
}

#[tokio::test]
async fn of_the_rows_too_only_those_asked_for_are_put_back() -> anyhow::Result<()> {
    let world = without_letters(4).await?;
    for (n, hours, why) in [(0, 40, "AccessDenied"), (1, 30, "reset"), (2, 20, "reset")] {
        let version = world.version(&file(n))?;
        let at = minutes_ago(60 * hours).to_string();
        let row = [("quarantined_at", at.as_str()), ("error", why)];
        world.rewrite_row(&version, &row).await?;
    }
    let asked: [(&[&str], Vec<String>); 6] = [
        (&["--instance", "instance-2"], vec![]),
        (&["--since", "2999-01-01"], vec![]),
        (&["--reason", "reset", "--since", "25h"], vec![file(2)]),
        (
            &["--reason", "reset", "--instance", INSTANCE],
            vec![file(1)],
        ),
        // The one that has waited longest first.
        (&["--limit", "1"], vec![file(0)]),
        (&[], vec![file(3)]),
    ];
    for (arguments, expected) in asked {
        let (code, letters) = from_rows(&world, arguments).await?;
        assert_eq!(code, Some(0), "{arguments:?}");
        assert_eq!(files(&letters), expected, "{arguments:?}: {letters:#}");
    }
    world.take(4).await?;
    Ok(())
}

#[tokio::test]
async fn letters_of_what_was_put_back_from_its_row_go_with_the_next_requeue() -> anyhow::Result<()>
{
    let world = quarantined(2).await?;
    let (code, letters) = from_rows(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 2));
    assert_eq!(world.dead_letters().await?, (2, 0), "not looked at");
    world.work().await?;
    assert_eq!(states(&world).await?, ["Complete"; 2]);
    let (code, letters) = requeue(&world, &[]).await?;
    assert_eq!((code, count(&letters, "finished")), (Some(0), 2));
    assert_eq!(world.dead_letters().await?, (0, 0));
    world.take(0).await?;
    Ok(())
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_passed_over_and_said() -> anyhow::Result<()> {
    let world = without_letters(2).await?;
    let unreadable = world.version(&file(1))?;
    world
        .rewrite_row(&unreadable, &[("generation", "a lot")])
        .await?;
    let ended = world
        .auditferry(&["requeue", "--json", "--from", "checkpoint"])
        .await?;
    assert_eq!(files(&ended.json()?), [FILE]);
    let said = ended.logged("WARN");
    assert!(said[0].starts_with("passed over: row I#"), "{said:?}");
    world.take(1).await?;
    Ok(())
}

#[tokio::test]
async fn what_changed_between_looking_and_putting_back_is_not_put_back_twice() -> anyhow::Result<()>
{
    let world = quarantined(1).await?;
    let other = "audit/other";
    world
        .rds
        .put_file(INSTANCE, other, "one line\n", NOON + MINUTE);
    world.enumerate().await?;
    world.take(1).await?;
    quarantine(&world, &world.version(other)?, super::WHY).await?;
    // One from the letters, one from the rows, at the same time.
    let (one, two) = tokio::join!(requeue(&world, &[]), from_rows(&world, &[]));
    assert_eq!((one?.0, two?.0), (Some(0), Some(0)));
    for row in world.all_versions().await? {
        assert_eq!((&*row["state"], &*row["requeues"]), ("Queued", "1"));
    }
    world.work_with(&[("CONCURRENCY", "1")]).await?;
    assert_eq!(states(&world).await?, ["Complete"; 2]);
    Ok(())
}

#[tokio::test]
async fn what_is_put_back_of_a_renamed_instance_reaches_it_by_its_present_name()
-> anyhow::Result<()> {
    let world = without_letters(1).await?;
    world.rds.rename_instance(INSTANCE, "renamed");
    let (code, letters) = from_rows(&world, &[]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    world.take(1).await?;
    assert_eq!(world.enumerate().await?["resent"], 1);
    assert_eq!(world.take_bodies(1).await?[0]["instance"], "renamed");
    Ok(())
}
