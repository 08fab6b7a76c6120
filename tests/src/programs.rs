//! The real programs: built from this checkout, and run with an environment of their own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use shared::step;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::eventually::eventually;

/// How long one command may take.
const COMMAND: Duration = Duration::from_mins(3);

/// The environment of one program, whole: nothing is inherited.
pub type Environment = Vec<(String, String)>;

static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The folder with the programs, built once per process. Testing the workspace does not build the programs of its members,
/// so without this a stale one would run, or none.
pub fn folder() -> anyhow::Result<PathBuf> {
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "cargo says where it is")]
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    // The whole workspace, so that features, and with them all that was built already, are the same.
    command.args([
        "build",
        "--quiet",
        "--workspace",
        "--bin=auditferry",
        "--bin=bootstrap",
        "--bin=auditferry-worker",
    ]);
    if cfg!(not(feature = "failpoints")) {
        command.arg("--no-default-features");
    }
    // target/{profile}/demo or target/{profile}/deps/it-…, where cargo's folder may have any name, but has its tag.
    let this = std::env::current_exe()?;
    let profile = this.ancestors().find(|folder| {
        folder
            .parent()
            .is_some_and(|parent| parent.join("CACHEDIR.TAG").is_file())
    });
    let profile = profile.map_or_else(|| this.with_file_name(""), PathBuf::from);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command.output().context("run cargo build")?;
    ensure!(
        built.status.success(),
        "cargo build failed:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    ensure!(
        profile.join("auditferry").is_file(),
        "cargo build left no programs in {}",
        profile.display()
    );
    Ok(profile)
}

/// Ends with SIGTERM or SIGINT to this process, so that what was started is stopped in an orderly way.
pub async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What a program said until its end.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its results.
    pub stdout: String,
    /// Its log, and what it said before there was one.
    pub stderr: String,
}

impl Ended {
    /// The exit code; a signal has none.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Its results as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }

    /// The messages of its log at a level, such as `ERROR`.
    pub fn logged(&self, level: &str) -> Vec<String> {
        messages(self.stderr.lines(), level)
    }
}

fn messages<'a>(lines: impl Iterator<Item = &'a str>, level: &str) -> Vec<String> {
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line.get("level").and_then(Value::as_str) == Some(level));
    lines
        .map(|line| {
            line.get("message")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

/// Runs a program to its end.
pub async fn run(
    program: &str,
    arguments: &[&str],
    environment: &Environment,
) -> anyhow::Result<Ended> {
    let mut command = command(program, environment)?;
    let output = timeout(
        COMMAND,
        command.args(arguments).stdin(Stdio::null()).output(),
    )
    .await;
    let output = output
        .with_context(|| format!("{program} {arguments:?} did not end within {COMMAND:?}"))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let stderr = text(output.stderr);
    Ok(Ended {
        status: output.status,
        stdout: text(output.stdout),
        stderr: stderr
            .split_inclusive('\n')
            .filter(|line| is_of_production(line))
            .collect(),
    })
}

/// All lines but the warning of builds with stop points: tests see what production logs.
fn is_of_production(line: &str) -> bool {
    !line.contains(step::WARNING)
}

fn command(program: &str, environment: &Environment) -> anyhow::Result<Command> {
    let mut command = Command::new(folder()?.join(program));
    command
        .env_clear()
        .envs(environment.iter().cloned())
        .kill_on_drop(true);
    Ok(command)
}

/// A program that runs until it is told to stop.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reading: JoinSet<()>,
}

impl Running {
    /// Starts one; it is killed when this is dropped, also if it is stopped.
    pub fn start(program: &str, environment: &Environment) -> anyhow::Result<Self> {
        Self::start_with(program, &[], environment)
    }

    /// Starts one with arguments.
    pub fn start_with(
        program: &str,
        arguments: &[&str],
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let mut command = command(program, environment)?;
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = Arc::default();
        let mut reading = JoinSet::new();
        reading.spawn(keep(
            child.stderr.take().context("no stderr")?,
            Arc::clone(&log),
        ));
        reading.spawn(keep(
            child.stdout.take().context("no stdout")?,
            Arc::clone(&log),
        ));
        Ok(Self {
            child,
            log,
            reading,
        })
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// All lines that it has logged.
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The messages of its log at a level, such as `ERROR`.
    pub fn logged(&self, level: &str) -> Vec<String> {
        messages(self.log().iter().map(String::as_str), level)
    }

    /// Waits until some line of its log has this text.
    pub async fn says(&self, text: &str) -> anyhow::Result<()> {
        eventually(&format!("the log to say {text:?}"), async || {
            let log = self.log();
            if log.iter().any(|line| line.contains(text)) {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await
    }

    /// Whether it is stopped, as by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        self.id().and_then(state) == Some('T')
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.id().and_then(state).is_none_or(|state| state == 'Z')
    }

    /// Waits until it is stopped, as by SIGSTOP: nothing of it runs. `Err` at once if it ends instead.
    pub async fn stopped(&self) -> anyhow::Result<()> {
        let id = self.id().context("it has ended already")?;
        let state = eventually("the process to stop", async || match state(id) {
            Some(state @ ('T' | 'Z')) => Ok(state),
            running => Err((running, self.log())),
        })
        .await?;
        ensure!(
            state == 'T',
            "it ended instead of stopping; it said {:#?}",
            self.log()
        );
        Ok(())
    }

    /// Sends it a signal by name, such as `TERM`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().context("it has ended already")?;
        let sent = Command::new("kill")
            .args([format!("-{name}"), id.to_string()])
            .status()
            .await?;
        ensure!(sent.success(), "kill -{name} {id} failed");
        Ok(())
    }

    /// Waits for its end, and for all that it had to say.
    pub async fn ended(mut self) -> anyhow::Result<Ended> {
        let status = timeout(COMMAND, self.child.wait()).await;
        let status = status.with_context(|| {
            format!(
                "it did not end within {COMMAND:?}; it said {:#?}",
                self.log()
            )
        })??;
        while self.reading.join_next().await.is_some() {}
        Ok(Ended {
            status,
            stdout: String::new(),
            stderr: self.log().join("\n"),
        })
    }
}

/// The letter of a process's state (proc(5)); `Z` also when nothing is left of it.
fn state(id: u32) -> Option<char> {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
        return Some('Z');
    };
    // `1234 (name) T …`; a name may have brackets of its own.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.trim_start().chars().next()
}

async fn keep(stream: impl AsyncRead + Unpin, log: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if is_of_production(&line) {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    }
}
