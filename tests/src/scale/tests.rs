#![expect(clippy::float_cmp, reason = "counts, and sums without a remainder")]

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use fastrand::Rng;
use jiff::Timestamp;
use shared::checkpoint::transition::{self, Transition};
use shared::checkpoint::{Content, Presence, Proof, Registered};
use shared::instance::Instance;
use shared::log_file::{LogFile, Version};
use shared::message::Message;

use super::day::{Day, play};
use super::figures::{figures, first_limit};
use super::fleet::{DAY, STRIPES, fleet};
use super::producer::{Bucket, requests_asked_for, seconds_for_all, shards_needed};
use super::report::report;
use super::workers::{Sent, Workers};
use super::{Scenario, limits, requests};

fn scenario(flags: &[&str]) -> Scenario {
    let scenario = Scenario::try_parse_from(["scale"].iter().chain(flags)).unwrap();
    scenario.check().unwrap();
    scenario
}

fn small() -> Scenario {
    scenario(&["--instances=300", "--gb-per-day=30"])
}

fn play_all(scenario: &Scenario) -> Day {
    play(scenario, 0, scenario.instances)
}

#[test]
fn every_byte_that_was_written_is_somewhere() {
    for flags in [
        &["--instances=300", "--gb-per-day=30"][..],
        &["--instances=1", "--gb-per-day=0.001"],
        &["--instances=2", "--gb-per-day=4000"],
        &[
            "--instances=300",
            "--gb-per-day=30",
            "--rds-rate=0.2",
            "--rds-burst=1",
        ],
        &[
            "--instances=300",
            "--gb-per-day=30",
            "--max-tasks=1",
            "--wait-per-file=60",
        ],
        &["--instances=300", "--gb-per-day=30", "--schedule=2h"],
    ] {
        let bytes = play_all(&scenario(flags)).bytes;
        let found = bytes.shipped + bytes.queued + bytes.unlisted + bytes.open + bytes.lost;
        assert_eq!(found, bytes.written, "{flags:?} {bytes:?}");
        assert!(bytes.written > 0, "{flags:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_day_and_another_seed_another() {
    let (one, other) = (
        small(),
        scenario(&["--instances=300", "--gb-per-day=30", "--seed=2"]),
    );
    assert_eq!(play_all(&one), play_all(&one));
    assert_eq!(report(&one, true), report(&one, true));
    assert_ne!(play_all(&one), play_all(&other));
}

#[test]
fn a_fleet_of_one_is_listed_at_every_run_and_ships_each_stripe_each_hour() {
    let day = play_all(&scenario(&["--instances=1", "--gb-per-day=1"]));
    assert_eq!((day.runs, day.listings, day.lost_files), (96, 96, 0));
    assert_eq!(day.shipped_files, 4 * 24);
    assert_eq!(day.total(|minute| minute.puts), 96.0);
    // One page each of clusters and instances, and the listing.
    assert_eq!(day.total(|minute| minute.rds), 96.0 * 3.0);
    let writes = 96.0 * (requests::SEND_WRITES + requests::SHIP_WRITES) + 96.0;
    assert_eq!(day.total(|minute| minute.writes), writes);
    // A run at most until they are found, and then a worker has to start.
    let minutes = day.oldest / 60.0;
    assert!((3.0..25.0).contains(&minutes), "{minutes}");
}

#[test]
fn a_busy_stripe_rotates_by_size_and_a_quiet_one_by_the_hour() {
    for (gb_per_day, files) in [(0.001, 96), (3.0, 96), (40.0, 96 * 5), (4000.0, 96 * 417)] {
        let bytes_per_day = gb_per_day * 1e9;
        let mut fleet = fleet(&mut Rng::with_seed(1), 1, bytes_per_day, 2.0);
        let instance = &mut fleet[0];
        assert_eq!(instance.list(DAY, 9.5, f64::INFINITY).lost_files, 0);
        let due = instance.list(2.0 * DAY, 9.5, f64::INFINITY);
        let about = due.files as f64 / f64::from(files);
        assert!((0.8..1.2).contains(&about), "{gb_per_day}: {due:?}");
        let written = instance.written(2.0 * DAY) as f64;
        assert!((written / bytes_per_day - 2.0).abs() < 1e-6, "{written}");
    }
}

#[test]
fn what_rds_deletes_before_it_is_listed_is_lost() {
    let mut fleet = fleet(&mut Rng::with_seed(1), 1, 1e9, 0.0);
    let due = fleet[0].list(2.0 * DAY, 9.5, limits::RETENTION_SECONDS);
    assert_eq!(due.files, STRIPES * 24);
    assert_eq!(due.lost_files, STRIPES * 24);
    assert!(due.oldest >= DAY && due.oldest <= DAY + 3600.0);
}

#[test]
fn a_few_instances_write_most() {
    let mut rng = Rng::with_seed(1);
    let mut written: Vec<u64> = fleet(&mut rng, 10_000, 1e12, 2.0)
        .iter()
        .map(|instance| instance.written(DAY))
        .collect();
    written.sort_unstable();
    let all: u64 = written.iter().sum();
    let busiest: u64 = written[9_000..].iter().sum();
    assert!((all as f64 / 1e12 - 1.0).abs() < 1e-6);
    let part = busiest as f64 / all as f64;
    assert!((0.7..0.85).contains(&part), "{part}");
}

#[test]
fn a_bucket_lets_a_burst_through_and_then_its_rate() {
    let mut bucket = Bucket::new(2.0, 3.0);
    for (asked, let_through) in [
        (0.0, 0.0),
        (0.0, 0.0),
        (0.0, 0.0),
        (0.0, 0.5),
        (0.0, 1.0),
        (3.0, 3.0),
        (3.0, 3.0),
        (3.0, 3.0),
        (3.0, 3.5),
    ] {
        assert_eq!(bucket.take(asked), let_through, "{asked}");
    }
}

#[test]
fn a_run_takes_as_long_as_latency_or_the_rate_says() {
    let fast = scenario(&["--rds-rate=1000000", "--rds-burst=1000000"]);
    for (instances, flags, seconds) in [
        // Two pages, one of the register, eight listings at a time.
        (8, &[][..], 2.0 * 0.3 + 0.1 + 0.3),
        (800, &[], 11.0 * 0.3 + 0.1 + 30.0),
        (800, &["--shards=4"], 11.0 * 0.3 + 0.1 + 7.5),
        (800, &["--listing=1"], 11.0 + 0.1 + 100.0),
        (800, &["--rds-rate=1", "--rds-burst=1"], 811.0),
    ] {
        let defaults = ["--rds-rate=1000000", "--rds-burst=1000000"];
        let flags: Vec<&str> = if flags.iter().any(|flag| flag.starts_with("--rds")) {
            flags.to_vec()
        } else {
            defaults.iter().chain(flags).copied().collect()
        };
        let took = seconds_for_all(&scenario(&flags), instances);
        assert!((took - seconds).abs() < 1.0, "{flags:?}: {took}");
    }
    for (instances, shards) in [
        (1, Some(1)),
        (20_000, Some(1)),
        (60_000, Some(4)),
        (300_000, None),
    ] {
        assert_eq!(shards_needed(&fast, instances), shards, "{instances}");
    }
}

#[test]
fn each_producer_asks_for_every_page() {
    // 100 pages of instances, 34 of clusters.
    for (shards, requests) in [(1, 10_134.0), (3, 10_402.0)] {
        let flag = format!("--shards={shards}");
        let asked = requests_asked_for(&scenario(&[&flag]), 10_000);
        assert!((asked * 900.0 - requests).abs() < 1e-6, "{asked}");
    }
}

#[test]
fn workers_come_when_something_waits_and_stay_a_while() {
    let scenario = small();
    let mut workers = Workers::default();
    assert_eq!(workers.work(&scenario).files, 0);
    let sent = Sent {
        files: 3_900,
        bytes: 4_000_000,
        puts: 3_900,
        oldest: 0.0,
    };
    workers.send(sent);
    let mut tasks = Vec::new();
    let mut shipped = 0;
    for _ in 0..20 {
        shipped += workers.work(&scenario).files;
        tasks.push(workers.tasks);
    }
    // 3,900 files wait 0.3 s each, two at a time on a vCPU: nearly 600 s of one, to be drained in ten minutes.
    assert_eq!(tasks[..3], [0, 0, 0]);
    assert_eq!(tasks[3..16], [1; 13]);
    assert_eq!((shipped, workers.waiting().files), (3_900, 0));
}

#[test]
fn uploads_take_one_request_or_one_per_part_and_two() {
    for (stored, requests) in [
        (0.0, 1),
        (5_242_880.0, 1),
        (5_242_881.0, 4),
        (10.5e6, 5),
        (1e8, 22),
    ] {
        assert_eq!(requests::puts(stored), requests, "{stored}");
    }
}

#[test]
fn a_growing_fleet_meets_the_limit_that_is_the_tightest() {
    let first = |flags: &[&str]| first_limit(&scenario(flags)).unwrap();
    let by_default = first(&["--instances=1000", "--gb-per-day=100"]);
    assert_eq!(by_default.line.resource, "RDS API requests /s");
    // 12 a second for 15 min, less the pages.
    assert!(
        (10_500..10_800).contains(&by_default.instances),
        "{by_default:?}"
    );
    let slow = first(&["--instances=1000", "--gb-per-day=100", "--listing=3"]);
    assert_eq!(slow.line.resource, "Lambda, s of a run");
    assert!((2_000..2_300).contains(&slow.instances), "{slow:?}");
    let few = first(&["--instances=1000", "--gb-per-day=100000"]);
    assert_eq!(few.line.resource, "Fargate vCPUs");
}

#[test]
fn costs_are_units_times_prices() {
    let figures = figures(&small());
    let line = |resource: &str| {
        let mut lines = figures.lines.iter();
        lines
            .find(|line| line.resource == resource)
            .unwrap()
            .clone()
    };
    let per_month = |per_second: f64| per_second * 86_400.0 * 30.0;
    for (resource, price) in [
        ("SQS requests /s", 0.4e-6),
        ("DynamoDB write units /s", 0.625e-6),
        ("DynamoDB read units /s", 0.125e-6),
        ("S3 PUTs /s", 5e-6),
    ] {
        let line = line(resource);
        let cost = per_month(line.average) * price;
        assert!((line.cost.unwrap() - cost).abs() < 1e-9, "{line:?}");
    }
    let vcpus = line("Fargate vCPUs");
    let cost = vcpus.average * 720.0 * (0.032_38 + 2.0 * 0.003_56);
    assert!((vcpus.cost.unwrap() - cost).abs() < 1e-9, "{vcpus:?}");
    for line in &figures.lines {
        assert!(line.peak * 1.000_001 >= line.average, "{line:?}");
        assert!(line.asked_for * 1.000_001 >= line.average, "{line:?}");
        assert!(line.headroom().is_none_or(|times| times > 0.0), "{line:?}");
    }
}

#[test]
fn regions_share_the_fleet_and_each_has_limits_of_its_own() {
    let four = scenario(&["--instances=1001", "--gb-per-day=100", "--regions=4"]);
    assert_eq!(four.by_region(), [251, 250, 250, 250]);
    let (one, four) = (
        figures(&scenario(&["--instances=1001", "--gb-per-day=100"])),
        figures(&four),
    );
    let asked = |figures: &super::figures::Figures| figures.lines[0].asked_for;
    assert!(asked(&four) < asked(&one) / 3.5);
    let files = |figures: &super::figures::Figures| figures.total(|day| day.shipped_files as f64);
    assert!((files(&four) / files(&one) - 1.0).abs() < 0.05);
}

#[test]
fn what_means_nothing_is_refused() {
    for flag in [
        "--instances=0",
        "--shards=0",
        "--regions=100001",
        "--listing=0",
        "--ratio=-1",
        "--rds-burst=0",
        "--schedule=59s",
        "--gb-per-day=-1",
    ] {
        let scenario = Scenario::try_parse_from(["scale", flag]);
        assert!(
            scenario.is_err() || scenario.unwrap().check().is_err(),
            "{flag}"
        );
    }
}

/// The size of an item as DynamoDB counts it: names, texts, and a byte per two digits of a number and one more.
fn bytes(item: &HashMap<String, AttributeValue>) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        other => panic!("{other:?} is in no row"),
    };
    item.iter().map(|(name, of)| name.len() + value(of)).sum()
}

/// Takes over what a write sets, by its own names.
fn write(item: &mut HashMap<String, AttributeValue>, transition: Transition) {
    let sets = transition.update.clone();
    for (name, value) in transition.values {
        if sets.contains(&format!("#{name} = :{name}")) {
            item.insert(name.to_owned(), value);
        }
    }
}

#[test]
fn rows_are_as_large_as_production_writes_them() {
    let now = Timestamp::from_millisecond(1_727_784_000_123).unwrap();
    let instance = Instance {
        resource_id: "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ".to_owned(),
        name: "orders-production-12".to_owned(),
        cluster: "orders-production".to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-central-1".to_owned(),
    };
    let message = Message {
        file: LogFile {
            name: "audit/audit.log.0.2024-10-01-12-00.0".to_owned(),
            version: Version::new(1_727_784_000_123, 1_000_123).unwrap(),
            twins: 1,
        },
        instance: instance.clone(),
    };
    let text = |text: String| AttributeValue::S(text);
    let partition = format!("I#{}", instance.resource_id);
    let mut row = HashMap::from([
        ("pk".to_owned(), text(partition.clone())),
        ("sk".to_owned(), text(message.file.sort_key())),
    ]);
    write(&mut row, transition::queued(&message, now));
    let key = "orders-production/audit/2024/10/01/12/orders-production-12/audit.log.0.2024-10-01-12-00.0.gz";
    let proof = Proof {
        reason: "shipped",
        keys: vec![key.to_owned()],
        etag: Some(format!("\"{}\"", "e".repeat(32))),
        content: Some(Content {
            sha256: "a".repeat(64),
            raw_bytes: 1_000_123,
            lines: 8_123,
        }),
        stored_bytes: Some(105_000),
    };
    write(&mut row, transition::complete(&message, 1, 1, &proof, now));
    row.insert("state".to_owned(), text("Complete".to_owned()));
    let registered = Registered {
        resource_id: instance.resource_id.clone(),
        name: instance.name.clone(),
        cluster: instance.cluster.clone(),
        presence: Presence::There,
    };
    let mut item = HashMap::from([
        ("pk".to_owned(), text("INSTANCES".to_owned())),
        ("sk".to_owned(), text(partition)),
    ]);
    write(&mut item, transition::registered(&registered));
    for (what, item, said) in [
        ("row", row, requests::ROW_BYTES),
        ("instance", item, requests::REGISTERED_BYTES),
    ] {
        let (size, said) = (bytes(&item) as f64, said as f64);
        assert!(
            (size / said - 1.0).abs() < 0.05,
            "a {what} has {size} bytes, not {said}"
        );
        assert!(size <= 1024.0, "a {what} costs more than one write unit");
    }
    assert_eq!(Duration::from_mins(15), small().schedule);
}
