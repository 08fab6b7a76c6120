//! Settings of the producer.

use std::time::Duration;

use shared::archive::Archive;
use shared::aws::Aws;
use shared::checkpoint::Checkpoints;
use shared::config::{BadSetting, Common, check_region, duration};
use shared::queue::Queue;
use shared::roots::Roots;

use crate::enumerate::Selection;

/// What to enumerate, and when a version is due.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Settings of the producer")]
pub struct Enumeration {
    /// Clusters to enumerate, comma-separated: identifiers, tag:Key=Value, or * for all
    #[arg(
        long,
        env,
        value_name = "SELECTION",
        default_value = "",
        hide_default_value = true
    )]
    pub clusters: Selection,
    /// Standalone instances to enumerate, in the same syntax
    #[arg(
        long,
        env,
        value_name = "SELECTION",
        default_value = "",
        hide_default_value = true
    )]
    pub instances: Selection,
    /// How long a log file that may still grow must be quiet before it is shipped
    #[arg(long, env, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub settle: Duration,
    /// How far before the watermark to list again, for entries that a listing left out
    #[arg(long, env, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub overlap: Duration,
    /// How long a version may stay unfinished before its message is sent again; doubles each time, up to 6h
    #[arg(long, env, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub resend_after: Duration,
}

impl Enumeration {
    /// Refuses an enumeration of nothing.
    pub fn check(&self) -> Result<(), BadSetting> {
        if self.clusters.is_empty() && self.instances.is_empty() {
            return Err(BadSetting(
                "CLUSTERS and INSTANCES are both empty: name clusters or standalone instances, or * for all".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Names of what `enumerate` writes to.
#[derive(Debug, Clone)]
pub struct Targets {
    queue_url: String,
    checkpoint_table: String,
    roots: Roots,
}

/// What `enumerate` reads from and writes to.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The RDS API.
    pub rds: aws_sdk_rds::Client,
    /// The work queue.
    pub queue: Queue,
    /// The checkpoint table.
    pub checkpoints: Checkpoints,
    /// Where all of it is.
    pub region: String,
}

impl Targets {
    /// Reads and checks the settings; builds nothing.
    pub fn check(common: &Common) -> Result<Self, BadSetting> {
        Ok(Self {
            queue_url: common.queue_url()?,
            checkpoint_table: common.checkpoint_table()?,
            roots: common.roots()?,
        })
    }

    /// Builds the clients, unless the queue is in another region.
    pub async fn connect(self) -> Result<Clients, BadSetting> {
        let aws = connect(&self.roots, &[("QUEUE_URL", &self.queue_url)]).await?;
        Ok(self.clients(&aws))
    }

    /// Builds the clients, and that of the archive.
    pub async fn connect_with_archive(
        self,
        common: &Common,
    ) -> Result<(Clients, Archive), BadSetting> {
        let (bucket, prefix) = (common.s3_bucket()?, common.s3_prefix()?);
        let aws = connect(&self.roots, &[("QUEUE_URL", &self.queue_url)]).await?;
        let archive = Archive::new(&aws, bucket, prefix);
        Ok((self.clients(&aws), archive))
    }

    fn clients(self, aws: &Aws) -> Clients {
        Clients {
            queue: Queue::new(aws, self.queue_url),
            checkpoints: Checkpoints::new(aws, self.checkpoint_table),
            rds: aws.rds.clone(),
            region: aws.region.clone(),
        }
    }
}

/// Builds the AWS clients, unless a queue's URL names another region.
pub async fn connect(roots: &Roots, queues: &[(&str, &str)]) -> Result<Aws, BadSetting> {
    let sdk_config = shared::aws::load(roots).await;
    if let Some(region) = sdk_config.region() {
        for (variable, url) in queues {
            check_region(variable, url, region.as_ref())?;
        }
    }
    Aws::new(&sdk_config)
        .await
        .map_err(|unusable| BadSetting(unusable.to_string()))
}
