//! A program run to its end, and what it took.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::programs::Environment;
use crate::stack::Stack;

/// Asks the kernel, which counts exactly; `unsafe` would be needed to do so from here.
const MEASURED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/measured.py");

/// How long one run may take: 4 GB at the slowest level, on a busy machine.
const BOUND: Duration = Duration::from_hours(1);

/// Characters of a program's log that are shown when it fails.
const TAIL: usize = 4_000;

/// What a program took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Took {
    /// CPU time in user mode, in seconds.
    pub user: f64,
    /// CPU time in the kernel, in seconds.
    pub system: f64,
    /// The most memory that was resident, in KiB; no less than some 10 MiB, which the process that spawned it had.
    pub peak_rss: f64,
}

impl Took {
    /// CPU time of both modes, in seconds.
    pub fn cpu(self) -> f64 {
        self.user + self.system
    }
}

/// Runs a program that must end well. It does not outlive this.
pub async fn run(
    program: &Path,
    arguments: &[&str],
    environment: &Environment,
) -> anyhow::Result<Took> {
    let name = program
        .file_stem()
        .unwrap_or_default()
        .display()
        .to_string();
    let log = log_of(&name)?;
    let mut child = Command::new(Stack::python()?)
        // Deaf to PYTHONPATH and friends, and small.
        .args(["-I", "-S", "-B", MEASURED])
        .arg(&log)
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // While this is open, the program lives.
    let alive = child.stdin.take();
    let output = timeout(BOUND, child.wait_with_output()).await;
    let output = output.with_context(|| format!("{name} did not end within {BOUND:?}"))??;
    drop(alive);
    let said = || tail(&std::fs::read_to_string(&log).unwrap_or_default());
    let took: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("measure {name}: {:?}; it said {}", output.status, said()))?;
    let figure = |name: &str| {
        let figure = took.get(name).and_then(Value::as_f64);
        figure.with_context(|| format!("no {name} in {took}"))
    };
    ensure!(
        took.get("exit_code") == Some(&Value::from(0)),
        "{name} failed: {took}; it said {}",
        said()
    );
    Ok(Took {
        user: figure("user_s")?,
        system: figure("system_s")?,
        peak_rss: figure("peak_rss_kib")?,
    })
}

/// Where a program's log goes, in place of that of the run before.
fn log_of(program: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(super::FOLDER);
    std::fs::create_dir_all(folder)?;
    Ok(folder.join(format!("{program}.log")))
}

fn tail(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(TAIL);
    text.chars().skip(skipped).collect()
}
