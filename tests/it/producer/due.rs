//! Which versions are due: sealed, or quiet for `SETTLE`; and again when they have grown.

use serde_json::json;
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{MINUTE, NOON, Row, World, minutes_ago, number};

use super::{enumerate, report, says};

/// Instance, log file, minutes since it was written to, and whether it is due by default.
const FILES: [(&str, &str, i64, bool); 12] = [
    // A newer file of its stripe seals it: one of a later minute, or of a larger number, which is no text.
    (INSTANCE, "audit/audit.log.0.2024-10-01-12-00.0", 0, true),
    (INSTANCE, "audit/audit.log.0.2024-10-01-13-00.9", 0, true),
    (INSTANCE, "audit/audit.log.0.2024-10-01-13-00.10", 0, false),
    // Not one of another stripe.
    (INSTANCE, "audit/audit.log.1.2024-10-01-11-00.0", 0, false),
    // Else it must have been quiet for long enough.
    (INSTANCE, "audit/audit.log.17.2024-10-01-12-00.0", 61, true),
    (INSTANCE, "audit/audit.log.18.2024-10-01-12-00.0", 58, false),
    // Rotated files are sealed by nature; the one being written is shipped under its next name.
    ("legacy", "audit/server_audit.log", 600, false),
    ("legacy", "audit/server_audit.log.1", 0, true),
    ("legacy", "audit/server_audit.log.02", 2, true),
    // What nobody knows may be growing.
    ("legacy", "audit/notes.txt", 58, false),
    ("legacy", "audit/older notes.txt", 61, true),
    // Not an audit log at all, though the prefix is in its name.
    ("legacy", "error/audit/mysql-error.log", 600, false),
];

async fn world() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.add_mariadb("legacy");
    for (instance, file, minutes, _) in FILES {
        // Sizes differ, or rotated files could be taken for each other.
        let content = vec![b'x'; file.len()];
        world
            .rds
            .put_file(instance, file, content, minutes_ago(minutes));
    }
    Ok(world)
}

fn sorted<'f>(files: impl Iterator<Item = &'f str>) -> Vec<&'f str> {
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    files
}

fn names(rows: &[Row]) -> Vec<&str> {
    sorted(
        rows.iter()
            .filter_map(|row| Some(row.get("name")?.as_str())),
    )
}

#[tokio::test]
async fn sealed_and_quiet_files_are_sent_and_those_being_written_are_not() -> anyhow::Result<()> {
    let world = world().await?;
    let summary = world.enumerate().await?;
    let due = FILES.iter().filter(|(.., due)| *due);
    let due = sorted(due.map(|(_, file, ..)| *file));
    assert_eq!(names(&world.all_versions().await?), due);
    assert_eq!(report(&summary, INSTANCE)?["listed"], 6, "{summary:#}");
    assert_eq!(report(&summary, "legacy")?["listed"], 5, "{summary:#}");
    let sent = world.take_bodies(due.len()).await?;
    assert_eq!(
        sorted(sent.iter().filter_map(|body| body["file"].as_str())),
        due
    );
    Ok(())
}

#[tokio::test]
async fn settle_says_how_quiet_a_growing_file_must_be() -> anyhow::Result<()> {
    let world = world().await?;
    let ever_due = |(_, file, minutes, due): &(&str, &str, i64, bool), settle: i64| {
        let growing = file.starts_with("audit/") && *file != "audit/server_audit.log";
        *due || growing && *minutes >= settle
    };
    for settle in [57, 0] {
        let with = [("SETTLE", format!("{settle}m"))];
        let with = with.each_ref().map(|(name, value)| (*name, value.as_str()));
        enumerate(&world, &with).await?;
        let due = FILES.iter().filter(|file| ever_due(file, settle));
        assert_eq!(
            names(&world.all_versions().await?),
            sorted(due.map(|(_, file, ..)| *file)),
            "{settle} minutes"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_grew_is_sent_again_as_a_new_version() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one\n", NOON);
    assert_eq!(world.enumerate().await?["sent"], 1);
    assert_eq!(world.enumerate().await?["sent"], 0);
    // Complete or not makes no difference.
    let before = world.version_row(FILE).await?;
    world.rewrite_state(&before, "Complete").await?;
    world.rds.grow_file(INSTANCE, FILE, b"two\n", NOON + 1);
    assert_eq!(world.enumerate().await?["sent"], 1);
    assert_eq!(world.enumerate().await?["sent"], 0);

    let versions = world.versions(FILE).await?;
    let [before, after] = versions.as_slice() else {
        panic!("two versions: {versions:#?}")
    };
    assert_eq!(
        (number(before, "last_written")?, number(before, "size")?),
        (NOON, 4)
    );
    assert_eq!(
        (number(after, "last_written")?, number(after, "size")?),
        (NOON + 1, 8)
    );
    assert_eq!(
        (&*before["state"], &*after["state"]),
        ("Complete", "Queued")
    );
    let mut sizes: Vec<_> = world.take_bodies(2).await?;
    sizes.sort_by_key(|body| body["size"].as_i64());
    assert_eq!(
        (&sizes[0]["size"], &sizes[1]["size"]),
        (&json!(4), &json!(8))
    );
    Ok(())
}

#[tokio::test]
async fn a_name_that_nobody_understands_is_shipped_as_other_and_stops_nothing() -> anyhow::Result<()>
{
    let strange = [
        "audit/audit.log.0.2024-10-01-12-00",
        "audit/audit.log.0.2024-13-01-12-00.0",
        "audit/audit.log.x.2024-10-01-12-00.0",
        "audit/server_audit.log.old",
        "audit/über & über: 100%+?#.log",
        "audit/folder/file",
        "audit/../etc/passwd",
    ];
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON);
    for name in strange {
        world.rds.put_file(INSTANCE, name, "x\n", NOON);
    }
    // Of a name that cannot be a key, too, there is a message: the worker makes it a dead letter, with the reason.
    assert_eq!(world.enumerate().await?["sent"], 8);
    for name in strange {
        assert_eq!(world.version_row(name).await?["family"], "other", "{name}");
    }
    assert_eq!(world.version_row(FILE).await?["family"], "aurora");
    let queued: Vec<_> = world.take_bodies(8).await?;
    let queued = sorted(queued.iter().filter_map(|body| body["file"].as_str()));
    assert_eq!(queued, sorted(strange.into_iter().chain([FILE])));
    Ok(())
}

#[tokio::test]
async fn an_entry_whose_numbers_make_no_sense_fails_its_instance_and_stops_nothing()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("failed to enumerate instance-1: ");
    world.add_mariadb("legacy");
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON);
    world.rds.put_file(INSTANCE, "audit/of-the-past", "x\n", -1);
    let rotated = "audit/server_audit.log.1";
    world.rds.put_file("legacy", rotated, "x\n", NOON);

    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!((code, &summary["failures"]), (Some(1), &json!(1)));
    assert_eq!(summary["sent"], 2, "{summary:#}");
    let entry = "unreadable entry in the listing, watermarks stay: audit/of-the-past (LastWritten -1, Size 2)";
    assert!(
        says(report(&summary, INSTANCE)?, "warnings", entry),
        "{summary:#}"
    );
    Ok(())
}

#[tokio::test]
async fn rotated_files_that_cannot_be_told_apart_are_reported_and_sent_as_one() -> anyhow::Result<()>
{
    let world = World::new().await?;
    world.add_mariadb("legacy");
    for (number, content, written) in [(1, "one\n", NOON), (2, "two\n", NOON), (3, "more\n", NOON)]
    {
        let name = format!("audit/server_audit.log.{number}");
        world.rds.put_file("legacy", &name, content, written);
    }
    let summary = world.enumerate().await?;
    let twins = "2 rotated files cannot be told apart: LastWritten 2024-10-01T12:00:00Z, Size 4";
    let report = report(&summary, "legacy")?;
    assert!(says(report, "warnings", twins), "{summary:#}");
    assert_eq!((&report["listed"], &report["sent"]), (&json!(3), &json!(2)));

    let mut bodies = world.take_bodies(2).await?;
    bodies.sort_by_key(|body| body["size"].as_i64());
    assert_eq!(
        (&bodies[0]["size"], &bodies[0]["twins"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(bodies[1].get("twins"), None);

    // Rotated on, they are still the same two.
    world.rds.rotate("legacy", NOON + MINUTE);
    assert_eq!(world.enumerate().await?["sent"], 0);
    Ok(())
}
