use shared::checkpoint::Mark;
use shared::instance::Instance;
use shared::message::Message;

use super::*;

/// 2024-10-01T12:00:00Z
const NOON: i64 = 1_727_784_000_000;
const MINUTE: i64 = 60_000;

const TIMING: Timing = Timing {
    settle: Duration::from_hours(1),
    overlap: Duration::from_mins(15),
    resend_after: Duration::from_mins(30),
};

fn at(minutes_before_noon: i64) -> Timestamp {
    Timestamp::from_millisecond(NOON - minutes_before_noon * MINUTE).unwrap()
}

fn file(name: &str, minutes_before_noon: i64, size: u64) -> LogFile {
    let version = Version {
        last_written: at(minutes_before_noon),
        size,
    };
    LogFile {
        name: format!("audit/{name}"),
        version,
        twins: 1,
    }
}

fn row(file: LogFile, state: State) -> Row {
    let instance = Instance {
        resource_id: "db-A".to_owned(),
        name: "a".to_owned(),
        cluster: "c".to_owned(),
        account: String::new(),
        region: String::new(),
    };
    let message = Message { instance, file };
    Row {
        message,
        state,
        generation: 1,
        attempts: 1,
        owner: None,
        lease_until: None,
        queued_at: Some(at(0)),
        resend_after: None,
        requeues: 0,
        quarantined_at: None,
        finished_at: None,
        dismissed_at: None,
        reason: None,
        error: None,
        keys: Vec::new(),
        content: None,
    }
}

fn mark(family: Family, watermark: Option<i64>, last_enumerated: i64) -> Mark {
    Mark {
        resource_id: "db-A".to_owned(),
        instance: "a".to_owned(),
        cluster: "c".to_owned(),
        family,
        watermark: watermark.map(at),
        last_processed_at: None,
        last_enumerated_at: at(last_enumerated),
        listed: 1,
    }
}

fn planned(files: Vec<LogFile>, rows: Vec<Row>, marks: Vec<Mark>) -> Plan {
    let listing = Listing {
        empty_page: files.is_empty(),
        files,
        ..Listing::default()
    };
    plan(
        "a",
        &listing,
        &Known {
            marks,
            rows,
            malformed: Vec::new(),
        },
        at(0),
        TIMING,
    )
}

/// Newest of stripe 0, so not sealed, and written to a minute ago, so not due.
fn active() -> LogFile {
    file("audit.log.0.2024-10-01-12-00.0", 1, 5)
}

#[test]
fn what_is_due_and_unknown_is_sent_once() {
    let sealed = file("audit.log.0.2024-10-01-11-00.0", 3, 9);
    let known = file("audit.log.0.2024-10-01-10-00.0", 50, 9);
    let listed_twice = sealed.clone();
    let plan = planned(
        vec![
            active(),
            sealed.clone(),
            listed_twice,
            known.clone(),
            file("server_audit.log", 90, 7),
        ],
        vec![row(known, State::Complete)],
        vec![],
    );
    assert_eq!(plan.send, [sealed]);
    assert_eq!(plan.resend, []);
}

#[test]
fn a_file_that_grew_is_sent_again() {
    let (before, after) = (
        file("audit.log.0.2024-10-01-08-00.0", 120, 9),
        file("audit.log.0.2024-10-01-08-00.0", 61, 10),
    );
    let plan = planned(
        vec![after.clone()],
        vec![row(before, State::Complete)],
        vec![],
    );
    assert_eq!(plan.send, [after]);
}

#[test]
fn the_watermark_passes_only_what_is_finished() {
    use State::{Complete, Gone, Leased, Quarantined, Queued};
    let (a, b, c) = (file("a", 300, 1), file("b", 200, 1), file("c", 100, 1));
    for (states, reached) in [
        ([Complete, Complete, Complete], Some(100)),
        ([Complete, Gone, Complete], Some(100)),
        ([Complete, Complete, Queued], Some(200)),
        ([Complete, Leased, Complete], Some(300)),
        ([Complete, Quarantined, Complete], Some(300)),
        ([Quarantined, Complete, Complete], None),
    ] {
        let rows = [&a, &b, &c]
            .into_iter()
            .zip(states)
            .map(|(file, state)| row(file.clone(), state))
            .collect();
        let plan = planned(vec![a.clone(), b.clone(), c.clone()], rows, vec![]);
        assert_eq!(
            plan.watermarks.get(&Family::Other).copied(),
            reached.map(at),
            "{states:?}"
        );
    }
}

#[test]
fn a_listed_version_that_is_not_due_holds_the_watermark() {
    let finished = file("audit.log.0.2024-10-01-11-00.0", 1, 9); // of the same minute as the active file
    let earlier = file("audit.log.0.2024-10-01-10-00.0", 30, 9);
    let rows = vec![
        row(finished.clone(), State::Complete),
        row(earlier.clone(), State::Complete),
    ];
    let plan = planned(vec![active(), finished, earlier], rows, vec![]);
    assert_eq!(plan.watermarks.get(&Family::Aurora), Some(&at(30)));
}

#[test]
fn an_unfinished_version_that_no_listing_has_any_more_holds_the_watermark_and_is_sent_again() {
    let (before, after) = (
        file("audit.log.0.2024-10-01-08-00.0", 120, 9),
        file("audit.log.0.2024-10-01-08-00.0", 61, 10),
    );
    let mut unfinished = row(before.clone(), State::Queued);
    unfinished.queued_at = Some(at(31));
    let plan = planned(
        vec![after.clone()],
        vec![unfinished, row(after, State::Complete)],
        vec![],
    );
    assert_eq!(plan.watermarks, HashMap::new());
    assert_eq!(
        plan.resend
            .iter()
            .map(|resend| &resend.file)
            .collect::<Vec<_>>(),
        [&before]
    );
}

#[test]
fn an_empty_or_unreadable_listing_moves_no_watermark() {
    let rows = || vec![row(file("a", 300, 1), State::Complete)];
    let empty = planned(vec![], rows(), vec![]);
    assert_eq!(empty.watermarks, HashMap::new());
    assert_eq!(
        empty.warnings,
        ["auditing appears off: RDS lists no audit log file"]
    );
    let listing = Listing {
        files: vec![file("a", 300, 1)],
        unreadable: vec!["audit/b (…)".to_owned()],
        empty_page: false,
    };
    let unreadable = plan(
        "a",
        &listing,
        &Known {
            rows: rows(),
            ..Known::default()
        },
        at(0),
        TIMING,
    );
    assert_eq!(unreadable.watermarks, HashMap::new());
    assert_eq!(
        unreadable.warnings,
        ["unreadable entry in the listing, watermarks stay: audit/b (…)"]
    );
}

#[test]
fn the_watermark_never_moves_back_and_hides_what_lies_far_below_it() {
    let forgotten = file("a", 400, 1); // its row has expired
    let within_overlap = file("b", 110, 1);
    let plan = planned(
        vec![forgotten, within_overlap.clone()],
        vec![row(file("c", 105, 1), State::Complete)],
        vec![mark(Family::Other, Some(100), 10)],
    );
    assert_eq!(plan.send, [within_overlap]);
    assert_eq!(plan.watermarks, HashMap::new());
}

#[test]
fn stale_messages_are_sent_again_ever_more_rarely() {
    let minutes = |m| Duration::from_mins(m);
    for (state, queued, lease_until, interval, next) in [
        (State::Queued, Some(29), None, None, None),
        (State::Queued, Some(30), None, None, Some(60)),
        (State::Queued, Some(59), None, Some(60), None),
        (State::Queued, Some(60), None, Some(60), Some(120)),
        (State::Queued, Some(999), None, Some(300), Some(360)),
        (State::Queued, Some(999), None, Some(360), Some(360)),
        (State::Leased, Some(999), Some(29), None, None),
        (State::Leased, Some(999), Some(30), None, Some(60)),
        (State::Leased, None, Some(30), None, Some(60)), // claimed before it was recorded
        (State::Quarantined, Some(999), None, None, None),
        (State::Complete, Some(999), None, None, None),
        (State::Gone, Some(999), None, None, None),
    ] {
        let mut row = row(file("a", 999, 1), state);
        row.queued_at = queued.map(at);
        row.lease_until = lease_until.map(at);
        row.resend_after = interval.map(minutes);
        let resend = stale(&row, at(0), TIMING.resend_after).map(|resend| resend.resend_after);
        assert_eq!(
            resend,
            next.map(minutes),
            "{state} {queued:?} {lease_until:?} {interval:?}"
        );
    }
}

#[test]
fn twins_are_reported_and_sent_as_one_and_again_when_they_become_more() {
    let twin = |number, twins| LogFile {
        twins,
        ..file(&format!("server_audit.log.{number}"), 5, 100)
    };
    let plan = planned(vec![twin(1, 2), twin(2, 2)], vec![], vec![]);
    assert_eq!(plan.send, [twin(1, 2)]);
    assert!(
        plan.warnings[0].starts_with("2 rotated files cannot be told apart"),
        "{:?}",
        plan.warnings
    );
    // One was shipped before the other appeared.
    let plan = planned(
        vec![twin(1, 2), twin(2, 2)],
        vec![row(twin(1, 1), State::Complete)],
        vec![],
    );
    assert_eq!(plan.send, [twin(1, 2)]);
    // Both were shipped before the older one was rotated away.
    let plan = planned(
        vec![twin(3, 1)],
        vec![row(twin(1, 2), State::Complete)],
        vec![],
    );
    assert_eq!(plan.send, []);
}

#[test]
fn gaps_are_reported() {
    let rotated = |minutes| file("server_audit.log.1", minutes, 1);
    for (listed, marks, warns) in [
        (
            rotated(5),
            vec![mark(Family::ServerAudit, Some(60), 10)],
            true,
        ), // all that is listed is younger than the last look
        (
            rotated(15),
            vec![mark(Family::ServerAudit, Some(60), 10)],
            false,
        ),
        (rotated(5), vec![mark(Family::ServerAudit, None, 10)], false), // the first rotation ever
        (rotated(5), vec![], false),
        (
            rotated(800),
            vec![mark(Family::ServerAudit, Some(800), 719)],
            false,
        ),
        (
            rotated(800),
            vec![mark(Family::ServerAudit, Some(800), 720)],
            true,
        ), // 12 h
    ] {
        let plan = planned(vec![listed.clone()], vec![], marks.clone());
        assert_eq!(
            plan.warnings
                .iter()
                .any(|warning| warning.starts_with("possible gap")),
            warns,
            "{listed:?} {marks:?}"
        );
    }
}

#[test]
fn a_time_in_the_future_moves_no_watermark() {
    let (ahead, finished) = (file("a", -60, 1), file("b", 300, 1));
    let rows = [&ahead, &finished].map(|file| row(file.clone(), State::Complete));
    let plan = planned(vec![ahead, finished], rows.to_vec(), vec![]);
    assert_eq!(plan.watermarks, HashMap::from([(Family::Other, at(300))]));
    assert!(
        plan.warnings[0].contains("in the future"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn a_family_with_nothing_unfinished_follows_the_others() {
    let (stray, recent, waiting) = (
        file("stray", 900, 1),
        file("server_audit.log.2", 100, 1),
        file("server_audit.log.1", 90, 1),
    );
    let rows = vec![
        row(recent.clone(), State::Complete),
        row(waiting.clone(), State::Leased),
    ];
    let plan = planned(
        vec![stray, recent, waiting],
        rows,
        vec![mark(Family::Other, Some(800), 10)],
    );
    assert_eq!(
        plan.watermarks,
        HashMap::from([(Family::Other, at(100)), (Family::ServerAudit, at(100))])
    );
}

#[test]
fn a_family_does_not_follow_the_others_past_what_it_is_writing() {
    let marks = || {
        let families = [Family::ServerAudit, Family::Other];
        families.map(|family| mark(family, Some(300), 10)).to_vec()
    };
    for (name, expected) in [
        ("server_audit.log", vec![(Family::Other, at(20))]),
        ("server_audit.log.1", vec![(Family::Other, at(20))]),
    ] {
        let files = vec![file(name, 90, 7), file("other", 20, 7)];
        let rows = vec![row(file("other", 20, 7), State::Complete)];
        let plan = planned(files, rows, marks());
        assert_eq!(plan.watermarks, expected.into_iter().collect(), "{name}");
    }
}

#[test]
fn a_version_that_is_gone_and_listed_is_reported() {
    let found = file("a", 300, 1);
    let plan = planned(
        vec![found.clone()],
        vec![row(found.clone(), State::Gone)],
        vec![],
    );
    assert_eq!(plan.send.len(), 0);
    let said = "audit/a is recorded as gone, yet RDS lists it";
    assert!(plan.warnings[0].starts_with(said), "{:?}", plan.warnings);
    let dismissed = Row {
        dismissed_at: Some(at(400)),
        ..row(found.clone(), State::Gone)
    };
    assert!(
        planned(vec![found], vec![dismissed], vec![])
            .warnings
            .is_empty()
    );
}

#[test]
fn a_backfill_sends_what_the_table_does_not_know_of_a_time_range_and_wakes_what_is_unfinished() {
    let [before, first, last, after] =
        [("a", 201), ("b", 200), ("c", 100), ("d", 99)].map(|(name, at)| file(name, at, 1));
    let states = [
        ("e", State::Queued),
        ("f", State::Leased),
        ("g", State::Quarantined),
        ("h", State::Gone),
        ("i", State::Complete),
    ];
    let known: Vec<(LogFile, State)> = states
        .into_iter()
        .map(|(name, state)| (file(name, 150, 1), state))
        .collect();
    let listing = Listing {
        files: [before, first.clone(), last.clone(), after]
            .into_iter()
            .chain(known.iter().map(|(file, _)| file.clone()))
            .collect(),
        ..Listing::default()
    };
    let rows = known.iter().map(|(file, state)| row(file.clone(), *state));
    let known = Known {
        rows: rows.collect(),
        // A watermark is no limit.
        marks: vec![mark(Family::Other, Some(10), 10)],
        ..Known::default()
    };
    let plan = backfill(&listing, &known, &(at(200)..=at(100)), at(0), TIMING);
    assert_eq!(plan.send, [first, last]);
    let again: Vec<&str> = plan
        .resend
        .iter()
        .map(|resend| resend.file.name.as_str())
        .collect();
    assert_eq!(again, ["audit/e", "audit/f"]);
    assert_eq!(
        plan.warnings,
        ["audit/g is quarantined: auditferry requeue"]
    );
    assert!(plan.watermarks.is_empty());
}

#[test]
fn a_malformed_row_moves_no_watermark_and_is_reported() {
    let (complete, new) = (file("a", 300, 1), file("b", 200, 1));
    let known = Known {
        rows: vec![row(complete.clone(), State::Complete)],
        malformed: vec!["row I#1 F#2: …".to_owned()],
        ..Known::default()
    };
    let listing = Listing {
        files: vec![complete, new.clone()],
        ..Listing::default()
    };
    let plan = plan("a", &listing, &known, at(0), TIMING);
    assert_eq!((plan.watermarks.len(), plan.send), (0, vec![new]));
    assert!(plan.warnings[0].contains("tampered"), "{:?}", plan.warnings);
}

#[test]
fn what_was_shipped_while_another_instance_may_have_had_the_name_is_shipped_again() {
    let aurora = file("audit.log.0.2024-10-01-11-00.0", 60, 9);
    let finished = |state, minutes_before_noon, name: &str| {
        let mut row = row(aurora.clone(), state);
        row.message.instance.name = name.to_owned();
        row.finished_at = Some(at(minutes_before_noon));
        row
    };
    let dismissed = Row {
        dismissed_at: Some(at(1)),
        ..finished(State::Gone, 5, "old")
    };
    let mut empty = finished(State::Complete, 5, "old");
    empty.message.file.version.size = 0;
    // Last enumerated a quarter of an hour before noon, within another quarter.
    for (row, expected) in [
        (finished(State::Complete, 5, "old"), true),
        (finished(State::Gone, 5, "old"), true),
        (finished(State::Complete, 30, "old"), true),
        (finished(State::Complete, 31, "old"), false),
        (finished(State::Complete, 5, "a"), false),
        (finished(State::Queued, 5, "old"), false),
        (dismissed, false),
        (empty, false),
    ] {
        let state = row.state;
        let known = Known {
            rows: vec![row.clone()],
            marks: vec![mark(Family::Aurora, Some(90), 15)],
            ..Known::default()
        };
        assert_eq!(any_doubtful(&known, "a"), expected, "{state}");
        let marks = vec![mark(Family::Aurora, Some(90), 15)];
        let grown = LogFile {
            version: Version {
                last_written: at(50),
                size: 10,
            },
            ..aurora.clone()
        };
        let plan = planned(vec![grown], vec![row.clone()], marks.clone());
        let again = Again {
            file: aurora.clone(),
            generation: 1,
        };
        let expected_again = if expected { vec![again] } else { vec![] };
        assert_eq!(plan.doubtful, expected_again, "{state}");
        let passed = state.finished() && !expected;
        assert_eq!(
            plan.watermarks.contains_key(&Family::Aurora),
            passed,
            "{state}"
        );

        // What RDS has no more can only be said.
        let plan = planned(vec![active()], vec![row], marks);
        assert_eq!(plan.doubtful, []);
        let said = plan
            .warnings
            .iter()
            .any(|said| said.contains("may hold that one's log"));
        assert_eq!(said, expected, "{state}: {:?}", plan.warnings);
    }
}

#[test]
fn a_message_with_a_former_name_is_sent_again_at_once_and_then_like_any_other() {
    let waiting = |resend_after, name: &str| {
        let mut row = row(file("a", 60, 1), State::Queued);
        row.message.instance.name = name.to_owned();
        Row {
            queued_at: Some(at(10)),
            resend_after,
            ..row
        }
    };
    let half_an_hour = Some(Duration::from_mins(30));
    for (resend_after, name, expected) in [
        (None, "old", 1),
        (None, "a", 0),
        (half_an_hour, "old", 0),
        (Some(Duration::from_mins(5)), "old", 1),
    ] {
        let plan = planned(vec![], vec![waiting(resend_after, name)], vec![]);
        assert_eq!(plan.resend.len(), expected, "{resend_after:?} {name}");
    }
}

#[test]
fn what_was_listed_at_the_edge_of_what_rows_are_known_of_is_sent() {
    // Known from the watermark less a quarter of an hour on: 115 minutes before noon.
    let marks = || vec![mark(Family::Other, Some(100), 10)];
    let at_the_edge = planned(vec![file("a", 115, 1)], vec![], marks());
    let before = planned(vec![file("a", 116, 1)], vec![], marks());
    assert_eq!((at_the_edge.send.len(), before.send.len()), (1, 0));
}

#[test]
fn each_family_has_a_watermark_of_its_own() {
    let rows = vec![row(file("a", 90, 1), State::Complete)];
    let marks = vec![
        mark(Family::Aurora, Some(10), 10),
        mark(Family::Other, Some(100), 10),
    ];
    let plan = planned(vec![file("a", 90, 1)], rows, marks);
    assert_eq!(plan.watermarks, HashMap::from([(Family::Other, at(90))]));
    // Where it stands already, it does not move.
    let rows = vec![row(file("a", 100, 1), State::Complete)];
    let marks = vec![mark(Family::Other, Some(100), 10)];
    let plan = planned(vec![file("a", 100, 1)], rows, marks);
    assert_eq!(plan.watermarks, HashMap::new());
}

#[test]
fn a_row_of_more_twins_stands_for_fewer() {
    let twins = |twins| LogFile {
        twins,
        ..file("server_audit.log.1", 60, 5)
    };
    for known in [vec![1, 3], vec![3, 1], vec![2, 3, 1]] {
        let rows: Vec<Row> = known
            .iter()
            .map(|count| row(twins(*count), State::Complete))
            .collect();
        let rows = Rows::of(&rows);
        for (listed, covered) in [(1, true), (2, true), (3, true), (4, false)] {
            assert_eq!(
                rows.covering(&twins(listed)).is_some(),
                covered,
                "{known:?} {listed}"
            );
        }
    }
}

#[test]
fn a_doubt_that_an_empty_page_leaves_open_holds_the_watermark() {
    let aurora = file("audit.log.0.2024-10-01-11-00.0", 60, 9);
    let mut doubted = row(aurora, State::Complete);
    doubted.message.instance.name = "old".to_owned();
    doubted.finished_at = Some(at(5));
    let known = Known {
        rows: vec![doubted],
        marks: vec![mark(Family::Aurora, Some(90), 15)],
        ..Known::default()
    };
    for (empty_page, undecided) in [(true, true), (false, false)] {
        let listing = Listing {
            files: vec![active()],
            empty_page,
            ..Listing::default()
        };
        let plan = plan("a", &listing, &known, at(0), TIMING);
        assert_eq!((plan.undecided, plan.doubtful.len()), (undecided, 0));
        assert_eq!(plan.watermarks.is_empty(), undecided);
    }
}

#[test]
fn a_time_is_in_the_future_a_quarter_of_an_hour_from_now() {
    for (minutes, said) in [(15, false), (16, true)] {
        let plan = planned(vec![file("a", -minutes, 1)], vec![], vec![]);
        let warned = plan
            .warnings
            .iter()
            .any(|warning| warning.contains("in the future"));
        assert_eq!(warned, said, "{:?}", plan.warnings);
    }
}

#[test]
fn rotated_files_may_be_missing_only_if_the_oldest_is_younger_than_the_last_look() {
    for (oldest, said) in [(11, false), (10, false), (9, true)] {
        let listed = vec![file("server_audit.log.1", oldest, 5)];
        let plan = planned(
            listed,
            vec![],
            vec![mark(Family::ServerAudit, Some(300), 10)],
        );
        let warned = plan.warnings.iter().any(|warning| {
            warning.contains("come and gone unseen") || warning.contains("possible gap")
        });
        assert_eq!(warned, said, "{oldest}: {:?}", plan.warnings);
    }
}
