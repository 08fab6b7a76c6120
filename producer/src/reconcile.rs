//! Compares RDS, the checkpoint table and the archive, version by version: what is missing where, and with `--repair`,
//! mends what can be mended. Safe to interrupt and to run again at any point.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use shared::archive::{Archive, Unfindable};
use shared::aws::CallError;
use shared::checkpoint::{Malformed, Proof, Registered, Row, State};
use shared::instance::Instance;
use shared::listing::{self, Listing};
use shared::log_file::{Beside, LogFile, Stripes};
use shared::message::Message;

use crate::config::{Clients, Enumeration};
use crate::enqueue::{enqueue, ship_again};
use crate::enumerate::enumerate;
use crate::plan::{Again, Plan, Resend, Rows, stale};

/// Instances at a time.
const INSTANCES: usize = 4;
/// Objects of one instance asked for at a time.
const OBJECTS: usize = 8;
/// How far back to look, unless told.
pub(crate) const LOOK_BACK: Duration = Duration::from_hours(7 * 24);

/// How long after the time in its name a log file may still be written to, with a margin: 30 hours were seen.
const OPEN_FOR: Duration = Duration::from_hours(48);
const DAY: Duration = Duration::from_hours(24);

/// What to compare, and whether to mend it.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// Only these of the selected instances, or of those that are gone: names or resource ids, comma-separated
    #[arg(
        long,
        value_name = "INSTANCE",
        value_delimiter = ',',
        value_parser = crate::cli::instance,
        help_heading = "Options"
    )]
    pub instance: Vec<String>,
    /// Versions last written since: a time, a date, or how long ago; a week, unless told
    #[arg(long, value_name = "TIME", value_parser = crate::cli::time, help_heading = "Options")]
    pub since: Option<Timestamp>,
    /// Mend what can be mended: record what is stored, have shipped what RDS still has
    #[arg(long, help_heading = "Options")]
    pub repair: bool,
}

/// What is wrong with one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// RDS has it, and neither table nor archive. Mended by sending it.
    Unrecorded,
    /// The archive has it, and the table does not say so. Mended by recording it.
    Stored,
    /// The table says that it is complete, the archive lacks it, RDS still has it. Mended by shipping it again.
    Missing,
    /// The table says that it is complete, and neither the archive nor RDS has it. Nobody can mend it.
    Lost,
    /// The table says that it is gone, and RDS has it after all. Mended by shipping it.
    Back,
    /// It waits for a worker, and its message may be lost. Mended by sending it again.
    Waiting,
}

/// One version that is not everywhere where it should be.
#[derive(Debug, Serialize)]
pub struct Discrepancy {
    /// The instance's name.
    pub instance: String,
    /// Its identity.
    pub resource_id: String,
    /// The log file's name.
    pub file: String,
    /// When it was last written to.
    pub last_written: String,
    /// Bytes.
    pub size: u64,
    /// What the table says; `None`: nothing.
    pub state: Option<State>,
    /// What is wrong.
    pub finding: Finding,
    /// Whether it was mended.
    pub repaired: bool,
}

/// What was compared, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Reconciliation {
    /// Versions compared.
    pub compared: usize,
    /// Those that are not everywhere where they should be.
    pub discrepancies: Vec<Discrepancy>,
    /// Instances that could not be compared, and why; and what was asked for in vain.
    pub failures: Vec<String>,
}

impl Reconciliation {
    /// Whether nothing is left to be done.
    pub fn clean(&self) -> bool {
        self.discrepancies.iter().all(|found| found.repaired)
    }
}

/// Compares, and with `--repair` mends. `Err`: RDS, queue, table or archive refuse us altogether.
pub async fn reconcile(
    clients: &Clients,
    archive: &Archive,
    settings: &Enumeration,
    request: &Request,
) -> Result<Reconciliation, CallError> {
    archive.check_bucket().await?;
    let mut fleet = enumerate(
        &clients.rds,
        &settings.clusters,
        &settings.instances,
        &clients.region,
    )
    .await?;
    let (registered, malformed) = clients.checkpoints.registered().await?;
    let mut left: Vec<Instance> = registered
        .iter()
        .filter(|instance| !fleet.existing.contains_key(&instance.resource_id))
        .map(left_behind)
        .collect();
    if !request.instance.is_empty() {
        left.retain(|left| left.is_one_of(&request.instance));
        // A name may mean one that is there and others that were: all are meant.
        fleet.narrow(&request.instance);
        fleet.problems.retain(|problem| {
            !left
                .iter()
                .any(|left| problem.ends_with(&left.name) || problem.ends_with(&left.resource_id))
        });
    }
    let tampered = malformed.iter().map(Malformed::to_string);
    let mut all = Reconciliation {
        failures: fleet.problems.into_iter().chain(tampered).collect(),
        ..Reconciliation::default()
    };
    let present = fleet.found.into_iter().map(|found| (found.instance, true));
    let left = left.into_iter().map(|left| (left, false));
    let mut each = stream::iter(present.chain(left))
        .map(async |(instance, present)| {
            let one = One {
                clients,
                archive,
                settings,
                instance: &instance,
                present,
                since: since(request),
                repair: request.repair,
            };
            let mut outcome = Outcome::default();
            let done = one.reconcile(&mut outcome).await;
            // What was mended until then is told as well.
            let failed = done.err().map(|error| error.to_string());
            outcome.failures.extend(failed);
            (instance.name.clone(), outcome)
        })
        .buffer_unordered(INSTANCES);
    while let Some((name, outcome)) = each.next().await {
        all.compared += outcome.compared;
        all.discrepancies.extend(outcome.discrepancies);
        let failures = outcome.failures.into_iter();
        all.failures
            .extend(failures.map(|why| format!("{name}: {why}")));
    }
    all.discrepancies.sort_by(|a, b| {
        (&a.instance, &a.last_written, &a.file).cmp(&(&b.instance, &b.last_written, &b.file))
    });
    Ok(all)
}

fn quiet_for(last_written: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(last_written)).unwrap_or_default()
}

fn since(request: &Request) -> Timestamp {
    let since = request
        .since
        .unwrap_or_else(|| Timestamp::now() - LOOK_BACK);
    since.max(Timestamp::UNIX_EPOCH + OPEN_FOR)
}

/// An instance that RDS has no more, as far as the table remembers it.
fn left_behind(registered: &Registered) -> Instance {
    Instance {
        resource_id: registered.resource_id.clone(),
        name: registered.name.clone(),
        cluster: registered.cluster.clone(),
        account: String::new(),
        region: String::new(),
    }
}

/// What came of one instance.
#[derive(Debug, Default)]
struct Outcome {
    compared: usize,
    discrepancies: Vec<Discrepancy>,
    failures: Vec<String>,
}

/// One instance's turn.
struct One<'a> {
    clients: &'a Clients,
    archive: &'a Archive,
    settings: &'a Enumeration,
    instance: &'a Instance,
    /// Whether RDS still has it.
    present: bool,
    since: Timestamp,
    repair: bool,
}

/// A version, what the table knows of it, and whether the archive has it.
struct Compared {
    message: Message,
    row: Option<Row>,
    archived: Option<Proof>,
    finding: Finding,
}

impl One<'_> {
    /// Adds how many versions were compared, and which of them are not everywhere where they should be.
    async fn reconcile(&self, outcome: &mut Outcome) -> Result<(), CallError> {
        let known = self
            .clients
            .checkpoints
            .known_since(&self.instance.resource_id, Some(self.since))
            .await?;
        outcome.failures.extend(known.malformed.iter().cloned());
        let listing = match self.list().await {
            Ok(listing) => listing,
            Err(why) => {
                outcome
                    .failures
                    .push(format!("compared without RDS: {why}"));
                None
            }
        };
        let now = Timestamp::now();
        let mut versions: Vec<(Message, Option<Row>)> = Vec::new();
        if let Some(listing) = &listing {
            let (rows, stripes) = (Rows::of(&known.rows), Stripes::of(&listing.files));
            let mut seen = HashSet::new();
            // What was not yet due when the producer last looked is the business of its next run.
            let settle = self.settings.settle;
            let looked_at = known.marks.iter().map(|mark| mark.last_enumerated_at).max();
            let unknown = listing.files.iter().filter(|file| {
                let last_written = file.version.last_written;
                last_written >= self.since
                    && looked_at.is_none_or(|at| quiet_for(last_written, at) >= settle)
                    && stripes.due(file, now, settle)
                    && rows.covering(file).is_none()
                    && seen.insert(file.sort_key())
            });
            versions.extend(unknown.map(|file| (self.message(file), None)));
        }
        versions.extend(self.orphans(&known.rows, &versions).await?);
        let recent = |row: &Row| row.message.file.version.last_written >= self.since;
        let rows = known.rows.into_iter().filter(recent);
        versions.extend(rows.map(|row| (row.message.clone(), Some(row))));
        outcome.compared = versions.len();
        let found: Vec<Compared> = stream::iter(versions)
            .map(async |(message, row)| self.compare(message, row, listing.as_ref(), now).await)
            .buffer_unordered(OBJECTS)
            .try_filter_map(async |compared| Ok(compared))
            .try_collect()
            .await?;
        for found in found {
            let repaired = self.repair && self.repair(&found, now).await?;
            let file = found.message.file;
            outcome.discrepancies.push(Discrepancy {
                instance: self.instance.name.clone(),
                resource_id: self.instance.resource_id.clone(),
                file: file.name,
                last_written: file.version.last_written.to_string(),
                size: file.version.size,
                state: found.row.map(|row| row.state),
                finding: found.finding,
                repaired,
            });
        }
        Ok(())
    }

    /// Versions that only the archive knows.
    async fn orphans(
        &self,
        rows: &[Row],
        listed: &[(Message, Option<Row>)],
    ) -> Result<Vec<(Message, Option<Row>)>, CallError> {
        let Self {
            archive, instance, ..
        } = self;
        let known: HashSet<&String> = rows.iter().flat_map(|row| &row.keys).collect();
        let sort_keys: HashSet<String> = rows
            .iter()
            .map(|row| &row.message)
            .chain(listed.iter().map(|(message, _)| message))
            .map(|message| message.file.sort_key())
            .collect();
        let mut orphans = Vec::new();
        // A file may have been written to for long after the hour in its key.
        let mut day = self.since - OPEN_FOR;
        while day <= Timestamp::now() + DAY {
            let start = format!(
                "{}{}/audit/{}/",
                archive.prefix,
                instance.cluster,
                day.strftime("%Y/%m/%d")
            );
            day += DAY;
            let of_instance = format!("/{}/", instance.name);
            for key in archive.keys(&start).await? {
                if !key.contains(&of_instance) || known.contains(&key) {
                    continue;
                }
                let archived = archive.head(&key).await?;
                let ours = archived.filter(|archived| {
                    archived.resource_id.as_ref() == Some(&instance.resource_id)
                });
                let version = ours.and_then(|archived| archived.version);
                let file = version
                    .filter(|version| version.last_written >= self.since)
                    .and_then(|version| LogFile::of_key(&key, &archive.prefix, instance, version));
                let unknown = file.filter(|file| !sort_keys.contains(&file.sort_key()));
                orphans.extend(unknown.map(|file| (self.message(&file), None)));
            }
        }
        Ok(orphans)
    }

    /// What RDS lists; `None` if RDS has the instance no more. `Err`: nothing that could be relied on.
    async fn list(&self) -> Result<Option<Listing>, String> {
        if !self.present {
            return Ok(None);
        }
        let listing = listing::list(&self.clients.rds, &self.instance.name, None).await;
        let listing = listing.map_err(|error| error.to_string())?;
        if listing.empty_page || !listing.unreadable.is_empty() {
            return Err("its listing has an empty page, or entries that cannot be read".to_owned());
        }
        Ok(Some(listing))
    }

    /// With the instance's present name, by which RDS must be asked.
    fn message(&self, file: &LogFile) -> Message {
        Message {
            instance: self.instance.clone(),
            file: file.clone(),
        }
    }

    async fn compare(
        &self,
        message: Message,
        row: Option<Row>,
        listing: Option<&Listing>,
        now: Timestamp,
    ) -> Result<Option<Compared>, CallError> {
        let archived = self.archived(&message.file, row.as_ref()).await?;
        let listed = match listing {
            Some(listing) => Some(listing.offers(&message.file)),
            None => (!self.present).then_some(false),
        };
        let overdue = row
            .as_ref()
            .is_some_and(|row| stale(row, now, self.settings.resend_after).is_some());
        let state = row
            .as_ref()
            .map(|row| (row.state, row.dismissed_at.is_some()));
        let finding = judge(state, archived.is_some(), listed, overdue);
        Ok(finding.map(|finding| Compared {
            message,
            row,
            archived,
            finding,
        }))
    }

    /// What the archive proves of a version; `None` if it lacks it.
    async fn archived(
        &self,
        file: &LogFile,
        row: Option<&Row>,
    ) -> Result<Option<Proof>, CallError> {
        let complete = row.filter(|row| row.state == State::Complete);
        let Some(row) = complete else {
            // By the present name: what stands under a former one may be another's.
            return match self.archive.find(&self.message(file)).await {
                Ok(proof) => Ok(proof),
                Err(Unfindable::Rejected(_)) => Ok(None),
                Err(Unfindable::Call(error)) => Err(error),
            };
        };
        if row.keys.is_empty() && file.version.size > 0 {
            return Ok(None);
        }
        // Its own word for where it is; an empty file is nowhere.
        for key in &row.keys {
            let archived = self.archive.head(key).await?;
            let beside = archived.and_then(|archived| {
                archived.beside(&row.message.instance, row.message.file.version)
            });
            if !matches!(beside, Some(Beside::Same | Beside::Superseded)) {
                return Ok(None);
            }
        }
        Ok(Some(Proof {
            reason: "stored",
            keys: row.keys.clone(),
            etag: None,
            content: None,
            stored_bytes: None,
        }))
    }

    /// Mends one version; `false` if it cannot be, or is not any more what it was.
    async fn repair(&self, found: &Compared, now: Timestamp) -> Result<bool, CallError> {
        let Compared { message, row, .. } = found;
        let checkpoints = &self.clients.checkpoints;
        let (generation, attempts) = row
            .as_ref()
            .map_or((0, 0), |row| (row.generation, row.attempts));
        let file = message.file.clone();
        let reason = match (found.finding, &found.archived) {
            (Finding::Stored, Some(proof)) => {
                checkpoints
                    .prove(message, generation, attempts, proof)
                    .await?;
                return Ok(true);
            }
            (Finding::Stored, None) | (Finding::Lost, _) => return Ok(false),
            // Nobody can download them; another instance may have the name.
            _ if !self.present => return Ok(false),
            (Finding::Unrecorded, _) => {
                let send = vec![file];
                return self
                    .send(Plan {
                        send,
                        ..Plan::default()
                    })
                    .await;
            }
            (Finding::Waiting, _) => {
                let again = row
                    .as_ref()
                    .and_then(|row| stale(row, now, self.settings.resend_after));
                let resend: Vec<Resend> = again.into_iter().collect();
                return self
                    .send(Plan {
                        resend,
                        ..Plan::default()
                    })
                    .await;
            }
            (Finding::Missing, _) => "the archive lacked it",
            (Finding::Back, _) => "RDS had it after all",
        };
        let again = Again { file, generation };
        ship_again(self.clients, self.instance, &again, reason).await
    }

    async fn send(&self, plan: Plan) -> Result<bool, CallError> {
        let sent = enqueue(self.clients, self.instance, &plan).await?;
        Ok(sent.refused == 0)
    }
}

/// What is wrong, from what the table says (state, and whether an operator dismissed it), whether the archive has the
/// version, whether RDS offers it (`None`: nobody knows), and whether its message may be lost.
fn judge(
    state: Option<(State, bool)>,
    archived: bool,
    listed: Option<bool>,
    overdue: bool,
) -> Option<Finding> {
    let Some((state, dismissed)) = state else {
        return Some(if archived {
            Finding::Stored
        } else {
            Finding::Unrecorded
        });
    };
    match state {
        State::Complete if archived => None,
        State::Complete => listed.map(|listed| {
            if listed {
                Finding::Missing
            } else {
                Finding::Lost
            }
        }),
        // On its way: a worker may be about to record it.
        State::Queued | State::Leased if !overdue => None,
        State::Queued | State::Leased | State::Quarantined | State::Gone if archived => {
            Some(Finding::Stored)
        }
        State::Queued | State::Leased => Some(Finding::Waiting),
        State::Quarantined => None, // told by status
        // An operator's word stands, unless there is proof.
        State::Gone => (listed == Some(true) && !dismissed).then_some(Finding::Back),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_where_is_named() {
        use Finding::{Back, Lost, Missing, Stored, Unrecorded, Waiting};
        use State::{Complete, Gone, Leased, Quarantined, Queued};
        let kept = |state| Some((state, false));
        for (state, archived, listed, overdue, expected) in [
            (None, false, true, false, Some(Unrecorded)),
            (None, true, true, false, Some(Stored)),
            (kept(Complete), true, true, false, None),
            (kept(Complete), true, false, false, None),
            (kept(Complete), false, true, false, Some(Missing)),
            (kept(Complete), false, false, false, Some(Lost)),
            (kept(Gone), true, false, false, Some(Stored)),
            (kept(Gone), false, true, false, Some(Back)),
            (kept(Gone), false, false, false, None),
            (Some((Gone, true)), false, true, false, None),
            (Some((Gone, true)), true, false, false, Some(Stored)),
            (kept(Quarantined), true, true, false, Some(Stored)),
            (kept(Quarantined), false, true, true, None),
            (kept(Queued), true, true, false, None),
            (kept(Queued), true, true, true, Some(Stored)),
            (kept(Queued), false, true, false, None),
            (kept(Queued), false, true, true, Some(Waiting)),
            (kept(Leased), true, true, true, Some(Stored)),
            (kept(Leased), false, false, true, Some(Waiting)),
            (kept(Leased), false, true, false, None),
        ] {
            let found = judge(state, archived, Some(listed), overdue);
            assert_eq!(found, expected, "{state:?} {archived} {listed} {overdue}");
        }
        // What RDS has is not known: then nothing is lost, and nothing back.
        for state in [kept(Complete), kept(Gone)] {
            assert_eq!(judge(state, false, None, false), None);
        }
    }
}
