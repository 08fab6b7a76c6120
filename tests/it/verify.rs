//! `auditferry verify`: archived versions read back, and compared with what was shipped.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::programs::Running;
use tests::proxy::{Answer, Calls, Fault, Service};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World};

/// Verifies everything; the exit code and the result.
async fn verify(world: &World, more: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let since = ["--since", "2024-01-01"];
    let since = if more.contains(&"--since") {
        &[][..]
    } else {
        &since
    };
    let arguments = [&["verify", "--json"], since, more].concat();
    let ended = world.auditferry(&arguments).await?;
    Ok((ended.code(), ended.json()?))
}

/// What was found, by log file and size.
fn findings(result: &Value) -> Vec<(&str, u64, &str)> {
    let found = result["discrepancies"].as_array().into_iter().flatten();
    found
        .map(|found| {
            (
                found["file"].as_str().unwrap_or_default(),
                found["size"].as_u64().unwrap_or_default(),
                found["finding"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

/// Ships these log files, each whole and quiet.
async fn ship(world: &World, files: &[(&str, Vec<u8>)], codec: &str) -> anyhow::Result<()> {
    for (name, content) in files {
        world
            .rds
            .put_file(INSTANCE, name, content.clone(), NOON + MINUTE);
    }
    world.enumerate().await?;
    world.work_with(&[("COMPRESSION", codec)]).await?;
    Ok(())
}

/// Puts other bytes in the place of an object.
async fn tamper(world: &World, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let request = world.s3.put_object().bucket(&world.resources.bucket);
    request.key(key).body(body.into()).send().await?;
    Ok(())
}

fn gzip(raw: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(raw)?;
    Ok(encoder.finish()?)
}

fn compressed(codec: &str, raw: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok(match codec {
        "gzip" => gzip(raw)?,
        _ => zstd::encode_all(raw, 1)?,
    })
}

/// The log file of a minute.
fn of_minute(minute: u32) -> String {
    format!("audit/audit.log.0.2024-10-01-12-{minute:02}.0")
}

fn key(minute: u32, extension: &str) -> String {
    KEY.replace("12-00.0.gz", &format!("12-{minute:02}.0.{extension}"))
}

#[tokio::test]
async fn every_version_of_a_log_file_that_grew_is_verified_in_one_reading() -> anyhow::Result<()> {
    for codec in ["gzip", "zstd"] {
        let mut world = World::with_aurora().await?;
        let content = log(1, 100_000);
        ship(&world, &[(FILE, content[..30_000].to_vec())], codec).await?;
        world
            .rds
            .grow_file(INSTANCE, FILE, &content[30_000..], NOON + 2 * MINUTE);
        ship(&world, &[("audit/empty", Vec::new())], codec).await?;
        let proxy = world.behind_proxy(Service::S3)?;
        let (code, said) = verify(&world, &[]).await?;
        assert_eq!((code, findings(&said)), (Some(0), vec![]), "{said:#}");
        assert_eq!((&said["verified"], &said["empty"]), (&json!(2), &json!(1)));
        assert_eq!(proxy.count("GetObject"), 1);
        assert!(said["read_bytes"].as_u64() > Some(1000));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_as_it_was_shipped_is_found_and_nothing_else_is() -> anyhow::Result<()> {
    for (codec, extension) in [("gzip", "gz"), ("zstd", "zst")] {
        let world = World::with_aurora().await?;
        let shipped = log(1, 20_000);
        let files: Vec<(String, Vec<u8>)> = (0..6)
            .map(|file| (of_minute(file), shipped.clone()))
            .collect();
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|(name, content)| (name.as_str(), content.clone()))
            .collect();
        ship(&world, &files, codec).await?;
        assert_eq!(verify(&world, &[]).await?.1["verified"], 6);

        let one_byte = [&shipped[..10_000], b"X", &shipped[10_001..]].concat();
        let and_more = [&shipped[..], b"forged\n"].concat();
        let whole = compressed(codec, &shipped)?;
        for (file, body) in [
            (1, whole[..whole.len() - 1].to_vec()),
            (2, compressed(codec, &shipped[..19_999])?),
            (3, compressed(codec, &one_byte)?),
            (4, compressed(codec, &and_more)?),
        ] {
            tamper(&world, &key(file, extension), body).await?;
        }
        let request = world.s3.delete_object().bucket(&world.resources.bucket);
        request.key(key(5, extension)).send().await?;
        let (code, said) = verify(&world, &[]).await?;
        let names: Vec<String> = (1..6).map(of_minute).collect();
        let expected = ["damaged", "short", "different", "long", "missing"];
        let expected: Vec<(&str, u64, &str)> = names
            .iter()
            .zip(expected)
            .map(|(name, finding)| (name.as_str(), 20_000, finding))
            .collect();
        assert_eq!((code, findings(&said)), (Some(2), expected), "{codec}");
        assert_eq!(said["verified"], 1);
        assert_eq!(said["discrepancies"][0]["key"], key(1, extension));
    }
    Ok(())
}

#[tokio::test]
async fn a_newer_version_that_nobody_has_recorded_yet_is_nothing_forged() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let content = log(1, 20_000);
    ship(&world, &[(FILE, content[..10_000].to_vec())], "gzip").await?;
    world
        .rds
        .grow_file(INSTANCE, FILE, &content[10_000..], NOON + 2 * MINUTE);
    world.enumerate().await?;
    // Its worker has stored it, and was lost before it could say so.
    tamper(&world, KEY, gzip(&content)?).await?;
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!((code, findings(&said)), (Some(0), vec![]), "{said:#}");
    assert_eq!(
        (&said["verified"], &said["unfinished"]),
        (&json!(1), &json!(1))
    );
    Ok(())
}

#[tokio::test]
async fn what_grows_while_it_is_read_is_nothing_forged() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    let content = log(1, 20_000);
    ship(&world, &[(FILE, content[..10_000].to_vec())], "gzip").await?;
    let proxy = world.behind_proxy(Service::S3)?;
    let hold = proxy.hold("GetObject");
    let arguments = ["verify", "--json", "--since", "2024-01-01"];
    let environment = world.environment(&[]);
    let verifying = Running::start_with("auditferry", &arguments, &environment)?;
    eventually("the object to be asked for", async || {
        match proxy.count("GetObject") {
            0 => Err("not yet"),
            _ => Ok(()),
        }
    })
    .await?;
    world
        .rds
        .grow_file(INSTANCE, FILE, &content[10_000..], NOON + 2 * MINUTE);
    ship(&world, &[], "gzip").await?;
    drop(hold);
    let ended = world.finish("auditferry", verifying).await?;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("\"verified\": 1,"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_found_stored_and_never_read_is_not_called_verified() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    ship(&world, &[(FILE, log(1, 5000))], "gzip").await?;
    // As whoever records a version does that another one has stored.
    world.lose_row(&world.version_row(FILE).await?).await?;
    let repaired = ["reconcile", "--since", "2024-01-01", "--repair"];
    assert_eq!(world.auditferry(&repaired).await?.code(), Some(0));
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!(code, Some(0), "{said:#}");
    assert_eq!(
        (&said["verified"], &said["without_sha256"]),
        (&json!(0), &json!(1))
    );
    Ok(())
}

#[tokio::test]
async fn only_the_instances_and_times_that_are_meant_are_read() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.add_mariadb("legacy");
    let rotated = "audit/server_audit.log.1";
    world.rds.put_file("legacy", rotated, log(2, 5000), NOON);
    ship(&world, &[(FILE, log(1, 5000))], "gzip").await?;
    let proxy = world.behind_proxy(Service::S3)?;
    for (arguments, code, verified, reads) in [
        (&["--instance", "LEGACY"][..], 0, 1, 1),
        (&["--until", "2024-10-01T12:00:30Z"], 0, 1, 1),
        (&["--until", "2024-10-01"], 0, 2, 2),
        (&["--since", "2024-10-01T12:00:30Z"], 0, 1, 1),
        (&["--instance", "legacy,nobody"], 1, 1, 1),
    ] {
        let before = proxy.count("GetObject");
        let (found, said) = verify(&world, arguments).await?;
        assert_eq!(found, Some(code), "{arguments:?} {said:#}");
        assert_eq!(said["verified"], verified, "{arguments:?}");
        assert_eq!(proxy.count("GetObject") - before, reads, "{arguments:?}");
    }
    let (_, said) = verify(&world, &["--instance", "nobody"]).await?;
    assert_eq!(
        said["failures"],
        json!(["the table knows no instance nobody"])
    );
    // A week before the end, if nobody says since when.
    let ended = world
        .auditferry(&["verify", "--until", "2024-10-03"])
        .await?;
    let well = "last written since 2024-09-26T23:59:59Z until 2024-10-03T23:59:59Z, ";
    assert!(ended.stdout.starts_with(well), "{ended:?}");
    let well = " read:\n2 versions are as they were shipped, 0 are not\n";
    assert!(ended.stdout.contains(well), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_now_is_said_and_is_no_finding() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    let proxy = world.behind_proxy(Service::S3)?;
    let files = [(FILE, log(1, 50_000)), (&*of_minute(1), log(2, 50_000))];
    ship(&world, &files, "gzip").await?;
    // Once is no matter.
    let fault = proxy.inject(Fault::ResetWithin, Some("GetObject"), Calls::First(2));
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!((code, &said["verified"]), (Some(0), &json!(2)), "{said:#}");
    drop(fault);
    let asleep = Answer::Refused {
        status: 403,
        code: "InvalidObjectState",
    };
    proxy.answer("GetObject", asleep.clone(), 2);
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!(code, Some(1), "{said:#}");
    let not_read = said["not_read"].as_array().map_or(0, Vec::len);
    assert_eq!((not_read, findings(&said)), (2, vec![]));
    let why = "it is in Glacier: restore it first";
    assert_eq!(said["not_read"][0]["why"], why);
    // What is found counts for more.
    proxy.answer("GetObject", asleep, 1);
    for minute in 0..2 {
        tamper(&world, &key(minute, "gz"), gzip(b"forged")?).await?;
    }
    let ended = world
        .auditferry(&["verify", "--since", "2024-01-01"])
        .await?;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    let told = format!("objects not read (--json names them):\n  1: {why}\n");
    assert!(ended.stdout.contains(&told), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn people_read_what_is_wrong_with_which_object() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    ship(&world, &[(FILE, log(1, 5000))], "gzip").await?;
    tamper(&world, KEY, gzip(&log(2, 5000))?).await?;
    let ended = world
        .auditferry(&["verify", "--since", "2024-10-01", "--instance", INSTANCE])
        .await?;
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    for text in [
        FILE,
        KEY,
        CLUSTER,
        "2024-10-01T12:01:00",
        "it is not what was shipped",
        "last written since 2024-10-01T00:00:00Z, ",
        "0 versions are as they were shipped, 1 are not\n",
    ] {
        assert!(ended.stdout.contains(text), "{text:?} in {}", ended.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn a_time_range_with_nothing_in_it_is_refused() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (arguments, said) in [
        (
            &["verify", "--since", "2024-10-02", "--until", "2024-10-01"][..],
            "is after --until",
        ),
        (&["verify", "--since", "2999-01-01"], "is in the future"),
    ] {
        let ended = world.auditferry(arguments).await?;
        assert_eq!(ended.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    // Nothing to be found is nothing proved.
    let ended = world.auditferry(&["verify"]).await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let nobody = "the table knows no instance";
    assert!(ended.stdout.contains(nobody), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_lost_is_no_part_of_what_is_well() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("gone, evidence is lost");
    for file in [&of_minute(1), "audit/kept"] {
        world.rds.put_file(INSTANCE, file, "one line\n", NOON);
    }
    world.enumerate().await?;
    world.rds.remove_file(INSTANCE, &of_minute(1));
    world.work().await?;
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!(code, Some(2), "{said:#}");
    assert_eq!((&said["gone"], &said["verified"]), (&json!(1), &json!(1)));
    let dismiss = ["dismiss", "--instance", INSTANCE, "--reason", "an incident"];
    assert_eq!(world.auditferry(&dismiss).await?.code(), Some(0));
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!(code, Some(0), "{said:#}");
    assert_eq!((&said["gone"], &said["dismissed"]), (&json!(0), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn each_of_several_twins_is_verified() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.add_mariadb("legacy");
    for number in 1..3 {
        let name = format!("audit/server_audit.log.{number}");
        world.rds.put_file("legacy", &name, log(number, 5000), NOON);
    }
    world.enumerate().await?;
    world.work().await?;
    let objects = world.objects().await?;
    assert_eq!(objects.len(), 2, "{:?}", objects.keys());
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!((code, &said["verified"]), (Some(0), &json!(1)), "{said:#}");
    for (key, twin) in &objects {
        tamper(&world, key, gzip(&log(3, 5000))?).await?;
        let (code, said) = verify(&world, &[]).await?;
        assert_eq!((code, &said["verified"]), (Some(2), &json!(0)), "{said:#}");
        assert_eq!(said["discrepancies"][0]["key"], **key);
        tamper(&world, key, twin.stored.clone()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_cannot_be_looked_up_stops_no_other_and_none_is_forgotten()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.add_mariadb("legacy");
    let rotated = "audit/server_audit.log.1";
    world.rds.put_file("legacy", rotated, log(2, 5000), NOON);
    world.rds.put_file(INSTANCE, FILE, log(1, 5000), NOON);
    // It registers nobody.
    let backfill = ["backfill", "--from", "2024-10-01", "--to", "2024-10-01"];
    assert_eq!(world.auditferry(&backfill).await?.code(), Some(0));
    world.work().await?;
    assert_eq!(verify(&world, &[]).await?.1["verified"], 2);
    let proxy = world.behind_proxy(Service::DynamoDb)?;
    let refused = Answer::Refused {
        status: 400,
        code: "ValidationException",
    };
    proxy.answer("Query", refused, 1);
    let (code, said) = verify(&world, &[]).await?;
    assert_eq!((code, &said["verified"]), (Some(1), &json!(1)), "{said:#}");
    assert_eq!(said["failures"].as_array().map_or(0, Vec::len), 1);
    Ok(())
}
