//! Instances that RDS has no more: reported by name as long as they have unfinished versions.

use std::time::Duration;

use serde_json::{Value, json};
use tests::lambda::{Answer, Function};
use tests::proxy::{Answer as Wire, Proxy};
use tests::stack::Stack;
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE};
use tests::world::{MINUTE, NOON, World, minutes_ago};

use super::{enumerate, texts};

const OTHER: &str = "instance-2";

/// Two instances, each with a version that is Queued.
async fn world() -> anyhow::Result<World> {
    let world = World::new().await?;
    world.add_aurora(CLUSTER, &[INSTANCE, OTHER]);
    for instance in [INSTANCE, OTHER] {
        world.rds.put_file(instance, FILE, "x\n", NOON);
    }
    world.enumerate().await?;
    Ok(world)
}

/// The same, and the first instance is gone; with its resource id.
async fn vanished() -> anyhow::Result<(World, String)> {
    let mut world = world().await?;
    world.expect_error("is gone from RDS");
    let id = world.rds.resource_id(INSTANCE);
    world.rds.remove_instance(INSTANCE);
    Ok((world, id))
}

/// What the table says of an instance: its name, and whether it is there.
async fn registered(world: &World, id: &str) -> anyhow::Result<(String, String)> {
    let key = format!("I#{id}");
    let rows = world.rows().await?.into_iter();
    let mut rows = rows.filter(|row| row["pk"] == "INSTANCES" && row["sk"] == key);
    let row = rows.next().expect("the instance is registered");
    Ok((row["instance"].clone(), row["presence"].clone()))
}

async fn presence(world: &World, id: &str) -> anyhow::Result<String> {
    Ok(registered(world, id).await?.1)
}

async fn attention(world: &World) -> anyhow::Result<(Option<i32>, Vec<String>)> {
    let ended = world.auditferry(&["status", "--json"]).await?;
    Ok((ended.code(), texts(&ended.json()?, "attention")))
}

/// Gives every version of an instance this state.
async fn rewrite_all(world: &World, id: &str, state: &str) -> anyhow::Result<()> {
    for row in world.all_versions().await? {
        if row["resource_id"] == id {
            world.rewrite_state(&row, state).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_vanished_instance_is_reported_by_name_at_every_run_until_it_is_dismissed()
-> anyhow::Result<()> {
    let (world, id) = vanished().await?;
    let report = format!(
        "{INSTANCE} ({id}) is gone from RDS with 1 unfinished versions, the oldest {FILE}: nobody can download them any \
         more; say so with auditferry dismiss --instance {id} --reason …"
    );
    for run in 0..2 {
        let written = NOON + run * MINUTE;
        let new = format!("audit/{run}");
        world.rds.put_file(OTHER, &new, "x\n", written);
        let ended = world.auditferry(&["enumerate", "--json"]).await?;
        let summary = ended.json()?;
        assert_eq!(ended.code(), Some(1));
        assert_eq!(summary["vanished"], json!([report]));
        assert_eq!(
            (&summary["failures"], &summary["problems"]),
            (&json!(1), &json!([]))
        );
        assert_eq!(ended.logged("ERROR"), [report.as_str()]);
        assert_eq!(presence(&world, &id).await?, "Vanished");
        // The other one is not kept waiting.
        assert_eq!(summary["sent"], 1);
    }
    let people = world.auditferry(&["enumerate"]).await?;
    let said = format!("vanished:\n  {report}\n");
    assert!(people.stdout.contains(&said), "{}", people.stdout);

    let why = ["--reason", "deleted on purpose"];
    let dismissed: Vec<_> = ["dismiss", "--instance", &id]
        .into_iter()
        .chain(why)
        .collect();
    assert_eq!(world.auditferry(&dismissed).await?.code(), Some(0));
    for _ in 0..2 {
        let (code, summary) = enumerate(&world, &[]).await?;
        assert_eq!((code, &summary["vanished"]), (Some(0), &json!([])));
        assert_eq!(presence(&world, &id).await?, "Closed");
    }
    Ok(())
}

#[tokio::test]
async fn producers_with_disjoint_selections_leave_each_others_instances_alone_and_all_report_what_vanishes()
-> anyhow::Result<()> {
    let mut world = World::new().await?;
    let shards = [("orders", INSTANCE), ("billing", OTHER)];
    for (cluster, instance) in shards {
        world.add_aurora(cluster, &[instance]);
        world.rds.put_file(instance, FILE, "x\n", NOON);
    }
    for run in 0..2 {
        for (cluster, instance) in shards {
            let (code, summary) = enumerate(&world, &[("CLUSTERS", cluster)]).await?;
            assert_eq!((code, &summary["vanished"]), (Some(0), &json!([])));
            assert_eq!(summary["sent"], u64::from(run == 0));
            let id = world.rds.resource_id(instance);
            assert_eq!(presence(&world, &id).await?, "There");
        }
    }
    world.expect_error("is gone from RDS");
    world.rds.remove_instance(INSTANCE);
    let (code, summary) = enumerate(&world, &[("CLUSTERS", "billing")]).await?;
    assert_eq!(code, Some(1));
    assert!(texts(&summary, "vanished")[0].starts_with(INSTANCE));
    let other = world.rds.resource_id(OTHER);
    assert_eq!(presence(&world, &other).await?, "There");
    Ok(())
}

#[tokio::test]
async fn the_lambda_fails_and_names_what_has_vanished() -> anyhow::Result<()> {
    let (world, id) = vanished().await?;
    let mut function = Function::start(&world, &[]).await?;
    let answer = function
        .invoke(&Value::Null, Duration::from_mins(5))
        .await?;
    let Answer::Failed {
        error_type,
        error_message,
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(error_type, "EnumerationIncomplete");
    let said = format!("{INSTANCE} ({id}) is gone from RDS with 1 unfinished versions");
    assert!(error_message.starts_with(&said), "{error_message}");
    function.stop(&world).await?;
    Ok(())
}

#[tokio::test]
async fn all_kinds_of_unfinished_versions_are_counted_and_finished_ones_are_not()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("is gone from RDS");
    let states = ["Leased", "Quarantined", "Queued", "Gone", "Complete"];
    for (minutes, state) in (0..).zip(states) {
        let written = NOON + minutes * MINUTE;
        let file = format!("audit/{state}");
        world.rds.put_file(INSTANCE, &file, "x\n", written);
    }
    world.add_mariadb("legacy");
    world.enumerate().await?;
    for state in states {
        let row = world.version_row(&format!("audit/{state}")).await?;
        world.rewrite_state(&row, state).await?;
    }
    let id = world.rds.resource_id(INSTANCE);
    world.rds.remove_instance(INSTANCE);
    let (_, summary) = enumerate(&world, &[("CLUSTERS", "")]).await?;
    let report = &texts(&summary, "vanished")[0];
    let said = "is gone from RDS with 3 unfinished versions, the oldest audit/Leased: ";
    assert!(report.contains(said), "{report}");

    let (code, attention) = attention(&world).await?;
    assert_eq!(code, Some(2));
    let said = format!(
        "{INSTANCE} ({id}): gone from RDS with 3 unfinished versions: auditferry dismiss takes note"
    );
    assert!(attention.contains(&said), "{attention:#?}");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_vanished_with_everything_finished_is_not_mentioned() -> anyhow::Result<()>
{
    let world = world().await?;
    let id = world.rds.resource_id(INSTANCE);
    rewrite_all(&world, &id, "Complete").await?;
    world.rds.remove_instance(INSTANCE);
    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!((code, &summary["vanished"]), (Some(0), &json!([])));
    assert_eq!(presence(&world, &id).await?, "Closed");
    // Nor when nobody has looked at it for long.
    let mark = world.mark(INSTANCE, "aurora").await?;
    world
        .rewrite(&mark, "last_enumerated_at", minutes_ago(13 * 60))
        .await?;
    let (_, attention) = attention(&world).await?;
    let of_it = |text: &&String| text.contains(INSTANCE);
    assert_eq!(attention.iter().find(of_it), None, "{attention:#?}");
    let people = world.auditferry(&["status"]).await?;
    let said = format!("{INSTANCE} (gone from RDS)");
    assert!(people.stdout.contains(&said), "{}", people.stdout);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_says_what_has_vanished_and_writes_nothing() -> anyhow::Result<()> {
    let (world, id) = vanished().await?;
    let rows = world.rows().await?;
    let ended = world
        .auditferry(&["enumerate", "--dry-run", "--json"])
        .await?;
    assert_eq!(ended.code(), Some(1));
    assert_eq!(texts(&ended.json()?, "vanished").len(), 1);
    assert_eq!(world.rows().await?, rows);
    assert_eq!(presence(&world, &id).await?, "There");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_comes_back_is_there_again() -> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("is gone from RDS");
    let id = world.rds.resource_id(INSTANCE);
    for (state, gone, reported) in [("Queued", "Vanished", 1), ("Complete", "Closed", 0)] {
        rewrite_all(&world, &id, state).await?;
        let taken = world.rds.take_away(INSTANCE);
        let (_, summary) = enumerate(&world, &[]).await?;
        assert_eq!(texts(&summary, "vanished").len(), reported, "{summary:#}");
        assert_eq!(presence(&world, &id).await?, gone);
        world.rds.put_back(taken);
        // Also when it is not among those that are selected.
        let (code, summary) = enumerate(&world, &[("CLUSTERS", ""), ("INSTANCES", OTHER)]).await?;
        assert_eq!((code, &summary["vanished"]), (Some(0), &json!([])));
        assert_eq!(presence(&world, &id).await?, "There");
    }
    Ok(())
}

#[tokio::test]
async fn a_renamed_instance_has_not_vanished() -> anyhow::Result<()> {
    let world = world().await?;
    let id = world.rds.resource_id(INSTANCE);
    world.rds.rename_instance(INSTANCE, "renamed");
    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!((code, &summary["vanished"]), (Some(0), &json!([])));
    assert_eq!(summary["sent"], 0, "it is the same version");
    let expected = ("renamed".to_owned(), "There".to_owned());
    assert_eq!(registered(&world, &id).await?, expected);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_not_selected_has_not_vanished() -> anyhow::Result<()> {
    let world = world().await?;
    let id = world.rds.resource_id(INSTANCE);
    let with = [("CLUSTERS", ""), ("INSTANCES", OTHER)];
    let (code, summary) = enumerate(&world, &with).await?;
    assert_eq!((code, &summary["vanished"]), (Some(0), &json!([])));
    assert_eq!(presence(&world, &id).await?, "There");
    Ok(())
}

#[tokio::test]
async fn versions_far_below_the_watermark_are_not_forgotten_when_their_instance_vanishes()
-> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("is gone from RDS");
    let hours = 60 * MINUTE;
    // More than DynamoDB gives at a time, so that nobody reads back beyond it without a reason.
    let more = ["audit/1", "audit/2", "audit/3", "audit/4"];
    for (n, file) in (1..).zip(more) {
        world.rds.put_file(INSTANCE, file, "x\n", NOON - n * hours);
    }
    world.enumerate().await?;
    let long = "a long story ".repeat(27_000);
    for file in [FILE].into_iter().chain(more) {
        let complete = [("state", "Complete"), ("error", &long)];
        world.rewrite_row(&world.version(file)?, &complete).await?;
    }
    world.enumerate().await?;
    let watermark = &world.watermarks().await?["instance-1 other"];
    assert_eq!(*watermark, NOON.to_string());
    let late = "audit/late";
    world.rds.put_file(INSTANCE, late, "x\n", NOON - 24 * hours);
    let backfill = ["backfill", "--from", "2024-09-30", "--to", "2024-09-30"];
    assert_eq!(world.auditferry(&backfill).await?.code(), Some(0));
    assert_eq!(world.version_row(late).await?["state"], "Queued");

    world.rds.remove_instance(INSTANCE);
    let (code, summary) = enumerate(&world, &[]).await?;
    let reports = texts(&summary, "vanished");
    let said = format!("is gone from RDS with 1 unfinished versions, the oldest {late}: ");
    assert!(
        reports.iter().any(|report| report.contains(&said)),
        "{reports:#?}"
    );
    assert_eq!(code, Some(1));
    Ok(())
}

#[tokio::test]
async fn a_vanished_instance_whose_rows_cannot_be_read_is_not_closed() -> anyhow::Result<()> {
    let (world, id) = vanished().await?;
    rewrite_all(&world, &id, "Lost").await?;
    let (code, summary) = enumerate(&world, &[]).await?;
    let reports = texts(&summary, "vanished");
    let said = format!(
        "{INSTANCE} ({id}) is gone from RDS, and what the table knows of it was tampered with: row I#{id}"
    );
    assert!(reports[0].starts_with(&said), "{reports:#?}");
    assert_eq!(
        (code, presence(&world, &id).await?),
        (Some(1), "Vanished".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn what_keeps_the_producer_from_knowing_who_has_vanished_stops_nothing_else()
-> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("failed to enumerate what has vanished: Query: ");
    world.rds.put_file(OTHER, "audit/new", "x\n", NOON);
    let proxy = Proxy::start(&Stack::shared().await?.endpoint)?;
    let refused = Wire::Refused {
        status: 400,
        code: "ValidationException",
    };
    proxy.answer("Query", refused, 1);
    let with = [("AWS_ENDPOINT_URL_DYNAMODB", proxy.url())];
    let with = with.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (code, summary) = enumerate(&world, &with).await?;
    assert_eq!(
        (code, &summary["sent"]),
        (Some(1), &json!(1)),
        "{summary:#}"
    );
    assert_eq!(texts(&summary, "problems").len(), 1);
    assert_eq!(enumerate(&world, &with).await?.0, Some(0));
    Ok(())
}
