//! Pure: from a listing and what the table knows, what to send, what to send again, and where the watermarks may go.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use shared::checkpoint::{Known, Row, State};
use shared::listing::Listing;
use shared::log_file::{Family, LogFile, Name, Stripes, Version};

/// Longest interval between two sends of one version's message.
const RESEND_MAX: Duration = Duration::from_hours(6);

/// An instance that was not enumerated for so long may have lost log files: RDS keeps them for about a day.
pub const GAP: Duration = Duration::from_hours(12);

/// Longer than a look at an instance takes, from the list of instances to the record of it: a Lambda runs 15 min at most.
const LOOK: Duration = Duration::from_mins(15);

/// How far ahead of ours the clock of RDS may be without a word.
const FUTURE: Duration = Duration::from_mins(15);

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
    /// Known, and finished under a name that another instance may have had by then.
    pub doubtful: Vec<Again>,
    /// Whether a doubt could not be settled, since the listing says too little: then this was no look at the instance.
    pub undecided: bool,
    /// Families whose watermark moves, and where to.
    pub watermarks: HashMap<Family, Timestamp>,
    /// Families that the listing or the table has.
    pub families: HashSet<Family>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A version whose message is to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resend {
    /// The version.
    pub file: LogFile,
    /// When it is stale next.
    pub resend_after: Duration,
}

/// A finished version that is to be shipped again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// The version.
    pub file: LogFile,
    /// Of its row, which must still be this.
    pub generation: u64,
}

/// Plans for the instance that has this name now. The rows must be those that `known` promises, the listing at least as
/// long.
pub fn plan(name: &str, listing: &Listing, known: &Known, now: Timestamp, timing: Timing) -> Plan {
    let mut plan = Plan {
        warnings: warnings(listing, known, now),
        ..Plan::default()
    };
    let since = known.since(timing.overlap);
    let rows = Rows::of(&known.rows);
    let stripes = Stripes::of(&listing.files);
    let mut seen = HashSet::new();
    let mut progress = Progress::default();

    // RDS sometimes gives an empty page; and numbers or rows that say nothing may hide what is unfinished.
    let trusted =
        !listing.empty_page && listing.unreadable.is_empty() && known.malformed.is_empty();
    let last_look = last_look(known);
    let again = |row: &Row| doubtful(row, name, last_look) && listing.offers(&row.message.file);
    for row in &known.rows {
        let file = &row.message.file;
        let (doubtful, again) = (doubtful(row, name, last_look), again(row));
        let settled = row.state.finished() && !(doubtful && (again || !trusted));
        progress.add(file, settled, now);
        // RDS is asked by name: a message with a former one is as good as lost, since workers give it back for ever. One
        // with the present name is sent at once, and then like any other.
        let resend = if row.message.instance.name == name || row.resend_after.is_some() {
            stale(row, now, timing.resend_after)
        } else {
            resend(row, timing.resend_after)
        };
        plan.resend.extend(resend);
        if again {
            plan.doubtful.push(Again {
                file: file.clone(),
                generation: row.generation,
            });
        } else if doubtful && !trusted {
            plan.undecided = true;
        } else if doubtful {
            plan.warnings.push(format!(
                "{} was shipped when another instance may have been called {}, and RDS has it no more: {} may hold that \
                 one's log",
                file.name,
                row.message.instance.name,
                row.keys.join(", ")
            ));
        }
    }
    for file in &listing.files {
        plan.families.insert(file.family());
        if Name::parse(&file.name) == Name::Active {
            // Once it is rotated, what it has now is due, and with this time, if nothing more is written before.
            progress.add(file, false, now);
            continue;
        }
        let settled = since.is_some_and(|since| file.version.last_written < since);
        if settled || !seen.insert(file.sort_key()) {
            continue;
        }
        let row = rows.covering(file);
        let finished = row.is_some_and(|row| row.state.finished() && !again(row));
        progress.add(file, finished, now);
        match row.map(|row| row.state) {
            None if stripes.due(file, now, timing.settle) => plan.send.push(file.clone()),
            Some(State::Gone)
                if row.is_some_and(|row| row.dismissed_at.is_none() && !again(row)) =>
            {
                plan.warnings.push(format!(
                    "{} is recorded as gone, yet RDS lists it: auditferry reconcile --repair has it shipped",
                    file.name
                ));
            }
            None
            | Some(
                State::Queued | State::Leased | State::Quarantined | State::Gone | State::Complete,
            ) => {}
        }
    }
    plan.families
        .extend(known.rows.iter().map(|row| row.message.file.family()));
    plan.families
        .extend(known.marks.iter().map(|mark| mark.family));
    for family in plan.families.iter().filter(|_| trusted) {
        let mark = known.marks.iter().find(|mark| mark.family == *family);
        let reached = progress
            .reached(*family)
            .filter(|reached| Some(*reached) > mark.and_then(|mark| mark.watermark));
        plan.watermarks
            .extend(reached.map(|reached| (*family, reached)));
    }
    plan
}

/// Plans for the versions of one instance that were last written in a time range, whatever the watermarks say, and moves
/// none. Rows and listing must reach back to the range's start.
pub fn backfill(
    listing: &Listing,
    known: &Known,
    range: &RangeInclusive<Timestamp>,
    now: Timestamp,
    timing: Timing,
) -> Plan {
    let mut plan = Plan::default();
    if listing.empty_page {
        plan.warnings.push(
            "RDS gave an empty page, which it sometimes does instead of a full one: if log files of that time should be \
             there, run it again"
                .to_owned(),
        );
    }
    let within = |file: &LogFile| range.contains(&file.version.last_written);
    for row in known.rows.iter().filter(|row| within(&row.message.file)) {
        match row.state {
            State::Queued | State::Leased => plan.resend.push(Resend {
                file: row.message.file.clone(),
                resend_after: row.resend_after.unwrap_or(timing.resend_after),
            }),
            State::Quarantined => plan.warnings.push(format!(
                "{} is quarantined: auditferry requeue",
                row.message.file.name
            )),
            State::Gone | State::Complete => {}
        }
    }
    let rows = Rows::of(&known.rows);
    let stripes = Stripes::of(&listing.files);
    let mut seen = HashSet::new();
    for file in listing.files.iter().filter(|file| within(file)) {
        if !seen.insert(file.sort_key()) || rows.covering(file).is_some() {
            continue;
        }
        if stripes.due(file, now, timing.settle) {
            plan.send.push(file.clone());
        } else {
            plan.warnings.push(format!(
                "{} is still being written: left to auditferry enumerate",
                file.name
            ));
        }
    }
    plan
}

/// Whether a version was finished, since the last look at the instance, under another name than the instance has now. RDS is
/// asked by name, and instances take over each other's names (blue/green deployments, restores): then what was read, or was
/// not found, may have been another's.
fn doubtful(row: &Row, name: &str, last_look: Option<Timestamp>) -> bool {
    let since = last_look.and_then(|last| last.checked_sub(LOOK).ok());
    row.state.finished()
        && row.dismissed_at.is_none()
        && row.message.file.version.size > 0
        && row.message.instance.name != name
        && row.finished_at >= since
}

/// Whether there is a doubt about any version, so that everything must be listed.
pub(crate) fn any_doubtful(known: &Known, name: &str) -> bool {
    let last_look = last_look(known);
    known.rows.iter().any(|row| doubtful(row, name, last_look))
}

fn last_look(known: &Known) -> Option<Timestamp> {
    known.marks.iter().map(|mark| mark.last_enumerated_at).max()
}

/// How far the versions of an instance are finished.
#[derive(Debug, Default)]
struct Progress {
    /// Of every family: one that has had nothing new for months follows the others, so that rows and listings of
    /// months need not be read each time.
    finished: Vec<Timestamp>,
    /// The earliest of each family.
    unfinished: HashMap<Family, Timestamp>,
}

impl Progress {
    fn add(&mut self, file: &LogFile, finished: bool, now: Timestamp) {
        let at = file.version.last_written;
        if !finished {
            let earliest = self.unfinished.entry(file.family()).or_insert(at);
            *earliest = at.min(*earliest);
        } else if at <= now {
            // A time in the future says nothing of what will come before it.
            self.finished.push(at);
        }
    }

    /// The latest time such that everything of the family up to it is finished.
    fn reached(&self, family: Family) -> Option<Timestamp> {
        let unfinished = self.unfinished.get(&family);
        self.finished
            .iter()
            .copied()
            .filter(|at| unfinished.is_none_or(|unfinished| at < unfinished))
            .max()
    }
}

/// The rows of one instance, to be found by what they are of.
pub(crate) struct Rows<'a> {
    by_key: HashMap<String, &'a Row>,
    renamed: HashMap<Version, &'a Row>,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(rows: &'a [Row]) -> Self {
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
    pub(crate) fn covering(&self, file: &LogFile) -> Option<&'a Row> {
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
pub(crate) fn stale(row: &Row, now: Timestamp, resend_after: Duration) -> Option<Resend> {
    let interval = row.resend_after.unwrap_or(resend_after);
    let moved_at = row
        .queued_at
        .max(row.lease_until)
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let waited = Duration::try_from(now.duration_since(moved_at)).unwrap_or_default();
    resend(row, resend_after).filter(|_| waited >= interval)
}

/// What sending the message of an unfinished version again comes to; `None` for all others.
fn resend(row: &Row, resend_after: Duration) -> Option<Resend> {
    match row.state {
        State::Queued | State::Leased => {}
        State::Complete | State::Gone | State::Quarantined => return None,
    }
    let interval = row.resend_after.unwrap_or(resend_after);
    Some(Resend {
        file: row.message.file.clone(),
        resend_after: interval.saturating_mul(2).min(RESEND_MAX.max(interval)),
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
        .chain(
            known
                .malformed
                .iter()
                .map(|row| format!("the table was tampered with, watermarks stay: {row}")),
        )
        .collect();
    if listing.empty_page && !listing.files.is_empty() {
        warnings.push("RDS gave an empty page among others: watermarks stay".to_owned());
    }
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
    let last_enumerated_at = last_look(known);
    let ahead: Vec<&LogFile> = listing
        .files
        .iter()
        .filter(|file| file.version.last_written > now + FUTURE)
        .collect();
    warnings.extend(ahead.into_iter().map(|file| {
        format!(
            "{} was last written in the future, {}: a clock is wrong",
            file.name, file.version.last_written
        )
    }));
    if let Some(last) = last_enumerated_at.filter(|last| overdue(*last, now)) {
        warnings.push(format!(
            "possible gap: not enumerated since {last}, and RDS keeps log files for about a day"
        ));
    }
    let watched = known
        .marks
        .iter()
        .find(|mark| mark.family == Family::ServerAudit)
        .filter(|mark| {
            mark.watermark.is_some() || known.rows.iter().any(|row| row.message.file.renamed())
        });
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
