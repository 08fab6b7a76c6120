//! `auditferry status`: where every instance stands, and exit status 2 when something needs a person.

use serde_json::{Value, json};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE};
use tests::world::{MINUTE, NOON, Row, World, minutes_ago, number};

/// The exit code, and what it says.
async fn status(world: &World) -> anyhow::Result<(Option<i32>, Value)> {
    let ended = world.auditferry(&["status", "--json"]).await?;
    Ok((ended.code(), ended.json()?))
}

/// Written not so long ago that it would be in danger, and quiet for long enough.
fn recently() -> i64 {
    minutes_ago(90)
}

/// A world with a version that is Queued.
async fn queued() -> anyhow::Result<(World, Row)> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one line\n", recently());
    world.enumerate().await?;
    let row = world.version_row(FILE).await?;
    Ok((world, row))
}

fn rfc3339(milliseconds: i64) -> anyhow::Result<String> {
    Ok(jiff::Timestamp::from_millisecond(milliseconds)?.to_string())
}

#[tokio::test]
async fn after_a_good_journey_all_is_well() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    world.enumerate().await?;
    world.work().await?;
    world.enumerate().await?;
    let mark = world.mark(INSTANCE, "aurora").await?;
    let enumerated = rfc3339(number(&mark, "last_enumerated_at")?)?;

    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(0), "{said:#}");
    let empty = json!({"visible": 0, "in_flight": 0, "delayed": 0});
    let expected = json!({
        "instances": [{
            "cluster": CLUSTER,
            "instance": INSTANCE,
            "resource_id": world.rds.resource_id(INSTANCE),
            "watermarks": {"aurora": "2024-10-01T12:00:00Z"},
            "last_enumerated_at": enumerated,
            "oldest_unfinished": null,
            "states": {"Complete": 1},
            "dismissed": 0,
            "put_back_too_often": 0,
            "presence": "there",
        }],
        "queue": empty,
        "dead_letter_queue": empty,
        "attention": [],
    });
    assert_eq!(said, expected);

    let people = world.auditferry(&["status"]).await?;
    assert_eq!(people.code(), Some(0));
    let (to_the_second, _) = enumerated.split_once('.').unwrap_or((&enumerated, ""));
    for said in [
        CLUSTER,
        INSTANCE,
        "aurora 2024-10-01T12:00:00Z",
        to_the_second,
        "queue: 0 waiting, 0 in flight, 0 delayed",
        "dead-letter queue: 0 waiting, 0 in flight, 0 delayed",
    ] {
        assert!(people.stdout.contains(said), "{said}: {}", people.stdout);
    }
    assert!(!people.stdout.contains("needs a person"));
    Ok(())
}

#[tokio::test]
async fn the_oldest_unfinished_version_is_shown_with_its_age() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let (oldest, newer) = ("audit/1", "audit/2");
    for (file, minutes) in [(newer, 100), (oldest, 200), ("audit/0", 300)] {
        let written = minutes_ago(minutes);
        world.rds.put_file(INSTANCE, file, "x\n", written);
    }
    world.enumerate().await?;
    let finished = world.version_row("audit/0").await?;
    world.rewrite_state(&finished, "Complete").await?;
    let leased = world.version_row(oldest).await?;
    world.rewrite_state(&leased, "Leased").await?;

    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(0), "{said:#}");
    let instance = &said["instances"][0];
    let states = json!({"Queued": 1, "Leased": 1, "Complete": 1});
    assert_eq!(instance["states"], states);
    let unfinished = &instance["oldest_unfinished"];
    assert_eq!(
        (&unfinished["file"], &unfinished["state"]),
        (&json!(oldest), &json!("Leased"))
    );
    let age = unfinished["age_seconds"].as_i64().unwrap_or_default();
    assert!((12_000..12_120).contains(&age), "{age}");
    let written = rfc3339(number(&leased, "last_written")?)?;
    assert_eq!(unfinished["last_written"], written);
    assert_eq!(said["queue"]["visible"], 3);
    Ok(())
}

#[tokio::test]
async fn a_version_that_rds_may_soon_delete_needs_a_person() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let written = minutes_ago(60 * 13 + 1);
    world.rds.put_file(INSTANCE, FILE, "one line\n", written);
    world.enumerate().await?;
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let attention = format!(
        "{INSTANCE}: {FILE} is unfinished 13 h after it was written, and may be deleted soon"
    );
    assert_eq!(said["attention"], json!([attention]));
    Ok(())
}

#[tokio::test]
async fn dead_letters_need_a_person_who_mends_and_requeues() -> anyhow::Result<()> {
    let (world, row) = queued().await?;
    world.rewrite_state(&row, "Complete").await?;
    for _ in 0..2 {
        world.send_dead_letter("whatever").await?;
    }
    let (code, said) = status(&world).await?;
    assert_eq!(
        (code, &said["dead_letter_queue"]["visible"]),
        (Some(2), &json!(2))
    );
    let what_to_do = "2 dead letters: mend what their reasons say, then auditferry requeue";
    assert_eq!(said["attention"], json!([what_to_do]));

    let people = world.auditferry(&["status"]).await?;
    assert_eq!(people.code(), Some(2));
    let section = format!("needs a person:\n  {what_to_do}");
    assert!(people.stdout.contains(&section), "{}", people.stdout);
    Ok(())
}

#[tokio::test]
async fn gone_and_quarantined_versions_need_a_person() -> anyhow::Result<()> {
    let (world, row) = queued().await?;
    for (state, why) in [
        (
            "Gone",
            "1 log file versions are gone: RDS deleted them before they were archived; \
             auditferry reconcile asks again, auditferry dismiss takes note",
        ),
        ("Quarantined", "1 log file versions are quarantined"),
    ] {
        world.rewrite_state(&row, state).await?;
        let (code, said) = status(&world).await?;
        assert_eq!(code, Some(2), "{said:#}");
        let attention = format!("{INSTANCE}: {why}");
        assert_eq!(said["attention"], json!([attention]));
        let states = json!({state: 1});
        assert_eq!(said["instances"][0]["states"], states);
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_nobody_enumerates_needs_a_person() -> anyhow::Result<()> {
    let (world, _) = queued().await?;
    let mark = world.mark(INSTANCE, "aurora").await?;
    let long_ago = minutes_ago(12 * 60);
    world.rewrite(&mark, "last_enumerated_at", long_ago).await?;
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let attention = format!(
        "{INSTANCE}: possible gap: not enumerated since {}; RDS keeps log files for about a day",
        rfc3339(long_ago)?
    );
    assert_eq!(said["attention"], json!([attention]));

    // Nor does it look well when it never was.
    world.lose_row(&mark).await?;
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let attention = format!("{INSTANCE}: never enumerated without a fault");
    assert_eq!(said["attention"], json!([attention]));
    assert_eq!(said["instances"][0]["last_enumerated_at"], json!(null));
    let people = world.auditferry(&["status"]).await?;
    assert!(people.stdout.contains("never"), "{}", people.stdout);
    Ok(())
}

#[tokio::test]
async fn an_empty_table_needs_a_person() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let attention = "the table knows no instance: has auditferry enumerate ever run?";
    assert_eq!(said["attention"], json!([attention]));
    assert_eq!(said["instances"], json!([]));
    Ok(())
}

#[tokio::test]
async fn one_instance_that_needs_a_person_is_told_from_those_that_do_not() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_aurora("beta", &["beta-2", "beta-1"]);
    world.add_aurora("alpha", &["alpha-1"]);
    world.add_mariadb("legacy");
    for instance in ["alpha-1", "beta-1", "beta-2"] {
        world.rds.put_file(instance, FILE, "x\n", recently());
    }
    world.enumerate().await?;
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let instances = said["instances"].as_array().into_iter().flatten();
    let names: Vec<_> = instances
        .map(|instance| (instance["cluster"].as_str(), instance["instance"].as_str()))
        .collect();
    assert_eq!(
        names,
        [
            (Some("alpha"), Some("alpha-1")),
            (Some("beta"), Some("beta-1")),
            (Some("beta"), Some("beta-2")),
            (Some("legacy"), Some("legacy")),
        ]
    );
    let attention = "legacy: auditing appears off: RDS lists no audit log file";
    assert_eq!(said["attention"], json!([attention]));
    Ok(())
}

#[tokio::test]
async fn a_row_that_was_tampered_with_needs_a_person_and_hides_no_other() -> anyhow::Result<()> {
    let (world, row) = queued().await?;
    world.rds.put_file(INSTANCE, "audit/x", "x\n", recently());
    world.enumerate().await?;
    world.rewrite_state(&row, "Lost").await?;
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let attention = said["attention"][0].as_str().unwrap_or_default();
    assert!(
        attention.starts_with("the table was tampered with: row I#"),
        "{attention}"
    );
    assert_eq!(said["instances"][0]["states"], json!({"Queued": 1}));
    Ok(())
}

#[tokio::test]
async fn each_family_has_its_watermark() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("legacy");
    for (n, file) in (0..).zip(["audit/server_audit.log.1", "audit/x"]) {
        let written = NOON + n * MINUTE;
        world.rds.put_file("legacy", file, "x\n", written);
    }
    world.enumerate().await?;
    let row = world.version_row("audit/x").await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    let (_, said) = status(&world).await?;
    let watermarks = json!({"server_audit": null, "other": "2024-10-01T12:01:00Z"});
    assert_eq!(said["instances"][0]["watermarks"], watermarks);
    let people = world.auditferry(&["status"]).await?;
    assert!(
        people.stdout.contains("server_audit none yet"),
        "{}",
        people.stdout
    );
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_one_error() -> anyhow::Result<()> {
    let mut world = World::new().await?;
    for error in ["Scan: ", "GetQueueAttributes: "] {
        world.expect_error(error);
    }
    let absent = format!("{}-absent", world.resources.queue_url);
    for (variable, value) in [
        ("CHECKPOINT_TABLE", "absent"),
        ("QUEUE_URL", &absent),
        ("DEAD_LETTER_QUEUE_URL", &absent),
    ] {
        let with = [(variable, value)];
        let ended = world.auditferry_with(&["status", "--json"], &with).await?;
        assert_eq!(
            (ended.code(), ended.stdout.as_str()),
            (Some(1), ""),
            "{variable}"
        );
        assert_eq!(ended.logged("ERROR").len(), 1, "{variable}: {ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_dismissed_is_told_from_what_is_lost() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    for file in ["audit/1", "audit/2", "audit/3"] {
        world.rds.put_file(INSTANCE, file, "x\n", recently());
    }
    world.enumerate().await?;
    for (file, dismissed) in [("audit/1", true), ("audit/2", true), ("audit/3", false)] {
        let row = world.version_row(file).await?;
        world.rewrite_state(&row, "Gone").await?;
        if dismissed {
            world.rewrite(&row, "dismissed_at", minutes_ago(1)).await?;
        }
    }
    let (code, said) = status(&world).await?;
    assert_eq!(code, Some(2));
    let instance = &said["instances"][0];
    assert_eq!(
        (&instance["states"], &instance["dismissed"]),
        (&json!({"Gone": 3}), &json!(2))
    );
    let attention = said["attention"].as_array().into_iter().flatten();
    let attention: Vec<_> = attention.filter_map(Value::as_str).collect();
    assert_eq!(attention.len(), 1, "{attention:#?}");
    let lost = format!("{INSTANCE}: 1 log file versions are gone: ");
    assert!(attention[0].starts_with(&lost), "{attention:#?}");
    let people = world.auditferry(&["status"]).await?;
    assert!(
        people.stdout.contains("3 (2 dismissed)"),
        "{}",
        people.stdout
    );
    Ok(())
}

#[tokio::test]
async fn what_was_put_back_too_often_is_counted() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    for (n, requeues) in [("1", 3), ("2", 4), ("3", 2)] {
        let file = format!("audit/{n}");
        world.rds.put_file(INSTANCE, &file, "x\n", recently());
        world.enumerate().await?;
        let row = world.version_row(&file).await?;
        world.rewrite_state(&row, "Quarantined").await?;
        world.rewrite(&row, "requeues", requeues).await?;
    }
    let (code, said) = status(&world).await?;
    assert_eq!(
        (code, &said["instances"][0]["put_back_too_often"]),
        (Some(2), &json!(2))
    );
    let attention =
        format!("{INSTANCE}: 3 log file versions are quarantined, 2 of them after 3 requeues");
    assert_eq!(said["attention"], json!([attention]));
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_gone_with_unfinished_versions_needs_a_person() -> anyhow::Result<()> {
    let (mut world, row) = queued().await?;
    world.expect_error("is gone from RDS with 1 unfinished versions");
    world.add_mariadb("legacy");
    let id = world.rds.resource_id(INSTANCE);
    world.rds.put_file("legacy", "audit/x", "x\n", recently());
    world.rds.remove_instance(INSTANCE);
    assert_eq!(world.auditferry(&["enumerate"]).await?.code(), Some(1));
    let gone = format!(
        "{INSTANCE} ({id}): gone from RDS with 1 unfinished versions: auditferry dismiss takes note"
    );
    let (code, said) = status(&world).await?;
    assert_eq!((code, &said["attention"]), (Some(2), &json!([gone])));
    let presences = said["instances"].as_array().into_iter().flatten();
    let presences: Vec<_> = presences.map(|instance| &instance["presence"]).collect();
    assert_eq!(presences, ["there", "vanished"]);
    let people = world.auditferry(&["status"]).await?;
    let shown = format!("{INSTANCE} (gone from RDS)");
    for said in [&shown, &gone] {
        assert!(people.stdout.contains(said), "{}", people.stdout);
    }

    // Closed once all is finished; should anything of it be unfinished after all, it is not kept secret.
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    let (code, said) = status(&world).await?;
    assert_eq!((code, &said["attention"]), (Some(0), &json!([])));
    world.rewrite_state(&row, "Leased").await?;
    let (code, said) = status(&world).await?;
    assert_eq!((code, &said["attention"]), (Some(2), &json!([gone])));
    Ok(())
}
