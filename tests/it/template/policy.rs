//! The rules of the trade (checkov's): what they find is excepted here, with the reason, or mended.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use tests::venv;

use super::translated;

const REQUIREMENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/template/policy-requirements.txt"
);

/// What is not done, where, and why.
const EXCEPTIONS: [(&str, &str, &str); 12] = [
    (
        "CKV_AWS_18",
        "ArchiveBucket",
        "server access logs are a choice of the account's, which CloudTrail's data events replace",
    ),
    (
        "CKV_AWS_119",
        "CheckpointTable",
        "it holds names and times, no evidence; the key that AWS manages is free",
    ),
    (
        "CKV_AWS_27",
        "WorkQueue",
        "encrypted with SQS's own key, which the rule overlooks; messages are names",
    ),
    (
        "CKV_AWS_27",
        "DeadLetterQueue",
        "encrypted with SQS's own key, which the rule overlooks; messages are names",
    ),
    (
        "CKV_AWS_27",
        "FailedRuns",
        "encrypted with SQS's own key, which the rule overlooks; messages are events",
    ),
    (
        "CKV_AWS_158",
        "ProducerLog",
        "CloudWatch encrypts with its own key; the log has names and times, no evidence",
    ),
    (
        "CKV_AWS_158",
        "WorkerLog",
        "CloudWatch encrypts with its own key; the log has names and times, no evidence",
    ),
    (
        "CKV_AWS_65",
        "Cluster",
        "the worker's own metrics and SQS's tell the same, for less",
    ),
    (
        "CKV_AWS_116",
        "Producer",
        "its failures go to a destination, which tells more than a dead-letter queue",
    ),
    (
        "CKV_AWS_117",
        "Producer",
        "it speaks to APIs of AWS only; in a VPC it would need endpoints or a NAT gateway",
    ),
    (
        "CKV_AWS_115",
        "Producer",
        "runs do not overlap, and accounts with a low quota cannot reserve",
    ),
    (
        "CKV_AWS_173",
        "Producer",
        "its variables are names, no secrets",
    ),
];

#[test]
fn rules_of_the_trade_find_only_what_is_excepted_for_a_reason() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("policy-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("template.json"), translated()?.to_string())?;
    let checkov = venv::python(REQUIREMENTS)?.with_file_name("checkov");
    let output = Command::new(checkov)
        .args([
            "--framework",
            "cloudformation",
            "--skip-download",
            "--quiet",
            "--compact",
        ])
        .args(["--output", "json", "--file", "template.json"])
        .current_dir(&folder)
        .env_clear()
        .env("HOME", &folder)
        .output()?;
    std::fs::remove_dir_all(&folder)?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| anyhow::anyhow!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    assert!(
        report["summary"]["passed"].as_u64() > Some(50),
        "{}",
        report["summary"]
    );
    assert_eq!(report["summary"]["parsing_errors"], 0);
    let failed = report["results"]["failed_checks"]
        .as_array()
        .expect("a list");
    let found: BTreeSet<(String, String)> = failed
        .iter()
        .map(|check| {
            let resource = check["resource"].as_str().unwrap_or_default();
            let name = resource.rsplit('.').next().unwrap_or_default();
            (tests::template::text(&check["check_id"]), name.to_owned())
        })
        .collect();
    let excepted: BTreeSet<(String, String)> = EXCEPTIONS
        .iter()
        .map(|(check, resource, _why)| ((*check).to_owned(), (*resource).to_owned()))
        .collect();
    assert_eq!(found, excepted);
    Ok(())
}
