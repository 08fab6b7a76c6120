//! A run of the producer when nothing is new: what it asks for, and what it takes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::checkpoint::transition::{self, Transition};
use shared::checkpoint::{Content, Item, Mark, Presence, Proof, Registered};
use shared::instance::Instance;
use shared::log_file::{Family, LogFile, Version};
use shared::message::Message;
use tokio::time::Instant;

use super::figures::{Figures, name, number};
use super::process;
use crate::dynamodb;
use crate::programs::Environment;
use crate::proxy::Proxy;
use crate::rds::{NewCluster, NewInstance, Rds};
use crate::stack::{ACCOUNT, REGION, Resources, Stack};

/// Instances of one cluster: a writer and its replicas.
const MEMBERS: usize = 10;

/// Time between two log files of an instance: a hundred of them in a bit more than a day, as long as RDS keeps them.
const BETWEEN: SignedDuration = SignedDuration::from_mins(15);

/// Items that one `BatchWriteItem` takes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const BATCH: usize = 25;

/// What there is to look at.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Fleet {
    /// Aurora instances.
    pub instances: usize,
    /// Audit log files of each, all of them shipped long ago.
    pub files: usize,
    /// Rows of each in the table, of its newest files. What a run reads is at most a page of them.
    pub rows: usize,
}

/// What a run took in which nothing was new.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// What there was.
    pub fleet: Fleet,
    /// Requests to the services by operation. Several pages are several requests.
    pub requests: BTreeMap<String, u32>,
    /// CPU time, user and system, in seconds.
    pub cpu_s: f64,
    /// Most memory that was resident at a time, in MiB.
    pub peak_mib: f64,
    /// Time from start to end, in seconds; most of it is the local stack's.
    pub wall_s: f64,
}

impl Idle {
    /// What was asked for each instance, and the memory.
    pub fn figures(&self) -> Figures {
        let asked =
            |operation: &str| f64::from(self.requests.get(operation).copied().unwrap_or_default());
        let instances = number(self.fleet.instances as u64);
        Figures::from([
            // One is of the register of all instances.
            (
                name::QUERIES_PER_INSTANCE,
                (asked("Query") - 1.0) / instances,
            ),
            (
                name::LISTINGS_PER_INSTANCE,
                asked("DescribeDBLogFiles") / instances,
            ),
            (name::WRITES_PER_INSTANCE, asked("UpdateItem") / instances),
            (name::PEAK_RSS_MIB, self.peak_mib),
        ])
    }
}

/// Runs `auditferry enumerate` (the path of a release build) once, on a stack of its own.
pub async fn idle(auditferry: &Path, fleet: Fleet) -> anyhow::Result<Idle> {
    let stack = tokio::task::spawn_blocking(Stack::start).await??;
    let resources = Resources::create(&stack).await?;
    let rds = Rds::start_with(Stack::access())?;
    let items = furnish(&rds, fleet)?;
    put(&stack, &resources.table, items).await?;

    let (proxy, before_rds) = (Proxy::start(&stack.endpoint)?, Proxy::start(&rds.url())?);
    rds.set_authority(before_rds.authority());
    let (proxy_url, rds_url) = (proxy.url(), before_rds.url());
    let mut environment: Environment = stack
        .environment()
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
    for (name, value) in [
        ("AWS_ENDPOINT_URL", &proxy_url),
        ("AWS_ENDPOINT_URL_RDS", &rds_url),
        ("QUEUE_URL", &resources.queue_url),
        ("CHECKPOINT_TABLE", &resources.table),
        ("CLUSTERS", &"*".to_owned()),
    ] {
        environment.push((name.to_owned(), value.clone()));
    }
    let started = Instant::now();
    let took = process::run(auditferry, &["enumerate"], &environment).await?;
    let wall_s = started.elapsed().as_secs_f64();
    let mut requests = proxy.seen();
    for (operation, count) in before_rds.seen() {
        *requests.entry(operation).or_default() += count;
    }
    ensure!(
        !requests.contains_key("SendMessageBatch"),
        "something was new: {requests:?}"
    );
    Ok(Idle {
        fleet,
        requests,
        cpu_s: took.cpu(),
        peak_mib: took.peak_rss / 1024.0,
        wall_s,
    })
}

/// Fills RDS; what the table has once all of it was shipped.
fn furnish(rds: &Rds, fleet: Fleet) -> anyhow::Result<Vec<Item>> {
    let now = Timestamp::now();
    let engine = || "aurora-mysql".to_owned();
    let mut items = Vec::new();
    for number in 0..fleet.instances {
        let cluster = format!("cluster-{:03}", number / MEMBERS);
        if number % MEMBERS == 0 {
            rds.add_cluster(NewCluster {
                id: cluster.clone(),
                engine: engine(),
                tags: Vec::new(),
            });
        }
        let name = format!("{cluster}-instance-{}", number % MEMBERS);
        let resource_id = rds.add_instance(NewInstance {
            name: name.clone(),
            cluster: Some(cluster.clone()),
            engine: engine(),
            tags: Vec::new(),
        });
        let instance = Instance {
            resource_id,
            name,
            cluster,
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
        };
        let mut newest = None;
        for age in 0..fleet.files {
            // Nothing is so new that its file could still grow.
            let back = BETWEEN * i32::try_from(age + 8)?;
            let written = Timestamp::from_millisecond((now - back).as_millisecond())?;
            let name = format!("audit/audit.log.0.{}.0", written.strftime("%Y-%m-%d-%H-%M"));
            rds.put_file(&instance.name, &name, "line\n", written.as_millisecond());
            newest = newest.max(Some(written));
            if age < fleet.rows {
                let version = Version::new(written.as_millisecond(), 5).context("no version")?;
                let file = LogFile {
                    name,
                    version,
                    twins: 1,
                };
                items.push(shipped(&instance, file, now)?);
            }
        }
        items.extend(known(&instance, newest, fleet.files, now)?);
    }
    Ok(items)
}

/// The row of a version that was shipped.
fn shipped(instance: &Instance, file: LogFile, now: Timestamp) -> anyhow::Result<Item> {
    let key = format!(
        "{}/audit/2024/10/01/12/{}/{}.gz",
        instance.cluster, instance.name, file.name
    );
    let proof = Proof {
        reason: "shipped",
        keys: vec![key],
        etag: Some("\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned()),
        content: Some(Content {
            sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            raw_bytes: 5,
            lines: 1,
        }),
        stored_bytes: Some(25),
    };
    let sort_key = file.sort_key();
    let message = Message {
        instance: instance.clone(),
        file,
    };
    let complete = transition::complete(&message, 1, 1, &proof, now);
    item(&format!("I#{}", instance.resource_id), &sort_key, &complete)
}

/// The watermark of an instance, and that it is there.
fn known(
    instance: &Instance,
    watermark: Option<Timestamp>,
    listed: usize,
    now: Timestamp,
) -> anyhow::Result<[Item; 2]> {
    let (partition, family) = (format!("I#{}", instance.resource_id), Family::Aurora);
    let mark = Mark {
        resource_id: instance.resource_id.clone(),
        instance: instance.name.clone(),
        cluster: instance.cluster.clone(),
        family,
        watermark: None,
        last_processed_at: None,
        last_enumerated_at: now,
        listed: listed as u64,
    };
    let registered = Registered {
        resource_id: instance.resource_id.clone(),
        name: instance.name.clone(),
        cluster: instance.cluster.clone(),
        presence: Presence::There,
    };
    let enumerated = transition::enumerated(&mark, watermark);
    Ok([
        item(&partition, &format!("M#{family}"), &enumerated)?,
        item(
            "INSTANCES",
            &partition,
            &transition::registered(&registered),
        )?,
    ])
}

/// What production's write makes of nothing.
fn item(pk: &str, sk: &str, write: &Transition) -> anyhow::Result<Item> {
    let written = dynamodb::write(pk, sk, None, write).map_err(anyhow::Error::msg)?;
    written.with_context(|| format!("the condition for {pk} {sk} does not hold"))
}

async fn put(stack: &Stack, table: &str, items: Vec<Item>) -> anyhow::Result<()> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&stack.sdk_config());
    let mut writes = items.into_iter().map(|item: Item| {
        let put = PutRequest::builder().set_item(Some(item)).build();
        put.map(|put| WriteRequest::builder().put_request(put).build())
    });
    loop {
        let batch = writes.by_ref().take(BATCH).collect::<Result<Vec<_>, _>>()?;
        if batch.is_empty() {
            return Ok(());
        }
        let request = dynamodb.batch_write_item().request_items(table, batch);
        let answer = request.send().await?;
        let left = answer.unprocessed_items.unwrap_or_default();
        ensure!(left.is_empty(), "the stack did not take {left:?}");
    }
}
