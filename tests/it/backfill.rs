//! `auditferry backfill`: versions of a time range that the table does not know, whatever the watermarks say.

use serde_json::{Value, json};
use tests::rds::{Fault, Where};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE};
use tests::world::{MINUTE, NOON, Row, World, minutes_ago, number};

/// All of that day, UTC.
const THE_DAY: [&str; 4] = ["--from", "2024-10-01", "--to", "2024-10-01"];

/// A world whose watermark has passed noon of that day.
async fn world() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON);
    world.enumerate().await?;
    world.take(1).await?;
    let row = world.version_row(FILE).await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    let watermark = &world.watermarks().await?["instance-1 aurora"];
    assert_eq!(*watermark, NOON.to_string());
    Ok(world)
}

/// Backfills; the exit code and the summary.
async fn backfill(world: &World, arguments: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let arguments: Vec<_> = ["backfill", "--json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let ended = world.auditferry(&arguments).await?;
    Ok((ended.code(), ended.json()?))
}

fn sent_and_resent(summary: &Value) -> (Option<u64>, Option<u64>) {
    (summary["sent"].as_u64(), summary["resent"].as_u64())
}

/// What a summary says of its only instance.
fn warnings(summary: &Value) -> Vec<&str> {
    let warnings = summary["instances"][0]["warnings"].as_array();
    let mut warnings: Vec<_> = warnings
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    warnings.sort_unstable();
    warnings
}

/// All rows but those of versions.
async fn others(world: &World) -> anyhow::Result<Vec<Row>> {
    let mut rows = world.rows().await?;
    rows.retain(|row| !row["sk"].starts_with("F#"));
    Ok(rows)
}

#[tokio::test]
async fn what_no_row_knows_is_sent_though_the_watermark_has_passed_it() -> anyhow::Result<()> {
    let world = world().await?;
    let hour = 60 * MINUTE;
    let (too_early, early, late, too_late) = (
        "audit/too-early",
        "audit/early",
        "audit/late",
        "audit/too-late",
    );
    for (file, written) in [
        (too_early, NOON - 3 * hour - 1),
        (early, NOON - 3 * hour),
        (late, NOON - hour),
        (too_late, NOON - hour + 1),
    ] {
        world.rds.put_file(INSTANCE, file, "x\n", written);
    }
    assert_eq!(
        world.enumerate().await?["sent"],
        0,
        "the watermark has passed"
    );
    let before = others(&world).await?;
    let complete = world.version_row(FILE).await?;

    let range = [
        "--from",
        "2024-10-01T09:00:00Z",
        "--to",
        "2024-10-01T13:00:00+02:00",
    ];
    let (code, summary) = backfill(&world, &range).await?;
    assert_eq!(
        (code, sent_and_resent(&summary)),
        (Some(0), (Some(2), Some(0)))
    );
    let sent = world.take_bodies(2).await?;
    assert_eq!(
        (&sent[0]["file"], &sent[1]["file"]),
        (&json!(early), &json!(late))
    );
    for file in [early, late] {
        assert_eq!(world.version_row(file).await?["state"], "Queued");
    }
    assert_eq!(others(&world).await?, before, "no watermark moves");

    // Again: nothing is new, what is not finished is sent again, and the rows stay what they are.
    for body in sent {
        world.send(&body.to_string()).await?;
    }
    let (code, summary) = backfill(&world, &range).await?;
    assert_eq!(
        (code, sent_and_resent(&summary)),
        (Some(0), (Some(0), Some(2)))
    );
    assert_eq!(world.all_versions().await?.len(), 3);
    world.work_with(&[("CONCURRENCY", "1")]).await?;
    let (code, summary) = backfill(&world, &range).await?;
    assert_eq!(
        (code, sent_and_resent(&summary)),
        (Some(0), (Some(0), Some(0)))
    );
    assert_eq!(world.objects().await?.len(), 2);
    assert_eq!(world.version_row(FILE).await?, complete);
    Ok(())
}

#[tokio::test]
async fn what_is_unfinished_is_woken_and_all_else_is_left() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let states = ["Queued", "Leased", "Quarantined", "Gone", "Complete"];
    let file = |state| format!("audit/{state}");
    for state in states {
        world.rds.put_file(INSTANCE, &file(state), "x\n", NOON);
    }
    world
        .rds
        .put_file(INSTANCE, "audit/later", "x\n", NOON + 12 * 60 * MINUTE);
    world.enumerate().await?;
    world.take(6).await?;
    for state in states {
        let row = world.version_row(&file(state)).await?;
        world.rewrite_state(&row, state).await?;
        world.rewrite(&row, "queued_at", 1).await?;
    }
    let before = world.all_versions().await?;
    let asked_at = minutes_ago(0);
    let (code, summary) = backfill(&world, &THE_DAY).await?;
    assert_eq!(
        (code, sent_and_resent(&summary)),
        (Some(0), (Some(0), Some(2)))
    );
    let said = ["audit/Quarantined is quarantined: auditferry requeue"];
    assert_eq!(warnings(&summary), said);
    let bodies = world.take_bodies(2).await?;
    let woken = ["audit/Leased", "audit/Queued"];
    assert_eq!([&bodies[0]["file"], &bodies[1]["file"]], woken);
    for (now, before) in world.all_versions().await?.into_iter().zip(before) {
        if woken.contains(&now["name"].as_str()) {
            assert!(number(&now, "queued_at")? >= asked_at);
            let unchanged = |name| now.get(name) == before.get(name);
            assert!(unchanged("state") && unchanged("generation"), "{now:#?}");
        } else {
            assert_eq!(now, before);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_still_being_written_is_left_and_said() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let (sealed, open) = (FILE, "audit/audit.log.0.2024-10-01-13-00.0");
    for file in [sealed, open] {
        world.rds.put_file(INSTANCE, file, "x\n", minutes_ago(5));
    }
    for dry_run in [&["--dry-run"][..], &[]] {
        let arguments: Vec<_> = ["--from", "1h", "--to", "0s"]
            .iter()
            .chain(dry_run)
            .copied()
            .collect();
        let (code, summary) = backfill(&world, &arguments).await?;
        assert_eq!(
            (code, sent_and_resent(&summary)),
            (Some(0), (Some(1), Some(0)))
        );
        let said = format!("{open} is still being written: left to auditferry enumerate");
        assert_eq!(warnings(&summary), [said]);
    }
    assert_eq!(world.take_bodies(1).await?[0]["file"], sealed);
    Ok(())
}

#[tokio::test]
async fn only_the_instances_asked_for_are_backfilled_and_an_unknown_one_is_named()
-> anyhow::Result<()> {
    let mut world = World::new().await?;
    world.expect_error("CLUSTERS and INSTANCES select no instance instance-4");
    let instances = [INSTANCE, "instance-2", "instance-3"];
    world.add_aurora(CLUSTER, &instances);
    for instance in instances {
        world.rds.put_file(instance, FILE, "x\n", NOON);
    }
    let id = world.rds.resource_id("instance-2");
    let which = format!("{INSTANCE},{id},instance-4");
    let arguments: Vec<_> = THE_DAY.into_iter().chain(["--instance", &which]).collect();
    let (code, summary) = backfill(&world, &arguments).await?;
    assert_eq!((code, sent_and_resent(&summary).0), (Some(1), Some(2)));
    let problem = "CLUSTERS and INSTANCES select no instance instance-4";
    assert_eq!(summary["problems"], json!([problem]));
    let bodies = world.take_bodies(2).await?;
    assert!(bodies.iter().all(|body| body["instance"] != "instance-3"));
    assert_eq!(world.all_versions().await?.len(), 2);
    assert_eq!(
        others(&world).await?,
        [] as [Row; 0],
        "nothing else is written"
    );
    Ok(())
}

#[tokio::test]
async fn a_dry_run_lists_what_would_be_sent_and_changes_nothing() -> anyhow::Result<()> {
    let world = world().await?;
    world
        .rds
        .put_file(INSTANCE, "audit/early", "x\n", NOON - 60 * MINUTE);
    let row = world.version_row(FILE).await?;
    world.rewrite_state(&row, "Queued").await?;
    let before = world.rows().await?;
    let arguments: Vec<_> = THE_DAY.into_iter().chain(["--dry-run"]).collect();
    let (code, summary) = backfill(&world, &arguments).await?;
    assert_eq!(
        (code, sent_and_resent(&summary)),
        (Some(0), (Some(1), Some(1)))
    );
    assert_eq!(summary["instances"][0]["due"], json!(["audit/early"]));
    assert_eq!(world.rows().await?, before);
    world.take(0).await?;
    Ok(())
}

#[tokio::test]
async fn times_that_are_none_or_in_the_wrong_order_are_refused_with_an_example()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let how = "write it like 2026-10-01T12:00:00Z, 2026-10-01 or 36h";
    for (from, to, said) in [
        (
            "2024-10-02",
            "2024-10-01",
            [
                "--from 2024-10-02T00:00:00Z",
                "is after --to 2024-10-01T23:59:59",
            ],
        ),
        ("1h", "36h", ["--from", "is after --to"]),
        ("yesterday", "1h", ["--from", how]),
        ("2024-10-01T12:00", "1h", ["--from", how]),
        ("1h", "", ["--to", how]),
        ("1h", "2024-13-01", ["--to", how]),
    ] {
        let ended = world
            .auditferry(&["backfill", "--from", from, "--to", to])
            .await?;
        assert_eq!(ended.code(), Some(64), "{from} {to}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        for said in said {
            assert!(ended.stderr.contains(said), "{said}: {ended:?}");
        }
    }
    for (arguments, missing) in [(["--from", "1h"], "--to"), (["--to", "1h"], "--from")] {
        let arguments: Vec<_> = ["backfill"].into_iter().chain(arguments).collect();
        let ended = world.auditferry(&arguments).await?;
        assert_eq!(ended.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.contains(missing), "{ended:?}");
    }
    assert_eq!(world.rds.requests(), []);
    Ok(())
}

#[tokio::test]
async fn the_day_that_a_range_ends_with_belongs_to_it() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let midnight = NOON + 12 * 60 * MINUTE;
    for (file, written) in [("audit/last", midnight - 1), ("audit/next", midnight)] {
        world.rds.put_file(INSTANCE, file, "x\n", written);
    }
    let (code, summary) = backfill(&world, &THE_DAY).await?;
    assert_eq!((code, sent_and_resent(&summary).0), (Some(0), Some(1)));
    assert_eq!(world.take_bodies(1).await?[0]["file"], "audit/last");
    Ok(())
}

#[tokio::test]
async fn an_empty_listing_does_not_look_as_if_there_were_nothing() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON);
    world
        .rds
        .fail(Where::listing(INSTANCE), Fault::EmptyListing, 1);
    let (code, summary) = backfill(&world, &THE_DAY).await?;
    assert_eq!((code, sent_and_resent(&summary).0), (Some(0), Some(0)));
    assert!(
        warnings(&summary)[0].starts_with("RDS gave an empty page"),
        "{summary:#}"
    );
    let (_, summary) = backfill(&world, &THE_DAY).await?;
    assert_eq!(sent_and_resent(&summary).0, Some(1));
    assert_eq!(warnings(&summary), [""; 0]);
    Ok(())
}
