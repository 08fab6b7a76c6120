//! Versions that fail again and again are not put back again and again.

use tests::programs::Running;
use tests::world::by_hand::FILE;

use super::{count, file, quarantine, quarantined, requeue};

#[tokio::test]
async fn what_was_put_back_three_times_is_left_and_says_what_to_do_until_forced()
-> anyhow::Result<()> {
    let world = quarantined(2).await?;
    for (n, requeues) in [(0, "3"), (1, "2")] {
        let version = world.version(&file(n))?;
        world
            .rewrite_row(&version, &[("requeues", requeues)])
            .await?;
    }
    let row = world.version_row(FILE).await?;
    for (arguments, requeued) in [
        (&["--dry-run"][..], 1),
        (&["--dry-run", "--from", "checkpoint"], 1),
        (&[], 1),
        (&[], 0),
        (&["--from", "checkpoint"], 0),
    ] {
        let (code, letters) = requeue(&world, arguments).await?;
        let counts = (count(&letters, "requeued"), count(&letters, "left"));
        assert_eq!((code, counts), (Some(1), (requeued, 1)), "{arguments:?}");
        let letters = letters.as_array().into_iter().flatten();
        let left: Vec<_> = letters.filter(|one| one["outcome"] == "left").collect();
        assert_eq!(left[0]["file"], FILE);
        let what_to_do =
            "it was put back 3 times already: mend what its reason says, then use --force";
        assert_eq!(left[0]["error"], what_to_do);
        assert_eq!(world.version_row(FILE).await?, row);
    }
    assert_eq!(world.dead_letters().await?, (1, 0));
    assert_eq!(world.version_row(&file(1)).await?["requeues"], "3");
    let ended = world.auditferry(&["requeue"]).await?;
    assert!(ended.stdout.contains("left: it was put"), "{ended:?}");
    world.take(1).await?;

    let (code, letters) = requeue(&world, &["--force"]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 1));
    let row = world.version_row(FILE).await?;
    assert_eq!((&*row["state"], &*row["requeues"]), ("Queued", "4"));
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn what_fails_again_while_it_is_put_back_does_not_go_round_for_ever() -> anyhow::Result<()> {
    let world = quarantined(1).await?;
    let version = world.version(FILE)?;
    let arguments = ["requeue", "--json", "--force"];
    let with = world.environment(&[("STOP_AT", "Delete.after")]);
    let requeue = Running::start_with("auditferry", &arguments, &with)?;
    requeue.stopped().await?;
    // A worker fails faster than the requeue looks for the next letter.
    quarantine(&world, &version, "rejected at once").await?;
    requeue.signal("CONT").await?;
    let ended = requeue.ended().await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let why = "it was put back a moment ago and quarantined again";
    assert!(ended.stderr.contains(why), "{ended:?}");
    let row = world.version_row(FILE).await?;
    assert_eq!((&*row["state"], &*row["requeues"]), ("Quarantined", "1"));
    assert_eq!(world.dead_letters().await?, (1, 0));
    Ok(())
}
