//! Builds: production's have no stop points, and those that have them warn.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Context;
use shared::step;
use tests::programs;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The packages of a build of this selection, each with its features.
fn packages(selection: &[&str]) -> anyhow::Result<Vec<String>> {
    let cargo = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix=none"])
        .args(["--edges=normal", "--format={p} {f}"])
        .args(selection)
        .current_dir(ROOT)
        .output()?;
    let why = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "{selection:?}: {why}");
    let tree = String::from_utf8(cargo.stdout)?;
    Ok(tree.lines().map(ToOwned::to_owned).collect())
}

#[test]
fn builds_for_production_have_no_stop_points() -> anyhow::Result<()> {
    // The second is `cargo build` at the root, where the features of all default members are unified.
    for selection in [
        &["--package=producer"][..],
        &[],
        &["--package=worker"],
        &["--package=producer", "--package=worker"],
    ] {
        let packages = packages(selection)?;
        let find = |name: &str| packages.iter().find(|package| package.starts_with(name));
        let shared = find("shared v").with_context(|| format!("{selection:?} without shared"))?;
        assert!(!shared.contains("failpoints"), "{selection:?}: {shared}");
        assert_eq!(find("fail v"), None, "{selection:?}");
        assert_eq!(find("tests v"), None, "{selection:?}");
    }
    let default = packages(&[])?;
    for program in ["producer v", "worker v"] {
        let built = default.iter().any(|package| package.starts_with(program));
        assert!(built, "{program}: not built by default");
    }
    Ok(())
}

#[test]
fn a_build_with_stop_points_warns_at_start() -> anyhow::Result<()> {
    // All that is needed to get to the first connection, which has no region.
    let environment = BTreeMap::from([
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("QUEUE_URL", "https://127.0.0.1:1/123456789012/work"),
        (
            "DEAD_LETTER_QUEUE_URL",
            "https://127.0.0.1:1/123456789012/dead",
        ),
        ("CHECKPOINT_TABLE", "checkpoints"),
        ("S3_BUCKET", "archive"),
        ("CLUSTERS", "*"),
    ]);
    for (program, arguments) in [
        ("auditferry", &["enumerate"][..]),
        ("bootstrap", &[]),
        ("auditferry-worker", &[]),
    ] {
        // Not by the harness, which leaves the warning out.
        let output = Command::new(programs::folder()?.join(program))
            .args(arguments)
            .env_clear()
            .envs(&environment)
            .output()?;
        let logged = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(64), "{program}: {logged}");
        let first = logged.lines().next().unwrap_or_default();
        let warns = first.contains("\"level\":\"WARN\"") && first.contains(step::WARNING);
        assert_eq!(warns, cfg!(feature = "failpoints"), "{program}: {logged}");
    }
    Ok(())
}
