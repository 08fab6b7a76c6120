//! Every page of every listing is read: clusters, instances, log files.

use tests::rds::Where;
use tests::world::{MINUTE, NOON, World};

use super::report;

#[tokio::test]
async fn all_pages_are_read_until_a_marker_is_absent_or_empty() -> anyhow::Result<()> {
    for empty_last_marker in [false, true] {
        let world = World::new().await?;
        world.rds.configure(|behaviour| {
            behaviour.page_size = 2;
            behaviour.empty_last_marker = empty_last_marker;
        });
        // Three pages of clusters, four of instances, three or four of log files.
        for n in 1..=5 {
            world.add_aurora(&format!("cluster-{n}"), &[&format!("instance-{n}")]);
        }
        for name in ["legacy-1", "legacy-2"] {
            world.add_mariadb(name);
        }
        for n in 0..7 {
            let name = format!("audit/audit.log.{n}.2024-10-01-12-00.0");
            let written = NOON + n * MINUTE;
            world.rds.put_file("instance-5", &name, "x\n", written);
            let name = format!("audit/server_audit.log.{:02}", n + 1);
            world.rds.put_file("legacy-2", &name, "x\n", written);
        }
        for name in ["audit/1", "audit/2", "audit/3", "audit/4"] {
            world.rds.put_file("instance-1", name, "x\n", NOON);
        }

        let summary = world.enumerate().await?;
        for (instance, files) in [
            ("instance-1", 4),
            ("instance-2", 0),
            ("instance-3", 0),
            ("instance-4", 0),
            ("instance-5", 7),
            ("legacy-1", 0),
            ("legacy-2", 7),
        ] {
            let report = report(&summary, instance)?;
            assert_eq!(
                (&report["listed"], &report["sent"]),
                (&files.into(), &files.into()),
                "{instance}, empty last marker {empty_last_marker}: {summary:#}"
            );
        }
        assert_eq!(world.all_versions().await?.len(), 18);
        for (place, pages) in [
            (Where::Clusters, 3),
            (Where::Instances, 4),
            (Where::listing("instance-1"), 2),
            (Where::listing("instance-5"), 4),
        ] {
            assert_eq!(world.rds.count(&place), pages, "{place:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_rotation_between_two_pages_makes_no_twins_of_one_file() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("legacy");
    world.rds.configure(|behaviour| behaviour.page_size = 2);
    for n in 1..=4 {
        let name = format!("audit/server_audit.log.{n}");
        world
            .rds
            .put_file("legacy", &name, format!("{n}\n"), NOON - n * MINUTE);
    }
    world
        .rds
        .put_file("legacy", "audit/server_audit.log", "0\n", NOON);
    // The second page begins with the file that the first one ended with, under its new name.
    world.rds.rotate_after_listing("legacy", 1, NOON + MINUTE);
    assert_eq!(world.enumerate().await?["sent"], 5);
    for row in world.all_versions().await? {
        assert_eq!(row["twins"], "1", "{row:?}");
    }
    Ok(())
}
