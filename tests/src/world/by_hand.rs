//! What a test does by hand: one instance, one log file, the message of a version, its row.

use std::collections::HashMap;

use anyhow::Context;
use aws_sdk_dynamodb::types::AttributeValue;
use fastrand::Rng;
use jiff::Timestamp;
use shared::instance::Instance;
use shared::log_file::{LogFile, Version};
use shared::message::Message;

use super::{MINUTE, NOON, Row, World, plain};
use crate::eventually::eventually;
use crate::generate::{Dialect, Generator};
use crate::stack::{ACCOUNT, REGION};

/// The Aurora instance of [`World::with_aurora`].
pub const INSTANCE: &str = "instance-1";
/// Its cluster.
pub const CLUSTER: &str = "my-rds-cluster";
/// A log file's name.
pub const FILE: &str = "audit/audit.log.0.2024-10-01-12-00.0";
/// The key of its object.
pub const KEY: &str =
    "my-rds-cluster/audit/2024/10/01/12/instance-1/audit.log.0.2024-10-01-12-00.0.gz";

/// An Aurora audit log of so many bytes; one seed is one log, of which a shorter one is the beginning.
pub fn log(seed: u64, size: usize) -> Vec<u8> {
    let start = Timestamp::from_millisecond(NOON).expect("a time of day");
    let mut log = Generator::new(seed, Dialect::Aurora, INSTANCE, start).fill(size);
    log.truncate(size);
    log
}

/// Bytes that no codec makes fewer.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(seed);
    let mut noise = vec![0; size];
    random.fill(&mut noise);
    noise
}

impl World {
    /// A world with [`INSTANCE`] of [`CLUSTER`], without log files.
    pub async fn with_aurora() -> anyhow::Result<Self> {
        let world = Self::new().await?;
        world.add_aurora(CLUSTER, &[INSTANCE]);
        Ok(world)
    }

    /// Puts a log file of [`INSTANCE`] in place, written a minute after [`NOON`], and sends the message of this version.
    pub async fn put_and_send(
        &self,
        file: &str,
        content: impl Into<bytes::Bytes>,
    ) -> anyhow::Result<Message> {
        self.rds.put_file(INSTANCE, file, content, NOON + MINUTE);
        self.send_version(file).await
    }

    /// Sends the message of [`World::version`], as if a producer had.
    pub async fn send_version(&self, file: &str) -> anyhow::Result<Message> {
        let message = self.version(file)?;
        self.send(&message.to_wire()).await?;
        Ok(message)
    }

    /// The present version of a log file of [`INSTANCE`], as a message.
    pub fn version(&self, file: &str) -> anyhow::Result<Message> {
        self.version_of(INSTANCE, CLUSTER, file)
    }

    /// The present version of a log file, as a message.
    pub fn version_of(&self, instance: &str, cluster: &str, file: &str) -> anyhow::Result<Message> {
        let files = self.rds.files(instance);
        let (name, last_written, content) = files
            .into_iter()
            .find(|(name, ..)| name == file)
            .with_context(|| format!("{instance} has no {file}"))?;
        let size = i64::try_from(content.len())?;
        Ok(Message {
            instance: Instance {
                resource_id: self.rds.resource_id(instance),
                name: instance.to_owned(),
                cluster: cluster.to_owned(),
                account: ACCOUNT.to_owned(),
                region: REGION.to_owned(),
            },
            file: LogFile {
                name,
                version: Version::new(last_written, size).context("no version")?,
                twins: 1,
            },
        })
    }

    /// The row of a version, as it is now.
    pub async fn row(&self, version: &Message) -> anyhow::Result<Option<Row>> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.resources.table)
            .set_key(Some(row_key(version)))
            .consistent_read(true);
        let item = request.send().await?.item;
        Ok(item.map(|item| {
            item.into_iter()
                .map(|(name, value)| (name, plain(&value)))
                .collect()
        }))
    }

    /// Waits until the row of a version is in a state, such as `Leased`; the row then.
    pub async fn until(&self, version: &Message, state: &str) -> anyhow::Result<Row> {
        let what = format!("{} to be {state}", version.file.name);
        self.until_row(version, &what, |row| row["state"] == state)
            .await
    }

    /// Waits until the row of a version is there and as wanted; the row then.
    pub async fn until_row(
        &self,
        version: &Message,
        what: &str,
        wanted: impl Fn(&Row) -> bool,
    ) -> anyhow::Result<Row> {
        eventually(what, async || match self.row(version).await {
            Ok(Some(row)) if wanted(&row) => Ok(row),
            other => Err(other),
        })
        .await
    }

    /// Changes the row of a version behind everybody's back, or makes one. Digits become a number, all else a text.
    pub async fn rewrite_row(
        &self,
        version: &Message,
        attributes: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let mut request = self
            .dynamodb
            .update_item()
            .table_name(&self.resources.table)
            .set_key(Some(row_key(version)));
        let mut assignments = Vec::new();
        for (name, value) in attributes {
            let value = if value.bytes().all(|byte| byte.is_ascii_digit()) {
                AttributeValue::N((*value).to_owned())
            } else {
                AttributeValue::S((*value).to_owned())
            };
            assignments.push(format!("#{name} = :{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), *name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        request
            .update_expression(format!("SET {}", assignments.join(", ")))
            .send()
            .await?;
        Ok(())
    }

    /// How many times the object under a key was written.
    pub async fn writes(&self, key: &str) -> anyhow::Result<usize> {
        let request = self
            .s3
            .list_object_versions()
            .bucket(&self.resources.bucket)
            .prefix(key);
        let versions = request.send().await?;
        let of_key = versions
            .versions()
            .iter()
            .filter(|version| version.key() == Some(key));
        Ok(of_key.count())
    }

    /// How many uploads were begun, and neither completed nor aborted.
    pub async fn unfinished_uploads(&self) -> anyhow::Result<usize> {
        let request = self
            .s3
            .list_multipart_uploads()
            .bucket(&self.resources.bucket);
        Ok(request.send().await?.uploads().len())
    }

    /// Waits until so many bodies are silent.
    pub async fn until_stalled(&self, bodies: usize) -> anyhow::Result<()> {
        eventually(&format!("{bodies} downloads to stall"), async || {
            let stalled = self.rds.stalled();
            if stalled == bodies {
                Ok(())
            } else {
                Err(stalled)
            }
        })
        .await
    }

    /// Waits until the work queue holds this: visible, and in flight.
    pub async fn until_queued(&self, visible: u64, in_flight: u64) -> anyhow::Result<()> {
        let what = format!("{visible} messages visible, {in_flight} in flight");
        eventually(&what, async || match self.queued().await {
            Ok(depth) if depth == (visible, in_flight) => Ok(()),
            other => Err(other),
        })
        .await
    }
}

fn row_key(version: &Message) -> HashMap<String, AttributeValue> {
    let partition = format!("I#{}", version.instance.resource_id);
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(partition)),
        ("sk".to_owned(), AttributeValue::S(version.file.sort_key())),
    ])
}
