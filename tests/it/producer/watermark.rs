//! The watermark: everything listed up to it is finished.

use std::time::Duration;

use tests::rds::{Fault, Where};
use tests::world::by_hand::INSTANCE;
use tests::world::{MINUTE, NOON, World, minutes_ago, number};

use super::{enumerate, report, says};

/// Of the family of names that nobody understands.
async fn watermark(world: &World) -> anyhow::Result<Option<i64>> {
    let row = world.mark(INSTANCE, "other").await?;
    Ok(number(&row, "watermark").ok())
}

fn minutes_past_noon(minutes: i64) -> i64 {
    NOON + minutes * MINUTE
}

/// A world with these files, each written a minute after the one before it, the first one a minute after noon; queued.
async fn queued(files: &[&str]) -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    for (file, minutes) in files.iter().zip(1..) {
        world
            .rds
            .put_file(INSTANCE, file, "x\n", NOON + minutes * MINUTE);
    }
    world.enumerate().await?;
    Ok(world)
}

#[tokio::test]
async fn the_watermark_passes_complete_and_gone_and_nothing_else() -> anyhow::Result<()> {
    let files = ["audit/a", "audit/b", "audit/c", "audit/d"];
    let world = queued(&files).await?;
    for (states, reached) in [
        (["Queued", "Complete", "Complete", "Complete"], None),
        (["Complete", "Quarantined", "Complete", "Complete"], Some(1)),
        (["Complete", "Leased", "Complete", "Gone"], Some(1)),
        (["Complete", "Gone", "Queued", "Complete"], Some(2)),
        (["Complete", "Gone", "Complete", "Queued"], Some(3)),
        (["Complete", "Gone", "Complete", "Gone"], Some(4)),
    ] {
        for (file, state) in files.iter().zip(states) {
            let row = world.version_row(file).await?;
            world.rewrite_state(&row, state).await?;
            world.rewrite(&row, "lease_until", minutes_ago(-1)).await?;
        }
        let before = watermark(&world).await?;
        let asked_at = minutes_ago(0);
        world.enumerate().await?;
        assert_eq!(
            watermark(&world).await?,
            reached.map(minutes_past_noon),
            "{states:?}"
        );
        let mark = world.mark(INSTANCE, "other").await?;
        assert!(number(&mark, "last_enumerated_at")? >= asked_at);
        let moved = before != watermark(&world).await?;
        let moved_at = number(&mark, "last_processed_at").unwrap_or_default();
        assert_eq!(moved_at >= asked_at, moved, "{states:?}: {mark:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_an_idle_server_was_writing_is_sent_once_it_is_rotated() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("maria");
    for (file, minutes) in [("audit/server_audit.log", 1), ("audit/other", 60)] {
        let at = minutes_past_noon(minutes);
        world.rds.put_file("maria", file, "x\n", at);
    }
    assert_eq!(world.enumerate().await?["sent"], 1);
    let row = world.version_row("audit/other").await?;
    world.rewrite_state(&row, "Complete").await?;
    assert_eq!(world.enumerate().await?["sent"], 0);
    let mark = world.mark("maria", "server_audit").await?;
    assert_eq!(mark.get("watermark"), None, "{mark:?}");
    world.rds.rotate("maria", minutes_past_noon(120));
    assert_eq!(world.enumerate().await?["sent"], 1);
    world.version_row("audit/server_audit.log.1").await?;
    Ok(())
}

#[tokio::test]
async fn a_listed_version_that_is_not_due_yet_holds_the_watermark() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let (quiet, busy) = (minutes_ago(61), minutes_ago(62));
    world.rds.put_file(INSTANCE, "audit/quiet", "x\n", quiet);
    world.enumerate().await?;
    let row = world.version_row("audit/quiet").await?;
    world.rewrite_state(&row, "Complete").await?;
    world.rds.put_file(INSTANCE, "audit/busy", "x\n", busy);
    let with = [("SETTLE", "63m")];
    let (_, summary) = enumerate(&world, &with).await?;
    assert_eq!(summary["sent"], 0);
    assert_eq!(watermark(&world).await?, None);
    world.rds.remove_file(INSTANCE, "audit/busy");
    enumerate(&world, &with).await?;
    assert_eq!(watermark(&world).await?, Some(quiet));
    Ok(())
}

#[tokio::test]
async fn the_watermark_never_moves_back() -> anyhow::Result<()> {
    let world = queued(&["audit/a", "audit/b", "audit/c"]).await?;
    for row in world.all_versions().await? {
        world.rewrite_state(&row, "Complete").await?;
    }
    world.enumerate().await?;
    assert_eq!(watermark(&world).await?, Some(minutes_past_noon(3)));

    // Unfinished again, as after a requeue by somebody's mistake.
    let row = world.version_row("audit/b").await?;
    world.rewrite_state(&row, "Queued").await?;
    world.enumerate().await?;
    assert_eq!(watermark(&world).await?, Some(minutes_past_noon(3)));
    world.rewrite_state(&row, "Complete").await?;

    // Listed late, and older: found, since every listing reaches back beyond the watermark.
    world.rds.put_file(INSTANCE, "audit/late", "x\n", NOON);
    let summary = world.enumerate().await?;
    assert_eq!(summary["sent"], 1, "{summary:#}");
    assert_eq!(watermark(&world).await?, Some(minutes_past_noon(3)));

    // All that had been listed is no more.
    for file in ["audit/b", "audit/c", "audit/late"] {
        world.rds.remove_file(INSTANCE, file);
    }
    world.enumerate().await?;
    assert_eq!(watermark(&world).await?, Some(minutes_past_noon(3)));
    Ok(())
}

#[tokio::test]
async fn a_listing_reaches_from_the_watermark_back_by_the_overlap() -> anyhow::Result<()> {
    let world = queued(&["audit/a"]).await?;
    let row = world.version_row("audit/a").await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    for (with, minutes) in [(&[][..], 15), (&[("OVERLAP", "90s")], 1)] {
        enumerate(&world, with).await?;
        let requests = world.rds.requests();
        let listing = requests.last().expect("there was a listing");
        let since = listing.params["FileLastWritten"].parse::<i64>()?;
        let at_least = NOON + MINUTE - minutes * MINUTE;
        assert!(
            (at_least - MINUTE..=at_least).contains(&since),
            "{listing:#?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_family_has_a_watermark_of_its_own() -> anyhow::Result<()> {
    let aurora = "audit/audit.log.0.2024-10-01-12-00.0";
    let world = queued(&["audit/a", aurora]).await?;
    let row = world.version_row(aurora).await?;
    world.rewrite_state(&row, "Complete").await?;
    world.enumerate().await?;
    let expected = [
        ("instance-1 aurora", (NOON + 2 * MINUTE).to_string()),
        ("instance-1 other", String::new()),
    ];
    let expected = expected.map(|(name, watermark)| (name.to_owned(), watermark));
    assert_eq!(world.watermarks().await?, expected.into());
    Ok(())
}

#[tokio::test]
async fn an_empty_listing_moves_no_watermark() -> anyhow::Result<()> {
    let world = queued(&["audit/a", "audit/b"]).await?;
    let [a, b] = [
        world.version_row("audit/a").await?,
        world.version_row("audit/b").await?,
    ];
    world.rewrite_state(&a, "Complete").await?;
    world.enumerate().await?;
    assert_eq!(watermark(&world).await?, Some(minutes_past_noon(1)));
    world.rewrite_state(&b, "Complete").await?;

    // Once is not believed: everything is asked for again. Twice is, as far as that auditing may be off.
    let listing = || Where::listing(INSTANCE);
    for (times, listed, warns, reached) in [(2, 0, true, 1), (1, 2, false, 2)] {
        world.rds.fail(listing(), Fault::EmptyListing, times);
        let summary = world.enumerate().await?;
        let report = report(&summary, INSTANCE)?;
        assert_eq!(report["listed"], listed, "{summary:#}");
        assert_eq!(says(report, "warnings", "auditing appears off"), warns);
        assert_eq!(watermark(&world).await?, Some(minutes_past_noon(reached)));
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_page_in_the_middle_of_a_listing_hides_no_file_for_ever() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.configure(|behaviour| behaviour.page_size = 2);
    for hours in 1..=5 {
        let name = format!("audit/{hours}");
        let written = NOON + 60 * hours * MINUTE;
        world.rds.put_file(INSTANCE, &name, "x\n", written);
    }
    for _ in 0..2 {
        // The first page is good, the second one has nothing and names no third: three files are missing.
        let listing = || Where::listing(INSTANCE);
        world.rds.clear_faults();
        world.rds.fail(listing(), Fault::Delay(Duration::ZERO), 1);
        world.rds.fail(listing(), Fault::EmptyListing, 1);
        world.enumerate().await?;
        for row in world.all_versions().await? {
            world.rewrite_state(&row, "Complete").await?;
        }
    }
    world.rds.clear_faults();
    world.enumerate().await?;
    let rows = world.all_versions().await?;
    let files: Vec<_> = rows.iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(
        files,
        ["audit/1", "audit/2", "audit/3", "audit/4", "audit/5"]
    );
    Ok(())
}
