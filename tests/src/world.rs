//! A test's own instances, queues, table and bucket, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};

use crate::archive::{self, Object};
use crate::programs::{self, Ended, Environment, Running};
use crate::proxy::{Proxy, Service};
use crate::rds::{NewCluster, NewInstance, Rds};
use crate::stack::{Resources, Stack};
use crate::tls::Tls;

// What a test does by hand: one instance, one log file, the message of a version, its row.
pub mod by_hand;

// Time passes, rows and messages get lost.
mod age;
mod tamper;

pub use self::age::is_recorded_time;
pub use self::tamper::{minutes_ago, number};

/// 2024-10-01T12:00:00Z, in milliseconds: so long ago that everything written then is due.
pub const NOON: i64 = 1_727_784_000_000;

/// One minute, in milliseconds.
pub const MINUTE: i64 = 60_000;

/// The roots that programs trust: one, of nobody. Nothing here speaks TLS, and reading a machine's hundred and more takes
/// an unoptimized program longer than all else of its start.
const ROOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/stack/nobody.pem");

/// A row of the checkpoint table, numbers and texts alike as text.
pub type Row = BTreeMap<String, String>;

/// Everything that one test has for itself.
pub struct World {
    /// Its RDS.
    pub rds: Rds,
    /// Its queues, table and bucket.
    pub resources: Resources,
    /// For looking around.
    pub sqs: aws_sdk_sqs::Client,
    /// For looking around.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// For looking around.
    pub s3: aws_sdk_s3::Client,
    environment: Environment,
    endpoint: String,
    expected_errors: Vec<String>,
    errors: Mutex<Vec<String>>,
    /// Of the programs that have ended, for a test that fails.
    logs: Mutex<Vec<String>>,
}

impl World {
    /// A world on the stack that all tests of this process share.
    pub async fn new() -> anyhow::Result<Self> {
        Self::on(Stack::shared().await?).await
    }

    /// A world on this stack.
    pub async fn on(stack: &Stack) -> anyhow::Result<Self> {
        // Before anything is under way that would time out while a thread waits for the compiler.
        tokio::task::spawn_blocking(programs::folder).await??;
        let resources = Resources::create(stack).await?;
        let rds = Rds::start_with(Stack::access())?;
        let mut environment: Environment = Vec::new();
        environment.extend(
            stack
                .environment()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        for (name, value) in [
            ("AWS_ENDPOINT_URL_RDS", rds.url()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SSL_CERT_FILE", ROOTS.to_owned()),
            ("QUEUE_URL", resources.queue_url.clone()),
            (
                "DEAD_LETTER_QUEUE_URL",
                resources.dead_letter_queue_url.clone(),
            ),
            ("CHECKPOINT_TABLE", resources.table.clone()),
            ("S3_BUCKET", resources.bucket.clone()),
            ("CLUSTERS", "*".to_owned()),
            ("INSTANCES", "*".to_owned()),
        ] {
            environment.push((name.to_owned(), value));
        }
        let config = stack.sdk_config();
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build();
        Ok(Self {
            rds,
            resources,
            sqs: aws_sdk_sqs::Client::new(&config),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            environment,
            endpoint: stack.endpoint.clone(),
            expected_errors: Vec::new(),
            errors: Mutex::default(),
            logs: Mutex::default(),
        })
    }

    /// Puts a proxy between all programs and a service. The test's own clients go past it.
    pub fn behind_proxy(&mut self, service: Service) -> anyhow::Result<Proxy> {
        let proxy = match service {
            Service::Rds => {
                let proxy = Proxy::start(&self.rds.url())?;
                self.rds.set_authority(proxy.authority());
                proxy
            }
            Service::Sqs | Service::DynamoDb | Service::S3 => {
                let mut settings = self.environment.iter();
                let stack = settings.find(|(name, _)| name == "AWS_ENDPOINT_URL");
                Proxy::start(&stack.context("the stack is nowhere")?.1)?
            }
        };
        self.set_environment(&[(service.variable(), &proxy.url())]);
        Ok(proxy)
    }

    /// Puts TLS between all programs and a service.
    pub fn behind_tls(&mut self, service: Service) -> anyhow::Result<Tls> {
        let tls = match service {
            Service::Rds => {
                let tls = Tls::start(&self.rds.url())?;
                self.rds.set_authority(tls.authority());
                tls
            }
            Service::Sqs | Service::DynamoDb | Service::S3 => Tls::start(&self.endpoint)?,
        };
        self.set_environment(&[(service.variable(), &tls.url())]);
        Ok(tls)
    }

    /// Settles that error lines with this text are what the test wants; every other one fails it.
    pub fn expect_error(&mut self, text: &str) {
        self.expected_errors.push(text.to_owned());
    }

    /// Adds an Aurora cluster with these members.
    pub fn add_aurora(&self, cluster: &str, instances: &[&str]) {
        let engine = || "aurora-mysql".to_owned();
        self.rds.add_cluster(NewCluster {
            id: cluster.to_owned(),
            engine: engine(),
            tags: Vec::new(),
        });
        for name in instances {
            let (name, cluster) = ((*name).to_owned(), Some(cluster.to_owned()));
            self.rds.add_instance(NewInstance {
                name,
                cluster,
                engine: engine(),
                tags: Vec::new(),
            });
        }
    }

    /// Adds a standalone MariaDB instance.
    pub fn add_mariadb(&self, name: &str) {
        let engine = "mariadb".to_owned();
        self.rds.add_instance(NewInstance {
            name: name.to_owned(),
            cluster: None,
            engine,
            tags: Vec::new(),
        });
    }

    /// The settings of all programs, with these instead or besides; an empty value is as good as none.
    pub fn environment(&self, with: &[(&str, &str)]) -> Environment {
        let mut environment = self.environment.clone();
        for (name, value) in with {
            environment.retain(|(known, _)| known != name);
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        environment
    }

    /// Gives all programs these settings, instead or besides.
    pub fn set_environment(&mut self, with: &[(&str, &str)]) {
        self.environment = self.environment(with);
    }

    /// Runs `auditferry` with these arguments.
    pub async fn auditferry(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        self.auditferry_with(arguments, &[]).await
    }

    /// Runs `auditferry` with these arguments and settings.
    pub async fn auditferry_with(
        &self,
        arguments: &[&str],
        with: &[(&str, &str)],
    ) -> anyhow::Result<Ended> {
        let ended = programs::run("auditferry", arguments, &self.environment(with)).await?;
        self.note_errors(ended.logged("ERROR"));
        self.note_log("auditferry", &ended);
        Ok(ended)
    }

    /// Runs the producer once, which must go well; its summary.
    pub async fn enumerate(&self) -> anyhow::Result<serde_json::Value> {
        let ended = self.auditferry(&["enumerate", "--json"]).await?;
        ensure!(ended.code() == Some(0), "enumerate failed: {ended:?}");
        ended.json()
    }

    /// Starts a worker with these settings besides.
    pub fn start_worker(&self, with: &[(&str, &str)]) -> anyhow::Result<Running> {
        Running::start("auditferry-worker", &self.environment(with))
    }

    /// Waits for the end of a program, whatever it is.
    pub async fn finish(&self, program: &str, running: Running) -> anyhow::Result<Ended> {
        let ended = running.ended().await?;
        self.note_errors(ended.logged("ERROR"));
        self.note_log(program, &ended);
        Ok(ended)
    }

    /// Waits for a worker's end, which must be a good one.
    pub async fn finish_worker(&self, worker: Running) -> anyhow::Result<Ended> {
        let ended = self.finish("auditferry-worker", worker).await?;
        ensure!(ended.code() == Some(0), "the worker failed: {ended:?}");
        Ok(ended)
    }

    /// Runs a worker until the queue is empty.
    pub async fn work(&self) -> anyhow::Result<Ended> {
        self.work_with(&[]).await
    }

    /// Runs a worker with these settings until the queue is empty.
    pub async fn work_with(&self, with: &[(&str, &str)]) -> anyhow::Result<Ended> {
        let with: Vec<_> = [("EXIT_WHEN_IDLE", "1s")]
            .iter()
            .chain(with)
            .copied()
            .collect();
        self.finish_worker(self.start_worker(&with)?).await
    }

    /// Every object of the archive by key.
    pub async fn objects(&self) -> anyhow::Result<BTreeMap<String, Object>> {
        archive::objects(&self.s3, &self.resources.bucket).await
    }

    /// Every row of the checkpoint table, by partition and sort key.
    pub async fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut pages = self
            .dynamodb
            .scan()
            .table_name(&self.resources.table)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            rows.push(
                item?
                    .into_iter()
                    .map(|(name, value)| (name, plain(&value)))
                    .collect(),
            );
        }
        rows.sort_by_key(|row: &Row| (row.get("pk").cloned(), row.get("sk").cloned()));
        Ok(rows)
    }

    /// The rows of versions of a log file, oldest version first.
    pub async fn versions(&self, file: &str) -> anyhow::Result<Vec<Row>> {
        let rows = self.rows().await?;
        Ok(rows
            .into_iter()
            .filter(|row| row.get("name").map(String::as_str) == Some(file))
            .collect())
    }

    /// The rows of all versions.
    pub async fn all_versions(&self) -> anyhow::Result<Vec<Row>> {
        let rows = self.rows().await?;
        Ok(rows
            .into_iter()
            .filter(|row| row.get("sk").is_some_and(|key| key.starts_with("F#")))
            .collect())
    }

    /// The watermarks, by instance name and family, in milliseconds; "" where there is none yet.
    pub async fn watermarks(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let rows = self.rows().await?.into_iter();
        let marks = rows.filter_map(|row| {
            let family = row.get("sk")?.strip_prefix("M#")?.to_owned();
            Some((
                format!("{} {family}", row.get("instance")?),
                row.get("watermark").cloned().unwrap_or_default(),
            ))
        });
        Ok(marks.collect())
    }

    /// Sends this to the work queue, as if a producer had.
    pub async fn send(&self, body: &str) -> anyhow::Result<()> {
        self.sqs
            .send_message()
            .queue_url(&self.resources.queue_url)
            .message_body(body)
            .send()
            .await?;
        Ok(())
    }

    /// Takes at most ten messages off the work queue, for good.
    pub async fn take_messages(&self) -> anyhow::Result<Vec<Message>> {
        self.take_from(&self.resources.queue_url).await
    }

    /// Takes at most ten dead letters, for good.
    pub async fn take_dead_letters(&self) -> anyhow::Result<Vec<Message>> {
        self.take_from(&self.resources.dead_letter_queue_url).await
    }

    async fn take_from(&self, url: &str) -> anyhow::Result<Vec<Message>> {
        let request = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .wait_time_seconds(1);
        let request = request
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let messages = request.send().await?.messages.unwrap_or_default();
        for message in &messages {
            let receipt = message.receipt_handle().context("no receipt")?;
            self.sqs
                .delete_message()
                .queue_url(url)
                .receipt_handle(receipt)
                .send()
                .await?;
        }
        Ok(messages)
    }

    /// How many messages the work queue holds: visible and in flight.
    pub async fn queued(&self) -> anyhow::Result<(u64, u64)> {
        self.depth(&self.resources.queue_url).await
    }

    /// How many dead letters there are: visible and in flight.
    pub async fn dead_letters(&self) -> anyhow::Result<(u64, u64)> {
        self.depth(&self.resources.dead_letter_queue_url).await
    }

    async fn depth(&self, url: &str) -> anyhow::Result<(u64, u64)> {
        use aws_sdk_sqs::types::QueueAttributeName as Name;
        let request = self
            .sqs
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(Name::All);
        let answer = request.send().await?;
        let figure = |name| -> anyhow::Result<u64> {
            Ok(answer
                .attributes()
                .and_then(|all| all.get(&name))
                .context("no such figure")?
                .parse()?)
        };
        Ok((
            figure(Name::ApproximateNumberOfMessages)?,
            figure(Name::ApproximateNumberOfMessagesNotVisible)?,
        ))
    }

    pub(crate) fn note_errors(&self, errors: Vec<String>) {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(errors);
    }

    /// Error lines that were not expected, and are forgotten with this.
    pub(crate) fn take_unexpected_errors(&self) -> Vec<String> {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = |error: &String| {
            let mut texts = self.expected_errors.iter();
            texts.any(|text| error.contains(text))
        };
        let errors = std::mem::take(&mut *errors);
        errors
            .into_iter()
            .filter(|error| !expected(error))
            .collect()
    }

    /// What the programs that have ended have said.
    pub fn said(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.join("\n")
    }

    fn note_log(&self, program: &str, ended: &Ended) {
        self.logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{program} said:\n{}", ended.stderr));
    }
}

fn plain(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
        AttributeValue::L(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    }
}

impl Drop for World {
    /// Fails the test that had error lines which it did not expect; tells what the programs said if it failed otherwise.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
            #[expect(clippy::print_stderr, reason = "shown with the test that failed")]
            logs.iter().for_each(|log| eprintln!("{log}"));
        }
        let unexpected = self.take_unexpected_errors();
        assert!(
            unexpected.is_empty() || std::thread::panicking(),
            "unexpected errors were logged: {unexpected:#?}"
        );
    }
}
