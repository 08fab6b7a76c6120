//! What cannot be shipped: it goes where a person looks, unharmed, and stops nothing else.

use std::collections::BTreeMap;

use tests::rds::{FOREVER, Fault, Where};
use tests::world::World;
use tests::world::by_hand::{FILE, INSTANCE, log};

#[tokio::test]
async fn a_file_that_always_fails_is_quarantined_after_its_last_attempt() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter");
    let broken = Fault::Status {
        status: 500,
        code: "InternalFailure".to_owned(),
        message: "again and again".to_owned(),
    };
    let download = Where::download(INSTANCE, FILE);
    world.rds.fail(download.clone(), broken, FOREVER);
    let version = world.put_and_send(FILE, log(1, 5000)).await?;
    let neighbour = world.put_and_send("audit/neighbour", log(2, 5000)).await?;
    let ended = world.work_with(&[("MAX_ATTEMPTS", "3")]).await?;

    assert_eq!(world.rds.count(&download), 3);
    let row = world.until(&version, "Quarantined").await?;
    assert_eq!(row["attempts"], "3");
    let reasons = reasons(&world).await?;
    let reason = &reasons[&version.to_wire()];
    for text in ["attempt 3 of 3", "InternalFailure", "again and again", FILE] {
        assert!(reason.contains(text), "{text:?} in {reason}");
        assert!(row["error"].contains(text), "{text:?} in {row:?}");
    }
    assert_eq!(reasons.len(), 1);
    assert_eq!(world.queued().await?, (0, 0));
    assert_eq!(ended.logged("ERROR").len(), 1);
    world.until(&neighbour, "Complete").await?;
    Ok(())
}

#[tokio::test]
async fn a_file_that_kills_workers_is_quarantined_without_killing_another() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter");
    let (queued, leased) = ("audit/queued", "audit/leased");
    let mut versions = Vec::new();
    for (file, state) in [(queued, "Queued"), (leased, "Leased")] {
        let version = world.put_and_send(file, log(3, 5000)).await?;
        // Five workers have claimed it, and none of them came back.
        let died = [
            ("state", state),
            ("owner", "the fifth"),
            ("lease_until", "1000"),
            ("generation", "5"),
            ("attempts", "5"),
        ];
        world.rewrite_row(&version, &died).await?;
        versions.push(version);
    }
    world.work().await?;

    for file in [queued, leased] {
        assert_eq!(
            world.rds.count(&Where::download(INSTANCE, file)),
            0,
            "{file}"
        );
    }
    let reasons = reasons(&world).await?;
    for version in versions {
        world.until(&version, "Quarantined").await?;
        let reason = &reasons[&version.to_wire()];
        assert!(reason.contains("without an end"), "{reason}");
    }
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_message_that_means_nothing_is_kept_as_a_dead_letter_with_its_reason()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter");
    let neighbour = world.put_and_send(FILE, log(4, 5000)).await?;
    let sensible = neighbour.to_wire();
    let bodies = [
        ("hello", "unparsable message"),
        ("{\"v\":1}", "missing field"),
        (
            "{\"v\":2, \"spaces  are\":[\"kept\"]}",
            "unknown message version 2",
        ),
        (
            &sensible.replace("\"v\":1", "\"v\":\"1\""),
            "unknown message version \"1\"",
        ),
        (
            &sensible.replace("5000}", "-5}"),
            "no version of a log file",
        ),
        ("<xml>ü €</xml>", "unparsable message"),
    ];
    for (body, _) in bodies {
        world.send(body).await?;
    }
    let ended = world.work().await?;

    let reasons = reasons(&world).await?;
    assert_eq!(reasons.len(), bodies.len(), "{reasons:#?}");
    for (body, expected) in bodies {
        let reason = &reasons[body];
        assert!(reason.contains(expected), "{expected:?} in {reason:?}");
    }
    world.until(&neighbour, "Complete").await?;
    assert_eq!(world.queued().await?, (0, 0));
    assert_eq!(
        ended.logged("ERROR").len(),
        bodies.len(),
        "each is said once"
    );
    Ok(())
}

#[tokio::test]
async fn a_name_that_could_leave_the_layout_is_rejected_before_any_download() -> anyhow::Result<()>
{
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter");
    let neighbour = world.put_and_send(FILE, log(5, 5000)).await?;
    let names = [
        ("audit/../x", "a segment of dots"),
        ("audit//x", "an empty segment"),
        ("audit/a\u{1}b", "a control character"),
        ("error/mysql-error.log", "not under audit/"),
    ];
    let mut versions = Vec::new();
    for (name, why) in names {
        versions.push((world.put_and_send(name, log(6, 5000)).await?, why));
    }
    let mut elsewhere = neighbour.clone();
    elsewhere.instance.cluster = "../another".to_owned();
    elsewhere.instance.resource_id = "db-ELSEWHERE".to_owned();
    world.send(&elsewhere.to_wire()).await?;
    versions.push((elsewhere, "it contains a slash"));
    world.work().await?;

    let reasons = reasons(&world).await?;
    for (version, why) in &versions {
        let row = world.until(version, "Quarantined").await?;
        assert!(row["error"].contains(why), "{why} in {row:?}");
        let reason = &reasons[&version.to_wire()];
        assert!(reason.contains(why), "{why} in {reason}");
        assert_eq!(
            row["attempts"], "1",
            "a second look would show nothing else"
        );
    }
    assert_eq!(reasons.len(), versions.len());
    world.until(&neighbour, "Complete").await?;
    assert_eq!(world.objects().await?.len(), 1);
    let downloads = world.rds.requests();
    assert_eq!(downloads.len(), 1, "{downloads:?}");
    assert_eq!(world.queued().await?, (0, 0));
    Ok(())
}

/// Takes all dead letters: the reason of each by its body.
async fn reasons(world: &World) -> anyhow::Result<BTreeMap<String, String>> {
    let letters = world.take_dead_letters().await?.into_iter();
    let told = letters.map(|letter| {
        let reason = letter
            .message_attributes
            .and_then(|mut all| all.remove("reason"))
            .and_then(|reason| reason.string_value);
        (letter.body.unwrap_or_default(), reason.unwrap_or_default())
    });
    Ok(told.collect())
}
