//! `cargo soak`: plays seed after seed of everything that goes wrong, for as long as it is told.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use tests::chaos::{self, Tally};
use tests::stack::Stack;
use tests::{programs, proof};
use tokio::time::Instant;

/// Plays growth, rotation, duplicates, operators, crashes and faults of every kind in small worlds, in an order that follows
/// from a seed, and holds that nothing is lost or doubled in any of them
#[derive(Debug, Parser)]
struct Options {
    /// How long to begin new seeds
    #[arg(long = "for", value_name = "DURATION", default_value = "2m", value_parser = shared::config::duration)]
    time: Duration,
    /// The first seed; those after it follow [default: any]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Worlds at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    worlds: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let played = tokio::select! {
        played = soak(&options) => played,
        () = programs::told_to_stop() => return ExitCode::from(130),
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "it says what it plays")]
fn say(text: &str) {
    println!("{text}");
}

async fn soak(options: &Options) -> anyhow::Result<()> {
    ensure!(options.worlds > 0, "--worlds must be at least 1");
    tokio::task::spawn_blocking(programs::folder).await??;
    let stack = Stack::shared().await?;
    let first = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    say(&format!(
        "playing seeds from {first} on, {} worlds at a time, for {:?}",
        options.worlds, options.time
    ));
    let (began, mut next) = (Instant::now(), first);
    let progress = progress(options.time);
    let (mut all, mut failures, mut seeds) = (Tally::default(), Vec::new(), 0_u64);
    let mut playing = FuturesUnordered::new();
    loop {
        let time_is_over = began.elapsed() >= options.time && next > first;
        while playing.len() < options.worlds && !time_is_over && failures.is_empty() {
            playing.push(play(stack, next));
            next += 1;
            if began.elapsed() >= options.time {
                break;
            }
        }
        progress.set_position(began.elapsed().min(options.time).as_secs());
        progress.set_message(format!("{seeds} seeds, {} faults", all.all_faults()));
        let Some((seed, took, played)) = playing.next().await else {
            break;
        };
        seeds += 1;
        match played {
            Ok(tally) => {
                progress.suspend(|| say(&line(seed, took, &tally, "ok")));
                all.add(&tally);
            }
            Err(error) => {
                progress.suspend(|| say(&format!("seed {seed}: FAILED\n{error:#}")));
                failures.push(seed);
            }
        }
    }
    progress.finish_and_clear();
    let took = began.elapsed();
    say(&format!(
        "{seeds} seeds in {:.0} s: {} actions, {} faults, {} programs of which {} were killed and {} slept, {} versions, \
         {} archived byte for byte, {} gone as they had to",
        took.as_secs_f64(),
        all.actions,
        all.all_faults(),
        all.programs.values().sum::<u64>(),
        all.kills,
        all.zombies,
        all.versions,
        all.archived,
        all.gone,
    ));
    for (figure, count) in [
        ("seeds", seeds),
        ("actions", all.actions),
        ("faults injected", all.all_faults()),
        ("programs run", all.programs.values().sum()),
        ("programs killed", all.kills),
        ("programs put to sleep for a while", all.zombies),
        ("versions listed", all.versions),
        ("versions archived, every byte compared", all.archived),
    ] {
        proof::add("soak", figure, count)?;
    }
    ensure!(failures.is_empty(), "seeds {failures:?} failed");
    Ok(())
}

async fn play(stack: &'static Stack, seed: u64) -> (u64, Duration, anyhow::Result<Tally>) {
    let began = Instant::now();
    let played = Box::pin(chaos::run(stack, seed)).await;
    (seed, began.elapsed(), played)
}

fn line(seed: u64, took: Duration, tally: &Tally, end: &str) -> String {
    format!(
        "seed {seed}: {} actions, {} faults, {} kills, {} zombies, {} versions, {} rounds, {:.1} s, {end}",
        tally.actions,
        tally.all_faults(),
        tally.kills,
        tally.zombies,
        tally.versions,
        tally.rounds,
        took.as_secs_f64(),
    )
}

/// A bar on a terminal; nothing elsewhere.
fn progress(time: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} s, {msg}");
    let progress = ProgressBar::new(time.as_secs());
    progress.set_style(style.expect("the template is right"));
    progress
}
