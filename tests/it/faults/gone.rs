//! RDS says that a file or an instance is not there: only what is lost for certain is called lost.

use tests::rds::{ANY, Fault, Rotation, Where};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World};

use super::{errors_stopped, refusal};

/// What the log says of lost evidence.
const LOST: &str = "gone, evidence is lost";

#[tokio::test]
async fn a_file_that_neither_download_nor_listing_has_is_gone_and_said_to_be_lost()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error(LOST);
    let version = world.put_and_send(FILE, log(1, 5000)).await?;
    let neighbour = world.put_and_send("audit/neighbour", log(2, 5000)).await?;
    world.rds.remove_file(INSTANCE, FILE);
    let ended = world.work().await?;

    let row = world.until(&version, "Gone").await?;
    assert!(row["reason"].contains("DBLogFileNotFound"), "{row:?}");
    let errors = ended.logged("ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    for text in [LOST, FILE, INSTANCE] {
        assert!(errors[0].contains(text), "{text:?} in {errors:?}");
    }
    world.until(&neighbour, "Complete").await?;
    assert_eq!(
        (world.queued().await?, world.dead_letters().await?),
        ((0, 0), (0, 0))
    );
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_rotated_out_of_its_history_is_gone() -> anyhow::Result<()> {
    let mut world = World::new().await?;
    world.expect_error(LOST);
    world.add_mariadb("maria");
    let history = Rotation {
        history: 1,
        digits: 1,
    };
    world.rds.set_rotation("maria", history);
    for (name, minute) in [("server_audit.log", 2), ("server_audit.log.1", 1)] {
        let name = format!("audit/{name}");
        world
            .rds
            .put_file("maria", &name, log(3, 5000), NOON + minute * MINUTE);
    }
    world.enumerate().await?;
    world.rds.rotate("maria", NOON + 3 * MINUTE);
    world.work().await?;
    let rows = world.all_versions().await?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["state"], "Gone", "{rows:?}");
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn what_the_archive_has_is_not_gone_though_rds_has_it_no_more() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(4, 5000);
    world
        .rds
        .put_file(INSTANCE, FILE, content[..3000].to_vec(), NOON + MINUTE);
    let shorter = world.version(FILE)?;
    world
        .rds
        .grow_file(INSTANCE, FILE, &content[3000..], NOON + 2 * MINUTE);
    let whole = world.send_version(FILE).await?;
    world.work().await?;

    world.rds.remove_file(INSTANCE, FILE);
    world
        .rds
        .put_file(INSTANCE, "audit/neighbour", "x\n", NOON + MINUTE);
    // As if the first worker had died between the upload and the table.
    world
        .rewrite_row(&whole, &[("state", "Queued"), ("reason", "none yet")])
        .await?;
    for version in [&shorter, &whole] {
        world.send(&version.to_wire()).await?;
    }
    world.work().await?;
    for (version, reason) in [(&shorter, "superseded"), (&whole, "stored")] {
        let row = world.until(version, "Complete").await?;
        assert_eq!((row["reason"].as_str(), row["key"].as_str()), (reason, KEY));
    }
    assert_eq!(world.writes(KEY).await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_empty_listing_proves_no_loss() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let version = world.put_and_send(FILE, log(5, 5000)).await?;
    world
        .rds
        .put_file(INSTANCE, "audit/neighbour", "x\n", NOON + MINUTE);
    world.rds.remove_file(INSTANCE, FILE);
    let listing = Where::listing(INSTANCE);
    world.rds.fail(listing, Fault::EmptyListing, 1);
    later(&world, &version, "DBLogFileNotFound").await
}

#[tokio::test]
async fn a_listing_with_an_empty_page_proves_no_loss() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    world.rds.configure(|behaviour| behaviour.page_size = 1);
    // RDS lists this one on the first page, and the other one on the second.
    world.rds.put_file(INSTANCE, FILE, "x\n", NOON + MINUTE);
    let name = "audit/neighbour";
    let missing = refusal(404, "DBLogFileNotFoundFault", "for once");
    world.rds.fail(Where::download(INSTANCE, name), missing, 1);
    world.rds.after(Where::listing(INSTANCE), 1, |rds| {
        rds.fail(Where::listing(INSTANCE), Fault::EmptyListing, 1);
    });
    let version = world.put_and_send(name, log(8, 5000)).await?;
    later(&world, &version, "DBLogFileNotFound").await
}

#[tokio::test]
async fn an_instance_that_is_not_ready_or_not_there_is_asked_again_later() -> anyhow::Result<()> {
    let case = async |status, code| {
        let world = World::with_aurora().await?;
        let version = world.put_and_send(FILE, log(6, 5000)).await?;
        world.rds.set_instance_status(INSTANCE, status);
        later(&world, &version, code).await
    };
    tokio::try_join!(
        case("creating", "DBInstanceNotFound"),
        case("paused", "DBInstanceNotReady"),
    )?;
    Ok(())
}

#[tokio::test]
async fn an_instance_whose_listing_is_not_ready_is_asked_again_later() -> anyhow::Result<()> {
    let case = async |status, code| {
        let world = World::with_aurora().await?;
        let name = "audit/server_audit.log.1";
        world
            .rds
            .put_file(INSTANCE, name, log(7, 5000), NOON + MINUTE);
        let version = world.version_of(INSTANCE, CLUSTER, name)?;
        world.send(&version.to_wire()).await?;
        world.rds.set_instance_status(INSTANCE, status);
        later(&world, &version, code).await?;
        assert_eq!(world.rds.count(&Where::download(ANY, ANY)), 0);
        anyhow::Ok(())
    };
    tokio::try_join!(
        case("creating", "DBInstanceNotFound"),
        case("paused", "DBInstanceNotReady"),
    )?;
    Ok(())
}

/// Holds that a worker puts the version off, without counting the attempt and without a word of loss.
async fn later(world: &World, version: &shared::message::Message, why: &str) -> anyhow::Result<()> {
    let worker = world.start_worker(&[("EXIT_WHEN_IDLE", "1s")])?;
    let row = world.until(version, "Queued").await?;
    assert_eq!(row["attempts"], "0", "{row:?}");
    assert!(row["error"].contains(why), "{why:?} in {row:?}");
    assert_eq!(errors_stopped(world, worker).await?, [""; 0]);
    assert_eq!(
        world.queued().await?,
        (0, 1),
        "the message comes back later"
    );
    assert_eq!(world.dead_letters().await?, (0, 0));
    Ok(())
}
