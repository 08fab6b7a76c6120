//! Nothing is new: what a run costs then.

use tests::proxy::Service;
use tests::rds::Where;
use tests::world::by_hand::INSTANCE;
use tests::world::{MINUTE, NOON, World};

#[tokio::test]
async fn a_run_with_nothing_new_asks_and_writes_once_per_instance() -> anyhow::Result<()> {
    let mut world = World::new().await?;
    let instances = ["instance-1", "instance-2", "instance-3"];
    world.add_aurora("my-rds-cluster", &instances);
    for instance in instances {
        for n in 0..6 {
            let name = format!("audit/audit.log.0.2024-10-01-12-{:02}.0", n * 5);
            let written = NOON + n * 5 * MINUTE;
            world.rds.put_file(instance, &name, "x\n", written);
        }
    }
    assert_eq!(world.enumerate().await?["sent"], 18);
    world.work().await?;
    world.enumerate().await?; // the watermarks reach the newest files

    let table = world.behind_proxy(Service::DynamoDb)?;
    let queue = world.behind_proxy(Service::Sqs)?;
    let places = [Where::Clusters, Where::Instances]
        .into_iter()
        .chain(instances.map(Where::listing));
    let places: Vec<Where> = places.collect();
    let asked = |world: &World| -> Vec<usize> {
        places.iter().map(|place| world.rds.count(place)).collect()
    };
    let before = asked(&world);
    let summary = world.enumerate().await?;
    assert_eq!(
        (&summary["sent"], &summary["resent"]),
        (&0.into(), &0.into())
    );
    let after = asked(&world);
    let more: Vec<usize> = before.iter().zip(&after).map(|(a, b)| b - a).collect();
    assert_eq!(more, [1; 5], "{places:?}");
    // Each instance, and the register of all of them.
    let expected = [("Query".to_owned(), 4), ("UpdateItem".to_owned(), 3)];
    assert_eq!(table.seen(), expected.into());
    assert!(queue.seen().is_empty(), "{:?}", queue.seen());
    Ok(())
}

#[tokio::test]
async fn rows_are_read_as_far_back_as_the_watermark_and_no_further() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    for n in 0..60 {
        let name = format!("audit/audit.log.0.2024-10-01-12-{n:02}.0");
        world
            .rds
            .put_file(INSTANCE, &name, "x\n", NOON + n * MINUTE);
    }
    assert_eq!(world.enumerate().await?["sent"], 60);
    let table = world.behind_proxy(Service::DynamoDb)?;
    let mut pages = 0;
    let mut read = || {
        let before = std::mem::replace(&mut pages, table.count("Query"));
        table.count("Query") - before - 1 // the register of instances
    };
    // There is no watermark: all sixty rows must be seen, or those that were left out would be sent again.
    assert_eq!(world.enumerate().await?["sent"], 0);
    assert_eq!(read(), 2);
    world.work().await?;
    world.enumerate().await?;
    assert_eq!(read(), 2);
    assert_eq!(world.enumerate().await?["sent"], 0);
    assert_eq!(read(), 1);
    Ok(())
}
