//! How it ends: everything is mended, and finished; then it is all as it must be.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use shared::message::Message;
use tokio::time::sleep;

use super::model::{ESCAPING, id};
use super::play::{INEXCUSABLE, PERIOD, Play};
use super::processes::is_orderly;
use super::script::Signal;
use crate::eventually::within;
use crate::invariants::{Expected, Fate};
use crate::world::{Row, minutes_ago, number};

/// Runs of producer, operator and worker after which nothing may be left to do.
const ROUNDS: usize = 12;

/// How long programs may take to end that are told to.
const END: Duration = Duration::from_secs(4);

/// More than the longest interval between two sends of one message.
const LONG_AGO: i64 = 7 * 60;

impl Play {
    /// Mends everything, and lets producer, operator and worker run until nothing is left to do.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        self.mend();
        let mut left = Vec::new();
        for round in 0..ROUNDS {
            self.tally.rounds += 1;
            self.continue_all().await?;
            self.reap().await?;
            let alone = self.running.is_empty();
            self.time_passes().await?;
            let sent = self.enumerate_well().await?;
            self.put_back().await?;
            // What is in a black hole yet, a worker gives back only when it is told to stop.
            match round {
                0 => self.end_all(Signal::Term).await?,
                _ => self.end_all(Signal::Kill).await?,
            }
            self.work().await?;
            left = self.left().await?;
            if alone && left.is_empty() && sent == 0 {
                return Ok(());
            }
            left.push(format!("{sent} sent in the last round, alone: {alone}"));
        }
        anyhow::bail!("after {ROUNDS} rounds there is something left to do: {left:#?}")
    }

    /// Tells all that run to end, and waits until they have; those that sleep may wake up once more.
    async fn end_all(&mut self, signal: Signal) -> anyhow::Result<()> {
        for nth in (0..self.running.len()).rev() {
            self.signal(signal, nth).await?;
        }
        within(END, async || {
            let mut all = self.running.iter();
            all.all(|process| process.running.is_stopped() || process.running.has_ended())
        })
        .await;
        self.reap().await
    }

    /// As if hours had passed: messages come back, and what was sent is stale.
    async fn time_passes(&self) -> anyhow::Result<()> {
        let world = &self.world;
        world.come_back(&world.resources.queue_url).await?;
        world
            .come_back(&world.resources.dead_letter_queue_url)
            .await?;
        for row in world.all_versions().await? {
            let has = |name: &str, value: &str| row.get(name).is_some_and(|is| is == value);
            let over = number(&row, "lease_until").is_ok_and(|until| until < minutes_ago(0));
            if has("state", "Queued") || (has("state", "Leased") && over) {
                world
                    .rewrite(&row, "queued_at", minutes_ago(LONG_AGO))
                    .await?;
            }
            if has("state", "Leased") && over {
                world
                    .rewrite(&row, "lease_until", minutes_ago(LONG_AGO))
                    .await?;
            }
        }
        Ok(())
    }

    /// A run of the producer, which must go well now; how many messages it sent.
    async fn enumerate_well(&mut self) -> anyhow::Result<u64> {
        let before = self.model().listed(&self.world.rds);
        let ended = self.world.auditferry(&["enumerate", "--json"]).await?;
        ensure!(
            ended.code() == Some(0),
            "all is mended, and enumerate fails: {ended:?}"
        );
        self.has_seen(&before, &ended);
        let summary = ended.json()?;
        let count = |name| summary.get(name).and_then(Value::as_u64);
        Ok(count("sent").context("sent")? + count("resent").context("resent")?)
    }

    /// Puts all dead letters back, if there are any of versions that there were.
    async fn put_back(&self) -> anyhow::Result<()> {
        let letters = self.world.letters().await?;
        let hopeless = |letter: &String| {
            self.unreadable.contains(letter)
                || Message::from_wire(letter).is_ok_and(|message| message.file.name == ESCAPING)
        };
        if letters.iter().all(hopeless) {
            return Ok(());
        }
        let ended = self.world.auditferry(&["requeue", "--force"]).await?;
        is_orderly("requeue --force", &ended)
    }

    /// Lets a worker run until the queue is empty.
    async fn work(&self) -> anyhow::Result<()> {
        let world = &self.world;
        let with = [("MAX_ATTEMPTS", "100")];
        let worker = world.work_with(&with);
        let meanwhile = async {
            loop {
                for _period in 0..4 {
                    sleep(PERIOD).await;
                }
                world.come_back(&world.resources.queue_url).await?;
            }
        };
        let ended = tokio::select! {
            ended = worker => ended?,
            never = meanwhile => return never,
        };
        is_orderly("the last worker", &ended)
    }

    /// What is left to do.
    async fn left(&self) -> anyhow::Result<Vec<String>> {
        let rows = self.world.all_versions().await?;
        let mut left = Vec::new();
        for row in &rows {
            let state = text(row, "state");
            let hopeless = state == "Quarantined" && text(row, "name") == ESCAPING;
            if !matches!(state, "Complete" | "Gone") && !hopeless {
                left.push(format!("{row:?}"));
            }
        }
        let queued = self.world.queued().await?;
        if queued != (0, 0) {
            left.push(format!("the queue holds {queued:?}"));
        }
        Ok(left)
    }

    /// Holds that all has become of every version what may become of it.
    pub(super) async fn judge(&mut self) -> anyhow::Result<()> {
        let rows = self.world.all_versions().await?;
        let mut expected = Expected {
            unreadable: self.unreadable.clone(),
            ..Expected::default()
        };
        let model = self.model().had.clone();
        for had in model.values() {
            let row = rows.iter().find(|row| is_of(row, &had.message));
            if row.is_none() && !had.seen {
                continue; // it has come and gone between two listings
            }
            let mut fates = vec![if had.message.file.name == ESCAPING {
                Fate::Quarantined
            } else if had.content.is_empty() {
                Fate::Empty
            } else {
                Fate::Archived
            }];
            let instance = had.message.instance.name.as_str();
            let dismissed = row.is_some_and(|row| row.contains_key("dismissed_at"))
                && self.dismissed_of.contains(instance);
            if had.may_be_gone || dismissed {
                fates.push(Fate::Gone);
            }
            let state = row.map_or("", |row| text(row, "state"));
            self.tally.archived += u64::from(state == "Complete");
            self.tally.gone += u64::from(state == "Gone");
            // A rotation between two pages of a listing shows one file under two names.
            let mut twice = false;
            for row in rows.iter().filter(|row| text(row, "twins") != "1") {
                let mut twins = had.message.clone();
                twins.file.twins = text(row, "twins").parse().unwrap_or(1);
                if is_of(row, &twins) {
                    twice = true;
                    expected.add(twins, had.content.clone(), &fates);
                }
            }
            if row.is_some() || !twice {
                expected.add(had.message.clone(), had.content.clone(), &fates);
            }
        }
        self.tally.versions = expected.due.len() as u64;
        for message in &self.forged {
            expected.add(message.clone(), "", &[Fate::Gone]);
        }
        if self.model().large {
            expected.unfinished_uploads = usize::try_from(self.tally.kills)?
                + self.requests_lost()
                + usize::try_from(self.tally.zombies)?;
        }
        let unknown = rows.iter().filter(|row| {
            let mut due = expected.due.iter();
            !due.any(|due| is_of(row, &due.version))
        });
        let unknown: Vec<&Row> = unknown.collect();
        ensure!(unknown.is_empty(), "rows of what never was: {unknown:#?}");
        expected.hold(&self.world).await?;
        self.nothing_to_reconcile().await?;
        let mut errors = self.world.take_unexpected_errors();
        errors.retain(|error| INEXCUSABLE.iter().any(|text| error.contains(text)));
        ensure!(errors.is_empty(), "what no chaos excuses: {errors:#?}");
        Ok(())
    }

    /// Uploads whose names were lost on the wire, or that could not be aborted.
    fn requests_lost(&self) -> usize {
        let of_s3 = self.tally.faults.iter();
        let of_s3 = of_s3.filter(|(kind, _)| kind.starts_with("S3"));
        of_s3
            .map(|(_, times)| usize::try_from(*times).unwrap_or(usize::MAX))
            .sum()
    }

    /// RDS, table and archive agree.
    async fn nothing_to_reconcile(&self) -> anyhow::Result<()> {
        let arguments = ["reconcile", "--since", "2d", "--json"];
        let ended = self.world.auditferry(&arguments).await?;
        let found = ended.json()?;
        let discrepancies = found.get("discrepancies").and_then(Value::as_array);
        let discrepancies = discrepancies.context("no discrepancies")?;
        // What was given up, or lost, may be the beginning of what was archived later.
        let excused = |found: &Value| {
            let is = |name: &str, word: &str| found.get(name).and_then(Value::as_str) == Some(word);
            is("finding", "stored") && is("state", "Gone")
        };
        ensure!(
            matches!(ended.code(), Some(0 | 2)) && discrepancies.iter().all(excused),
            "all has settled, and reconcile finds {found:#}"
        );
        Ok(())
    }
}

/// Whether a row is of a message's version.
fn is_of(row: &Row, message: &Message) -> bool {
    let (resource_id, sort_key) = id(message);
    text(row, "pk").strip_prefix("I#") == Some(&resource_id) && text(row, "sk") == sort_key
}

fn text<'r>(row: &'r Row, attribute: &str) -> &'r str {
    row.get(attribute).map_or("", String::as_str)
}
