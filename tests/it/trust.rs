//! Whom the programs trust: the authorities of one bundle.

use tests::proxy::Service;
use tests::tls::AUTHORITY;
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World};

async fn world() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    Ok(world)
}

#[tokio::test]
async fn listings_and_downloads_trust_the_authorities_of_aws_ca_bundle() -> anyhow::Result<()> {
    let mut world = world().await?;
    let _tls = world.behind_tls(Service::Rds)?;
    world.set_environment(&[("AWS_CA_BUNDLE", AUTHORITY)]);
    assert_eq!(world.enumerate().await?["sent"], 1);
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn a_server_that_no_authority_vouches_for_is_not_spoken_to() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("invalid peer certificate");
    // Tried again less often than RDS.
    let _tls = world.behind_tls(Service::DynamoDb)?;
    let ended = world.auditferry(&["status"]).await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    Ok(())
}
