//! `cargo demo`: the main job on real input, with no AWS account.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tests::archive;
use tests::eventually::eventually;
use tests::programs;
use tests::regenerate;
use tests::stack::{ACCESS_KEY, REGION, SECRET_KEY, SESSION_TOKEN, Stack};
use tests::world::World;

use crate::fleet::Fleet;

mod fleet;

/// Ships audit logs from a pretended RDS to a local S3, with the real producer and two real workers, and compares every byte
#[derive(Debug, Parser)]
struct Options {
    /// Leave everything running until Ctrl-C, to look around in
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    tokio::select! {
        shown = demo(&options) => match shown {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("FAILED: {error:#}"));
                ExitCode::FAILURE
            }
        },
        () = programs::told_to_stop() => ExitCode::from(130),
    }
}

/// All that was said, for the README.
static SAID: Mutex<String> = Mutex::new(String::new());

#[expect(clippy::print_stdout, reason = "a demo talks")]
fn say(text: &str) {
    println!("{text}");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.push_str(text);
    said.push('\n');
}

/// With `UPDATE=1`, the README shows this run.
fn update_readme() -> anyhow::Result<()> {
    if !regenerate::wanted() {
        return Ok(());
    }
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let block = format!("```\n$ cargo demo\n{said}```");
    regenerate::block("README.md", "demo", &block)
}

async fn demo(options: &Options) -> anyhow::Result<()> {
    step(
        "building the programs",
        tokio::task::spawn_blocking(programs::folder),
    )
    .await???;
    let stack = step(
        "starting SQS, DynamoDB and S3",
        tokio::task::spawn_blocking(Stack::start),
    )
    .await???;
    let world = World::on(&stack).await?;
    let mut fleet = step("writing audit logs", async { Fleet::create(&world) }).await?;

    say("\nFirst run of the producer, two workers:");
    let sent = enumerate(&world).await?;
    let workers = [world.start_worker(&[])?, world.start_worker(&[])?];
    all_complete(&world).await?;
    say(&format!("  {sent} log files sent, all complete"));

    fleet.grow();
    say(
        "A file has grown, and a rotation has renamed others between listing and download. Second run:",
    );
    let sent = enumerate(&world).await?;
    all_complete(&world).await?;
    say(&format!(
        "  {sent} sent, all complete: the grown file again, and the newly rotated one"
    ));
    ensure!(sent == 2, "expected two");

    let sent = enumerate(&world).await?;
    say(&format!("Third run, nothing new: {sent} sent"));
    ensure!(sent == 0, "a log file was sent twice");

    let mut shipped = BTreeMap::new();
    for worker in workers {
        worker.signal("TERM").await?;
        let ended = world.finish_worker(worker).await?;
        count_shipped(&ended.stderr, &mut shipped);
    }
    say("Both workers stopped on SIGTERM, exit status 0.");
    let status = world.auditferry(&["status", "--json"]).await?;
    ensure!(
        status.code() == Some(0),
        "auditferry status asks for a person: {}",
        status.stdout
    );

    let keys = compare(&world, &fleet, &shipped).await?;
    let verified = world.auditferry(&["verify"]).await?;
    ensure!(verified.code() == Some(0), "it is not: {verified:?}");
    say(&format!(
        "\n$ auditferry verify\n{}",
        verified.stdout.trim_end()
    ));
    say(&format!(
        "\nThe archive, bucket {}:\n{}",
        world.resources.bucket,
        archive::tree(&keys)
    ));
    update_readme()?;
    if options.keep {
        keep(&world, &stack).await?;
    }
    Ok(())
}

/// Shows a spinner while something is being done.
async fn step<T>(what: &'static str, doing: impl Future<Output = T>) -> anyhow::Result<T> {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = doing.await;
    spinner.finish_and_clear();
    say(&format!("{what}: done"));
    Ok(done)
}

/// Runs the producer; how many messages it sent.
async fn enumerate(world: &World) -> anyhow::Result<u64> {
    let summary = world.enumerate().await?;
    summary
        .get("sent")
        .and_then(Value::as_u64)
        .context("the summary has no number of messages")
}

/// Waits until every version is complete, and shows how far each instance is.
async fn all_complete(world: &World) -> anyhow::Result<()> {
    let bars = MultiProgress::new();
    let style =
        ProgressStyle::with_template("  {prefix:<10} {bar:40} {bytes:>10} of {total_bytes:<10}")?;
    let bars: BTreeMap<&str, ProgressBar> = Fleet::instances()
        .map(|(_, instance)| {
            (
                instance,
                bars.add(
                    ProgressBar::new(0)
                        .with_prefix(instance)
                        .with_style(style.clone()),
                ),
            )
        })
        .collect();
    eventually("every version to be complete", async || {
        let rows = world
            .all_versions()
            .await
            .map_err(|error| format!("{error:#}"))?;
        let mut unfinished = Vec::new();
        let mut progress: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for row in &rows {
            let get = |name: &str| row.get(name).map(String::as_str).unwrap_or_default();
            let size = get("size").parse::<u64>().unwrap_or_default();
            let (done, all) = progress.entry(get("instance")).or_default();
            *all += size;
            if get("state") == "Complete" {
                *done += size;
            } else {
                unfinished.push(format!(
                    "{} of {} is {}",
                    get("name"),
                    get("instance"),
                    get("state")
                ));
            }
        }
        for (instance, (done, all)) in progress {
            if let Some(bar) = bars.get(instance) {
                bar.set_length(all);
                bar.set_position(done);
            }
        }
        if unfinished.is_empty() {
            Ok(())
        } else {
            Err(unfinished.join("; "))
        }
    })
    .await?;
    bars.values().for_each(ProgressBar::finish_and_clear);
    Ok(())
}

/// What workers say they did for an instance.
#[derive(Debug, Default)]
struct Shipped {
    seconds: f64,
}

/// Adds up a worker's log: one line per version shipped.
fn count_shipped(log: &str, shipped: &mut BTreeMap<String, Shipped>) {
    for line in log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        let milliseconds = line.get("duration_ms").and_then(Value::as_u64);
        let instance = line.get("instance.name").and_then(Value::as_str);
        if let Some((milliseconds, instance)) = milliseconds.zip(instance) {
            shipped.entry(instance.to_owned()).or_default().seconds +=
                Duration::from_millis(milliseconds).as_secs_f64();
        }
    }
}

/// Compares every object with its source, shows the table, and gives back all keys.
async fn compare(
    world: &World,
    fleet: &Fleet,
    shipped: &BTreeMap<String, Shipped>,
) -> anyhow::Result<Vec<String>> {
    let mut objects = world.objects().await?;
    let keys: Vec<String> = objects.keys().cloned().collect();
    let mut rows = Table::new();
    rows.load_style(presets::UTF8_HORIZONTAL_ONLY);
    rows.set_header([
        "cluster", "instance", "files", "raw", "stored", "ratio", "seconds",
    ]);
    let expected = fleet.expected()?;
    let mut total = (0, 0, 0, 0.0);
    for (cluster, instance) in Fleet::instances() {
        let (mut files, mut raw, mut stored) = (0, 0, 0);
        for expected in expected
            .iter()
            .filter(|expected| expected.instance == instance)
        {
            let object = objects
                .remove(&expected.key)
                .with_context(|| format!("{} is not in the archive", expected.key))?;
            ensure!(
                object.raw == expected.content,
                "{} differs from the log file",
                expected.key
            );
            files += 1;
            raw += object.raw.len() as u64;
            stored += object.stored.len() as u64;
        }
        let seconds = shipped.get(instance).map_or(0.0, |shipped| shipped.seconds);
        total = (
            total.0 + files,
            total.1 + raw,
            total.2 + stored,
            total.3 + seconds,
        );
        rows.add_row(figures(cluster, instance, (files, raw, stored, seconds)));
    }
    rows.add_row(figures("", "all", total));
    ensure!(
        objects.is_empty(),
        "the archive has objects that nobody expects: {:?}",
        objects.keys()
    );
    say(&format!(
        "\n{rows}\nEvery byte of {} log files is in the archive.",
        total.0
    ));
    Ok(keys)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn figures(
    cluster: &str,
    instance: &str,
    (files, raw, stored, seconds): (u64, u64, u64, f64),
) -> Vec<Cell> {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    vec![
        Cell::new(cluster),
        Cell::new(instance),
        right(files.to_string()),
        right(HumanBytes(raw).to_string()),
        right(HumanBytes(stored).to_string()),
        right(format!("{:.1}", raw as f64 / stored.max(1) as f64)),
        right(format!("{seconds:.1}")),
    ]
}

/// Says how to look around, and waits for ever.
async fn keep(world: &World, stack: &Stack) -> anyhow::Result<()> {
    let (endpoint, rds, resources) = (&stack.endpoint, world.rds.url(), &world.resources);
    say(&format!(
        "
All of it stays up until Ctrl-C. To look around, in another terminal:

  export AWS_REGION={REGION} AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_SESSION_TOKEN={SESSION_TOKEN}
  aws --endpoint-url {endpoint} s3 ls --recursive s3://{bucket}
  aws --endpoint-url {endpoint} dynamodb scan --table-name {table}
  aws --endpoint-url {endpoint} sqs get-queue-attributes --attribute-names All --queue-url {queue}
  aws --endpoint-url {rds} rds describe-db-log-files --db-instance-identifier orders-1

or with the operator's command:

  export AWS_ENDPOINT_URL={endpoint} AWS_ENDPOINT_URL_RDS={rds} CLUSTERS='*' INSTANCES='*'
  export QUEUE_URL={queue} DEAD_LETTER_QUEUE_URL={dead_letters} CHECKPOINT_TABLE={table} S3_BUCKET={bucket}
  {folder}/auditferry status",
        bucket = resources.bucket,
        table = resources.table,
        queue = resources.queue_url,
        dead_letters = resources.dead_letter_queue_url,
        folder = programs::folder()?.display(),
    ));
    std::future::pending().await
}
