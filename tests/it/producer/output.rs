//! What people and programs read, and the dry run.

use serde_json::json;
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{MINUTE, NOON, World, minutes_ago};

use super::{report, texts};

const OLDER: &str = "audit/audit.log.0.2024-10-01-11-00.0";

/// A world with two files that are due, and one of an instance that has none.
async fn world() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.add_mariadb("legacy");
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON + MINUTE);
    world.rds.put_file(INSTANCE, OLDER, "x\n", NOON);
    Ok(world)
}

#[tokio::test]
async fn a_dry_run_lists_what_is_due_and_changes_nothing() -> anyhow::Result<()> {
    let world = world().await?;
    for _ in 0..2 {
        let ended = world
            .auditferry(&["enumerate", "--dry-run", "--json"])
            .await?;
        assert_eq!(ended.code(), Some(0));
        let summary = ended.json()?;
        assert_eq!(
            (&summary["dry_run"], &summary["sent"]),
            (&json!(true), &json!(2))
        );
        let mut due = texts(report(&summary, INSTANCE)?, "due");
        due.sort();
        assert_eq!(due, [OLDER, FILE]);
    }
    let ended = world.auditferry(&["enumerate", "--dry-run"]).await?;
    for file in [OLDER, FILE] {
        let line = format!("  {INSTANCE}: {file}\n");
        assert!(ended.stdout.contains(&line), "{}", ended.stdout);
    }
    world.take(0).await?;
    assert_eq!(world.rows().await?, []);

    // Nor does it send again what is stale.
    world.enumerate().await?;
    world.take(2).await?;
    let row = world.version_row(FILE).await?;
    world.rewrite(&row, "queued_at", minutes_ago(30)).await?;
    let before = world.rows().await?;
    let ended = world
        .auditferry(&["enumerate", "--dry-run", "--json"])
        .await?;
    assert_eq!(ended.json()?["resent"], 1);
    world.take(0).await?;
    assert_eq!(world.rows().await?, before);
    Ok(())
}

#[tokio::test]
async fn results_are_a_table_for_people_and_json_for_programs() -> anyhow::Result<()> {
    let world = world().await?;
    let ended = world.auditferry(&["enumerate"]).await?;
    assert_eq!(ended.code(), Some(0));
    assert!(ended.json().is_err());
    let line = ended.stdout.lines().find(|line| line.contains(INSTANCE));
    let cells: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    assert_eq!(
        cells,
        ["my-rds-cluster", INSTANCE, "2", "2", "0"],
        "{}",
        ended.stdout
    );
    let warning = "warnings:\n  legacy: auditing appears off: RDS lists no audit log file";
    assert!(ended.stdout.contains(warning), "{}", ended.stdout);
    // Standard output has nothing but results, standard error nothing but the log.
    assert!(ended.stderr.lines().count() > 0);
    for line in ended.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line)?;
    }

    let ended = world.auditferry(&["enumerate", "--json"]).await?;
    assert_eq!(
        ended.json()?,
        json!({
            "dry_run": false,
            "sent": 0,
            "resent": 0,
            "failures": 0,
            "problems": [],
            "vanished": [],
            "not_started": [],
            "other_engines": [],
            "instances": [
                {
                    "cluster": "legacy",
                    "instance": "legacy",
                    "listed": 0,
                    "sent": 0,
                    "resent": 0,
                    "oldest_unfinished": null,
                    "warnings": ["auditing appears off: RDS lists no audit log file"],
                    "error": null,
                },
                {
                    "cluster": "my-rds-cluster",
                    "instance": INSTANCE,
                    "listed": 2,
                    "sent": 0,
                    "resent": 0,
                    "oldest_unfinished": "2024-10-01T12:00:00Z",
                    "warnings": [],
                    "error": null,
                },
            ],
        })
    );
    Ok(())
}
