//! `cargo bench-fleet`: what the worker takes, beside the least that it could take and beside what people do today.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tests::bench::cold_start::{ColdStart, cold_start};
use tests::bench::floor::{self, Floor};
use tests::bench::play::{Run, play};
use tests::bench::producer::{Fleet, Idle, idle};
use tests::bench::report::{self, Others, Played};
use tests::bench::scenario::{self, Scale, Scenario, Shipper};
use tests::bench::targets::{self, Medians};
use tests::bench::{FIGURES, figures, files};
use tests::programs;
use tests::stack::Stack;

/// What a run of the producer looks at, in which nothing is new: the rows are those within `OVERLAP` of the watermark.
const FLEET: Fleet = Fleet {
    instances: 1000,
    files: 100,
    rows: 2,
};

/// Cold starts that are measured.
const STARTS: usize = 11;

/// Measures throughput, CPU time, memory and requests of the real worker, beside its compressor alone and beside a Python script
/// that does the same job
#[derive(Debug, Parser)]
struct Options {
    /// Times that each scenario is played, in turn with all others; medians are shown
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
    /// Only scenarios with this in their names, such as gzip-one, or in their titles; may be given several times
    #[arg(long, value_name = "SUBSTRING")]
    only: Vec<String>,
    /// One run of less, to see whether all of it works
    #[arg(long)]
    quick: bool,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match bench(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(130),
        Err(error) => {
            say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "its results")]
fn say(text: &str) {
    println!("{text}");
}

/// Whether all was played that was asked for. Told to stop, it shows what it has.
async fn bench(options: &Options) -> anyhow::Result<bool> {
    let (scale, runs) = if options.quick {
        (Scale::QUICK, 1)
    } else {
        (Scale::WHOLE, options.runs)
    };
    let mut chosen = scenario::all(scale);
    chosen.retain(|scenario| {
        [&scenario.id, &scenario.title]
            .iter()
            .any(|name| options.wants(name))
    });
    let [producer, starts] = [targets::PRODUCER, targets::COLD_START].map(|it| options.wants(it));
    ensure!(
        !chosen.is_empty() || producer || starts,
        "no scenario has {:?} in its name",
        options.only
    );
    ensure!(runs > 0, "--runs must be at least 1");

    let progress = progress(u64::from(runs) * chosen.len() as u64);
    progress.set_message("building the programs");
    let folder = tokio::task::spawn_blocking(programs::folder).await??;
    progress.set_message("starting SQS and DynamoDB");
    let stack = Stack::shared().await?;
    let log = tokio::task::spawn_blocking(files::log).await?;
    let mut played: Vec<Played> = chosen
        .into_iter()
        .map(|scenario| Played {
            scenario,
            runs: Vec::new(),
        })
        .collect();
    let mut others = Others::default();
    let mut failures = Vec::new();
    let whole = async {
        if producer {
            progress.set_message("a run of the producer");
            others.producer = Some(idle(&folder.join("auditferry"), FLEET).await?);
        }
        if starts {
            progress.set_message("cold starts");
            others.cold_start = Some(cold_start(&folder.join("bootstrap"), STARTS).await?);
        }
        for round in 1..=runs {
            let mut floors = Floors::default();
            for played in &mut played {
                let title = &played.scenario.title;
                progress.set_message(format!("round {round}: {title}"));
                match play_once(&played.scenario, stack, &log, &mut floors).await {
                    Ok(run) => failures.extend(played.add(run)),
                    Err(error) => failures.push(format!("{title}, round {round}: {error:#}")),
                }
                progress.inc(1);
            }
        }
        anyhow::Ok(())
    };
    let whole = tokio::select! {
        whole = whole => whole.map(|()| true)?,
        () = programs::told_to_stop() => false,
    };
    progress.finish_and_clear();
    show(&played, &others, figures::number(scale.many))?;
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(whole)
}

/// Floors of one round, each measured once: what is played next is measured under the same conditions.
type Floors = HashMap<(String, usize, u64), Floor>;

async fn play_once(
    scenario: &Scenario,
    stack: &Stack,
    log: &Bytes,
    floors: &mut Floors,
) -> anyhow::Result<Run> {
    let mut floor = None;
    if let Shipper::Worker(settings) = scenario.shipper {
        let (codec, level, files) = (settings.codec, settings.level, scenario.files);
        let most = usize::try_from(files.count).unwrap_or(usize::MAX);
        let threads = settings.concurrency.min(most).min(cores());
        let key = (
            format!("{codec:?} {level}"),
            threads,
            files.size.min(log.len() as u64),
        );
        floor = floors.get(&key).copied();
        if floor.is_none() {
            let log = log.clone();
            let measured = tokio::task::spawn_blocking(move || {
                floor::measure(&log, files, (codec, level), threads)
            });
            let measured = measured.await?.context("measure the compressor alone")?;
            floors.insert(key, measured);
            floor = Some(measured);
        }
    }
    Box::pin(play(scenario, stack, log, floor)).await
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Shows the tables, and keeps everything in a file.
fn show(played: &[Played], others: &Others, many: f64) -> anyhow::Result<()> {
    let mut medians: Medians = played
        .iter()
        .map(|played| (played.scenario.id.clone(), played.medians()))
        .collect();
    let producer = others.producer.as_ref().map(Idle::figures);
    medians.extend(producer.map(|it| (targets::PRODUCER.to_owned(), it)));
    let cold_start = others.cold_start.as_ref().map(ColdStart::figures);
    medians.extend(cold_start.map(|it| (targets::COLD_START.to_owned(), it)));
    let targets = targets::all(&medians, many);
    say(&report::scenarios(played));
    say(&format!("\n{}", report::targets(&targets)));
    for renewals in played
        .iter()
        .filter(|played| played.scenario.id.ends_with("heartbeats"))
        .filter_map(report::renewals)
    {
        say(&format!("\n{renewals}"));
    }
    let file = report::file(played, &medians, others, &targets, cores());
    std::fs::write(FIGURES, serde_json::to_string_pretty(&file)? + "\n")
        .with_context(|| format!("write {FIGURES}"))
}

/// A bar on a terminal; nothing elsewhere.
fn progress(plays: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len}, {msg}");
    let progress = ProgressBar::new(plays);
    progress.set_style(style.expect("the template is right"));
    progress
}
