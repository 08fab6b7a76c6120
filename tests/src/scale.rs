//! A day of a large fleet in simulated time, without a network: what it asks of each AWS service, what that costs, which
//! limit is met first, and what follows.
//!
//! All of it follows from a [`Scenario`] and its seed. What is counted in the code stands in `requests`, what AWS allows in
//! `limits`, what it charges in `prices`; the rest are the scenario's assumptions, each of them a flag of `cargo scale`.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a model, far from what either type cannot hold"
)]

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;

// What AWS charges.
pub mod prices;

// What AWS allows.
pub mod limits;

// What the programs ask of AWS.
pub mod requests;

// The instances, and what they write.
pub mod fleet;

// Runs of the producer.
pub mod producer;

// The queue and the workers.
pub mod workers;

// All of it, for a day.
pub mod day;

// What comes of it: rates, limits, costs.
pub mod figures;

// Said to people and to programs.
pub mod report;

#[cfg(test)]
mod tests;

/// What is assumed of fleet, AWS and programs.
#[derive(Debug, Clone, PartialEq, Parser)]
pub struct Scenario {
    /// Instances of the whole fleet
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub instances: u64,
    /// What all of them write in a day, in GB (10⁹ bytes)
    #[arg(long, value_name = "GB", default_value_t = 10_000.0)]
    pub gb_per_day: f64,
    /// How unevenly: the standard deviation of the logarithm; 2 means that a tenth of them writes three quarters
    #[arg(long, value_name = "SIGMA", default_value_t = 2.0)]
    pub spread: f64,
    /// Pairs of an account and a region that the fleet is spread over evenly, each with its own producer, queue, table
    /// and workers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub regions: u64,
    /// Producers per region, each with a selection of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub shards: u64,
    /// How often the producer runs
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = shared::config::duration)]
    pub schedule: Duration,
    /// Seconds that a listing takes with the reads and writes around it; AWS says nothing, 0.1 to 1 is plausible
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    pub listing: f64,
    /// RDS API requests per second of an account in a region
    #[arg(long, value_name = "RATE", default_value_t = limits::RDS_RATE)]
    pub rds_rate: f64,
    /// RDS API requests at once
    #[arg(long, value_name = "N", default_value_t = limits::RDS_BURST)]
    pub rds_burst: f64,
    /// Memory of the Lambda, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024.0)]
    pub lambda_mib: f64,
    /// Days of rows in the table: nothing deletes them
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub history_days: u64,
    /// CPU seconds of a worker per GB, before compression; as measured
    #[arg(long, value_name = "SECONDS", default_value_t = 19.9)]
    pub cpu_per_gb: f64,
    /// CPU seconds of a worker per file; as measured
    #[arg(long, value_name = "SECONDS", default_value_t = 0.000_75)]
    pub cpu_per_file: f64,
    /// Seconds that a file waits for answers of RDS, S3, SQS and DynamoDB
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    pub wait_per_file: f64,
    /// Files in flight per vCPU: CONCURRENCY of a worker
    #[arg(long, value_name = "N", default_value_t = requests::FILES_PER_VCPU)]
    pub files_per_vcpu: f64,
    /// vCPUs of a worker
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub task_vcpus: f64,
    /// Memory of a worker, in GB
    #[arg(long, value_name = "GB", default_value_t = 2.0)]
    pub task_gb: f64,
    /// Most workers of a region at a time
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub max_tasks: u64,
    /// How many times smaller a file is in the archive; as measured of generated logs
    #[arg(long, value_name = "RATIO", default_value_t = 9.5)]
    pub ratio: f64,
    /// What is random follows from this
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl Scenario {
    /// Refuses what has no meaning.
    pub fn check(&self) -> anyhow::Result<()> {
        for (flag, count) in [
            ("instances", self.instances),
            ("regions", self.regions),
            ("shards", self.shards),
            ("max-tasks", self.max_tasks),
        ] {
            ensure!(count > 0, "--{flag} must be at least 1");
        }
        for (flag, value) in [
            ("listing", self.listing),
            ("rds-rate", self.rds_rate),
            ("files-per-vcpu", self.files_per_vcpu),
            ("task-vcpus", self.task_vcpus),
            ("ratio", self.ratio),
        ] {
            ensure!(value > 0.0, "--{flag} must be more than 0");
        }
        ensure!(self.rds_burst >= 1.0, "--rds-burst must be at least 1");
        ensure!(self.gb_per_day >= 0.0, "--gb-per-day must not be negative");
        ensure!(
            self.schedule >= Duration::from_mins(1),
            "--schedule must be at least 1m"
        );
        ensure!(
            self.regions <= self.instances,
            "--regions must not be more than --instances"
        );
        Ok(())
    }

    fn bytes_per_day(&self) -> f64 {
        self.gb_per_day * 1e9
    }

    /// Instances of each region, the largest first.
    fn by_region(&self) -> Vec<u64> {
        let (each, more) = (self.instances / self.regions, self.instances % self.regions);
        (0..self.regions)
            .map(|region| each + u64::from(region < more))
            .collect()
    }

    /// The same fleet with so many instances, each of which writes as much.
    fn with_instances(&self, instances: u64) -> Self {
        Self {
            instances,
            gb_per_day: self.gb_per_day * instances as f64 / self.instances as f64,
            ..self.clone()
        }
    }
}
