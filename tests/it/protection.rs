//! ECS is asked not to end a worker with a file that outlasts the grace; what becomes of that never matters to a file.

use std::time::Duration;

use tests::ecs::{Agent, Ecs};
use tests::eventually::eventually;
use tests::rds::{ANY, FOREVER, Fault, Where};
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
async fn a_worker_is_protected_while_a_file_outlasts_the_grace() -> anyhow::Result<()> {
    const GRACE: Duration = Duration::from_secs(4);
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    let stall = || Fault::Stall { after_bytes: 1000 };
    let downloads = || Where::download(ANY, ANY);
    world.rds.fail(downloads(), stall(), 2);
    let uri = ecs.agent_uri();
    let worker = world.start_worker(&[
        ("ECS_AGENT_URI", &uri),
        ("CONCURRENCY", "2"),
        ("SHUTDOWN_GRACE", "4s"),
    ])?;
    worker.says("worker started").await?;
    let sent = Instant::now();
    let versions = [
        world.put_and_send(FILE, log(1, 5000)).await?,
        world.put_and_send("audit/other", log(2, 5000)).await?,
    ];
    world.until_stalled(2).await?;
    assert_eq!(asked(&ecs, 1).await?, [true], "once, for both");
    assert!(ecs.asked()[0].at >= sent + GRACE, "not before the grace");
    let minutes = ecs.asked()[0].minutes.unwrap_or_default();
    assert!((1..=2880).contains(&minutes), "{minutes}");
    world.rds.release_stalls();
    for version in &versions {
        world.until(version, "Complete").await?;
    }
    assert_eq!(asked(&ecs, 2).await?, [true, false], "once they have ended");

    // Told to stop while it is protected, it stays so to the end.
    world.rds.fail(downloads(), stall(), 1);
    let version = world.put_and_send("audit/last", log(3, 5000)).await?;
    world.until_stalled(1).await?;
    assert_eq!(asked(&ecs, 3).await?, [true, false, true]);
    worker.signal("TERM").await?;
    worker.says("received").await?;
    assert_eq!(ecs.asked().len(), 3);
    world.rds.release_stalls();
    let ended = world.finish_worker(worker).await?;
    assert_eq!(asked(&ecs, 4).await?, [true, false, true, false]);
    assert_eq!(ended.logged("WARN"), [""; 0]);
    world.until(&version, "Complete").await?;
    Ok(())
}

#[tokio::test]
async fn a_backlog_of_small_files_is_never_protected_so_that_deployments_finish()
-> anyhow::Result<()> {
    let (world, ecs) = (World::with_aurora().await?, Ecs::start()?);
    for file in 0..36 {
        let name = format!("audit/{file}");
        world.put_and_send(&name, log(file, 1000)).await?;
    }
    // Each takes longer than the time between two, so that one is always in flight; all take longer than the grace.
    let slow = Fault::Delay(Duration::from_millis(500));
    world.rds.fail(Where::download(ANY, ANY), slow, FOREVER);
    let uri = ecs.agent_uri();
    let begun = Instant::now();
    world
        .work_with(&[
            ("ECS_AGENT_URI", &uri),
            ("CONCURRENCY", "2"),
            ("SHUTDOWN_GRACE", "6s"),
        ])
        .await?;
    assert!(
        begun.elapsed() > Duration::from_secs(6),
        "it was too fast to tell"
    );
    assert_eq!(world.objects().await?.len(), 36);
    assert_eq!(ecs.asked(), [], "it would hold up a deployment");
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
        let with = [("ECS_AGENT_URI", uri.as_str()), ("SHUTDOWN_GRACE", "1s")];
        let stall = Fault::Stall { after_bytes: 1000 };
        world.rds.fail(Where::download(ANY, ANY), stall, 1);
        let version = world.put_and_send(FILE, log(4, 5000)).await?;
        let worker = world.start_worker(&with)?;
        world.until_stalled(1).await?;
        worker.says(said).await?;
        world.rds.release_stalls();
        world.until(&version, "Complete").await?;
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
    let uri = ecs.agent_uri();
    let worker = world.start_worker(&[("ECS_AGENT_URI", &uri), ("SHUTDOWN_GRACE", "1s")])?;
    // The download is under way, and the agent was asked, and has not answered.
    world.until_stalled(1).await?;
    asked(&ecs, 1).await?;
    world.rds.release_stalls();
    world.until(&version, "Complete").await?;
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    Ok(())
}
