//! Credentials end while files are in flight: new ones are asked for, and no file notices.

use std::time::Duration;

use tests::ecs::Ecs;
use tests::eventually::eventually;
use tests::programs::Running;
use tests::rds::{ANY, Access, Fault, Where};
use tests::stack::{ACCOUNT, REGION, Stack};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY, log, noise};
use tests::world::{MINUTE, NOON, World};

use super::errors_stopped;

const HOUR: Duration = Duration::from_hours(1);

/// Credentials that nobody else has.
fn new_access() -> Access {
    let key: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(16)
        .collect();
    Access {
        access_key: format!("ASIA{key}"),
        secret_key: format!("secret of {key}"),
        session_token: Some(format!("token of {key}")),
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
    }
}

/// Hands out new credentials, which everybody accepts.
async fn issue(world: &World, ecs: &Ecs, ends_in: Duration) -> anyhow::Result<Access> {
    let access = new_access();
    Stack::shared().await?.accept(&access, false).await?;
    world.rds.add_access(access.clone());
    ecs.hand_out(access.clone(), ends_in);
    Ok(access)
}

/// A worker with the credentials that a container has.
fn start(world: &World, ecs: &Ecs) -> anyhow::Result<Running> {
    let environment = ecs.credentials_environment();
    let mut with: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    with.push(("EXIT_WHEN_IDLE", "2s"));
    world.start_worker(&with)
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_of_a_file_are_renewed() -> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    let first = issue(&world, &ecs, HOUR).await?;
    // Far enough for a part to be in S3.
    let after_bytes = (8 << 20) + (1 << 19);
    let stall = Fault::Stall { after_bytes };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    let content = noise(1, 9 << 20);
    let version = world.put_and_send(FILE, content.clone()).await?;
    let worker = start(&world, &ecs)?;
    world.until_stalled(1).await?;
    eventually("a part to be in S3", async || {
        match world.unfinished_uploads().await {
            Ok(1) => Ok(()),
            other => Err(other),
        }
    })
    .await?;

    issue(&world, &ecs, HOUR).await?;
    Stack::shared().await?.accept(&first, true).await?;
    world.rds.expire(&first.access_key);
    world.rds.release_stalls();
    let row = world.until(&version, "Complete").await?;
    assert_eq!(row["attempts"], "1", "{row:?}");
    assert_eq!(errors_stopped(&world, worker).await?, [""; 0]);
    assert!(world.objects().await?[KEY].raw == content);
    assert_eq!(world.writes(KEY).await?, 1);
    assert_eq!(world.unfinished_uploads().await?, 0);
    assert_eq!(
        (world.queued().await?, world.dead_letters().await?),
        ((0, 0), (0, 0))
    );
    assert!(ecs.handed_out() >= 2, "{ecs:?}");
    Ok(())
}

#[tokio::test]
async fn credentials_that_expire_between_listing_and_download_are_renewed() -> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    let first = issue(&world, &ecs, HOUR).await?;
    let (name, content) = ("audit/server_audit.log.1", log(2, 5000));
    world
        .rds
        .put_file(INSTANCE, name, content.clone(), NOON + MINUTE);
    let version = world.version_of(INSTANCE, CLUSTER, name)?;
    // A worker that has used the first ones knows them.
    let shipped = world.put_and_send(FILE, log(3, 5000)).await?;
    let worker = start(&world, &ecs)?;
    world.until(&shipped, "Complete").await?;
    issue(&world, &ecs, HOUR).await?;
    world.rds.after(Where::listing(INSTANCE), 1, move |rds| {
        rds.expire(&first.access_key);
    });
    world.send(&version.to_wire()).await?;

    let row = world.until(&version, "Complete").await?;
    assert_eq!(row["attempts"], "1", "{row:?}");
    assert_eq!(errors_stopped(&world, worker).await?, [""; 0]);
    assert!(world.objects().await?[&row["key"]].raw == content);
    let downloads = Where::download(INSTANCE, name);
    let requests = world.rds.requests();
    let codes: Vec<_> = requests
        .iter()
        .filter(|request| request.place.as_ref() == Some(&downloads))
        .map(|request| request.code.as_deref())
        .collect();
    assert_eq!(codes, [Some("ExpiredToken"), None]);
    assert_eq!(ecs.handed_out(), 2);
    Ok(())
}

#[tokio::test]
async fn credentials_are_renewed_before_they_expire() -> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    // Minutes before their end AWS has others.
    let soon = Duration::from_secs(5 * 60 + 2);
    issue(&world, &ecs, soon).await?;
    let stall = Fault::Stall { after_bytes: 1000 };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    let version = world.put_and_send(FILE, log(4, 5000)).await?;
    let worker = start(&world, &ecs)?;
    world.until_stalled(1).await?;
    let before = ecs.handed_out();
    issue(&world, &ecs, HOUR).await?;
    eventually("it to ask again", async || {
        let now = ecs.handed_out();
        if now > before { Ok(()) } else { Err(now) }
    })
    .await?;
    world.rds.release_stalls();
    let first = world.until(&version, "Complete").await?;
    let renewed = ecs.handed_out();
    let version = world.put_and_send("audit/next", log(5, 5000)).await?;
    let second = world.until(&version, "Complete").await?;
    assert_eq!((&*first["attempts"], &*second["attempts"]), ("1", "1"));
    assert_eq!(ecs.handed_out(), renewed, "the new ones are kept");
    assert_eq!(errors_stopped(&world, worker).await?, [""; 0]);
    Ok(())
}
