//! Results of the operator's commands as people read them.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanBytes;
use shared::checkpoint::{Presence, State};
use shared::queue::Depth;

use crate::dismiss::Dismissal;
use crate::reconcile::{Finding, Reconciliation};
use crate::requeue::{Done, Outcome, Request, Source};
use crate::run::Summary;
use crate::status::{InstanceStatus, Status};
use crate::verify::{self, Verification};

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(header.iter().copied());
    table
}

/// A cell for a number.
pub(crate) fn right(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

fn lines(title: &str, lines: &[String]) -> String {
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str(title);
        for line in lines {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// What a run of the producer did.
pub(crate) fn summary(summary: &Summary) -> String {
    let mut rows = table(&[
        "cluster",
        "instance",
        "listed",
        if summary.dry_run { "due" } else { "sent" },
        "sent again",
        "",
    ]);
    for report in &summary.instances {
        rows.add_row([
            Cell::new(&report.cluster),
            Cell::new(&report.instance),
            right(report.listed),
            right(report.sent),
            right(report.resent),
            Cell::new(if report.error.is_some() { "FAILED" } else { "" }),
        ]);
    }
    let of_instance = |name: &str, text: &String| format!("{name}: {text}");
    let each = summary.instances.iter();
    let due: Vec<String> = each
        .clone()
        .flat_map(|report| {
            report
                .due
                .iter()
                .map(|due| of_instance(&report.instance, due))
        })
        .collect();
    let warnings: Vec<String> = each
        .clone()
        .flat_map(|report| {
            report
                .warnings
                .iter()
                .map(|warning| of_instance(&report.instance, warning))
        })
        .collect();
    let errors = each.filter_map(|report| {
        report
            .error
            .as_ref()
            .map(|error| of_instance(&report.instance, error))
    });
    let failures: Vec<String> = summary.problems.iter().cloned().chain(errors).collect();
    [
        format!("{rows}\n"),
        lines("due:", &due),
        lines(
            "not of an engine with audit log files of this kind:",
            &summary.other_engines,
        ),
        lines("left for the next run:", &summary.not_started),
        lines("warnings:", &warnings),
        lines("vanished:", &summary.vanished),
        lines("failures:", &failures),
    ]
    .concat()
}

/// Where every instance stands.
pub(crate) fn status(status: &Status) -> String {
    let mut header = vec![
        "cluster",
        "instance",
        "watermark",
        "last enumerated",
        "oldest unfinished",
    ];
    header.extend(State::ALL.map(State::as_str));
    let mut rows = table(&header);
    for instance in &status.instances {
        let mut row = vec![
            Cell::new(&instance.cluster),
            Cell::new(name(instance)),
            Cell::new(watermarks(instance)),
            Cell::new(
                instance
                    .last_enumerated_at
                    .as_deref()
                    .map_or("never".to_owned(), to_the_second),
            ),
            Cell::new(oldest(instance)),
        ];
        row.extend(State::ALL.map(|state| right(count(instance, state))));
        rows.add_row(row);
    }
    let depth = |depth: Depth| {
        format!(
            "{} waiting, {} in flight, {} delayed",
            depth.visible, depth.in_flight, depth.delayed
        )
    };
    [
        format!("{rows}\n"),
        format!("queue: {}\n", depth(status.queue)),
        format!("dead-letter queue: {}\n", depth(status.dead_letter_queue)),
        lines("needs a person:", &status.attention),
    ]
    .concat()
}

fn name(instance: &InstanceStatus) -> String {
    let name = &instance.instance;
    match instance.presence {
        Some(Presence::Vanished | Presence::Closed) => format!("{name} (gone from RDS)"),
        Some(Presence::There) | None => name.clone(),
    }
}

/// How many versions are in a state; of those that are gone, also how many were dismissed.
fn count(instance: &InstanceStatus, state: State) -> String {
    let count = instance.states.get(&state).copied().unwrap_or_default();
    match (state, instance.dismissed) {
        (State::Gone, 1..) => format!("{count} ({} dismissed)", instance.dismissed),
        _ => count.to_string(),
    }
}

fn watermarks(instance: &InstanceStatus) -> String {
    let each = instance.watermarks.iter().map(|(family, watermark)| {
        format!("{family} {}", watermark.as_deref().unwrap_or("none yet"))
    });
    each.collect::<Vec<_>>().join("\n")
}

fn oldest(instance: &InstanceStatus) -> String {
    let Some(oldest) = &instance.oldest_unfinished else {
        return String::new();
    };
    let age = std::time::Duration::from_secs(oldest.age_seconds);
    format!("{} ({})", oldest.file, humantime::format_duration(age))
}

/// RFC 3339 without the fraction, UTC.
fn to_the_second(time: &str) -> String {
    let second = time.split(['.', 'Z']).next().unwrap_or(time);
    format!("{second}Z")
}

/// What became of what was quarantined.
pub(crate) fn letters(done: &Done, request: &Request) -> String {
    let letters = &done.letters;
    let mut rows = table(&[
        "instance",
        "log file",
        "reason",
        if request.dry_run {
            "would be"
        } else {
            "outcome"
        },
    ]);
    for letter in letters {
        let outcome = match letter.outcome {
            Outcome::Requeued => "requeued".to_owned(),
            Outcome::Finished => "deleted: its version is finished".to_owned(),
            Outcome::Left => format!("left: {}", letter.error.as_deref().unwrap_or("unknown")),
        };
        rows.add_row([
            letter.instance.as_deref().unwrap_or("?"),
            letter.file.as_deref().unwrap_or("?"),
            letter.reason.as_deref().unwrap_or("none given"),
            &outcome,
        ]);
    }
    let count = |outcome| {
        letters
            .iter()
            .filter(|letter| letter.outcome == outcome)
            .count()
    };
    let (requeued, finished, left) = (
        count(Outcome::Requeued),
        count(Outcome::Finished),
        count(Outcome::Left),
    );
    let totals =
        format!("{requeued} requeued, {finished} already finished, {left} left as they are");
    let note = if request.dry_run {
        " (dry run: nothing was changed)"
    } else {
        ""
    };
    if letters.is_empty() && done.interrupted {
        "nothing was put back".to_owned()
    } else if letters.is_empty() {
        let none = match request.from {
            Source::Dlq => "no dead letters",
            Source::Checkpoint => "no quarantined versions",
        };
        let which = if request.wants_all() {
            ""
        } else {
            " of those asked for"
        };
        format!("{none}{which}")
    } else {
        format!("{rows}\n{totals}{note}")
    }
}

/// What was given up.
pub(crate) fn dismissals(dismissals: &[Dismissal], dry_run: bool) -> String {
    let mut rows = table(&[
        "instance",
        "log file",
        "last written",
        "bytes",
        "was",
        if dry_run { "would be" } else { "is" },
    ]);
    for version in dismissals {
        rows.add_row([
            Cell::new(&version.instance),
            Cell::new(&version.file),
            Cell::new(to_the_second(&version.last_written)),
            right(version.size),
            Cell::new(version.state),
            Cell::new(if version.dismissed {
                "Gone, dismissed"
            } else {
                "as it was: somebody is at work on it, or was meanwhile"
            }),
        ]);
    }
    let done = dismissals
        .iter()
        .filter(|version| version.dismissed)
        .count();
    if dismissals.is_empty() {
        "nothing to dismiss: no such version is quarantined or gone, or unfinished and vanished"
            .to_owned()
    } else if dry_run {
        format!("{rows}\n{done} would be dismissed (dry run: nothing was changed)")
    } else {
        format!(
            "{rows}\n{done} dismissed; their dead letters, if any, go with the next auditferry requeue"
        )
    }
}

/// What is missing where.
pub(crate) fn reconciliation(result: &Reconciliation, repair: bool) -> String {
    let mut rows = table(&[
        "instance",
        "log file",
        "last written",
        "bytes",
        "table says",
        "",
        "",
    ]);
    for found in &result.discrepancies {
        rows.add_row([
            Cell::new(&found.instance),
            Cell::new(&found.file),
            Cell::new(to_the_second(&found.last_written)),
            right(found.size),
            Cell::new(found.state.map_or("nothing", State::as_str)),
            Cell::new(match found.finding {
                Finding::Unrecorded => "only RDS has it",
                Finding::Stored => "the archive has it",
                Finding::Missing => "the archive lacks it, RDS has it",
                Finding::Lost => "the archive lacks it, and so does RDS",
                Finding::Back => "RDS has it after all",
                Finding::Waiting => "it waits, and its message may be lost",
            }),
            Cell::new(match (found.repaired, repair, found.finding) {
                (true, _, Finding::Stored) => "recorded",
                (true, ..) => "sent",
                (false, true, Finding::Lost) => "nobody can mend it",
                (false, true, _) => "left: it has changed meanwhile",
                (false, false, Finding::Lost) => "",
                (false, false, _) => "--repair mends it",
            }),
        ]);
    }
    let count = result.discrepancies.len();
    let summary = format!(
        "{} versions compared, {count} not everywhere where they should be\n",
        result.compared
    );
    let found = if count == 0 {
        String::new()
    } else {
        format!("{rows}\n")
    };
    [found, summary, lines("failures:", &result.failures)].concat()
}

/// What is not as it was shipped.
pub(crate) fn verification(result: &Verification) -> String {
    let mut rows = table(&[
        "instance",
        "log file",
        "last written",
        "bytes",
        "object",
        "",
    ]);
    for found in &result.discrepancies {
        rows.add_row([
            Cell::new(&found.instance),
            Cell::new(&found.file),
            Cell::new(to_the_second(&found.last_written)),
            right(found.size),
            Cell::new(&found.key),
            Cell::new(match found.finding {
                verify::Finding::Missing => "there is no such object",
                verify::Finding::Damaged => "it cannot be decompressed",
                verify::Finding::Short => "it ends too early",
                verify::Finding::Different => "it is not what was shipped",
                verify::Finding::Long => "it goes on after what was shipped",
            }),
        ]);
    }
    let (verified, different) = (result.verified, result.discrepancies.len());
    let until = result.until.as_deref();
    let until = until.map_or(String::new(), |until| {
        format!(" until {}", to_the_second(until))
    });
    let mut text = vec![
        format!(
            "last written since {}{until}, {} read:\n",
            to_the_second(&result.since),
            HumanBytes(result.read_bytes)
        ),
        format!("{verified} versions are as they were shipped, {different} are not\n"),
    ];
    if different > 0 {
        text.insert(0, format!("{rows}\n"));
    }
    for (count, what) in [
        (
            result.without_sha256,
            "whole, but recorded without a SHA-256",
        ),
        (result.empty, "empty: there is nothing to archive"),
        (result.unfinished, "not archived yet: see auditferry status"),
        (
            result.gone,
            "gone: RDS deleted them before they were archived",
        ),
        (result.dismissed, "dismissed: nothing of them is archived"),
    ] {
        if count > 0 {
            text.push(format!("{count} {what}\n"));
        }
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &result.not_read {
        *reasons.entry(&object.why).or_default() += 1;
    }
    let reasons: Vec<String> = reasons
        .into_iter()
        .map(|(why, objects)| format!("{objects}: {why}"))
        .collect();
    text.push(lines("objects not read (--json names them):", &reasons));
    text.push(lines("failures:", &result.failures));
    text.concat()
}
