//! What our programs do meanwhile.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use tokio::time::timeout;

use super::model::MARIA;
use super::play::Play;
use super::script::{Program, Signal, Until, Way};
use crate::eventually::within;
use crate::programs::{Ended, Running};
use crate::world::by_hand::INSTANCE;
use crate::world::minutes_ago;

/// How long a command may take while nothing else happens.
const COMMAND: Duration = Duration::from_secs(12);
/// How long to wait for the requests after which a program is to be killed.
const KILL: Duration = Duration::from_secs(3);
/// Programs at a time, stopped ones included.
const PROGRAMS: usize = 5;
/// Workers at a time that are not stopped.
const WORKERS: usize = 2;

/// A program that runs beside other things.
pub(super) struct Process {
    pub(super) what: String,
    pub(super) program: Program,
    pub(super) running: Running,
    /// Whether it will stop itself, or has.
    stops: bool,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Enumerate => "enumerate",
            Self::Status => "status",
            Self::Requeue | Self::RequeueRows => "requeue",
            Self::Backfill => "backfill",
            Self::Reconcile => "reconcile",
            Self::Repair => "reconcile --repair",
            Self::Dismiss(_) | Self::DismissUnfinished(_) => "dismiss",
        }
    }

    /// The instance that a dismissal is about.
    pub(super) fn dismisses(self) -> Option<&'static str> {
        match self {
            Self::Dismiss(which) | Self::DismissUnfinished(which) => {
                Some(if which % 2 == 0 { INSTANCE } else { MARIA })
            }
            _ => None,
        }
    }

    fn executable(self) -> &'static str {
        match self {
            Self::Worker => "auditferry-worker",
            _ => "auditferry",
        }
    }

    fn arguments(self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Worker => Vec::new(),
            Self::Enumerate => words(&["enumerate", "--json"]),
            Self::Status => words(&["status"]),
            Self::Requeue => words(&["requeue"]),
            Self::RequeueRows => words(&["requeue", "--from", "checkpoint"]),
            Self::Backfill => words(&["backfill", "--from", "2d", "--to", "1s"]),
            Self::Reconcile => words(&["reconcile", "--since", "2d"]),
            Self::Repair => words(&["reconcile", "--since", "2d", "--repair"]),
            Self::Dismiss(_) | Self::DismissUnfinished(_) => {
                let instance = self.dismisses().unwrap_or_default();
                let mut all: Vec<String> =
                    words(&["dismiss", "--reason", "chaos", "--instance", instance]);
                if matches!(self, Self::DismissUnfinished(_)) {
                    all.push("--unfinished".to_owned());
                }
                all
            }
        }
    }
}

impl Play {
    pub(super) async fn run_program(&mut self, program: Program, way: Way) -> anyhow::Result<()> {
        if self.too_many(program) {
            return Ok(());
        }
        self.dismissed_of.extend(program.dismisses());
        match way {
            Way::ToTheEnd => {
                self.tally.program(program.name());
                let before = self.model().listed(&self.world.rds);
                let ended = self.to_the_end(program).await?;
                if let (Program::Enumerate, Some(ended)) = (program, ended) {
                    self.has_seen(&before, &ended);
                }
            }
            Way::Twice => {
                self.tally.program(program.name());
                self.tally.program(program.name());
                let (one, other) = (self.to_the_end(program), self.to_the_end(program));
                tokio::try_join!(one, other)?;
            }
            Way::Beside => self.begin(program, None)?,
            Way::StopAt(step, when, nth) => {
                self.begin(program, Some(&format!("{}@{nth}", step.point(when))))?;
            }
            Way::KilledAfter(requests) => {
                self.begin(program, None)?;
                self.signal_last_after(requests, Signal::Kill).await?;
            }
            Way::InterruptedAfter(requests) => {
                self.begin(program, None)?;
                let name = if program == Program::Worker {
                    Signal::Term
                } else {
                    Signal::Interrupt
                };
                self.signal_last_after(requests, name).await?;
            }
        }
        Ok(())
    }

    fn too_many(&mut self, program: Program) -> bool {
        let workers = self.running.iter().filter(|process| {
            process.program == Program::Worker
                && !process.running.is_stopped()
                && !process.running.has_ended()
        });
        self.running.len() >= PROGRAMS || (program == Program::Worker && workers.count() >= WORKERS)
    }

    /// Runs a command to its end; `None`: that took too long, and it was killed.
    async fn to_the_end(&self, program: Program) -> anyhow::Result<Option<Ended>> {
        let arguments = program.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = timeout(COMMAND, self.world.auditferry(&arguments)).await;
        match ended {
            Ok(ended) => {
                let ended = ended?;
                is_orderly(program.name(), &ended)?;
                Ok(Some(ended))
            }
            Err(_elapsed) => Ok(None),
        }
    }

    fn begin(&mut self, program: Program, stop_at: Option<&str>) -> anyhow::Result<()> {
        self.tally.program(program.name());
        let with = [("STOP_AT", stop_at.unwrap_or_default())];
        let with = if stop_at.is_some() { &with[..] } else { &[] };
        let arguments = program.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment = self.world.environment(with);
        let running = Running::start_with(program.executable(), &arguments, &environment)?;
        self.running.push(Process {
            what: format!(
                "action {}: {} {}",
                self.tally.actions,
                program.name(),
                stop_at.unwrap_or_default()
            ),
            program,
            running,
            stops: stop_at.is_some(),
        });
        Ok(())
    }

    async fn signal_last_after(&mut self, requests: u8, signal: Signal) -> anyhow::Result<()> {
        let seen = self.requests() + usize::from(requests);
        within(KILL, async || self.requests() >= seen).await;
        let last = self.running.len().saturating_sub(1);
        self.signal(signal, last).await
    }

    /// Sends a signal to a program, whichever this number means. One that has ended meanwhile takes no harm.
    pub(super) async fn signal(&mut self, signal: Signal, which: usize) -> anyhow::Result<()> {
        let nth = which % self.running.len().max(1);
        let Some(process) = self.running.get_mut(nth) else {
            return Ok(());
        };
        process.stops &= signal != Signal::Cont;
        let stopped = process.running.is_stopped();
        if !process.running.has_ended() {
            // Between the two it may end.
            drop(process.running.signal(signal.name()).await);
        }
        match signal {
            Signal::Kill => {
                self.tally.kills += 1;
                let process = self.running.remove(nth);
                self.finish(process).await?;
            }
            Signal::Cont => self.tally.zombies += u64::from(stopped),
            Signal::Stop | Signal::Term | Signal::Interrupt => {}
        }
        Ok(())
    }

    /// Lets all that are stopped go on.
    pub(super) async fn continue_all(&mut self) -> anyhow::Result<()> {
        for nth in 0..self.running.len() {
            if self
                .running
                .get(nth)
                .is_some_and(|process| process.running.is_stopped())
            {
                self.signal(Signal::Cont, nth).await?;
            }
        }
        Ok(())
    }

    /// Takes leave of the programs that have ended.
    pub(super) async fn reap(&mut self) -> anyhow::Result<()> {
        let all = std::mem::take(&mut self.running);
        for process in all {
            if process.running.has_ended() {
                self.finish(process).await?;
            } else {
                self.running.push(process);
            }
        }
        Ok(())
    }

    async fn finish(&self, process: Process) -> anyhow::Result<()> {
        let ended = self.world.finish(&process.what, process.running).await?;
        is_orderly(&process.what, &ended)
    }

    /// After a good run of the producer there must be a row of all that RDS listed before it and after it.
    pub(super) fn has_seen(
        &self,
        before: &std::collections::BTreeSet<super::model::Id>,
        ended: &Ended,
    ) {
        let Ok(summary) = ended.json() else {
            return; // it says on its log why there is no summary
        };
        let reports = summary.get("instances").and_then(Value::as_array);
        let mut model = self.model();
        let after = model.listed(&self.world.rds);
        for report in reports.into_iter().flatten() {
            let text = |name| report.get(name).and_then(Value::as_str).unwrap_or_default();
            let listed = report
                .get("listed")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            // An empty page is no listing.
            if listed == 0 || report.get("error") != Some(&Value::Null) || self.empty_listings {
                continue;
            }
            for id in before.intersection(&after) {
                if let Some(had) = model.had.get_mut(id)
                    && had.message.instance.name == text("instance")
                {
                    had.seen = true;
                }
            }
        }
    }

    /// Waits for what may happen soon.
    pub(super) async fn await_(&mut self, until: Until) -> anyhow::Result<()> {
        let world = &self.world;
        let rows = async || world.all_versions().await.unwrap_or_default();
        let any = async |wanted: &dyn Fn(&str) -> bool| {
            let rows = rows().await;
            rows.iter()
                .any(|row| wanted(row.get("state").map_or("", String::as_str)))
        };
        match until {
            Until::Changed => {
                let before = rows().await;
                within(Duration::from_millis(700), async || rows().await != before).await
            }
            Until::Stopped => {
                let running = &self.running;
                let done = |process: &Process| {
                    let Process { running, stops, .. } = process;
                    !stops || running.is_stopped() || running.has_ended()
                };
                within(Duration::from_secs(3), async || running.iter().all(done)).await
            }
            Until::LeasesEnded => {
                let now = || minutes_ago(0).to_string();
                within(Duration::from_secs(4), async || {
                    let rows = rows().await;
                    !rows.iter().any(|row| row.get("lease_until") > Some(&now()))
                })
                .await
            }
            Until::Quarantined => {
                within(Duration::from_secs(4), async || {
                    any(&|state| state == "Quarantined").await
                })
                .await
            }
            Until::Quiet => {
                within(Duration::from_secs(3), async || {
                    !any(&|state| matches!(state, "Queued" | "Leased")).await
                })
                .await
            }
        };
        Ok(())
    }
}

/// A program ends as it says that it does, or was killed.
pub(super) fn is_orderly(what: &str, ended: &Ended) -> anyhow::Result<()> {
    let known = ended.code().is_none_or(|code| matches!(code, 0..=2));
    let panicked = ended.stderr.contains("panicked at");
    ensure!(known && !panicked, "{what} ended badly: {ended:?}");
    Ok(())
}
