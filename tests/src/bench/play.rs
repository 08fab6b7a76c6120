//! One scenario, once: servers of its own, the program, and whether all of it arrived.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use bytes::Bytes;
use serde_json::Value;
use shared::log_file::KeyForm;
use shared::queue::BATCH;
use tokio::sync::mpsc::UnboundedReceiver;
use worker::compress::Codec;

use super::figures::{Figures, name, number};
use super::files::Files;
use super::floor::Floor;
use super::process::{self, Took};
use super::scenario::{self, Scenario, Settings, Shipper};
use super::sink::{Kept, Object, Sink};
use super::source::{Asked, Source};
use crate::programs;
use crate::proxy::{Call, Proxy, Service};
use crate::stack::Stack;
use crate::tls;
use crate::world::World;

/// What people do today.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/baseline.py");

/// One run of a scenario.
#[derive(Debug)]
pub struct Run {
    /// What it took.
    pub figures: Figures,
    /// Requests by operation, those of an idle worker at the end included.
    pub operations: BTreeMap<String, u64>,
    /// What was stored, by key.
    pub objects: BTreeMap<String, Object>,
    /// Times between renewals of a claim, as parts of the lease.
    pub renewals: Vec<f64>,
}

/// The services, as one run meets them.
struct Services {
    world: World,
    source: Source,
    sink: Sink,
    sqs: (Proxy, UnboundedReceiver<Call>),
    dynamodb: (Proxy, UnboundedReceiver<Call>),
}

/// Plays a scenario. `Err` if a program fails, or anything is not as it should be in the end.
pub async fn play(
    scenario: &Scenario,
    stack: &Stack,
    log: &Bytes,
    floor: Option<Floor>,
) -> anyhow::Result<Run> {
    let tls = matches!(
        scenario.shipper,
        Shipper::Worker(Settings { tls: true, .. })
    );
    let mut services = Services::start(stack, scenario.files, log, tls).await?;
    let took = match scenario.shipper {
        Shipper::Worker(settings) => services.work(scenario.files, settings).await?,
        Shipper::Baseline { record } => services.run_baseline(scenario.files, record).await?,
    };
    let (kept, asked) = (services.sink.kept(), services.source.asked());
    services.check(scenario.files, &kept).await?;
    let sqs = calls(&mut services.sqs.1);
    let dynamodb = calls(&mut services.dynamodb.1);

    let mut figures = figures(scenario.files, took, &kept, asked)?;
    let per_file = |requests: usize| number(requests as u64) / number(scenario.files.count);
    let last_delete = sqs
        .iter()
        .rposition(|call| call.operation.starts_with("DeleteMessage"));
    figures.extend([
        (
            name::SQS_PER_FILE,
            per_file(last_delete.map_or(0, |at| at + 1)),
        ),
        (name::DYNAMODB_PER_FILE, per_file(dynamodb.len())),
    ]);
    let mut renewals = Vec::new();
    if let Shipper::Worker(settings) = scenario.shipper {
        renewals = parts_of_lease(&dynamodb, Duration::from_secs(settings.lease.into()));
    }
    figures.extend(
        renewals
            .iter()
            .copied()
            .reduce(f64::max)
            .map(|part| (name::LATEST_RENEWAL, part)),
    );
    if let Some(floor) = floor {
        compare(&mut figures, floor);
        let first = kept.objects.values().next().context("nothing was stored")?;
        ensure!(
            scenario.files.size > log.len() as u64 || *first == floor.first,
            "the first object is {first:?}, but the same bytes compressed in memory are {:?}",
            floor.first
        );
    }
    let mut operations = kept.requests;
    for call in sqs.into_iter().chain(dynamodb) {
        *operations.entry(call.operation).or_default() += 1;
    }
    operations.insert("downloadCompleteLogFile".to_owned(), asked.downloads);
    Ok(Run {
        figures,
        operations,
        objects: kept.objects,
        renewals,
    })
}

impl Services {
    async fn start(stack: &Stack, files: Files, log: &Bytes, tls: bool) -> anyhow::Result<Self> {
        let mut world = World::on(stack).await?;
        let source = Source::start(files, log.clone(), tls)?;
        let sink = Sink::start(tls)?;
        let sqs = Proxy::start_watched(&stack.endpoint)?;
        let dynamodb = Proxy::start_watched(&stack.endpoint)?;
        world.set_environment(&[
            (Service::Rds.variable(), source.url()),
            (Service::S3.variable(), sink.url()),
            (Service::Sqs.variable(), &sqs.0.url()),
            (Service::DynamoDb.variable(), &dynamodb.0.url()),
        ]);
        Ok(Self {
            world,
            source,
            sink,
            sqs,
            dynamodb,
        })
    }

    /// Sends all messages, and runs the worker until they are done.
    async fn work(&self, files: Files, settings: Settings) -> anyhow::Result<Took> {
        self.send(files).await?;
        let mut environment = self.world.environment(&[
            ("EXIT_WHEN_IDLE", "1s"),
            ("COMPRESSION", scenario::name(settings.codec)),
            ("COMPRESSION_LEVEL", &settings.level.to_string()),
            ("CONCURRENCY", &settings.concurrency.to_string()),
            ("LEASE", &format!("{}s", settings.lease)),
        ]);
        if settings.tls {
            environment.retain(|(name, _)| name != "SSL_CERT_FILE");
            environment.push(("AWS_CA_BUNDLE".to_owned(), tls::AUTHORITY.to_owned()));
        }
        process::run(
            &programs::folder()?.join("auditferry-worker"),
            &[],
            &environment,
        )
        .await
    }

    async fn send(&self, files: Files) -> anyhow::Result<()> {
        let numbers: Vec<u64> = (0..files.count).collect();
        for batch in numbers.chunks(BATCH) {
            let mut request = self
                .world
                .sqs
                .send_message_batch()
                .queue_url(&self.world.resources.queue_url);
            for number in batch {
                let body = files.message(*number)?.to_wire();
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(body);
                request = request.entries(entry.build()?);
            }
            let sent = request.send().await?;
            ensure!(
                sent.failed().is_empty(),
                "not every message was sent: {:?}",
                sent.failed()
            );
        }
        Ok(())
    }

    async fn run_baseline(&self, files: Files, record: bool) -> anyhow::Result<Took> {
        let mut list = String::new();
        for number in 0..files.count {
            let message = files.message(number)?;
            let key = message.file.object_key(
                "",
                &message.instance,
                KeyForm::Plain,
                Codec::Gzip.extension(),
            )?;
            writeln!(
                list,
                "{}\t{}\t{key}",
                message.instance.name, message.file.name
            )?;
        }
        let path = Path::new(super::FOLDER).join("baseline.list");
        std::fs::create_dir_all(super::FOLDER)?;
        std::fs::write(&path, list)?;
        let (path, resources) = (path.display().to_string(), &self.world.resources);
        let mut arguments = vec!["-E", "-s", "-B", BASELINE, &path, &resources.bucket];
        arguments.extend(record.then_some(resources.table.as_str()));
        process::run(&Stack::python()?, &arguments, &self.world.environment(&[])).await
    }

    /// Every file is an object, written once; every message is settled.
    async fn check(&self, files: Files, kept: &Kept) -> anyhow::Result<()> {
        let writes =
            ["PutObject", "CompleteMultipartUpload"].map(|operation| kept.requests.get(operation));
        let writes: u64 = writes.into_iter().flatten().sum();
        ensure!(
            kept.objects.len() as u64 == files.count && writes == files.count,
            "{} files became {} objects in {writes} writes",
            files.count,
            kept.objects.len()
        );
        for key in kept.objects.keys() {
            let file = key.trim_end_matches(".gz").trim_end_matches(".zst");
            files
                .number(file)
                .with_context(|| format!("nobody has sent {key}"))?;
        }
        let (queued, dead) = (self.world.queued().await?, self.world.dead_letters().await?);
        ensure!(
            queued == (0, 0) && dead == (0, 0),
            "messages are left: {queued:?}, dead letters {dead:?}"
        );
        Ok(())
    }
}

fn figures(files: Files, took: Took, kept: &Kept, asked: Asked) -> anyhow::Result<Figures> {
    const MB: f64 = 1e6;
    const GB: f64 = 1e9;
    let (first, last) = asked.first.zip(kept.last).context("nothing went through")?;
    let (raw, count) = (number(files.bytes()), number(files.count));
    let stored = number(kept.objects.values().map(|object| object.size).sum());
    Ok(Figures::from([
        (
            name::MB_PER_S,
            raw / MB / last.duration_since(first).as_secs_f64(),
        ),
        (name::CPU_PER_GB, took.cpu() / (raw / GB)),
        (name::SYSTEM_PER_GB, took.system / (raw / GB)),
        (name::CPU_MS_PER_FILE, took.cpu() * 1e3 / count),
        (name::PEAK_RSS_MIB, took.peak_rss / 1024.0),
        (name::STORED_BYTES, stored),
        (name::RATIO, raw / stored),
        (
            name::S3_PER_FILE,
            number(kept.requests.values().sum()) / count,
        ),
        (name::RDS_PER_FILE, number(asked.downloads) / count),
    ]))
}

/// Adds how far from the floor it is.
fn compare(figures: &mut Figures, floor: Floor) {
    let figure = |name| figures.get(name).copied().unwrap_or_default();
    let (rate, cpu) = (floor.bytes_per_second / 1e6, floor.cpu_per_byte * 1e9);
    let (of_floor, outside) = (
        figure(name::MB_PER_S) / rate,
        figure(name::CPU_PER_GB) - cpu,
    );
    figures.extend([
        (name::FLOOR_MB_PER_S, rate),
        (name::OF_FLOOR, of_floor),
        (name::FLOOR_CPU_PER_GB, cpu),
        (name::CPU_OUTSIDE_PER_GB, outside),
    ]);
}

/// Those that have come by.
fn calls(told: &mut UnboundedReceiver<Call>) -> Vec<Call> {
    std::iter::from_fn(|| told.try_recv().ok()).collect()
}

/// The times between writes of one row, as parts of the lease: claim, renewals. The last write, which completes it, comes when
/// it comes.
fn parts_of_lease(dynamodb: &[Call], lease: Duration) -> Vec<f64> {
    let mut writes = BTreeMap::<String, Vec<_>>::new();
    for call in dynamodb
        .iter()
        .filter(|call| call.operation == "UpdateItem")
    {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let row = body.get("Key").map(Value::to_string).unwrap_or_default();
        writes.entry(row).or_default().push(call.at);
    }
    let mut parts = Vec::new();
    for mut times in writes.into_values() {
        times.pop();
        let apart = times.iter().zip(times.iter().skip(1));
        parts.extend(apart.map(|(one, next)| next.duration_since(*one).div_duration_f64(lease)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn renewals_are_told_from_what_completes_a_row() {
        let start = Instant::now();
        let call = |row: &str, operation: &str, second: u64| Call {
            at: start + Duration::from_secs(second),
            operation: operation.to_owned(),
            head: hyper::Request::new(()).into_parts().0,
            body: format!(r#"{{"Key":{{"sk":{{"S":"{row}"}}}}}}"#).into(),
        };
        let calls = [
            call("a", "UpdateItem", 0),
            call("b", "UpdateItem", 1),
            call("a", "UpdateItem", 2),
            call("a", "GetItem", 3),
            call("a", "UpdateItem", 5),
            call("b", "UpdateItem", 6),
            call("a", "UpdateItem", 6),
        ];
        let parts = parts_of_lease(&calls, Duration::from_secs(10));
        assert_eq!(parts, [0.2, 0.3]);
        assert!(parts_of_lease(&calls[..2], Duration::from_secs(10)).is_empty());
    }
}
