//! How many workers there are: as soon as a message waits, as many as it takes, none when nothing waits, and no to and fro.

use tests::autoscale::{Course, Policy, picture, play, shapes};
use tests::regenerate;
use tests::template::{IMAGE, resolve, template};

fn policy(max: &str) -> anyhow::Result<Policy> {
    let parameters = [IMAGE, ("MaxWorkers", max)];
    Policy::of(&resolve(&template()?, &parameters)?)
}

#[test]
fn steps_give_workers_to_backlogs() -> anyhow::Result<()> {
    for (max, backlog, workers) in [
        ("64", 0, 0),
        ("64", 1, 1),
        ("64", 199, 1),
        ("64", 200, 2),
        ("64", 999, 2),
        ("64", 1000, 4),
        ("64", 4000, 8),
        ("64", 16_000, 16),
        ("64", 64_000, 32),
        ("64", 256_000, 64),
        ("64", usize::MAX, 64),
        ("4", 16_000, 4),
        ("1", 16_000, 1),
    ] {
        assert_eq!(
            policy(max)?.workers(backlog),
            workers,
            "{backlog} messages, at most {max} workers"
        );
    }
    Ok(())
}

/// Minutes in which messages waited and nobody took any, at a stretch.
fn longest_starvation(course: &Course) -> usize {
    let starved = course
        .minutes
        .split(|minute| minute.backlog == 0 || minute.running > 0);
    starved.map(<[_]>::len).max().unwrap_or_default()
}

#[test]
fn no_backlog_starves_flaps_stays_or_loses_a_worker_that_is_busy() -> anyhow::Result<()> {
    for max in ["1", "4", "64"] {
        let policy = policy(max)?;
        for shape in shapes() {
            let course = play(&policy, &shape, true);
            let name = format!("{}, at most {max} workers", shape.name);
            // Two minutes until it is seen, three until a worker has started, and the minute that it came in.
            assert!(longest_starvation(&course) <= 6, "{name}");
            // To and fro, but no more than twice an hour.
            let twice = course
                .reversals
                .windows(3)
                .all(|three| three[2] - three[0] >= 60);
            assert!(twice, "{name}: {:?}", course.reversals);
            assert_eq!(course.interrupted, 0, "{name}");
            let last = course.minutes.last().expect("it has minutes");
            assert_eq!(last.backlog, 0, "{name} is not done");
            let most = course.minutes.iter().map(|minute| minute.desired).max();
            assert!(most <= Some(max.parse()?), "{name}");
        }
    }
    Ok(())
}

#[test]
fn when_nothing_waits_there_are_no_workers_after_a_while() -> anyhow::Result<()> {
    let policy = policy("4")?;
    for shape in shapes() {
        let course = play(&policy, &shape, true);
        for stretch in course
            .minutes
            .split(|minute| minute.backlog + minute.received > 0)
        {
            // Twenty minutes of nothing, and the lag of the metrics.
            let late = stretch.iter().skip(20 + 2);
            assert!(
                late.clone().all(|minute| minute.running == 0),
                "{}",
                shape.name
            );
        }
    }
    Ok(())
}

#[test]
fn without_protection_files_of_half_an_hour_would_be_interrupted() -> anyhow::Result<()> {
    let policy = policy("4")?;
    let giants = shapes()
        .into_iter()
        .find(|shape| shape.name.starts_with("giants"))
        .expect("there is one");
    assert!(play(&policy, &giants, false).interrupted > 0);
    assert_eq!(play(&policy, &giants, true).interrupted, 0);
    Ok(())
}

#[test]
fn the_readme_shows_the_picture_of_today() -> anyhow::Result<()> {
    let picture = format!("```\n{}```", picture(&policy("4")?));
    regenerate::block("infra/README.md", "autoscale", &picture)
}
