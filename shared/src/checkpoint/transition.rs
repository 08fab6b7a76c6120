//! Every write to the table: what it changes, and on which condition. Pure, and the only place that says so.
//!
//! ```text
//! (none) ── sent, then recorded ──► Queued ── claim: generation+1, attempts+1 ──► Leased ── S3 confirmed ──► Complete
//!                                     ▲ └──────────── release (same generation) ─────┘ ├── RDS lost it ──► Gone
//!                                     └── requeue: generation+1 ── Quarantined ◄───────┘ DLQ copy first, then the row
//! ```
//!
//! Beside these, an operator may dismiss what is not complete: it is Gone then, with the reason given. And an operator or the
//! producer may have a version shipped again that is Complete or Gone (reopen: generation+1, Queued), since RDS has it and
//! the archive does not, or may not.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::claim::{Claim, Proof};
use super::row::{Mark, Registered, State, describe, number, span, text, time};
use crate::message::Message;
use crate::step::Step;

/// There is no row.
const ABSENT: &str = "attribute_not_exists(#pk)";
/// Nobody has it, or its lease has ended.
const CLAIMABLE: &str =
    "attribute_not_exists(#pk) OR #state = :queued OR (#state = :leased AND #lease_until < :now)";
/// The claim's own write, and nobody else's since.
const OURS: &str = "#state = :leased AND #generation = :generation AND #owner = :owner";
/// A message for it may be on its way.
const ON_ITS_WAY: &str = "#state IN (:queued, :leased)";
/// A person was needed, and has not put it back too often already.
const REQUEUABLE: &str =
    "#state = :quarantined AND (attribute_not_exists(#requeues) OR #requeues < :most)";
/// Proof counts always, but the first one stays.
const UNPROVED: &str = "attribute_not_exists(#pk) OR #state <> :complete";
/// As the operator has seen it, not complete, and nobody is at work on it.
const DISMISSABLE: &str = "#generation = :generation AND \
     (#state IN (:queued, :quarantined, :gone) OR (#state = :leased AND #lease_until < :now))";
/// Finished, and as it was when it was compared with RDS and the archive.
const AS_COMPARED: &str = "#state IN (:complete, :gone) AND #generation = :generation";
/// A watermark never moves back.
const NOT_BACK: &str = "attribute_not_exists(#watermark) OR #watermark <= :watermark";

/// Longest text kept of an error or a reason.
const TEXT_MAX: usize = 1000;

/// One conditional write. Attributes stand in it as `#name`, values as `:name`.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Which one it is.
    pub step: Step,
    /// DynamoDB's update expression.
    pub update: String,
    /// DynamoDB's condition expression; `None` if it may always be made.
    pub condition: Option<&'static str>,
    /// The values, without the colon.
    pub values: Vec<(&'static str, AttributeValue)>,
}

/// The version's message was sent. Refused if a row is there already: a worker may have been faster.
pub fn queued(message: &Message, now: Timestamp) -> Transition {
    let mut values = describe(message);
    values.extend([
        ("state", state(State::Queued)),
        ("generation", number(0)),
        ("attempts", number(0)),
        ("queued_at", time(now)),
    ]);
    Transition {
        step: Step::RecordQueued,
        update: format!("SET {}", assignments(&values)),
        condition: Some(ABSENT),
        values,
    }
}

/// An unfinished version's message was sent again; after `resend_after` it is stale next.
pub fn resent(now: Timestamp, resend_after: Duration) -> Transition {
    Transition {
        step: Step::RecordResent,
        update: "SET #queued_at = :queued_at, #resend_after = :resend_after".to_owned(),
        condition: Some(ON_ITS_WAY),
        values: vec![
            ("queued_at", time(now)),
            ("resend_after", span(resend_after)),
            ("queued", state(State::Queued)),
            ("leased", state(State::Leased)),
        ],
    }
}

/// A worker takes it for `lease`. The attempt counts from now on, so that a file that kills workers is quarantined too.
pub fn claimed(message: &Message, owner: &str, now: Timestamp, lease: Duration) -> Transition {
    let mut values = describe(message);
    let update = format!(
        "SET #state = :leased, #owner = :owner, #lease_until = :lease_until, \
         #generation = if_not_exists(#generation, :zero) + :one, #attempts = if_not_exists(#attempts, :zero) + :one, {}",
        assignments(&values)
    );
    values.extend([
        ("leased", state(State::Leased)),
        ("queued", state(State::Queued)),
        ("owner", text(owner)),
        ("lease_until", time(now + lease)),
        ("now", time(now)),
        ("zero", number(0)),
        ("one", number(1)),
    ]);
    Transition {
        step: Step::Claim,
        update,
        condition: Some(CLAIMABLE),
        values,
    }
}

/// The lease lasts until `lease` from now.
pub fn renewed(claim: &Claim, now: Timestamp, lease: Duration) -> Transition {
    ours(
        Step::Renew,
        claim,
        "SET #lease_until = :lease_until",
        vec![("lease_until", time(now + lease))],
    )
}

/// The worker gives it back. Without `counted` the attempt does not count.
pub fn released(claim: &Claim, now: Timestamp, error: &str, counted: bool) -> Transition {
    let uncounted = u32::from(!counted);
    ours(
        Step::Release,
        claim,
        "SET #state = :queued, #queued_at = :now, #error = :error, #attempts = :attempts REMOVE #owner, #lease_until",
        vec![
            ("queued", state(State::Queued)),
            ("now", time(now)),
            ("error", excerpt(error)),
            ("attempts", number(claim.attempts.saturating_sub(uncounted))),
        ],
    )
}

/// A person is needed. The dead letter must have been sent before.
pub fn quarantined(claim: &Claim, now: Timestamp, error: &str) -> Transition {
    ours(
        Step::Quarantine,
        claim,
        "SET #state = :quarantined, #quarantined_at = :now, #error = :error REMOVE #owner, #lease_until",
        vec![
            ("quarantined", state(State::Quarantined)),
            ("now", time(now)),
            ("error", excerpt(error)),
        ],
    )
}

/// RDS no longer has it, and it was never archived.
pub fn gone(claim: &Claim, now: Timestamp, reason: &str) -> Transition {
    ours(
        Step::Gone,
        claim,
        "SET #state = :gone, #gone_at = :now, #reason = :reason REMOVE #owner, #lease_until",
        vec![
            ("gone", state(State::Gone)),
            ("now", time(now)),
            ("reason", excerpt(reason)),
        ],
    )
}

/// S3 has proved it. Needs no fence: proof is proof, also for what was said to be gone.
///
/// `generation` and `attempts` are for a row that is not there any more: it comes back whole.
pub fn complete(
    message: &Message,
    generation: u64,
    attempts: u32,
    proof: &Proof,
    now: Timestamp,
) -> Transition {
    let mut values = describe(message);
    values.extend([("completed_at", time(now)), ("reason", text(proof.reason))]);
    let mut keys = proof.keys.iter();
    values.extend(keys.next().map(|key| ("key", text(key))));
    let more_keys: Vec<AttributeValue> = keys.map(text).collect();
    values.extend((!more_keys.is_empty()).then_some(("more_keys", AttributeValue::L(more_keys))));
    values.extend(proof.etag.as_ref().map(|etag| ("etag", text(etag))));
    values.extend(
        proof
            .stored_bytes
            .map(|bytes| ("stored_bytes", number(bytes))),
    );
    if let Some(content) = &proof.content {
        values.extend([
            ("sha256", text(&content.sha256)),
            ("raw_bytes", number(content.raw_bytes)),
            ("lines", number(content.lines)),
        ]);
    }
    let update = format!(
        "SET #state = :complete, {}, #generation = if_not_exists(#generation, :generation), \
         #attempts = if_not_exists(#attempts, :attempts) \
         REMOVE #owner, #lease_until, #error, #gone_at, #dismissed_at",
        assignments(&values)
    );
    values.extend([
        ("complete", state(State::Complete)),
        ("generation", number(generation)),
        ("attempts", number(attempts)),
    ]);
    Transition {
        step: Step::Complete,
        update,
        condition: Some(UNPROVED),
        values,
    }
}

/// An operator puts a quarantined version back, for the `most`-th time at most. Its message must be sent next.
pub fn requeued(now: Timestamp, most: u32) -> Transition {
    Transition {
        step: Step::Requeue,
        update: "SET #state = :queued, #queued_at = :now, #generation = #generation + :one, #attempts = :zero, \
                 #requeues = if_not_exists(#requeues, :zero) + :one REMOVE #resend_after, #quarantined_at"
            .to_owned(),
        condition: Some(REQUEUABLE),
        values: vec![
            ("queued", state(State::Queued)),
            ("quarantined", state(State::Quarantined)),
            ("now", time(now)),
            ("zero", number(0)),
            ("one", number(1)),
            ("most", number(most)),
        ],
    }
}

/// An operator gives it up, for a reason, if it still is of this generation. A worker that had it is fenced off; what it
/// then proves still counts.
pub fn dismissed(generation: u64, now: Timestamp, reason: &str) -> Transition {
    Transition {
        step: Step::Dismiss,
        update: "SET #state = :gone, #gone_at = if_not_exists(#gone_at, :now), #dismissed_at = :now, #reason = :reason, \
                 #generation = #generation + :one REMOVE #owner, #lease_until, #quarantined_at"
            .to_owned(),
        condition: Some(DISMISSABLE),
        values: vec![
            ("queued", state(State::Queued)),
            ("quarantined", state(State::Quarantined)),
            ("leased", state(State::Leased)),
            ("gone", state(State::Gone)),
            ("generation", number(generation)),
            ("now", time(now)),
            ("one", number(1)),
            ("reason", excerpt(reason)),
        ],
    }
}

/// A finished version is to be shipped again, if it still is of this generation. Its message must be sent next.
pub fn reopened(generation: u64, now: Timestamp, reason: &str) -> Transition {
    Transition {
        step: Step::Reopen,
        update: "SET #state = :queued, #queued_at = :now, #generation = #generation + :one, #attempts = :zero, \
                 #reason = :reason REMOVE #resend_after, #gone_at, #dismissed_at, #completed_at, \
                 #key, #more_keys, #etag, #sha256, #raw_bytes, #lines, #stored_bytes"
            .to_owned(),
        condition: Some(AS_COMPARED),
        values: vec![
            ("queued", state(State::Queued)),
            ("complete", state(State::Complete)),
            ("gone", state(State::Gone)),
            ("generation", number(generation)),
            ("now", time(now)),
            ("zero", number(0)),
            ("one", number(1)),
            ("reason", excerpt(reason)),
        ],
    }
}

/// An instance was listed; with `watermark`, everything up to it is finished.
pub fn enumerated(mark: &Mark, watermark: Option<Timestamp>) -> Transition {
    let mut values = vec![
        ("instance", text(&mark.instance)),
        ("cluster", text(&mark.cluster)),
        ("last_enumerated_at", time(mark.last_enumerated_at)),
        ("listed", number(mark.listed)),
    ];
    if let Some(watermark) = watermark {
        values.extend([
            ("watermark", time(watermark)),
            ("last_processed_at", time(mark.last_enumerated_at)),
        ]);
    }
    Transition {
        step: Step::RecordEnumerated,
        update: format!("SET {}", assignments(&values)),
        condition: watermark.map(|_| NOT_BACK),
        values,
    }
}

/// An instance is there, or is not any more.
pub fn registered(instance: &Registered) -> Transition {
    let values = vec![
        ("instance", text(&instance.name)),
        ("cluster", text(&instance.cluster)),
        ("presence", text(instance.presence.as_str())),
    ];
    Transition {
        step: Step::Register,
        update: format!("SET {}", assignments(&values)),
        condition: None,
        values,
    }
}

/// A write that only the claim's own worker may make.
fn ours(
    step: Step,
    claim: &Claim,
    update: &str,
    mut values: Vec<(&'static str, AttributeValue)>,
) -> Transition {
    values.extend([
        ("leased", state(State::Leased)),
        ("generation", number(claim.generation)),
        ("owner", text(&claim.owner)),
    ]);
    Transition {
        step,
        update: update.to_owned(),
        condition: Some(OURS),
        values,
    }
}

impl Transition {
    /// Every attribute that it names, with repetitions.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        placeholders(&self.update).chain(placeholders(self.condition.unwrap_or_default()))
    }
}

fn state(state: State) -> AttributeValue {
    text(state.as_str())
}

fn excerpt(long: &str) -> AttributeValue {
    text(long.chars().take(TEXT_MAX).collect::<String>())
}

/// `#a = :a, #b = :b`
fn assignments(values: &[(&'static str, AttributeValue)]) -> String {
    let each: Vec<String> = values
        .iter()
        .map(|(name, _)| format!("#{name} = :{name}"))
        .collect();
    each.join(", ")
}

/// The attribute names behind the `#` of an expression.
fn placeholders(expression: &str) -> impl Iterator<Item = &str> {
    let word_end = |part: &str| {
        part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(part.len())
    };
    expression
        .split('#')
        .skip(1)
        .filter_map(move |part| part.get(..word_end(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found() {
        let found: Vec<&str> =
            placeholders("#state IN (:queued) OR (#a_b < :now AND attribute_not_exists(#pk))")
                .collect();
        assert_eq!(found, ["state", "a_b", "pk"]);
        assert_eq!(placeholders("nothing").count(), 0);
    }
}
