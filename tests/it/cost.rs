//! What keeping the log costs: the program says it without asking anybody, and the README has it as the program says it.

use std::collections::BTreeMap;

use producer::cost::{self, Charge, Prices};
use serde_json::Value;
use tests::programs::{self, Ended, Environment};
use tests::regenerate;
use tests::scale::{prices, requests};

/// Runs it in an environment that has nothing: no region, no credentials, no settings.
async fn cost(arguments: &[&str]) -> anyhow::Result<Ended> {
    let arguments = [&["cost"], arguments].concat();
    programs::run("auditferry", &arguments, &Environment::new()).await
}

#[tokio::test]
async fn the_readme_shows_what_the_program_says() -> anyhow::Result<()> {
    let fleet = [
        "--instances",
        "100",
        "--gb-per-day",
        "100",
        "--region",
        "us-east-1",
    ];
    let ended = cost(&fleet).await?;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let block = format!(
        "```\n$ auditferry cost {}\n{}```",
        fleet.join(" "),
        ended.stdout
    );
    regenerate::block("README.md", "cost", &block)
}

#[tokio::test]
async fn json_has_every_line_that_people_see_with_its_price_and_source() -> anyhow::Result<()> {
    let fleet = ["--instances=100", "--gb-per-day=50.5", "--region=eu-west-1"];
    let text = cost(&fleet).await?.stdout;
    let ended = cost(&[&fleet[..], &["--retention-months=84", "--json"]].concat()).await?;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let said: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(
        (&said["instances"], &said["gb_per_day"], &said["region"]),
        (&100.into(), &50.5.into(), &"eu-west-1".into())
    );
    assert_eq!(said["retention_months"], 84);
    assert!(
        said["prices_as_of"]
            .as_str()
            .is_some_and(|date| text.contains(date))
    );
    let designs = said["designs"].as_array().unwrap();
    assert_eq!(designs.len(), 4);
    for design in designs {
        assert!(text.contains(design["name"].as_str().unwrap()));
        for line in design["lines"].as_array().unwrap() {
            assert!(text.contains(line["what"].as_str().unwrap()), "{line}");
            assert!(text.contains(line["source"].as_str().unwrap()), "{line}");
            assert!(line["unit_price"].as_f64().unwrap() > 0.0, "{line}");
            let months = if line["grows"] == true { 84.0 } else { 1.0 };
            let (first, kept) = (&line["first_month"]["low"], &line["kept_month"]["low"]);
            let (first, kept) = (first.as_f64().unwrap(), kept.as_f64().unwrap());
            assert!((kept - first * months).abs() <= kept * 1e-9, "{line}");
        }
    }
    for assumed in said["assumptions"].as_array().unwrap() {
        assert!(
            assumed["cheap"].is_f64() && assumed["dear"].is_f64(),
            "{assumed}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_has_no_meaning_is_one_line_that_names_it_and_exit_status_64() -> anyhow::Result<()> {
    let sound = [
        ("--instances", "1"),
        ("--gb-per-day", "1"),
        ("--region", "us-east-1"),
    ];
    for (flag, bad) in [
        ("--instances", "0"),
        ("--instances", "-1"),
        ("--instances", "many"),
        ("--instances", "1.5"),
        ("--gb-per-day", "0"),
        ("--gb-per-day", "-1"),
        ("--gb-per-day", "nan"),
        ("--gb-per-day", "inf"),
        ("--gb-per-day", "1e300"),
        ("--region", "mars-1"),
        ("--retention-months", "0"),
        ("--region", ""),
    ] {
        let mut given = BTreeMap::from(sound);
        given.insert(flag, bad);
        let arguments: Vec<String> = given
            .into_iter()
            .map(|(flag, value)| format!("{flag}={value}"))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = cost(&arguments).await?;
        assert_eq!(ended.code(), Some(64), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments:?}: {ended:?}");
        assert!(
            ended.stderr.contains(flag) && ended.stderr.contains(bad),
            "{ended:?}"
        );
        assert_eq!(ended.stdout, "");
        if bad == "mars-1" {
            for region in Prices::known().regions() {
                assert!(ended.stderr.contains(region), "{region}: {ended:?}");
            }
        }
    }
    let missing = cost(&["--instances=1", "--region=us-east-1"]).await?;
    assert_eq!(missing.code(), Some(64), "{missing:?}");
    assert!(missing.stderr.contains("--gb-per-day"), "{missing:?}");
    Ok(())
}

#[test]
fn prices_and_quantities_are_those_of_the_simulated_day() {
    let known = Prices::known();
    let usd = |charge| known.of(charge, "us-east-1").unwrap().1;
    let whole = |count| f64::from(u32::try_from(count).unwrap());
    let table = usd(Charge::TableStorage) + usd(Charge::TableRecovery);
    for (here, there) in [
        (usd(Charge::QueueRequest) / 1e6, prices::SQS_REQUEST),
        (usd(Charge::TableWrite) / 1e6, prices::TABLE_WRITE),
        (usd(Charge::TableRead) / 1e6, prices::TABLE_READ),
        (table, prices::TABLE_GB),
        (usd(Charge::LambdaArm), prices::LAMBDA_GB_SECOND),
        (usd(Charge::FargateVcpu), prices::FARGATE_VCPU_HOUR),
        (usd(Charge::FargateGb), prices::FARGATE_GB_HOUR),
        (usd(Charge::S3Put) / 1e3, prices::S3_PUT),
        (usd(Charge::S3Storage), prices::S3_GB),
        (
            cost::WRITES_PER_FILE,
            requests::SEND_WRITES + requests::SHIP_WRITES,
        ),
        (cost::WRITES_PER_LISTING, requests::MARK_WRITES),
        (cost::PART_BYTES, requests::PART_BYTES),
        (cost::ROW_BYTES, whole(requests::ROW_BYTES)),
        (cost::ROWS_READ, whole(requests::FIRST_PAGE)),
        (cost::READ_UNIT_BYTES, whole(requests::READ_UNIT_BYTES)),
    ] {
        assert!((here - there).abs() <= there * 1e-9, "{here} {there}");
    }
}
