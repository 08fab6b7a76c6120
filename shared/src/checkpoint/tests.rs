//! What stands in the table, and what is read from it. That the writes do what they should is shown by the model of the
//! protocol, which evaluates them, and over the wire; here is what they are.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use tokio::time::Instant;

use super::transition::{self, Transition};
use super::*;
use crate::instance::Instance;
use crate::log_file::{Family, LogFile, Version};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap()
}

fn message() -> Message {
    Message {
        instance: Instance {
            resource_id: "db-1".to_owned(),
            name: "instance-1".to_owned(),
            cluster: "cluster".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
        },
        file: LogFile {
            name: "audit/a".to_owned(),
            version: Version::new(1000, 7).unwrap(),
            twins: 1,
        },
    }
}

fn claim() -> Claim {
    Claim {
        message: message(),
        generation: 3,
        attempts: 2,
        deadline: Instant::now(),
        owner: "me".to_owned(),
    }
}

/// The value of a number or text.
fn plain(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
        AttributeValue::L(list) => list.iter().map(plain).collect::<Vec<_>>().join("+"),
        other => panic!("{other:?}"),
    }
}

/// Values that are not of every version's description, in order.
fn values(transition: &Transition) -> String {
    let described: Vec<&str> = row::describe(&message())
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let mut values: Vec<String> = transition
        .values
        .iter()
        .filter(|(name, _)| !described.contains(name))
        .map(|(name, value)| format!("{name}={}", plain(value)))
        .collect();
    values.sort();
    values.join(" ")
}

#[test]
fn each_write_says_what_it_should() {
    let (now, lease) = (at(5000), Duration::from_secs(2));
    let proof = Proof {
        reason: "shipped",
        keys: vec!["k1".to_owned(), "k2".to_owned(), "k3".to_owned()],
        etag: Some("e".to_owned()),
        content: Some(Content {
            sha256: "s".to_owned(),
            raw_bytes: 7,
            lines: 2,
        }),
        stored_bytes: Some(3),
    };
    let one_key = Proof {
        keys: vec!["k1".to_owned()],
        ..proof.clone()
    };
    let complete =
        "attempts=2 complete=Complete completed_at=5000 etag=e generation=3 key=k1 lines=2";
    for (written, expected) in [
        (
            transition::queued(&message(), now),
            "attempts=0 generation=0 queued_at=5000 state=Queued".to_owned(),
        ),
        (
            transition::resent(now, lease),
            "leased=Leased queued=Queued queued_at=5000 resend_after=2000".to_owned(),
        ),
        (
            transition::claimed(&message(), "me", now, lease),
            "lease_until=7000 leased=Leased now=5000 one=1 owner=me queued=Queued zero=0"
                .to_owned(),
        ),
        (
            transition::renewed(&claim(), now, lease),
            "generation=3 lease_until=7000 leased=Leased owner=me".to_owned(),
        ),
        (
            transition::released(&claim(), now, "why", true),
            "attempts=2 error=why generation=3 leased=Leased now=5000 owner=me queued=Queued"
                .to_owned(),
        ),
        (
            transition::released(&claim(), now, "why", false),
            "attempts=1 error=why generation=3 leased=Leased now=5000 owner=me queued=Queued"
                .to_owned(),
        ),
        (
            transition::complete(&message(), 3, 2, &proof, now),
            format!(
                "{complete} more_keys=k2+k3 raw_bytes=7 reason=shipped sha256=s stored_bytes=3"
            ),
        ),
        (
            transition::complete(&message(), 3, 2, &one_key, now),
            format!("{complete} raw_bytes=7 reason=shipped sha256=s stored_bytes=3"),
        ),
    ] {
        assert_eq!(values(&written), expected);
        // DynamoDB refuses a value that no expression uses, and an expression that uses others.
        for (name, _) in &written.values {
            let named = |expression: &str| {
                let words =
                    expression.split(|c: char| !c.is_ascii_alphanumeric() && !"_:#".contains(c));
                words.into_iter().any(|word| word == format!(":{name}"))
            };
            assert!(
                named(&written.update) || written.condition.is_some_and(named),
                "{name}"
            );
        }
        let attributes: Vec<&str> = written.attributes().collect();
        assert!(attributes.len() >= 2 && attributes.iter().all(|name| !name.is_empty()));
    }
    assert_eq!(
        transition::resent(now, lease)
            .attributes()
            .collect::<Vec<_>>(),
        ["queued_at", "resend_after", "state"]
    );
}

fn item(with: &[(&str, AttributeValue)]) -> Item {
    let keys = [
        ("pk", AttributeValue::S(partition_key("db-1"))),
        ("sk", AttributeValue::S(message().file.sort_key())),
    ];
    let described = row::describe(&message());
    let counted = [("generation", 3), ("attempts", 2)]
        .map(|(name, count)| (name, AttributeValue::N(count.to_string())));
    let all = keys.into_iter().chain(described).chain(counted);
    let all = all.chain(with.iter().cloned());
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[test]
fn a_row_is_read_as_it_was_written() {
    let queued = item(&[("state", text("Queued"))]);
    assert_eq!(queued["pk"], text("I#db-1"));
    let bare = Row {
        message: message(),
        state: State::Queued,
        generation: 3,
        attempts: 2,
        owner: None,
        lease_until: None,
        queued_at: None,
        resend_after: None,
        requeues: 0,
        quarantined_at: None,
        finished_at: None,
        dismissed_at: None,
        reason: None,
        error: None,
        keys: Vec::new(),
        content: None,
    };
    assert_eq!(Row::read(&queued), Ok(bare.clone()));
    let keys = AttributeValue::L(vec![text("k2"), text("k3")]);
    let gone = item(&[
        ("state", text("Gone")),
        ("owner", text("me")),
        ("lease_until", number(1)),
        ("queued_at", number(2)),
        ("resend_after", number(3)),
        ("requeues", number(4)),
        ("quarantined_at", number(5)),
        ("gone_at", number(6)),
        ("dismissed_at", number(7)),
        ("reason", text("why")),
        ("error", text("what")),
        ("key", text("k1")),
        ("more_keys", keys),
        ("sha256", text("s")),
        ("raw_bytes", number(8)),
        ("lines", number(9)),
    ]);
    let expected = Row {
        state: State::Gone,
        owner: Some("me".to_owned()),
        lease_until: Some(at(1)),
        queued_at: Some(at(2)),
        resend_after: Some(Duration::from_millis(3)),
        requeues: 4,
        quarantined_at: Some(at(5)),
        finished_at: Some(at(6)),
        dismissed_at: Some(at(7)),
        reason: Some("why".to_owned()),
        error: Some("what".to_owned()),
        keys: ["k1", "k2", "k3"].map(str::to_owned).to_vec(),
        content: Some(Content {
            sha256: "s".to_owned(),
            raw_bytes: 8,
            lines: 9,
        }),
        ..bare
    };
    assert_eq!(Row::read(&gone), Ok(expected));
    for (attribute, value) in [
        ("state", text("Elsewhere")),
        ("generation", text("three")),
        ("lease_until", number(i64::MAX)),
        ("last_written", number(-1)),
        ("requeues", number(-1)),
        ("key", number(1)),
        ("more_keys", text("k2")),
        // Without bytes and lines.
        ("sha256", text("s")),
    ] {
        let mut tampered = item(&[("state", text("Queued"))]);
        tampered.insert(attribute.to_owned(), value);
        let said = Row::read(&tampered).unwrap_err().to_string();
        assert!(
            said.contains("I#db-1") && said.ends_with("is missing or malformed"),
            "{said}"
        );
    }
}

#[test]
fn every_word_in_the_table_is_read_as_what_it_was_written_for() {
    for (state, word) in
        State::ALL
            .into_iter()
            .zip(["Queued", "Leased", "Quarantined", "Gone", "Complete"])
    {
        assert_eq!(
            (state.as_str(), format!("{state:>12}")),
            (word, format!("{word:>12}"))
        );
        let read = Row::read(&item(&[("state", text(word))])).unwrap();
        assert_eq!(read.state, state);
    }
    let registered = |word: &str| {
        let item: Item = [
            ("pk", "INSTANCES"),
            ("sk", "I#db-1"),
            ("instance", "instance-1"),
            ("cluster", "cluster"),
            ("presence", word),
        ]
        .map(|(name, value)| (name.to_owned(), text(value)))
        .into();
        Registered::read(&item)
    };
    for (presence, word) in [
        (Presence::There, "There"),
        (Presence::Vanished, "Vanished"),
        (Presence::Closed, "Closed"),
    ] {
        let expected = Registered {
            resource_id: "db-1".to_owned(),
            name: "instance-1".to_owned(),
            cluster: "cluster".to_owned(),
            presence,
        };
        assert_eq!((registered(word), presence.as_str()), (Ok(expected), word));
    }
    assert!(registered("Elsewhere").is_err());
    for (family, word) in [
        (Family::Aurora, "aurora"),
        (Family::ServerAudit, "server_audit"),
        (Family::Other, "other"),
    ] {
        assert_eq!(
            (family.as_str(), family.to_string()),
            (word, word.to_owned())
        );
        assert_eq!(Family::from_word(word), Some(family));
        let mark: HashMap<String, AttributeValue> = [
            ("pk", text("I#db-1")),
            ("sk", text(&format!("M#{word}"))),
            ("instance", text("instance-1")),
            ("cluster", text("cluster")),
            ("watermark", number(1)),
            ("last_processed_at", number(2)),
            ("last_enumerated_at", number(3)),
            ("listed", number(4)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let expected = Mark {
            resource_id: "db-1".to_owned(),
            instance: "instance-1".to_owned(),
            cluster: "cluster".to_owned(),
            family,
            watermark: Some(at(1)),
            last_processed_at: Some(at(2)),
            last_enumerated_at: at(3),
            listed: 4,
        };
        assert_eq!(Mark::read(&mark), Ok(expected));
    }
    assert_eq!(Family::from_word(""), None);
}

#[test]
fn what_a_claim_has_come_to_is_read_from_the_row() {
    let (now, deadline) = (at(1000), Instant::now());
    let by = |state: &str, owner: &str, until: i64| {
        let row = item(&[
            ("state", text(state)),
            ("owner", text(owner)),
            ("lease_until", number(until)),
        ]);
        let row = Row::read(&row).unwrap();
        Claimed::by("me", &row, &message(), now, deadline)
    };
    let Claimed::Ours(claim) = by("Leased", "me", 3000) else {
        panic!("it is ours");
    };
    assert_eq!(
        (claim.generation, claim.attempts, claim.owner.as_str()),
        (3, 2, "me")
    );
    assert_eq!((claim.message, claim.deadline), (message(), deadline));
    for (state, owner, until, left) in [
        ("Leased", "another", 3000, 2),
        ("Leased", "another", 1, 0),
        ("Queued", "me", 3000, 2),
    ] {
        let claimed = by(state, owner, until);
        let expected = Duration::from_secs(left);
        assert!(
            matches!(claimed, Claimed::Theirs(left) if left == expected),
            "{claimed:?}"
        );
    }
    assert!(matches!(by("Quarantined", "me", 0), Claimed::Quarantined));
    assert!(matches!(
        by("Gone", "me", 0),
        Claimed::Finished(State::Gone)
    ));
    assert!(matches!(
        by("Complete", "me", 0),
        Claimed::Finished(State::Complete)
    ));
}

#[test]
fn watermarks_say_from_when_on_rows_are_known() {
    let mark = |watermark: Option<i64>| Mark {
        resource_id: String::new(),
        instance: String::new(),
        cluster: String::new(),
        family: Family::Other,
        watermark: watermark.map(at),
        last_processed_at: None,
        last_enumerated_at: Timestamp::UNIX_EPOCH,
        listed: 0,
    };
    let since = |marks: &[Option<i64>]| {
        let known = Known {
            marks: marks.iter().map(|ms| mark(*ms)).collect(),
            ..Known::default()
        };
        known
            .since(Duration::from_secs(1))
            .map(Timestamp::as_millisecond)
    };
    assert_eq!(since(&[]), None);
    assert_eq!(since(&[Some(9000)]), Some(8000));
    assert_eq!(since(&[Some(9000), Some(5000)]), Some(4000));
    assert_eq!(since(&[Some(9000), None]), None);
}
