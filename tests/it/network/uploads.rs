//! Uploads in a black hole: there are 90 s for one try, but nobody need wait for them.

use tests::eventually::eventually;
use tests::proxy::{Calls, Fault, Service};
use tests::world::World;
use tests::world::by_hand::{FILE, KEY, log, noise};

use super::case::LARGE;

#[tokio::test]
async fn an_upload_in_a_black_hole_is_given_back_when_the_worker_is_told_to_stop()
-> anyhow::Result<()> {
    let case = async |operation, content: Vec<u8>| {
        let mut world = World::with_aurora().await?;
        let proxy = world.behind_proxy(Service::S3)?;
        let version = world.put_and_send(FILE, content.clone()).await?;
        let fault = proxy.inject(Fault::BlackHole, Some(operation), Calls::All);
        let worker = world.start_worker(&[("SHUTDOWN_GRACE", "1s")])?;
        eventually("an upload", async || match proxy.count(operation) {
            0 => Err("none"),
            _ => Ok(()),
        })
        .await?;
        worker.signal("TERM").await?;
        world.finish_worker(worker).await?;
        let row = world.until(&version, "Queued").await?;
        assert_eq!(row["attempts"], "0", "{operation}: {row:?}");
        assert_eq!(world.queued().await?, (1, 0), "{operation}: not visible");

        drop(fault);
        world.work().await?;
        world.until(&version, "Complete").await?;
        assert!(world.objects().await?[KEY].raw == content, "{operation}");
        assert_eq!(world.writes(KEY).await?, 1, "{operation}");
        assert_eq!(world.unfinished_uploads().await?, 0, "{operation}");
        anyhow::Ok(())
    };
    tokio::try_join!(
        case("PutObject", log(2, 5000)),
        case("CreateMultipartUpload", noise(2, LARGE)),
        case("UploadPart", noise(2, LARGE)),
        case("CompleteMultipartUpload", noise(2, LARGE)),
    )?;
    Ok(())
}
