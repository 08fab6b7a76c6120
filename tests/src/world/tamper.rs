//! What a test does behind everybody's back: lets time pass, lets rows and messages get lost, puts them there.

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::Message;
use jiff::Timestamp;
use serde_json::Value;

use super::{MINUTE, Row, World};
use crate::eventually::eventually;
use crate::rds::{NewCluster, NewInstance};

/// So many minutes before now, in milliseconds.
pub fn minutes_ago(minutes: i64) -> i64 {
    Timestamp::now().as_millisecond() - minutes * MINUTE
}

/// A number of a row.
pub fn number(row: &Row, attribute: &str) -> anyhow::Result<i64> {
    let text = row.get(attribute);
    let text = text.with_context(|| format!("no {attribute} in {row:?}"))?;
    text.parse()
        .with_context(|| format!("{attribute} in {row:?}"))
}

impl World {
    /// Adds a cluster of any engine, with tags and members.
    pub fn add_cluster(&self, id: &str, engine: &str, tags: &[(&str, &str)], members: &[&str]) {
        self.rds.add_cluster(NewCluster {
            id: id.to_owned(),
            engine: engine.to_owned(),
            tags: owned(tags),
        });
        for member in members {
            self.add_instance(member, Some(id), engine, &[]);
        }
    }

    /// Adds an instance of any engine, with tags.
    pub fn add_instance(
        &self,
        name: &str,
        cluster: Option<&str>,
        engine: &str,
        tags: &[(&str, &str)],
    ) {
        self.rds.add_instance(NewInstance {
            name: name.to_owned(),
            cluster: cluster.map(str::to_owned),
            engine: engine.to_owned(),
            tags: owned(tags),
        });
    }

    /// The row of the only version of a log file.
    pub async fn version_row(&self, file: &str) -> anyhow::Result<Row> {
        let versions = self.versions(file).await?;
        ensure!(versions.len() == 1, "versions of {file}: {versions:?}");
        versions.into_iter().next().context("there is one")
    }

    /// The row with the watermark of an instance and family.
    pub async fn mark(&self, instance: &str, family: &str) -> anyhow::Result<Row> {
        let key = format!("M#{family}");
        let is_meant = |row: &Row| {
            row.get("sk") == Some(&key) && row.get("instance").is_some_and(|name| name == instance)
        };
        let row = self.rows().await?.into_iter().find(is_meant);
        row.with_context(|| format!("no watermark of {instance} {family}"))
    }

    /// Rewrites a number of a row, such as a time in milliseconds.
    pub async fn rewrite(&self, row: &Row, attribute: &str, number: i64) -> anyhow::Result<()> {
        self.set(row, attribute, AttributeValue::N(number.to_string()))
            .await
    }

    /// Rewrites the state of a version, as if a worker had been at it.
    pub async fn rewrite_state(&self, row: &Row, state: &str) -> anyhow::Result<()> {
        self.set(row, "state", AttributeValue::S(state.to_owned()))
            .await
    }

    async fn set(&self, row: &Row, attribute: &str, value: AttributeValue) -> anyhow::Result<()> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.resources.table)
            .set_key(Some(key(row)?.into_iter().collect()))
            // Only what is there can be rewritten.
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET #attribute = :value")
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":value", value);
        update.send().await?;
        Ok(())
    }

    /// Deletes a row.
    pub async fn lose_row(&self, row: &Row) -> anyhow::Result<()> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.resources.table)
            .set_key(Some(key(row)?.into_iter().collect()));
        delete.send().await?;
        Ok(())
    }

    /// Sends this to the dead-letter queue, as SQS does by itself.
    pub async fn send_dead_letter(&self, body: &str) -> anyhow::Result<()> {
        self.sqs
            .send_message()
            .queue_url(&self.resources.dead_letter_queue_url)
            .message_body(body)
            .send()
            .await?;
        Ok(())
    }

    /// Lets all messages that are hidden in a queue come back, as if the time for it had passed.
    pub async fn come_back(&self, queue_url: &str) -> anyhow::Result<()> {
        let url = format!("{}/_stack/come-back", self.endpoint);
        let client = reqwest::Client::builder().build()?;
        let asked = client.post(url).body(queue_url.to_owned()).send().await?;
        asked.error_for_status()?;
        Ok(())
    }

    /// The bodies of all dead letters, which stay where they are. Those that were hidden are not any more.
    pub async fn letters(&self) -> anyhow::Result<Vec<String>> {
        let url = &self.resources.dead_letter_queue_url;
        self.come_back(url).await?;
        let mut letters = Vec::new();
        loop {
            let request = self.sqs.receive_message().queue_url(url);
            let request = request.max_number_of_messages(10).visibility_timeout(60);
            let messages = request.send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            letters.extend(messages.into_iter().filter_map(|message| message.body));
        }
        self.come_back(url).await?;
        Ok(letters)
    }

    /// Takes `count` messages off the work queue, for good: those, and no more, must be there.
    pub async fn take(&self, count: usize) -> anyhow::Result<Vec<Message>> {
        let mut taken = Vec::new();
        eventually(&format!("{count} messages"), async || {
            match self.take_messages().await {
                Ok(more) => taken.extend(more),
                Err(error) => return Err(format!("{error:#}")),
            }
            match taken.len() {
                enough if enough >= count => Ok(()),
                so_far => Err(format!("{so_far} messages")),
            }
        })
        .await?;
        let left = self.queued().await?;
        ensure!(
            (taken.len(), left) == (count, (0, 0)),
            "{count} messages expected, {} taken, and left are {left:?}",
            taken.len()
        );
        Ok(taken)
    }

    /// The same, read as JSON and in order of the log files' names.
    pub async fn take_bodies(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let mut bodies = Vec::new();
        for message in self.take(count).await? {
            bodies.push(serde_json::from_str(message.body().unwrap_or_default())?);
        }
        bodies.sort_by_key(|body: &Value| body.get("file").map(Value::to_string));
        Ok(bodies)
    }
}

fn owned(tags: &[(&str, &str)]) -> Vec<(String, String)> {
    tags.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn key(row: &Row) -> anyhow::Result<[(String, AttributeValue); 2]> {
    let part = |name: &str| -> anyhow::Result<_> {
        let value = row.get(name).with_context(|| format!("a row has {name}"))?;
        Ok((name.to_owned(), AttributeValue::S(value.clone())))
    };
    Ok([part("pk")?, part("sk")?])
}
