//! An interrupt finishes the version at hand; all others are as they were, and visible.

use tests::eventually::eventually;
use tests::programs::Running;
use tests::world::World;

use super::{count, quarantined, requeue, states};

/// Requeues as far as `stop_at`, and is told there to end; how many were put back.
async fn interrupted(
    world: &World,
    arguments: &[&str],
    stop_at: &str,
    signal: &str,
) -> anyhow::Result<usize> {
    let arguments: Vec<_> = ["requeue"].iter().chain(arguments).copied().collect();
    let with = world.environment(&[("STOP_AT", stop_at)]);
    let requeue = Running::start_with("auditferry", &arguments, &with)?;
    requeue.stopped().await?;
    requeue.signal(signal).await?;
    requeue.signal("CONT").await?;
    let ended = requeue.ended().await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let said = "interrupted: run it again for the rest";
    assert_eq!(ended.logged("WARN"), [said], "{ended:?}");
    let queued = |states: Vec<String>| states.iter().filter(|state| *state == "Queued").count();
    Ok(queued(states(world).await?))
}

#[tokio::test]
async fn an_interrupt_finishes_the_version_at_hand_and_a_rerun_the_rest() -> anyhow::Result<()> {
    let case = async |signal, stop_at| {
        let world = quarantined(12).await?;
        let put_back = interrupted(&world, &[], stop_at, signal).await?;
        assert_eq!(put_back, 3, "{signal} {stop_at}");
        assert_eq!(world.queued().await?, (3, 0), "{signal} {stop_at}");
        // None of them hidden, the last one's deleted.
        assert_eq!(world.dead_letters().await?, (9, 0), "{signal} {stop_at}");

        let (code, letters) = requeue(&world, &[]).await?;
        assert_eq!((code, count(&letters, "requeued")), (Some(0), 9));
        assert_eq!(world.dead_letters().await?, (0, 0));
        world.take(12).await?;
        for row in world.all_versions().await? {
            assert_eq!((&*row["state"], &*row["requeues"]), ("Queued", "1"));
        }
        anyhow::Ok(())
    };
    tokio::try_join!(
        case("INT", "Requeue.after@3"),
        case("TERM", "Send.after@3"),
        case("INT", "Delete.before@3"),
    )?;
    Ok(())
}

#[tokio::test]
async fn an_interrupt_between_two_rows_leaves_none_without_its_message() -> anyhow::Result<()> {
    let world = quarantined(4).await?;
    let arguments = ["--from", "checkpoint"];
    let put_back = interrupted(&world, &arguments, "Requeue.after@2", "INT").await?;
    assert_eq!(put_back, 2);
    assert_eq!(world.queued().await?, (2, 0));
    let (code, letters) = requeue(&world, &arguments).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 2));
    world.take(4).await?;
    Ok(())
}

#[tokio::test]
async fn an_interrupt_is_not_kept_waiting_by_the_rate() -> anyhow::Result<()> {
    let world = quarantined(60).await?;
    let arguments = ["requeue", "--rate", "1"];
    let requeue = Running::start_with("auditferry", &arguments, &world.environment(&[]))?;
    eventually("the first one to be put back", async || {
        match world.queued().await {
            Ok((visible, _)) if visible > 0 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    requeue.signal("INT").await?;
    let ended = requeue.ended().await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    // One each second: the sixtieth is a minute away.
    let (put_back, _) = world.queued().await?;
    assert!(put_back < 60, "{put_back} at once");
    assert_eq!(world.dead_letters().await?, (60 - put_back, 0));
    Ok(())
}

#[tokio::test]
async fn letters_that_a_killed_requeue_holds_are_said() -> anyhow::Result<()> {
    let world = quarantined(2).await?;
    let with = world.environment(&[("STOP_AT", "Requeue.before")]);
    let killed = Running::start_with("auditferry", &["requeue"], &with)?;
    killed.stopped().await?;
    killed.signal("KILL").await?;
    killed.ended().await?;
    assert_eq!(world.dead_letters().await?, (0, 2));
    let ended = world.auditferry(&["requeue", "--json"]).await?;
    let said =
        "2 dead letters are hidden by another requeue, or for up to 300s by one that was killed";
    assert_eq!(ended.logged("WARN"), [said], "{ended:?}");
    assert_eq!(states(&world).await?, ["Quarantined"; 2]);
    Ok(())
}
