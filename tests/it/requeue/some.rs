//! Not all, but those that were asked for; the others are as they were, and visible.

use tests::eventually::eventually;
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE};
use tests::world::{NOON, World, minutes_ago};

use super::{WHY, count, file, files, quarantine, quarantined, requeue, send_dead_letter, states};

#[tokio::test]
async fn only_letters_of_the_instances_asked_for_are_put_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let instances = [INSTANCE, "instance-2", "instance-3"];
    world.add_aurora(CLUSTER, &instances);
    for instance in instances {
        world.rds.put_file(instance, FILE, "one line\n", NOON);
    }
    world.enumerate().await?;
    world.take(3).await?;
    for instance in instances {
        let version = world.version_of(instance, CLUSTER, FILE)?;
        quarantine(&world, &version, WHY).await?;
    }
    // Of no instance that can be read.
    world.send_dead_letter("hello").await?;

    let (code, letters) = requeue(&world, &["--instance", "nobody"]).await?;
    assert_eq!((code, letters), (Some(0), serde_json::json!([])));
    let ended = world
        .auditferry(&["requeue", "--instance", "nobody"])
        .await?;
    assert_eq!(ended.stdout, "no dead letters of those asked for\n");
    assert_eq!(world.dead_letters().await?, (4, 0));

    // By name, in any case, and by resource id.
    let two = format!("INSTANCE-1, {}", world.rds.resource_id("instance-3"));
    let (code, letters) = requeue(&world, &["--instance", &two]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 2));
    assert_eq!(world.dead_letters().await?, (2, 0), "visible at once");
    let left = world.version_of("instance-2", CLUSTER, FILE)?;
    let left = world.until(&left, "Quarantined").await?;
    assert_eq!(left["generation"], "5");
    for body in world.take_bodies(2).await? {
        assert_ne!(body["instance"], "instance-2");
    }

    let ended = world.auditferry(&["requeue", "--instance", ""]).await?;
    assert_eq!(ended.code(), Some(64), "{ended:?}");
    assert!(ended.stderr.contains("--instance"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn only_letters_sent_since_a_time_are_put_back() -> anyhow::Result<()> {
    let world = quarantined(1).await?;
    let sent = minutes_ago(0);
    let since = eventually("another millisecond", async || match minutes_ago(0) {
        now if now > sent => Ok(now),
        now => Err(now),
    })
    .await?;
    let since = jiff::Timestamp::from_millisecond(since)?.to_string();
    let later = "audit/later";
    world.rds.put_file(INSTANCE, later, "one line\n", NOON);
    world.enumerate().await?;
    world.take(1).await?;
    quarantine(&world, &world.version(later)?, WHY).await?;

    for (since, expected) in [
        ("2999-01-01", &[][..]),
        (&since, &[later]),
        ("36h", &[FILE]),
    ] {
        let (code, letters) = requeue(&world, &["--since", since]).await?;
        assert_eq!(code, Some(0), "{since}");
        assert_eq!(files(&letters), expected, "{since}: {letters:#}");
    }
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn only_letters_whose_reason_has_the_text_are_put_back() -> anyhow::Result<()> {
    let world = quarantined(2).await?;
    // SQS itself gives no reason.
    world
        .send_dead_letter(&world.version(FILE)?.to_wire())
        .await?;
    send_dead_letter(&world, "hello", "unparsable message").await?;
    let other = "audit/other";
    world.rds.put_file(INSTANCE, other, "one line\n", NOON);
    world.enumerate().await?;
    world.take(1).await?;
    quarantine(&world, &world.version(other)?, "AccessDenied").await?;

    let (code, letters) = requeue(&world, &["--reason", "AccessDenied"]).await?;
    assert_eq!((code, files(&letters)), (Some(0), vec![other]));
    let (code, letters) = requeue(&world, &["--reason", "unparsable"]).await?;
    assert_eq!((code, count(&letters, "left")), (Some(1), 1));
    assert_eq!(world.dead_letters().await?, (4, 0));
    assert_eq!(
        states(&world).await?,
        ["Quarantined", "Quarantined", "Queued"]
    );
    Ok(())
}

#[tokio::test]
async fn no_more_than_the_limit_are_put_back() -> anyhow::Result<()> {
    let world = quarantined(12).await?;
    // What is left is not counted.
    send_dead_letter(&world, "hello", WHY).await?;
    let (_, letters) = requeue(&world, &["--limit", "5", "--dry-run"]).await?;
    assert_eq!(count(&letters, "requeued"), 5);
    assert_eq!(world.dead_letters().await?, (13, 0));
    for (limit, requeued, left) in [("5", 5, (8, 0)), ("100", 7, (1, 0))] {
        let (_, letters) = requeue(&world, &["--limit", limit]).await?;
        assert_eq!(count(&letters, "requeued"), requeued, "{letters:#}");
        assert_eq!(world.dead_letters().await?, left);
    }
    world.take(12).await?;
    assert_eq!(states(&world).await?, ["Queued"; 12]);
    Ok(())
}

#[tokio::test]
async fn a_limit_or_rate_of_nothing_and_times_that_are_none_are_refused() -> anyhow::Result<()> {
    let world = World::new().await?;
    let how = "write it like 2026-10-01T12:00:00Z, 2026-10-01 or 36h";
    for (flag, value, said) in [
        ("--limit", "0", "--limit <N>"),
        ("--limit", "few", "--limit <N>"),
        ("--rate", "0", "--rate <N>"),
        ("--since", "yesterday", how),
        ("--since", "2026-10-01T12:00:00", how),
        ("--from", "s3", "dlq, checkpoint"),
    ] {
        let ended = world.auditferry(&["requeue", flag, value]).await?;
        assert_eq!(ended.code(), Some(64), "{flag} {value}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        for said in [flag, said] {
            assert!(ended.stderr.contains(said), "{said}: {ended:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_highest_rate_is_no_fault() -> anyhow::Result<()> {
    let world = quarantined(2).await?;
    let (code, letters) = requeue(&world, &["--rate", "4294967295"]).await?;
    assert_eq!((code, count(&letters, "requeued")), (Some(0), 2));
    Ok(())
}

#[tokio::test]
async fn progress_is_for_terminals_alone() -> anyhow::Result<()> {
    let world = quarantined(2).await?;
    let ended = world.auditferry(&["requeue"]).await?;
    assert_eq!(ended.code(), Some(0));
    // Standard error has log lines and nothing else, standard output no control characters.
    for line in ended.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line)?;
    }
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!ended.stdout.contains(control), "{:?}", ended.stdout);
    assert!(ended.stdout.contains(&file(1)), "{}", ended.stdout);
    Ok(())
}
