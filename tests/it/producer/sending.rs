//! What is sent, and then recorded.

use serde_json::json;
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY};
use tests::world::{MINUTE, NOON, World, minutes_ago, number};

#[tokio::test]
async fn every_version_is_one_message_and_one_row() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let name = |n| format!("audit/audit.log.{n}.2024-10-01-12-00.0");
    for n in 0..25 {
        world
            .rds
            .put_file(INSTANCE, &name(n), "x\n", NOON + n * MINUTE);
    }
    let before = minutes_ago(0);
    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["resent"]),
        (&json!(25), &json!(0))
    );

    let rows = world.all_versions().await?;
    assert_eq!(rows.len(), 25);
    for row in &rows {
        assert_eq!(row["state"], "Queued");
        assert_eq!((&*row["generation"], &*row["attempts"]), ("0", "0"));
        let queued_at = number(row, "queued_at")?;
        assert!((before..=minutes_ago(0)).contains(&queued_at), "{row:#?}");
    }
    let mut files: Vec<_> = world.take_bodies(25).await?;
    files.sort_by_key(|body| body["last_written_ms"].as_i64());
    for (n, body) in (0..).zip(&files) {
        assert_eq!(
            (&body["file"], &body["last_written_ms"]),
            (&json!(name(n)), &json!(NOON + n * MINUTE))
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_message_says_which_version_of_which_file_of_which_instance() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let resource_id = world.rds.resource_id(INSTANCE);
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON + 123);
    world.enumerate().await?;
    let messages = world.take(1).await?;
    // Producer and worker are deployed apart: this must not change.
    let golden = format!(
        r#"{{"v":1,"account":"123456789012","region":"us-east-1","resource_id":"{resource_id}","instance":"{INSTANCE}","cluster":"{CLUSTER}","file":"{FILE}","last_written_ms":1727784000123,"size":9}}"#
    );
    assert_eq!(messages[0].body(), Some(golden.as_str()));
    Ok(())
}

#[tokio::test]
async fn two_producers_at_once_leave_one_row_each_and_no_version_without_message()
-> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    for n in 0..12 {
        let name = format!("audit/{n}");
        world.rds.put_file(INSTANCE, &name, "x\n", NOON);
    }
    let (one, other) = tokio::join!(world.enumerate(), world.enumerate());
    let sent = |summary: anyhow::Result<serde_json::Value>| {
        anyhow::Ok(summary?["sent"].as_u64().unwrap_or_default())
    };
    let sent = sent(one)? + sent(other)?;
    assert!((12..=24).contains(&sent), "{sent}");
    let rows = world.all_versions().await?;
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row["state"] == "Queued"), "{rows:#?}");
    let bodies = world.take_bodies(usize::try_from(sent)?).await?;
    let mut files: Vec<_> = bodies.iter().map(|body| body["file"].to_string()).collect();
    files.dedup();
    assert_eq!(files.len(), 12, "{files:?}");
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_used_again_is_another_instance() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("is gone from RDS with 1 unfinished versions");
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    assert_eq!(world.enumerate().await?["sent"], 1);
    world.rds.remove_instance(INSTANCE);
    world.add_instance(INSTANCE, Some(CLUSTER), "aurora-mysql", &[]);
    // The same name, time and size say nothing: it is another log.
    world.rds.put_file(INSTANCE, FILE, "eno line\n", NOON);
    let ended = world.auditferry(&["enumerate", "--json"]).await?;
    assert_eq!(
        (ended.code(), &ended.json()?["sent"]),
        (Some(1), &serde_json::json!(1))
    );
    let bodies = world.take_bodies(2).await?;
    assert_ne!(bodies[0]["resource_id"], bodies[1]["resource_id"]);
    assert_eq!(world.versions(FILE).await?.len(), 2);
    Ok(())
}

/// A switchover of a blue/green deployment: the new instance has the old one's name, and a log file of the same name.
fn switched_over(world: &World) {
    world.rds.rename_instance(INSTANCE, "instance-1-old1");
    world.add_instance(INSTANCE, Some(CLUSTER), "aurora-mysql", &[]);
}

#[tokio::test]
async fn a_log_that_was_read_from_an_instance_that_took_over_the_name_is_shipped_again()
-> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "of blue\n", NOON);
    world.enumerate().await?;
    switched_over(&world);
    world
        .rds
        .put_file(INSTANCE, FILE, "of green\n", NOON + MINUTE);
    // Nobody tells the worker.
    world.work().await?;
    assert_eq!(world.objects().await?[KEY].raw, b"of green");

    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["resent"]),
        (&1.into(), &1.into())
    );
    let said = summary["instances"].to_string();
    assert!(
        said.contains("another instance may have had this one's name"),
        "{said}"
    );
    world.work().await?;
    let old = KEY.replace("/instance-1/", "/instance-1-old1/");
    let objects = world.objects().await?;
    assert_eq!(objects[&old].raw, b"of blue\n");
    let green = objects
        .values()
        .filter(|object| object.raw == b"of green\n");
    assert_eq!(green.count(), 1);
    // Once.
    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["resent"]),
        (&0.into(), &0.into())
    );
    Ok(())
}

#[tokio::test]
async fn a_log_that_an_instance_which_took_over_the_name_does_not_have_is_not_given_up()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("gone, evidence is lost");
    world.rds.put_file(INSTANCE, FILE, "of blue\n", NOON);
    world.enumerate().await?;
    switched_over(&world);
    world
        .rds
        .put_file(INSTANCE, "audit/another", "of green\n", minutes_ago(1));
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Gone");

    assert_eq!(world.enumerate().await?["resent"], 1);
    world.work().await?;
    let old = KEY.replace("/instance-1/", "/instance-1-old1/");
    assert_eq!(world.objects().await?[&old].raw, b"of blue\n");
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_was_selected_by_a_former_name_is_still_enumerated() -> anyhow::Result<()>
{
    let mut world = World::new().await?;
    world.expect_error("gone, evidence is lost");
    let enumerate = async |world: &World| {
        let named = [("CLUSTERS", ""), ("INSTANCES", "legacy")];
        let ended = world
            .auditferry_with(&["enumerate", "--json"], &named)
            .await?;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        ended.json()
    };
    let file = "audit/server_audit.log.1";
    world.add_mariadb("legacy");
    world.rds.put_file("legacy", file, "of the old one\n", NOON);
    assert_eq!(enumerate(&world).await?["sent"], 1);
    // A switchover: the new one has the name, and with it the place in the selection.
    world.rds.rename_instance("legacy", "legacy-old1");
    world.add_mariadb("legacy");
    world
        .rds
        .put_file("legacy", file, "of the new one\n", NOON + MINUTE);
    world.work().await?;
    assert_eq!(world.version_row(file).await?["state"], "Gone");

    // And again, as long as it is there.
    for _ in 0..2 {
        let summary = enumerate(&world).await?;
        assert_eq!(
            summary["instances"][1]["instance"], "legacy-old1",
            "{summary:#}"
        );
        world.work().await?;
    }
    let objects = world.objects().await?;
    for (instance, content) in [
        ("legacy-old1", "of the old one\n"),
        ("legacy", "of the new one\n"),
    ] {
        let at = format!("{instance}/audit/2024/10/01/12/{instance}/server_audit.log.");
        let found = objects.iter().find(|(key, _)| key.starts_with(&at));
        assert_eq!(
            found.map(|(_, object)| object.raw.as_slice()),
            Some(content.as_bytes())
        );
    }
    Ok(())
}
