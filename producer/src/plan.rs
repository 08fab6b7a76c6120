//! Pure: from a listing and what the table knows, what to send, what to send again, and where the watermarks may go.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use shared::checkpoint::{Known, Row, State};
use shared::listing::Listing;
use shared::log_file::{Family, LogFile, Name, Stripes, Version};
use shared::message::Message;

/// Longest interval between two sends of one version's message.
const RESEND_MAX: Duration = Duration::from_hours(6);

/// An instance that was not enumerated for so long may have lost log files: RDS keeps them for about a day.
pub const GAP: Duration = Duration::from_hours(12);

/// When a version is due, and when its message is stale.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The quiet that makes a growing file due.
    pub settle: Duration,
    /// How far before the watermark a listing reaches.
    pub overlap: Duration,
    /// The first interval after which a message is sent again.
    pub resend_after: Duration,
}

/// What to do about one instance.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Due and unknown.
    pub send: Vec<LogFile>,
    /// Known, unfinished and stale.
    pub resend: Vec<Resend>,
    /// Families whose watermark moves, and where to.
    pub watermarks: HashMap<Family, Timestamp>,
    /// Families that the listing or the table knows.
    pub families: HashSet<Family>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A message to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resend {
    /// As it was.
    pub message: Message,
    /// When it is stale next.
    pub resend_after: Duration,
}

/// Plans for one instance. The rows must be those that `known` promises, the listing at least as long.
pub fn plan(listing: &Listing, known: &Known, now: Timestamp, timing: Timing) -> Plan {
    let mut plan = Plan {
        warnings: warnings(listing, known, now),
        ..Plan::default()
    };
    let since = known.since(timing.overlap);
    let rows = Rows::of(&known.rows);
    let stripes = Stripes::of(&listing.files);
    let mut seen = HashSet::new();
    let mut progress: HashMap<Family, Progress> = HashMap::new();

    for row in &known.rows {
        let family = row.message.file.family();
        progress
            .entry(family)
            .or_default()
            .add(row.message.file.version, row.state.finished());
        plan.resend.extend(stale(row, now, timing.resend_after));
    }
    for file in &listing.files {
        plan.families.insert(file.family());
        let settled = since.is_some_and(|since| file.version.last_written < since);
        if settled || Name::parse(&file.name) == Name::Active || !seen.insert(file.sort_key()) {
            continue;
        }
        let row = rows.covering(file);
        progress
            .entry(file.family())
            .or_default()
            .add(file.version, row.is_some_and(|row| row.state.finished()));
        if row.is_none() && stripes.due(file, now, timing.settle) {
            plan.send.push(file.clone());
        }
    }
    plan.families.extend(progress.keys());
    // RDS sometimes lists nothing, or gives numbers that say nothing: then nothing is known to be finished.
    if !listing.files.is_empty() && listing.unreadable.is_empty() {
        for (family, progress) in progress {
            let before = known
                .marks
                .iter()
                .find(|mark| mark.family == family)
                .and_then(|mark| mark.watermark);
            let reached = progress.reached().filter(|reached| Some(*reached) > before);
            plan.watermarks
                .extend(reached.map(|reached| (family, reached)));
        }
    }
    plan
}

/// How far the versions of one family are finished.
#[derive(Debug, Default)]
struct Progress {
    finished: Vec<Timestamp>,
    unfinished: Option<Timestamp>,
}

impl Progress {
    fn add(&mut self, version: Version, finished: bool) {
        if finished {
            self.finished.push(version.last_written);
        } else {
            let earliest = self.unfinished.unwrap_or(version.last_written);
            self.unfinished = Some(earliest.min(version.last_written));
        }
    }

    /// The latest time such that everything up to it is finished.
    fn reached(self) -> Option<Timestamp> {
        let unfinished = self.unfinished;
        self.finished
            .into_iter()
            .filter(|at| unfinished.is_none_or(|unfinished| *at < unfinished))
            .max()
    }
}

/// The rows of one instance, to be found by what they are of.
struct Rows<'a> {
    by_key: HashMap<String, &'a Row>,
    renamed: HashMap<Version, &'a Row>,
}

impl<'a> Rows<'a> {
    fn of(rows: &'a [Row]) -> Self {
        let mut all = Self {
            by_key: HashMap::new(),
            renamed: HashMap::new(),
        };
        for row in rows {
            let file = &row.message.file;
            all.by_key.insert(file.sort_key(), row);
            if file.renamed() {
                let most_twins = all.renamed.entry(file.version).or_insert(row);
                if file.twins > most_twins.message.file.twins {
                    *most_twins = row;
                }
            }
        }
        all
    }

    /// The row of this version. A row of twins is of every smaller number of them, too: one may have been rotated away.
    fn covering(&self, file: &LogFile) -> Option<&'a Row> {
        if file.renamed() {
            self.renamed
                .get(&file.version)
                .copied()
                .filter(|row| row.message.file.twins >= file.twins)
        } else {
            self.by_key.get(&file.sort_key()).copied()
        }
    }
}

/// Whether a message may be lost: its version is Queued, or Leased by a worker that is gone, for longer than the interval.
fn stale(row: &Row, now: Timestamp, resend_after: Duration) -> Option<Resend> {
    match row.state {
        State::Queued | State::Leased => {}
        State::Complete | State::Gone | State::Quarantined => return None,
    }
    let interval = row.resend_after.unwrap_or(resend_after);
    let moved_at = row
        .queued_at
        .max(row.lease_until)
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let waited = Duration::try_from(now.duration_since(moved_at)).unwrap_or_default();
    let next = interval.saturating_mul(2).min(RESEND_MAX.max(interval));
    (waited >= interval).then(|| Resend {
        message: row.message.clone(),
        resend_after: next,
    })
}

/// Whether an instance last enumerated then may have lost log files since.
pub fn overdue(last_enumerated_at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(last_enumerated_at)).is_ok_and(|since| since >= GAP)
}

fn warnings(listing: &Listing, known: &Known, now: Timestamp) -> Vec<String> {
    let mut warnings: Vec<String> = listing
        .unreadable
        .iter()
        .map(|entry| format!("unreadable entry in the listing, watermarks stay: {entry}"))
        .collect();
    if listing.files.is_empty() && listing.unreadable.is_empty() {
        warnings.push("auditing appears off: RDS lists no audit log file".to_owned());
    }
    let mut twins: Vec<&LogFile> = listing.files.iter().filter(|file| file.twins > 1).collect();
    twins.sort_by_key(|file| file.version);
    twins.dedup_by_key(|file| file.version);
    warnings.extend(twins.into_iter().map(|file| {
        let Version { last_written, size } = file.version;
        format!("{} rotated files cannot be told apart: LastWritten {last_written}, Size {size}; each distinct content is shipped", file.twins)
    }));
    let last_enumerated_at = known.marks.iter().map(|mark| mark.last_enumerated_at).max();
    if let Some(last) = last_enumerated_at.filter(|last| overdue(*last, now)) {
        warnings.push(format!(
            "possible gap: not enumerated since {last}, and RDS keeps log files for about a day"
        ));
    }
    let watched = known
        .marks
        .iter()
        .find(|mark| mark.family == Family::ServerAudit && mark.watermark.is_some());
    let rotated = listing
        .files
        .iter()
        .filter(|file| matches!(Name::parse(&file.name), Name::Rotated { .. }));
    if let Some((mark, oldest)) = watched.zip(rotated.map(|file| file.version.last_written).min())
        && oldest > mark.last_enumerated_at
    {
        warnings.push(format!(
            "possible gap: the oldest rotated file ({oldest}) is younger than the last enumeration ({}); others may have come \
             and gone unseen: enumerate more often, or raise server_audit_file_rotations",
            mark.last_enumerated_at
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
