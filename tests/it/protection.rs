//! ECS is asked to end no worker that is busy; what becomes of that never matters to a file.

use std::time::Duration;

use tests::ecs::{Agent, Ecs};
use tests::eventually::eventually;
use tests::rds::{ANY, Fault, Where};
use tests::world::World;
use tests::world::by_hand::{FILE, KEY, log};
use tokio::time::Instant;

/// What the agent was asked so far, once there is so much of it.
async fn asked(ecs: &Ecs, times: usize) -> anyhow::Result<Vec<bool>> {
    eventually(&format!("{times} requests to the agent"), async || {
        let asked = ecs.asked();
        if asked.len() >= times {
            Ok(asked.iter().map(|asked| asked.protected).collect())
        } else {
            Err(asked)
        }
    })
    .await
}

#[tokio::test]
async fn a_busy_worker_is_protected_and_an_idle_one_is_not() -> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    let stall = || Fault::Stall { after_bytes: 1000 };
    let downloads = || Where::download(ANY, ANY);
    world.rds.fail(downloads(), stall(), 2);
    let uri = ecs.agent_uri();
    let worker = world.start_worker(&[("ECS_AGENT_URI", &uri), ("CONCURRENCY", "2")])?;
    worker.says("worker started").await?;
    let versions = [
        world.put_and_send(FILE, log(1, 5000)).await?,
        world.put_and_send("audit/other", log(2, 5000)).await?,
    ];
    world.until_stalled(2).await?;
    assert_eq!(asked(&ecs, 1).await?, [true], "once, for both");
    let minutes = ecs.asked()[0].minutes.unwrap_or_default();
    assert!((1..=2880).contains(&minutes), "{minutes}");
    world.rds.release_stalls();
    for version in &versions {
        world.until(version, "Complete").await?;
    }
    assert_eq!(asked(&ecs, 2).await?, [true, false], "once it is idle");

    // Told to stop while it is busy, it stays protected to the end.
    world.rds.fail(downloads(), stall(), 1);
    let version = world.put_and_send("audit/last", log(3, 5000)).await?;
    world.until_stalled(1).await?;
    assert_eq!(asked(&ecs, 3).await?, [true, false, true]);
    worker.signal("TERM").await?;
    worker.says("draining").await?;
    assert_eq!(ecs.asked().len(), 3);
    world.rds.release_stalls();
    let ended = world.finish_worker(worker).await?;
    assert_eq!(asked(&ecs, 4).await?, [true, false, true, false]);
    assert_eq!(ended.logged("WARN"), [""; 0]);
    world.until(&version, "Complete").await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_idle_for_moments_asks_once() -> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    for file in 0..8 {
        let name = format!("audit/{file}");
        world.put_and_send(&name, log(file, 1000)).await?;
    }
    // One after the other, with nothing in flight between them.
    let uri = ecs.agent_uri();
    world
        .work_with(&[("ECS_AGENT_URI", &uri), ("CONCURRENCY", "1")])
        .await?;
    assert_eq!(world.objects().await?.len(), 8);
    assert_eq!(asked(&ecs, 2).await?, [true, false]);
    Ok(())
}

#[tokio::test]
async fn an_agent_that_fails_is_said_to_and_changes_nothing() -> anyhow::Result<()> {
    let case = async |agent: Option<Agent>, said: &str| {
        let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
        let uri = match agent {
            Some(agent) => {
                ecs.set_agent(agent);
                ecs.agent_uri()
            }
            // Nobody listens there.
            None => "http://127.0.0.1:9/agent".to_owned(),
        };
        // Nor does a proxy have a say.
        let with = [("ECS_AGENT_URI", uri.as_str()), ("SHUTDOWN_GRACE", "5s")];
        let version = world.put_and_send(FILE, log(4, 5000)).await?;
        let worker = world.start_worker(&with)?;
        world.until(&version, "Complete").await?;
        worker.says(said).await?;
        let told = Instant::now();
        worker.signal("TERM").await?;
        let ended = world.finish_worker(worker).await?;
        // A poll is waited for, and then the agent, for two seconds.
        assert!(
            told.elapsed() < Duration::from_secs(20),
            "{:?}",
            told.elapsed()
        );
        assert_eq!(ended.logged("ERROR"), [""; 0]);
        let row = world.until(&version, "Complete").await?;
        assert_eq!(row["attempts"], "1");
        assert!(world.objects().await?.contains_key(KEY));
        anyhow::Ok(())
    };
    tokio::try_join!(
        case(Some(Agent::Silent), "timed out"),
        case(Some(Agent::Broken(500)), "HTTP status 500: oh dear"),
        case(Some(Agent::Refusing), "TASK_NOT_VALID"),
        case(None, "Connection refused"),
    )?;
    Ok(())
}

#[tokio::test]
async fn a_silent_agent_holds_no_file_back() -> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    ecs.set_agent(Agent::Silent);
    let stall = Fault::Stall { after_bytes: 1000 };
    world.rds.fail(Where::download(ANY, ANY), stall, 1);
    let version = world.put_and_send(FILE, log(5, 5000)).await?;
    let worker = world.start_worker(&[("ECS_AGENT_URI", &ecs.agent_uri())])?;
    // The download is under way, and the agent was asked, and has not answered.
    world.until_stalled(1).await?;
    asked(&ecs, 1).await?;
    world.rds.release_stalls();
    world.until(&version, "Complete").await?;
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    Ok(())
}
