//! Settings of the worker.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use shared::config::{BadSetting, Common, check_region, duration, size};
use shared::queue::VISIBILITY_MAX;
use shared::roots::Roots;

use crate::compress::Codec;
use crate::room::need;

/// The shortest lease: it is renewed at its thirds, and SQS counts whole seconds.
const LEASE_MIN: Duration = Duration::from_secs(3);

/// Moves audit log files from RDS to S3, as the queue says, until it is told to stop
///
/// Every setting is a flag and an environment variable. Region, credentials and endpoints are read as every AWS SDK
/// reads them.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "auditferry-worker",
    version,
    next_help_heading = "Settings of the worker"
)]
pub struct Settings {
    /// Instead of working.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings that all programs have.
    #[command(flatten)]
    pub common: Common,
    /// gzip or zstd
    #[arg(
        long,
        env,
        value_enum,
        ignore_case = true,
        value_name = "CODEC",
        default_value = "gzip",
        hide_possible_values = true
    )]
    pub compression: Codec,
    /// 1 to 9 for gzip, 1 to 19 for zstd [default: 8]
    #[arg(long, env, value_name = "LEVEL")]
    pub compression_level: Option<i32>,
    /// Log files in flight at a time [default: eight per core]
    #[arg(long, env, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Bytes of buffers over all files in flight; no message is taken whose buffers do not fit
    #[arg(long, env, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub memory_budget: u64,
    /// How long a claim and a message's invisibility last unless renewed; at least 3s
    #[arg(long, env, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub lease: Duration,
    /// Tries of one version before it is quarantined
    #[arg(long, env, value_name = "N", default_value_t = 5)]
    pub max_attempts: u32,
    /// How long running files may go on after SIGTERM; keep it below the container's stop timeout
    #[arg(long, env, value_name = "DURATION", default_value = "90s", value_parser = duration)]
    pub shutdown_grace: Duration,
    /// Exit 0 once the queue has had nothing visible, delayed or in flight for so long [default: never]
    #[arg(long, env, value_name = "DURATION", value_parser = duration)]
    pub exit_when_idle: Option<Duration>,
    /// How long a connection for a download may take to open
    #[arg(long, env, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub download_connect_timeout: Duration,
    /// How long a download may bring nothing
    #[arg(long, env, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub download_idle_timeout: Duration,
    /// How long one download may take as a whole
    #[arg(long, env, value_name = "DURATION", default_value = "2h", value_parser = duration)]
    pub download_timeout: Duration,
    /// Where to answer health checks, such as 0.0.0.0:8080: GET /livez and GET /readyz [default: nowhere]
    #[arg(
        long,
        env,
        global = true,
        visible_alias = "address",
        value_name = "ADDRESS"
    )]
    pub health_address: Option<SocketAddr>,
    /// Where ECS protects the task from scale-in while files are in flight; ECS sets it [default: no protection]
    #[arg(long, env, value_name = "URI")]
    pub ecs_agent_uri: Option<String>,
}

/// What else the program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Exits 0 if the worker that answers health checks runs, else 1: for containers without curl
    Health,
}

/// Settings that fit together.
#[derive(Debug, Clone)]
pub struct Config {
    /// The work queue.
    pub queue_url: String,
    /// The dead-letter queue.
    pub dead_letter_queue_url: String,
    /// The checkpoint table.
    pub checkpoint_table: String,
    /// The archive's bucket.
    pub s3_bucket: String,
    /// What object keys begin with.
    pub s3_prefix: String,
    /// How objects are compressed.
    pub codec: Codec,
    /// Within what the codec has.
    pub level: i32,
    /// Log files in flight at a time, as memory allows.
    pub concurrency: usize,
    /// Bytes of buffers, over all files in flight; enough for one.
    pub memory_budget: u64,
    /// Of claims, and of a message's invisibility.
    pub lease: Duration,
    /// Tries before quarantine.
    pub max_attempts: u32,
    /// For running files after SIGTERM.
    pub shutdown_grace: Duration,
    /// `None`: run until told to stop.
    pub exit_when_idle: Option<Duration>,
    /// Of downloads.
    pub download: DownloadTimeouts,
    /// `None`: health checks are not answered.
    pub health_address: Option<SocketAddr>,
    /// `None`: this is no task of ECS.
    pub ecs_agent_uri: Option<String>,
    /// `None`: no metrics are reported.
    pub metrics_namespace: Option<String>,
    /// Whom all connections trust.
    pub roots: Roots,
}

/// Three ways in which a download can hang.
#[derive(Debug, Clone, Copy)]
pub struct DownloadTimeouts {
    /// No connection.
    pub connect: Duration,
    /// No bytes.
    pub idle: Duration,
    /// No end.
    pub whole: Duration,
}

impl Settings {
    /// Checks each setting and how they fit; builds nothing.
    pub fn check(self) -> Result<Config, BadSetting> {
        let level = self.compression_level.unwrap_or(Codec::DEFAULT_LEVEL);
        let levels = self.compression.levels();
        if !levels.contains(&level) {
            return Err(BadSetting(format!(
                "COMPRESSION_LEVEL is {level}: with COMPRESSION {:?} it goes from {} to {}",
                self.compression,
                levels.start(),
                levels.end()
            )));
        }
        if !(LEASE_MIN..=VISIBILITY_MAX).contains(&self.lease) {
            return Err(BadSetting(format!(
                "LEASE is {:?}: SQS and heartbeats need 3s to 12h",
                self.lease
            )));
        }
        if self.max_attempts == 0 || self.concurrency == Some(0) {
            return Err(BadSetting(
                "MAX_ATTEMPTS and CONCURRENCY must be at least 1".to_owned(),
            ));
        }
        let need = need(self.compression, level, u64::MAX);
        if self.memory_budget < need {
            return Err(BadSetting(format!(
                "MEMORY_BUDGET is {} bytes: one file at this level needs {} MiB",
                self.memory_budget,
                need.div_ceil(1 << 20)
            )));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (queue_url, dead_letter_queue_url) = self.common.queue_urls()?;
        Ok(Config {
            queue_url,
            dead_letter_queue_url,
            checkpoint_table: self.common.checkpoint_table()?,
            s3_bucket: self.common.s3_bucket()?,
            s3_prefix: self.common.s3_prefix()?,
            codec: self.compression,
            level,
            concurrency: self.concurrency.unwrap_or(8 * cores),
            memory_budget: self.memory_budget,
            lease: self.lease,
            max_attempts: self.max_attempts,
            shutdown_grace: self.shutdown_grace,
            exit_when_idle: self.exit_when_idle,
            download: DownloadTimeouts {
                connect: self.download_connect_timeout,
                idle: self.download_idle_timeout,
                whole: self.download_timeout,
            },
            health_address: self.health_address,
            ecs_agent_uri: self.ecs_agent_uri,
            roots: self.common.roots()?,
            metrics_namespace: self.common.metrics_namespace,
        })
    }
}

impl Config {
    /// Refuses queues whose URLs name another region.
    pub fn check_region(&self, region: &str) -> Result<(), BadSetting> {
        check_region("QUEUE_URL", &self.queue_url, region)?;
        check_region("DEAD_LETTER_QUEUE_URL", &self.dead_letter_queue_url, region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(flags: &[&str]) -> Result<Config, BadSetting> {
        let required = [
            "worker",
            "--queue-url=https://sqs.us-east-1.amazonaws.com/1/q",
            "--dead-letter-queue-url=https://sqs.us-east-1.amazonaws.com/1/d",
            "--checkpoint-table=t",
            "--s3-bucket=b",
        ];
        Settings::parse_from(required.iter().chain(flags)).check()
    }

    #[test]
    fn defaults_fit_together() {
        let config = checked(&[]).unwrap();
        assert_eq!(
            (config.codec, config.level, config.lease),
            (Codec::Gzip, 8, Duration::from_mins(2))
        );
        assert!(config.check_region("us-east-1").is_ok());
        assert!(
            config
                .check_region("eu-west-1")
                .unwrap_err()
                .to_string()
                .starts_with("QUEUE_URL is in region us-east-1")
        );
    }

    #[test]
    fn what_does_not_fit_names_the_variable() {
        for (flags, variable) in [
            (&["--lease=2s"][..], "LEASE"),
            (&["--lease=13h"], "LEASE"),
            (&["--max-attempts=0"], "MAX_ATTEMPTS"),
            (&["--concurrency=0"], "CONCURRENCY"),
            (&["--memory-budget=6MiB"], "MEMORY_BUDGET"),
            (
                &["--memory-budget=13MiB", "--compression=zstd"],
                "MEMORY_BUDGET",
            ),
            (&["--compression-level=10"], "COMPRESSION_LEVEL"),
            (
                &["--compression=zstd", "--compression-level=0"],
                "COMPRESSION_LEVEL",
            ),
            (&["--s3-prefix=/x"], "S3_PREFIX"),
        ] {
            let error = checked(flags).unwrap_err().to_string();
            assert!(error.contains(variable), "{flags:?}: {error}");
        }
    }
}
