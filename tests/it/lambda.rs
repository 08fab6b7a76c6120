//! The producer as a Lambda function: an event in, a summary out, and failures that Lambda counts.

use std::time::Duration;

use serde_json::{Value, json};
use tests::lambda::{Answer, Function, RuntimeApi};
use tests::programs;
use tests::rds::{ANY, FOREVER, Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World};

/// As long as anybody would give it.
const ENOUGH: Duration = Duration::from_mins(5);

/// Too short to start an instance, and long enough to say so.
const TOO_SHORT: Duration = Duration::from_secs(19);

/// What EventBridge Scheduler sends to a function unless it is told otherwise.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html>
fn scheduled() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": "2024-10-01T12:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/auditferry"],
        "detail": "{}"
    })
}

async fn world() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    Ok(world)
}

fn denied() -> Fault {
    Fault::Status {
        status: 403,
        code: "AccessDenied".to_owned(),
        message: "the reason why".to_owned(),
    }
}

#[tokio::test]
async fn a_scheduled_event_is_answered_with_the_summary_of_an_enumeration() -> anyhow::Result<()> {
    let world = world().await?;
    world.add_mariadb("legacy");
    let mut function = Function::start(&world, &[]).await?;
    let answer = function.invoke(&scheduled(), ENOUGH).await?;
    let Answer::Done(summary) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (&summary["sent"], &summary["failures"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(summary["instances"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.version_row(FILE).await?["state"], "Queued");
    assert_eq!(world.take_bodies(1).await?[0]["file"], FILE);

    // The next one, in the same process, says the same as the command does.
    let process = function.id();
    let again = function.invoke(&scheduled(), ENOUGH).await?;
    assert_eq!(again, Answer::Done(world.enumerate().await?));
    assert_eq!(function.id(), process);
    world.take(0).await?;
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn a_second_event_in_the_same_process_sends_what_is_new() -> anyhow::Result<()> {
    let world = world().await?;
    let mut function = Function::start(&world, &[]).await?;
    function.invoke(&scheduled(), ENOUGH).await?;
    world.rds.grow_file(INSTANCE, FILE, b"another\n", NOON + 1);
    // Whatever the event says, it means "now".
    let answer = function.invoke(&json!(null), ENOUGH).await?;
    let Answer::Done(summary) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(summary["sent"], 1);
    world.take(2).await?;
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn a_failed_instance_fails_the_invocation_by_name_and_stops_nothing() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("failed to enumerate instance-2: ");
    world.expect_error("cluster nowhere does not exist");
    world.add_aurora("other", &["instance-2"]);
    let listing = Where::listing("instance-2");
    world.rds.fail(listing, denied(), FOREVER);
    let with = [("CLUSTERS", "my-rds-cluster,other,nowhere")];
    let mut function = Function::start(&world, &with).await?;
    let answer = function.invoke(&scheduled(), ENOUGH).await?;
    let Answer::Failed {
        error_type,
        error_message,
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(error_type, "EnumerationIncomplete");
    let instance = "instance-2: DescribeDBLogFiles: AccessDenied: the reason why";
    for said in ["cluster nowhere does not exist", instance] {
        assert!(error_message.contains(said), "{error_message}");
    }
    assert_eq!(world.take_bodies(1).await?[0]["instance"], INSTANCE);
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn an_enumeration_that_cannot_be_is_a_failure_and_the_next_one_may_work() -> anyhow::Result<()>
{
    let mut world = world().await?;
    world.expect_error("DescribeDBClusters: AccessDenied");
    world.rds.fail(Where::Clusters, denied(), 1);
    let mut function = Function::start(&world, &[]).await?;
    let answer = function.invoke(&scheduled(), ENOUGH).await?;
    let Answer::Failed {
        error_type,
        error_message,
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(error_type, "EnumerationFailed");
    let why = "DescribeDBClusters: AccessDenied: the reason why";
    assert_eq!(error_message, why);
    let answer = function.invoke(&scheduled(), ENOUGH).await?;
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    // Said once.
    let errors = function.stop(&world).await?;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    Ok(())
}

#[tokio::test]
async fn no_instance_is_started_when_the_deadline_is_near() -> anyhow::Result<()> {
    let world = world().await?;
    world.add_mariadb("legacy");
    let mut function = Function::start(&world, &[]).await?;
    let answer = function.invoke(&scheduled(), TOO_SHORT).await?;
    let Answer::Done(summary) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(summary["not_started"], json!([INSTANCE, "legacy"]));
    assert_eq!(
        (&summary["instances"], &summary["sent"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(world.rds.count(&Where::listing(INSTANCE)), 0);
    let items = world.rows().await?;
    let only_registered = items.iter().all(|item| item["pk"] == "INSTANCES");
    assert!(only_registered, "{items:?}");

    // The next one has time.
    let answer = function.invoke(&scheduled(), ENOUGH).await?;
    let Answer::Done(summary) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (&summary["not_started"], &summary["sent"]),
        (&json!([]), &json!(1))
    );
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn instances_that_were_started_in_time_are_finished() -> anyhow::Result<()> {
    let world = World::new().await?;
    // Eight are listed at a time; the first eight take until the deadline is near.
    for n in 0..10 {
        let name = format!("instance-{n}");
        world.add_aurora(&format!("cluster-{n}"), &[&name]);
        world.rds.put_file(&name, FILE, "x\n", NOON);
    }
    let slow = Fault::Delay(Duration::from_secs(5));
    world.rds.fail(Where::listing(ANY), slow, 8);
    let mut function = Function::start(&world, &[]).await?;
    // Started and warm, it needs next to no time until its first listings.
    function.invoke(&scheduled(), TOO_SHORT).await?;
    let time_left = Duration::from_millis(24_500);
    let answer = function.invoke(&scheduled(), time_left).await?;
    let Answer::Done(summary) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(summary["sent"], 8, "{summary:#}");
    assert_eq!(summary["not_started"].as_array().map(Vec::len), Some(2));
    world.take(8).await?;
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn a_bad_configuration_is_refused_before_the_runtime_is_asked_for_anything()
-> anyhow::Result<()> {
    let world = world().await?;
    for (variable, with) in [
        ("CLUSTERS", &[("CLUSTERS", ""), ("INSTANCES", "")][..]),
        ("QUEUE_URL", &[("QUEUE_URL", "")]),
        ("CHECKPOINT_TABLE", &[("CHECKPOINT_TABLE", "")]),
        ("SETTLE", &[("SETTLE", "soon")]),
        (
            "QUEUE_URL",
            &[("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/q")],
        ),
    ] {
        let api = RuntimeApi::start().await?;
        let environment = api.environment(world.environment(with));
        let ended = programs::run("bootstrap", &[], &environment).await?;
        assert_eq!(ended.code(), Some(64), "{with:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{with:?}: {ended:?}");
        let said = ended.stderr.to_uppercase();
        assert!(said.contains(variable), "{with:?}: {ended:?}");
        assert_eq!(api.requests(), 0, "{with:?}");
    }
    assert_eq!(world.rds.requests(), []);
    Ok(())
}
