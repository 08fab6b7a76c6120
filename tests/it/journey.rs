//! The main job, byte for byte: RDS → producer → queue → worker → archive.

use tests::generate::{Dialect, Generator};
use tests::world::{MINUTE, NOON, World};

#[tokio::test]
async fn every_due_log_file_arrives_whole_and_nothing_is_shipped_twice() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_aurora("my-rds-cluster", &["instance-1"]);
    let mut log = Generator::new(
        1,
        Dialect::Aurora,
        "instance-1",
        jiff::Timestamp::from_millisecond(NOON)?,
    );
    let name = "audit/audit.log.0.2024-10-01-12-00.0";
    let content = log.fill(100_000);
    world
        .rds
        .put_file("instance-1", name, content.clone(), NOON + MINUTE);

    let summary = world.enumerate().await?;
    assert_eq!(summary["sent"], 1, "{summary}");
    world.work().await?;

    let objects = world.objects().await?;
    let key = "my-rds-cluster/audit/2024/10/01/12/instance-1/audit.log.0.2024-10-01-12-00.0.gz";
    assert_eq!(objects.keys().collect::<Vec<_>>(), [key]);
    assert!(
        objects[key].raw == content,
        "the object differs from the log file"
    );

    let again = world.enumerate().await?;
    assert_eq!(
        (&again["sent"], &again["resent"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    assert_eq!(
        world.watermarks().await?["instance-1 aurora"],
        (NOON + MINUTE).to_string()
    );
    Ok(())
}
