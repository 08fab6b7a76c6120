//! `auditferry reconcile`: what is missing where, of RDS, the checkpoint table and the archive; and what mends it.

use serde_json::{Value, json};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World, minutes_ago, number};

/// Far enough back for all that the tests put in place.
const ALL: [&str; 2] = ["--since", "2024-01-01"];

/// Reconciles everything; the exit code and the result.
async fn reconcile(world: &World, more: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let arguments = [&["reconcile", "--json"], &ALL[..], more].concat();
    let ended = world.auditferry(&arguments).await?;
    Ok((ended.code(), ended.json()?))
}

/// What was found, by log file.
fn findings(result: &Value) -> Vec<(String, String, bool)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = result["discrepancies"].as_array().into_iter().flatten();
    found
        .map(|found| {
            let repaired = found["repaired"] == json!(true);
            (word(&found["file"]), word(&found["finding"]), repaired)
        })
        .collect()
}

fn found(finding: &str, repaired: bool) -> Vec<(String, String, bool)> {
    vec![(FILE.to_owned(), finding.to_owned(), repaired)]
}

/// A world in which one log file was shipped.
async fn shipped() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.rds.put_file(INSTANCE, FILE, log(1, 5000), NOON);
    world.enumerate().await?;
    world.work().await?;
    Ok(world)
}

async fn delete_object(world: &World, key: &str) -> anyhow::Result<()> {
    let request = world.s3.delete_object().bucket(&world.resources.bucket);
    request.key(key).send().await?;
    Ok(())
}

/// Found once, mended once, then nothing is left to find; and the archive has every byte.
async fn is_mended(world: &World, finding: &str) -> anyhow::Result<()> {
    let rows = world.rows().await?;
    assert_eq!(
        reconcile(world, &[])
            .await
            .map(|(code, said)| (code, findings(&said)))?,
        (Some(2), found(finding, false))
    );
    assert_eq!(
        world.rows().await?,
        rows,
        "nothing is written without --repair"
    );
    let (code, said) = reconcile(world, &["--repair"]).await?;
    assert_eq!(
        (code, findings(&said)),
        (Some(0), found(finding, true)),
        "{said:#}"
    );
    world.work().await?;
    let (code, said) = reconcile(world, &[]).await?;
    assert_eq!((code, findings(&said)), (Some(0), vec![]), "{said:#}");
    assert_eq!(world.objects().await?[KEY].raw, log(1, 5000));
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

#[tokio::test]
async fn where_everything_is_everywhere_nothing_is_found() -> anyhow::Result<()> {
    let world = shipped().await?;
    world
        .rds
        .grow_file(INSTANCE, FILE, b"one more line\n", NOON + MINUTE);
    world.add_mariadb("legacy");
    world.rds.put_file(
        "legacy",
        "audit/server_audit.log",
        "one line\n",
        NOON + MINUTE,
    );
    world
        .rds
        .put_file("legacy", "audit/server_audit.log.1", "two lines\n", NOON);
    world
        .rds
        .put_file("legacy", "audit/server_audit.log.2", "", NOON - MINUTE);
    world.enumerate().await?;
    world.work().await?;
    let (code, said) = reconcile(&world, &[]).await?;
    assert_eq!((code, findings(&said)), (Some(0), vec![]), "{said:#}");
    // Two versions of the file that has grown, and two rotated ones.
    assert_eq!(said["compared"], 4);
    let people = world
        .auditferry(&[&["reconcile"], &ALL[..]].concat())
        .await?;
    assert!(
        people
            .stdout
            .contains("4 versions compared, 0 not everywhere"),
        "{}",
        people.stdout
    );
    Ok(())
}

#[tokio::test]
async fn an_object_that_was_deleted_is_shipped_again_from_rds() -> anyhow::Result<()> {
    let world = shipped().await?;
    delete_object(&world, KEY).await?;
    is_mended(&world, "missing").await?;
    assert_eq!(number(&world.version_row(FILE).await?, "generation")?, 3);
    Ok(())
}

#[tokio::test]
async fn an_object_that_was_deleted_when_rds_has_it_no_more_is_lost_and_said() -> anyhow::Result<()>
{
    let world = shipped().await?;
    world
        .rds
        .put_file(INSTANCE, "audit/another", "one line\n", minutes_ago(1));
    world.rds.remove_file(INSTANCE, FILE);
    delete_object(&world, KEY).await?;
    for arguments in [&[][..], &["--repair"]] {
        let (code, said) = reconcile(&world, arguments).await?;
        assert_eq!((code, findings(&said)), (Some(2), found("lost", false)));
    }
    Ok(())
}

#[tokio::test]
async fn a_row_that_was_lost_is_recorded_from_what_the_archive_has() -> anyhow::Result<()> {
    let world = shipped().await?;
    world.lose_row(&world.version_row(FILE).await?).await?;
    is_mended(&world, "stored").await
}

#[tokio::test]
async fn an_object_that_neither_table_nor_rds_knows_is_recorded() -> anyhow::Result<()> {
    let world = shipped().await?;
    world
        .rds
        .put_file(INSTANCE, "audit/another", "one line\n", minutes_ago(1));
    world.rds.remove_file(INSTANCE, FILE);
    world.lose_row(&world.version_row(FILE).await?).await?;
    is_mended(&world, "stored").await
}

#[tokio::test]
async fn a_version_that_the_producer_has_missed_is_sent() -> anyhow::Result<()> {
    let world = shipped().await?;
    world.lose_row(&world.version_row(FILE).await?).await?;
    delete_object(&world, KEY).await?;
    is_mended(&world, "unrecorded").await
}

#[tokio::test]
async fn a_version_that_was_gone_and_is_listed_again_is_shipped() -> anyhow::Result<()> {
    let world = shipped().await?;
    delete_object(&world, KEY).await?;
    world
        .rewrite_state(&world.version_row(FILE).await?, "Gone")
        .await?;
    is_mended(&world, "back").await
}

#[tokio::test]
async fn a_version_that_is_gone_but_archived_is_complete() -> anyhow::Result<()> {
    let world = shipped().await?;
    world
        .rewrite_state(&world.version_row(FILE).await?, "Gone")
        .await?;
    is_mended(&world, "stored").await
}

#[tokio::test]
async fn a_version_whose_message_was_lost_below_the_watermark_is_sent_again() -> anyhow::Result<()>
{
    let world = shipped().await?;
    delete_object(&world, KEY).await?;
    let (code, _) = reconcile(&world, &["--repair"]).await?;
    assert_eq!(code, Some(0));
    world.take(1).await?;
    let row = world.version_row(FILE).await?;
    world.rewrite(&row, "queued_at", minutes_ago(60)).await?;
    is_mended(&world, "waiting").await
}

#[tokio::test]
async fn what_an_operator_dismissed_stays_dismissed() -> anyhow::Result<()> {
    let world = shipped().await?;
    delete_object(&world, KEY).await?;
    world
        .rewrite_state(&world.version_row(FILE).await?, "Gone")
        .await?;
    let dismiss = ["dismiss", "--instance", INSTANCE, "--reason", "by mistake"];
    assert_eq!(world.auditferry(&dismiss).await?.code(), Some(0));
    let (code, said) = reconcile(&world, &["--repair"]).await?;
    assert_eq!((code, findings(&said)), (Some(0), vec![]), "{said:#}");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_rds_has_no_more_is_compared_with_the_archive() -> anyhow::Result<()> {
    let world = shipped().await?;
    world.add_instance("instance-2", Some(CLUSTER), "aurora-mysql", &[]);
    world.rds.remove_instance(INSTANCE);
    let (code, said) = reconcile(&world, &["--instance", INSTANCE]).await?;
    assert_eq!((code, &said["compared"]), (Some(0), &json!(1)), "{said:#}");
    delete_object(&world, KEY).await?;
    let (code, said) = reconcile(&world, &["--instance", INSTANCE]).await?;
    assert_eq!((code, findings(&said)), (Some(2), found("lost", false)));
    Ok(())
}

#[tokio::test]
async fn an_object_of_another_instance_or_of_an_older_script_is_no_proof() -> anyhow::Result<()> {
    let world = shipped().await?;
    let put = |metadata: Option<(&str, &str)>| {
        let request = world.s3.put_object().bucket(&world.resources.bucket);
        let request = request.key(KEY).body(b"something".to_vec().into());
        let request = match metadata {
            Some((name, value)) => request.metadata(name, value),
            None => request,
        };
        request.send()
    };
    for metadata in [None, Some(("resource-id", "db-ANOTHER"))] {
        put(metadata).await?;
        let (code, said) = reconcile(&world, &[]).await?;
        assert_eq!((code, findings(&said)), (Some(2), found("missing", false)));
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_instance_is_named_and_a_missing_bucket_ends_it() -> anyhow::Result<()> {
    let mut world = shipped().await?;
    let (code, said) = reconcile(&world, &["--instance", "nobody"]).await?;
    assert_eq!(code, Some(1));
    assert!(
        said["failures"][0].to_string().contains("nobody"),
        "{said:#}"
    );
    world.expect_error("there is no bucket");
    let arguments = [&["reconcile"], &ALL[..]].concat();
    let ended = world
        .auditferry_with(&arguments, &[("S3_BUCKET", "no-such-bucket")])
        .await?;
    assert_eq!(ended.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn what_rds_does_not_say_for_certain_is_neither_lost_nor_clean() -> anyhow::Result<()> {
    let world = shipped().await?;
    delete_object(&world, KEY).await?;
    world.rds.set_instance_status(INSTANCE, "creating");
    let (code, said) = reconcile(&world, &["--repair"]).await?;
    assert_eq!((code, findings(&said)), (Some(1), vec![]), "{said:#}");
    let failure = said["failures"][0].to_string();
    assert!(failure.contains("compared without RDS"), "{failure}");
    world.rds.set_instance_status(INSTANCE, "available");
    is_mended(&world, "missing").await
}

#[tokio::test]
async fn an_instance_and_one_that_had_its_name_are_both_compared() -> anyhow::Result<()> {
    let world = shipped().await?;
    world.rds.remove_instance(INSTANCE);
    world.add_instance(INSTANCE, Some(CLUSTER), "aurora-mysql", &[]);
    let another = FILE.replace("12-00", "12-30");
    world
        .rds
        .put_file(INSTANCE, &another, log(2, 500), NOON + 30 * MINUTE);
    world.enumerate().await?;
    world.work().await?;
    let (code, said) = reconcile(&world, &["--instance", INSTANCE]).await?;
    assert_eq!((code, &said["compared"]), (Some(0), &json!(2)), "{said:#}");
    Ok(())
}
