//! A cold start of the Lambda: from exec to the first answer of AWS, over TLS; and the same call from Python.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::figures::{Figures, median, name, number};
use crate::eventually::BOUND;
use crate::lambda::RuntimeApi;
use crate::programs::Environment;
use crate::rds::Rds;
use crate::stack::Stack;
use crate::tls::{AUTHORITY, Tls};

/// The first call of a Python program.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/cold_start.py");

/// How long a process that has sent a request may take until it only waits for the answer.
const REST: Duration = Duration::from_millis(20);

/// What a cold start costs.
#[derive(Debug, Clone, Serialize)]
pub struct ColdStart {
    /// CPU time of each start, user and system, in milliseconds, least first: from exec to the request that follows the first
    /// answer of AWS (`DescribeDBInstances`), over TLS, with the certificates of the system and one more to trust.
    pub bootstrap_ms: Vec<f64>,
    /// The same for Python: from exec to the answer.
    pub boto3_ms: Vec<f64>,
    /// Files of certificates that are opened when nothing but the system says which; `None` where there is no `strace`.
    pub certificate_files: Option<usize>,
    /// The size of the program, in bytes.
    pub program_bytes: u64,
}

impl ColdStart {
    /// The medians, and what is counted.
    pub fn figures(&self) -> Figures {
        let (own, python) = (
            median(self.bootstrap_ms.clone()),
            median(self.boto3_ms.clone()),
        );
        let mut figures = Figures::new();
        figures.extend(own.map(|own| (name::COLD_START_MS, own)));
        figures.extend(
            own.zip(python)
                .map(|(own, python)| (name::OF_BOTO3, own / python)),
        );
        let files = self.certificate_files.map(|files| number(files as u64));
        figures.extend(files.map(|files| (name::CERTIFICATE_FILES, files)));
        figures
    }
}

/// Starts `bootstrap` (the path of a release build) so often, and Python.
pub async fn cold_start(bootstrap: &Path, runs: usize) -> anyhow::Result<ColdStart> {
    let rds = Rds::start()?;
    let tls = Tls::start(&rds.url())?;
    let roots = Roots::write()?;
    rds.set_authority(tls.authority());
    let mut secure = credentials(&rds);
    for (name, value) in [
        ("AWS_ENDPOINT_URL_RDS", tls.url()),
        ("AWS_CA_BUNDLE", roots.0.to_string_lossy().into_owned()),
    ] {
        secure.push((name.to_owned(), value));
    }
    let (mut bootstrap_ms, mut boto3_ms) = (Vec::new(), Vec::new());
    let python = Stack::python()?;
    for _ in 0..runs {
        let mut command = Command::new(bootstrap);
        let (child, _servers) = started(&mut command, &secure).await?;
        bootstrap_ms.push(cpu_ms(&child)?);
        boto3_ms.push(of_python(&python, &secure).await?);
    }
    bootstrap_ms.sort_by(f64::total_cmp);
    boto3_ms.sort_by(f64::total_cmp);
    let mut plain = credentials(&rds);
    rds.set_authority(rds.url().replace("http://", ""));
    plain.push(("AWS_ENDPOINT_URL_RDS".to_owned(), rds.url()));
    Ok(ColdStart {
        bootstrap_ms,
        boto3_ms,
        certificate_files: certificate_files(bootstrap, &plain).await?,
        program_bytes: fs::metadata(bootstrap)?.len(),
    })
}

/// The certificates of the system, as they are read in production, and that of our authority.
struct Roots(PathBuf);

impl Roots {
    fn write() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("auditferry-{}.pem", std::process::id()));
        let mut roots = match openssl_probe::probe().cert_file {
            Some(system) => fs::read(system)?,
            None => Vec::new(),
        };
        roots.extend(fs::read(AUTHORITY)?);
        fs::write(&path, roots)?;
        Ok(Self(path))
    }
}

impl Drop for Roots {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Environment with which a program is let in by RDS.
fn credentials(rds: &Rds) -> Environment {
    let access = rds.access();
    let queue_url = format!(
        "https://sqs.{}.amazonaws.com/123456789012/work",
        access.region
    );
    let mut environment = Environment::new();
    for (name, value) in [
        ("AWS_REGION", access.region.as_str()),
        ("AWS_DEFAULT_REGION", &access.region),
        ("AWS_ACCESS_KEY_ID", &access.access_key),
        ("AWS_SECRET_ACCESS_KEY", &access.secret_key),
        (
            "AWS_SESSION_TOKEN",
            access.session_token.as_deref().unwrap_or_default(),
        ),
        ("QUEUE_URL", &queue_url),
        ("CHECKPOINT_TABLE", "checkpoints"),
        ("INSTANCES", "*"),
    ] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    environment
}

/// What a started function talks to.
type Servers = (RuntimeApi, JoinSet<()>);

/// Starts the function and invokes it; returns once it has had its first answer of RDS and waits for the one of the table,
/// which does not come.
async fn started(
    command: &mut Command,
    environment: &Environment,
) -> anyhow::Result<(Child, Servers)> {
    let mut api = RuntimeApi::start().await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let table = format!("http://{}", listener.local_addr()?);
    let asked = Arc::new(Notify::new());
    let asking = Arc::clone(&asked);
    let silent = Router::new().fallback(async move || {
        asking.notify_one();
        std::future::pending::<()>().await;
    });
    let mut servers = JoinSet::new();
    servers.spawn(async {
        let served = axum::serve(listener, silent).await;
        served.expect("it ends only when it is dropped");
    });
    api.invoke(&Value::Null, Duration::from_mins(5))?;
    let mut environment = api.environment(environment.clone());
    environment.push(("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), table));
    let child = command
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start it")?;
    let asked = timeout(BOUND, asked.notified()).await;
    asked.with_context(|| format!("nothing was asked within {BOUND:?}"))?;
    sleep(REST).await;
    Ok((child, (api, servers)))
}

/// CPU time of all threads of a process that has not ended, in milliseconds.
fn cpu_ms(child: &Child) -> anyhow::Result<f64> {
    let id = child.id().context("it has ended")?;
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        // Nanoseconds on a CPU, nanoseconds in the queue for one, time slices.
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = stat.split(' ').next().context("no figure")?;
        total += Duration::from_nanos(on_cpu.parse()?);
    }
    Ok(total.as_secs_f64() * 1e3)
}

async fn of_python(python: &Path, environment: &Environment) -> anyhow::Result<f64> {
    let mut command = Command::new(python);
    let output = command
        .args(["-E", "-s", "-B", PYTHON])
        .envs(environment.iter().cloned())
        .output()
        .await?;
    ensure!(output.status.success(), "{PYTHON} failed: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// How many files of certificates are opened.
async fn certificate_files(
    bootstrap: &Path,
    environment: &Environment,
) -> anyhow::Result<Option<usize>> {
    let has_strace = Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .await;
    if has_strace.is_err() {
        return Ok(None);
    }
    let traced = std::env::temp_dir().join(format!("auditferry-{}.strace", std::process::id()));
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "trace=open,openat", "-o"])
        .arg(&traced)
        .arg(bootstrap);
    let (mut child, _servers) = started(&mut command, environment).await?;
    let id = child.id().context("it has ended")?;
    // With its end strace ends by itself, and has written all.
    let program = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    let killed = Command::new("kill")
        .arg("-KILL")
        .arg(program.trim())
        .status();
    ensure!(killed.await?.success(), "kill -KILL {program} failed");
    timeout(BOUND, child.wait())
        .await
        .context("strace did not end")??;
    let log = fs::read_to_string(&traced)?;
    fs::remove_file(&traced)?;
    let opened = log.lines().filter(|line| !line.contains("= -1 "));
    let certificates = opened.filter(|line| {
        ["/ssl/", "/pki/", ".pem\"", ".crt\""]
            .iter()
            .any(|part| line.contains(part))
    });
    Ok(Some(certificates.count()))
}
