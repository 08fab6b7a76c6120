//! How many workers there are: as soon as a message waits, as many as it takes, none when nothing waits, and no to and fro.

use serde_json::json;
use tests::autoscale::{Course, Policy, picture, play, shapes};
use tests::regenerate;
use tests::template::{IMAGE, resolve, template};

fn policy(max: &str) -> anyhow::Result<Policy> {
    let parameters = [IMAGE, ("MaxWorkers", max)];
    Policy::of(&resolve(&template()?, &parameters)?)
}

/// With another expression for an alarm.
fn policy_with(alarm: &str, expression: &str) -> anyhow::Result<Policy> {
    let mut template = template()?;
    // These have every metric.
    let mut metrics = template["Resources"]["Backlog"]["Properties"]["Metrics"].clone();
    metrics[0]["Expression"] = json!(expression);
    template["Resources"][alarm]["Properties"]["Metrics"] = metrics;
    Policy::of(&resolve(&template, &[IMAGE])?)
}

fn course(policy: &Policy, name: &str) -> anyhow::Result<Course> {
    let shapes = shapes();
    let shape = shapes.iter().find(|shape| shape.name.starts_with(name));
    play(policy, shape.expect("there is one"), true)
}

#[test]
fn steps_give_workers_to_backlogs() -> anyhow::Result<()> {
    for (max, messages, workers) in [
        ("64", 0.0, 0),
        ("64", 1.0, 1),
        ("64", 199.0, 1),
        ("64", 200.0, 2),
        ("64", 999.0, 2),
        ("64", 1000.0, 4),
        ("64", 4000.0, 8),
        ("64", 16_000.0, 16),
        ("64", 64_000.0, 32),
        ("64", 256_000.0, 64),
        ("64", f64::INFINITY, 64),
        ("4", 16_000.0, 4),
        ("1", 16_000.0, 1),
    ] {
        assert_eq!(
            policy(max)?.workers(messages),
            workers,
            "{messages} messages, at most {max} workers"
        );
    }
    Ok(())
}

/// Minutes in which messages were visible and no worker took any, at a stretch.
fn longest_starvation(course: &Course) -> usize {
    let starved = course
        .minutes
        .split(|minute| minute.visible == 0 || minute.running > 0);
    starved.map(<[_]>::len).max().unwrap_or_default()
}

#[test]
fn every_backlog_gets_workers_from_none_and_returns_to_none() -> anyhow::Result<()> {
    for max in ["1", "4", "64"] {
        let policy = policy(max)?;
        for shape in shapes() {
            let course = play(&policy, &shape, true)?;
            let name = format!("{}, at most {max} workers", shape.name);
            let starved = longest_starvation(&course);
            assert!(starved <= shape.longest_wait(), "{name}: {starved} min");
            // To and fro, but no more than twice an hour.
            let twice = course
                .reversals
                .windows(3)
                .all(|three| three[2] - three[0] >= 60);
            assert!(twice, "{name}: {:?}", course.reversals);
            assert_eq!(course.interrupted, 0, "{name}");
            assert_eq!(course.left, 0, "{name} is not done");
            let last = course.minutes.last().expect("it has minutes");
            assert_eq!((last.desired, last.running), (0, 0), "{name} has workers");
            let most = course.minutes.iter().map(|minute| minute.desired).max();
            assert!(most <= Some(max.parse()?), "{name}");
        }
    }
    Ok(())
}

#[test]
fn an_hour_after_the_last_message_there_are_no_workers() -> anyhow::Result<()> {
    let policy = policy("4")?;
    for shape in shapes() {
        let course = play(&policy, &shape, true)?;
        for stretch in course
            .minutes
            .split(|minute| minute.backlog() + minute.received > 0)
        {
            // Twenty minutes of nothing, the lag of the metrics, and the grace.
            let late = stretch.iter().skip(20 + 2 + 2);
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
fn a_queue_that_reports_nothing_for_hours_still_gets_workers() -> anyhow::Result<()> {
    // Without FILL a queue on which no worker works has no value: nothing is in flight, and nothing is received.
    let expressions = [
        "visible + inflight",
        "visible + inflight + received",
        "IF(visible + received > 0, visible + FILL(inflight, 0), 0)",
    ];
    for expression in expressions {
        let starved = course(&policy_with("Backlog", expression)?, "trickle")?;
        assert!(starved.left > 0, "{expression} scales from none");
        assert!(longest_starvation(&starved) > 300, "{expression}");
    }
    let course = course(&policy("4")?, "idle")?;
    assert_eq!((course.left, course.reversals.len()), (0, 1));
    Ok(())
}

#[test]
fn a_message_in_flight_that_is_none_keeps_no_worker() -> anyhow::Result<()> {
    for (alarm, expression) in [
        ("Backlog", "visible + FILL(inflight, 0)"),
        (
            "NoBacklog",
            "visible + FILL(inflight, 0) + FILL(received, 0)",
        ),
    ] {
        let course = course(&policy_with(alarm, expression)?, "phantom")?;
        let last = course.minutes.last().expect("it has minutes");
        assert!(last.running > 0, "{alarm} {expression} ends it");
    }
    let course = course(&policy("4")?, "phantom")?;
    assert_eq!(course.left, 0);
    // Two times three files: it comes and goes with both.
    assert!(course.worker_minutes < 70, "{}", course.worker_minutes);
    Ok(())
}

#[test]
fn in_an_outage_workers_stay_and_retry_and_then_catch_up() -> anyhow::Result<()> {
    let course = course(&policy("4")?, "outage")?;
    let during = course.minutes.get(75..240).expect("it lasts longer");
    assert!(during.iter().all(|minute| minute.running > 0), "they retry");
    let hidden = during.iter().filter(|minute| minute.visible == 0).count();
    assert!(hidden > 0, "between tries messages are hidden");
    // What failed last waits for its backoff, and then there is a backlog to work off.
    assert!((180..240).contains(&course.longest), "{}", course.longest);
    Ok(())
}

#[test]
fn without_protection_files_of_half_an_hour_would_be_interrupted() -> anyhow::Result<()> {
    let policy = policy("4")?;
    let giants = shapes()
        .into_iter()
        .find(|shape| shape.name.starts_with("giants"))
        .expect("there is one");
    assert!(play(&policy, &giants, false)?.interrupted > 0);
    assert_eq!(play(&policy, &giants, true)?.interrupted, 0);
    Ok(())
}

#[test]
fn the_readme_shows_the_picture_of_today() -> anyhow::Result<()> {
    let picture = format!("```\n{}```", picture(&policy("4")?)?);
    regenerate::block("infra/README.md", "autoscale", &picture)
}
