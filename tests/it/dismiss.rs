//! `auditferry dismiss`: what nobody can bring back is given up, with the reason, and nothing else is.

use serde_json::{Value, json};
use shared::message::Message;
use tests::programs::Running;
use tests::rds::{ANY, Fault, Where};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World, minutes_ago, number};

const WHY: &str = "lost in the incident of 2024-10-02";

/// A world with these log files, each written a minute after the one before it, and the states of their versions.
async fn world(states: &[(&str, &str)]) -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    for (minutes, (file, _)) in (0..).zip(states) {
        let written = NOON + minutes * MINUTE;
        world.rds.put_file(INSTANCE, file, "one line\n", written);
    }
    world.enumerate().await?;
    world.take(states.len()).await?;
    for (file, state) in states {
        let row = world.version_row(file).await?;
        world.rewrite_state(&row, state).await?;
        let ended = minutes_ago(1);
        world.rewrite(&row, "lease_until", ended).await?;
    }
    Ok(world)
}

/// Dismisses for [`WHY`]; the exit code and what became of each version.
async fn dismiss(world: &World, arguments: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let arguments: Vec<_> = ["dismiss", "--json", "--reason", WHY]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let ended = world.auditferry(&arguments).await?;
    Ok((ended.code(), ended.json()?))
}

/// The log files that were dismissed, and those that were not, oldest version first.
fn outcomes(dismissals: &Value) -> (Vec<&str>, Vec<&str>) {
    let files = |dismissed: bool| {
        let all = dismissals.as_array().into_iter().flatten();
        let some = all.filter(move |one| one["dismissed"] == dismissed);
        some.filter_map(|one| one["file"].as_str()).collect()
    };
    (files(true), files(false))
}

#[tokio::test]
async fn a_reason_and_an_instance_must_be_given() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (arguments, said) in [
        (&["--instance", INSTANCE][..], "--reason"),
        (&["--instance", INSTANCE, "--reason", ""], "--reason"),
        (
            &["--instance", INSTANCE, "--reason", " \t"],
            "say why: an auditor will ask",
        ),
        (&["--reason", WHY], "--instance"),
        (&["--reason", WHY, "--instance", ""], "--instance"),
        (&["--reason", WHY, "--instance", " "], "name an instance"),
    ] {
        let arguments: Vec<_> = ["dismiss"].iter().chain(arguments).copied().collect();
        let ended = world.auditferry(&arguments).await?;
        assert_eq!(ended.code(), Some(64), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_gone_or_quarantined_is_dismissed_with_the_reason_and_status_is_quiet()
-> anyhow::Result<()> {
    let world = world(&[
        ("audit/gone", "Gone"),
        ("audit/quarantined", "Quarantined"),
        ("audit/complete", "Complete"),
    ])
    .await?;
    let needs_a_person = world.auditferry(&["status"]).await?;
    assert_eq!(needs_a_person.code(), Some(2));
    let complete = world.version_row("audit/complete").await?;
    let asked_at = minutes_ago(0);
    let reason = format!("  {WHY}\n");
    let ended = world
        .auditferry(&[
            "dismiss",
            "--instance",
            INSTANCE,
            "--reason",
            &reason,
            "--json",
        ])
        .await?;
    let expected = [
        ("audit/gone", "Gone", 0),
        ("audit/quarantined", "Quarantined", 1),
    ]
    .map(|(file, was, minutes)| {
        json!({
            "instance": INSTANCE,
            "resource_id": world.rds.resource_id(INSTANCE),
            "file": file,
            "last_written": format!("2024-10-01T12:0{minutes}:00Z"),
            "size": 9,
            "state": was,
            "dismissed": true,
        })
    });
    assert_eq!((ended.code(), ended.json()?), (Some(0), json!(expected)));
    for file in ["audit/gone", "audit/quarantined"] {
        let row = world.version_row(file).await?;
        assert_eq!((&*row["state"], &*row["reason"]), ("Gone", WHY));
        assert_eq!(row["generation"], "1", "it rises");
        for at in ["gone_at", "dismissed_at"] {
            assert!(number(&row, at)? >= asked_at, "{row:#?}");
        }
    }
    assert_eq!(world.version_row("audit/complete").await?, complete);

    // The watermark passes, and nobody is bothered any more, also not by what RDS still lists.
    let summary = world.enumerate().await?;
    assert_eq!(summary["instances"][0]["warnings"], json!([]));
    let last = (NOON + 2 * MINUTE).to_string();
    assert_eq!(world.watermarks().await?["instance-1 other"], last);
    let quiet = world.auditferry(&["status", "--json"]).await?;
    assert_eq!(quiet.json()?["attention"], json!([]));
    assert_eq!(quiet.code(), Some(0));

    let rows = world.all_versions().await?;
    let (code, again) = dismiss(&world, &["--instance", INSTANCE]).await?;
    assert_eq!((code, again), (Some(0), json!([])));
    assert_eq!(world.all_versions().await?, rows, "the first reason stays");
    Ok(())
}

#[tokio::test]
async fn a_loss_keeps_the_time_of_its_discovery() -> anyhow::Result<()> {
    let world = world(&[(FILE, "Gone")]).await?;
    let version = world.version(FILE)?;
    world
        .rewrite_row(&version, &[("gone_at", "1727800000000")])
        .await?;
    dismiss(&world, &["--instance", INSTANCE]).await?;
    assert_eq!(world.version_row(FILE).await?["gone_at"], "1727800000000");
    Ok(())
}

#[tokio::test]
async fn what_is_unfinished_goes_only_when_asked_for_and_what_is_complete_never()
-> anyhow::Result<()> {
    let world = world(&[
        ("audit/queued", "Queued"),
        ("audit/leased", "Leased"),
        ("audit/complete", "Complete"),
    ])
    .await?;
    let rows = world.all_versions().await?;
    let (code, nothing) = dismiss(&world, &["--instance", INSTANCE]).await?;
    assert_eq!((code, nothing), (Some(0), json!([])));
    let ended = world
        .auditferry(&["dismiss", "--instance", INSTANCE, "--reason", WHY])
        .await?;
    assert!(
        ended.stdout.starts_with("nothing to dismiss: "),
        "{ended:?}"
    );
    assert_eq!(world.all_versions().await?, rows);

    let (code, dismissals) = dismiss(&world, &["--instance", INSTANCE, "--unfinished"]).await?;
    let both = vec!["audit/queued", "audit/leased"];
    assert_eq!((code, outcomes(&dismissals)), (Some(0), (both, vec![])));
    let complete = world.version_row("audit/complete").await?;
    assert_eq!(complete["state"], "Complete");
    // Its message may still be in the queue: it is settled, and nothing is downloaded.
    world.send_version("audit/queued").await?;
    world.work().await?;
    assert_eq!(world.rds.count(&Where::download(ANY, ANY)), 0);
    assert_eq!(world.version_row("audit/queued").await?["state"], "Gone");
    Ok(())
}

#[tokio::test]
async fn only_the_named_file_is_dismissed_and_a_dry_run_changes_nothing() -> anyhow::Result<()> {
    let world = world(&[("audit/a", "Gone"), ("audit/b", "Gone")]).await?;
    let rows = world.rows().await?;
    let b = ["--instance", INSTANCE, "--file", "audit/b"];
    let dry: Vec<_> = b.into_iter().chain(["--dry-run"]).collect();
    let (code, dismissals) = dismiss(&world, &dry).await?;
    assert_eq!((code, outcomes(&dismissals).0), (Some(0), vec!["audit/b"]));
    let people: Vec<_> = ["dismiss", "--reason", WHY]
        .into_iter()
        .chain(dry)
        .collect();
    let people = world.auditferry(&people).await?;
    let said = "1 would be dismissed (dry run: nothing was changed)";
    assert!(people.stdout.contains(said), "{}", people.stdout);
    assert_eq!(world.rows().await?, rows);

    let people: Vec<_> = ["dismiss", "--reason", WHY].into_iter().chain(b).collect();
    let people = world.auditferry(&people).await?;
    for said in [
        "audit/b",
        "2024-10-01T12:01:00Z",
        "Gone, dismissed",
        "1 dismissed; ",
    ] {
        assert!(people.stdout.contains(said), "{said}: {}", people.stdout);
    }
    assert!(!people.stdout.contains("audit/a"), "{}", people.stdout);
    let lost = world.version_row("audit/a").await?;
    assert_eq!(lost.get("dismissed_at"), None);
    let (code, none) = dismiss(&world, &["--instance", INSTANCE, "--file", "audit/c"]).await?;
    assert_eq!((code, none), (Some(0), json!([])));
    Ok(())
}

#[tokio::test]
async fn what_a_worker_has_is_left_and_said() -> anyhow::Result<()> {
    let world = world(&[("audit/held", "Leased"), ("audit/left", "Leased")]).await?;
    let held = world.version_row("audit/held").await?;
    world
        .rewrite(&held, "lease_until", minutes_ago(-60))
        .await?;
    let held = world.version_row("audit/held").await?;
    let arguments = ["--instance", INSTANCE, "--unfinished"];
    let expected = || (vec!["audit/left"], vec!["audit/held"]);
    let dry: Vec<_> = arguments.into_iter().chain(["--dry-run"]).collect();
    let (code, dismissals) = dismiss(&world, &dry).await?;
    assert_eq!((code, outcomes(&dismissals)), (Some(1), expected()));
    let (code, dismissals) = dismiss(&world, &arguments).await?;
    assert_eq!((code, outcomes(&dismissals)), (Some(1), expected()));
    assert_eq!(world.version_row("audit/held").await?, held);
    assert_eq!(world.version_row("audit/left").await?["state"], "Gone");
    let people = ["dismiss", "--reason", WHY].into_iter().chain(arguments);
    let people = world.auditferry(&people.collect::<Vec<_>>()).await?;
    assert_eq!(people.code(), Some(1));
    let said = "as it was: somebody is at work on it";
    assert!(people.stdout.contains(said), "{}", people.stdout);
    Ok(())
}

#[tokio::test]
async fn what_was_put_back_meanwhile_is_left() -> anyhow::Result<()> {
    let world = world(&[(FILE, "Quarantined")]).await?;
    let arguments = ["dismiss", "--instance", INSTANCE, "--reason", WHY];
    let with = world.environment(&[("STOP_AT", "Dismiss.before")]);
    let dismiss = Running::start_with("auditferry", &arguments, &with)?;
    dismiss.stopped().await?;
    let rows = ["requeue", "--from", "checkpoint"];
    assert_eq!(world.auditferry(&rows).await?.code(), Some(0));
    let put_back = world.version_row(FILE).await?;
    assert_eq!(put_back["state"], "Queued");
    dismiss.signal("CONT").await?;
    let ended = dismiss.ended().await?;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert_eq!(world.version_row(FILE).await?, put_back);
    world.work().await?;
    assert_eq!(world.version_row(FILE).await?["state"], "Complete");
    Ok(())
}

/// A worker that sleeps where `stop_at` says, until long after its lease; its version is dismissed meanwhile.
async fn dismissed_from_under(world: &World, stop_at: &str) -> anyhow::Result<(Message, Running)> {
    let version = world.put_and_send(FILE, log(1, 5000)).await?;
    let worker = world.start_worker(&[("STOP_AT", stop_at), ("CONCURRENCY", "1")])?;
    worker.stopped().await?;
    let long_ago = minutes_ago(1).to_string();
    world
        .rewrite_row(&version, &[("lease_until", &long_ago)])
        .await?;
    let (code, dismissals) = dismiss(world, &["--instance", INSTANCE, "--unfinished"]).await?;
    assert_eq!((code, outcomes(&dismissals).0), (Some(0), vec![FILE]));
    let row = world.version_row(FILE).await?;
    assert_eq!((&*row["state"], &*row["generation"]), ("Gone", "2"));
    assert_eq!(row.get("owner"), None);
    worker.signal("CONT").await?;
    Ok((version, worker))
}

async fn stop(world: &World, worker: Running) -> anyhow::Result<()> {
    worker.signal("TERM").await?;
    world.finish_worker(worker).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_worker_proves_of_a_dismissed_version_counts() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let (version, worker) = dismissed_from_under(&world, "Complete.before").await?;
    let row = world.until(&version, "Complete").await?;
    stop(&world, worker).await?;
    assert_eq!(row["reason"], "shipped");
    for given_up in ["gone_at", "dismissed_at"] {
        assert_eq!(row.get(given_up), None, "{row:#?}");
    }
    assert!(world.objects().await?[KEY].raw == log(1, 5000));
    Ok(())
}

#[tokio::test]
async fn a_worker_whose_version_was_dismissed_takes_nothing_of_it_back() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("dead letter");
    // Its download fails, and it would quarantine the version or give it back.
    for (attempts, stop_at) in [("1", "Quarantine.before"), ("5", "Release.before")] {
        let broken = Fault::Status {
            status: 500,
            code: "InternalFailure".to_owned(),
            message: "the reason why".to_owned(),
        };
        world.rds.fail(Where::download(ANY, ANY), broken, 20);
        let version = world.put_and_send(FILE, log(1, 5000)).await?;
        let with = [
            ("STOP_AT", stop_at),
            ("CONCURRENCY", "1"),
            ("MAX_ATTEMPTS", attempts),
        ];
        let worker = world.start_worker(&with)?;
        worker.stopped().await?;
        let long_ago = minutes_ago(1).to_string();
        world
            .rewrite_row(&version, &[("lease_until", &long_ago)])
            .await?;
        let arguments = ["--instance", INSTANCE, "--unfinished"];
        assert_eq!(dismiss(&world, &arguments).await?.0, Some(0), "{stop_at}");
        let row = world.version_row(FILE).await?;
        worker.signal("CONT").await?;
        stop(&world, worker).await?;
        assert_eq!(world.version_row(FILE).await?, row, "{stop_at}");
        world.rds.clear_faults();
        world.lose_row(&row).await?;
        world.take_messages().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_dead_letter_of_a_dismissed_version_goes_with_the_next_requeue() -> anyhow::Result<()> {
    let world = world(&[(FILE, "Quarantined")]).await?;
    world
        .send_dead_letter(&world.version(FILE)?.to_wire())
        .await?;
    dismiss(&world, &["--instance", INSTANCE]).await?;
    let row = world.version_row(FILE).await?;
    let ended = world.auditferry(&["requeue", "--json"]).await?;
    let letters = ended.json()?;
    assert_eq!(
        (ended.code(), &letters[0]["outcome"]),
        (Some(0), &json!("finished"))
    );
    assert_eq!(world.dead_letters().await?, (0, 0));
    assert_eq!(world.version_row(FILE).await?, row);
    world.take(0).await?;
    Ok(())
}

#[tokio::test]
async fn unfinished_versions_of_a_vanished_instance_go_without_being_asked_for()
-> anyhow::Result<()> {
    let mut world = World::new().await?;
    world.expect_error("is gone from RDS with 3 unfinished versions");
    world.add_aurora(CLUSTER, &[INSTANCE, "instance-2"]);
    let states = [
        ("audit/queued", "Queued"),
        ("audit/leased", "Leased"),
        ("audit/quarantined", "Quarantined"),
        ("audit/complete", "Complete"),
    ];
    for (file, _) in states {
        world.rds.put_file(INSTANCE, file, "x\n", NOON);
    }
    world
        .rds
        .put_file("instance-2", "audit/of-another", "x\n", NOON);
    world.enumerate().await?;
    for (file, state) in states {
        let row = world.version_row(file).await?;
        world.rewrite_state(&row, state).await?;
        world.rewrite(&row, "lease_until", minutes_ago(1)).await?;
    }
    let id = world.rds.resource_id(INSTANCE);
    world.rds.remove_instance(INSTANCE);
    assert_eq!(world.auditferry(&["enumerate"]).await?.code(), Some(1));
    let (code, dismissals) =
        dismiss(&world, &["--instance", &id, "--instance", "instance-2"]).await?;
    let (mut done, left) = outcomes(&dismissals);
    done.sort_unstable();
    assert_eq!(
        (code, done, left),
        (
            Some(0),
            vec!["audit/leased", "audit/quarantined", "audit/queued"],
            vec![]
        )
    );
    let other = world.version_row("audit/of-another").await?;
    assert_eq!(other["state"], "Queued");
    Ok(())
}

#[tokio::test]
async fn a_name_that_several_instances_have_had_is_refused_and_one_that_none_had()
-> anyhow::Result<()> {
    let mut world = world(&[(FILE, "Quarantined")]).await?;
    world.expect_error("is gone from RDS with 1 unfinished versions");
    world.expect_error("instance-1 is the name of several instances: say which by its resource id");
    world.expect_error("the table knows no instance instance-3");
    let first = world.rds.resource_id(INSTANCE);
    world.rds.remove_instance(INSTANCE);
    world.add_instance(INSTANCE, Some(CLUSTER), "aurora-mysql", &[]);
    world.rds.put_file(INSTANCE, FILE, "eno line\n", NOON);
    assert_eq!(world.auditferry(&["enumerate"]).await?.code(), Some(1));
    let rows = world.rows().await?;
    for (instances, named) in [
        (
            INSTANCE,
            &[first.clone(), world.rds.resource_id(INSTANCE)][..],
        ),
        ("instance-3", &[]),
    ] {
        let arguments = [
            "dismiss",
            "--reason",
            WHY,
            "--unfinished",
            "--instance",
            instances,
        ];
        let ended = world.auditferry(&arguments).await?;
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""));
        for named in named {
            assert!(ended.stderr.contains(named), "{named}: {ended:?}");
        }
    }
    assert_eq!(world.rows().await?, rows);
    let (code, dismissals) = dismiss(&world, &["--instance", &first]).await?;
    assert_eq!((code, outcomes(&dismissals).0), (Some(0), vec![FILE]));
    assert_eq!(dismissals[0]["resource_id"], first);
    Ok(())
}

#[tokio::test]
async fn a_renamed_instance_is_dismissed_by_either_name() -> anyhow::Result<()> {
    let world = world(&[("audit/a", "Gone"), ("audit/b", "Gone")]).await?;
    world.rds.rename_instance(INSTANCE, "renamed");
    world.enumerate().await?;
    for (name, file) in [("renamed", "audit/a"), (INSTANCE, "audit/b")] {
        let arguments = ["--instance", name, "--file", file];
        let (code, dismissals) = dismiss(&world, &arguments).await?;
        assert_eq!(
            (code, outcomes(&dismissals).0),
            (Some(0), vec![file]),
            "{name}"
        );
    }
    Ok(())
}
