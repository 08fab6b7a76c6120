//! A worker's transitions: claim, renew, release, quarantine, gone, complete. All but the first and the last need the
//! claim's own generation and owner.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::row::{Row, State, describe, number, text, time};
use super::{Checkpoints, Written, assignments, malformed};
use crate::aws::CallError;
use crate::message::Message;

/// The claim's own write, and nobody else's since.
const OURS: &str = "#state = :leased AND #generation = :generation AND #owner = :owner";

/// Longest text kept of an error.
const ERROR_MAX: usize = 1000;

/// A worker's exclusive right on a version until its lease ends. Only [`Checkpoints::claim`] makes one.
#[derive(Debug)]
pub struct Claim {
    /// What is to be shipped.
    pub message: Message,
    /// The fencing number.
    pub generation: u64,
    /// Which try this is, from 1.
    pub attempts: u32,
    /// When the lease ends by our own monotonic clock, which no clock skew touches.
    pub deadline: Instant,
    owner: String,
}

/// What became of an attempt to claim.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and moved once")]
pub enum Claimed {
    /// It is ours.
    Ours(Claim),
    /// Nothing is left to do: Complete, or Gone.
    Finished(State),
    /// Another claim has it, for this long yet.
    Theirs(Duration),
    /// It is quarantined: its message is in the dead-letter queue.
    Quarantined,
}

/// What S3 has proved of a version; the last word on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// `shipped`, `stored` (found there already), `superseded` or `empty`.
    pub reason: &'static str,
    /// Keys of the objects that hold it: none for an empty file, several for twins.
    pub keys: Vec<String>,
    /// The first object's entity tag.
    pub etag: Option<String>,
    /// What was read of the file, where all of it was read.
    pub content: Option<Content>,
    /// Bytes in the archive, where this claim put them there.
    pub stored_bytes: Option<u64>,
}

/// What a version's bytes are, before compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Hexadecimal SHA-256.
    pub sha256: String,
    /// Bytes.
    pub raw_bytes: u64,
    /// Line ends.
    pub lines: u64,
}

impl Checkpoints {
    /// Claims a version for `lease`: if it has no row, is Queued, or its lease has ended. Counts the attempt.
    pub async fn claim(&self, message: &Message, lease: Duration) -> Result<Claimed, CallError> {
        let (deadline, now) = (Instant::now() + lease, Timestamp::now());
        let owner = Uuid::new_v4().to_string();
        let described = describe(message);
        let update = format!(
            "SET #state = :leased, #owner = :owner, #lease_until = :lease_until, \
             #generation = if_not_exists(#generation, :zero) + :one, #attempts = if_not_exists(#attempts, :zero) + :one, {}",
            assignments(&described)
        );
        let condition = "attribute_not_exists(#pk) OR #state = :queued OR (#state = :leased AND #lease_until < :now)";
        let mut values = described;
        values.extend([
            ("leased", text(State::Leased.as_str())),
            ("queued", text(State::Queued.as_str())),
            ("owner", text(&owner)),
            ("lease_until", time(now + lease)),
            ("now", time(now)),
            ("zero", number(0)),
            ("one", number(1)),
        ]);
        let row = match self.update(message, &update, condition, values).await? {
            Written::Now(item) | Written::Refused(Some(item)) => {
                Row::read(&item).map_err(malformed)?
            }
            Written::Refused(None) => {
                return Err(CallError::nonsense(
                    "UpdateItem",
                    "a claim was refused by no row",
                ));
            }
        };
        // Refused in favour of our own owner: an earlier try of this very call had won.
        if row.state == State::Leased && row.owner.as_ref() == Some(&owner) {
            let (generation, attempts) = (row.generation, row.attempts);
            return Ok(Claimed::Ours(Claim {
                message: message.clone(),
                generation,
                attempts,
                deadline,
                owner,
            }));
        }
        Ok(match row.state {
            State::Complete | State::Gone => Claimed::Finished(row.state),
            State::Quarantined => Claimed::Quarantined,
            // Queued: it was given back between the two tries of one call.
            State::Queued | State::Leased => {
                let left = row.lease_until.map(|until| until.duration_since(now));
                Claimed::Theirs(
                    left.and_then(|left| Duration::try_from(left).ok())
                        .unwrap_or_default(),
                )
            }
        })
    }

    /// Prolongs a claim by `lease` from now; `false` if it is no longer ours. The caller moves the deadline.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool, CallError> {
        let lease_until = ("lease_until", time(Timestamp::now() + lease));
        self.update_ours(claim, "SET #lease_until = :lease_until", vec![lease_until])
            .await
    }

    /// Gives a claim back. Without `counted` the attempt does not count. `false` if it was no longer ours.
    pub async fn release(
        &self,
        claim: &Claim,
        error: &str,
        counted: bool,
    ) -> Result<bool, CallError> {
        let update = "SET #state = :queued, #queued_at = :queued_at, #error = :error, #attempts = :attempts REMOVE #owner, #lease_until";
        let attempts = if counted {
            claim.attempts
        } else {
            claim.attempts.saturating_sub(1)
        };
        let values = vec![
            ("queued", text(State::Queued.as_str())),
            ("queued_at", time(Timestamp::now())),
            ("error", text(excerpt(error))),
            ("attempts", number(attempts)),
        ];
        self.update_ours(claim, update, values).await
    }

    /// Records that a person is needed. The dead letter must have been sent before. `false` if it was no longer ours.
    pub async fn quarantine(&self, claim: &Claim, error: &str) -> Result<bool, CallError> {
        let update = "SET #state = :quarantined, #quarantined_at = :now, #error = :error REMOVE #owner, #lease_until";
        let values = vec![
            ("quarantined", text(State::Quarantined.as_str())),
            ("now", time(Timestamp::now())),
            ("error", text(excerpt(error))),
        ];
        self.update_ours(claim, update, values).await
    }

    /// Records that RDS no longer has a version that was never archived. `false` if it was no longer ours.
    pub async fn gone(&self, claim: &Claim, reason: &str) -> Result<bool, CallError> {
        let update =
            "SET #state = :gone, #gone_at = :now, #reason = :reason REMOVE #owner, #lease_until";
        let values = vec![
            ("gone", text(State::Gone.as_str())),
            ("now", time(Timestamp::now())),
            ("reason", text(excerpt(reason))),
        ];
        self.update_ours(claim, update, values).await
    }

    /// Records what S3 has proved. Needs no fence: proof is proof, and the first one stays.
    pub async fn complete(&self, claim: Claim, proof: &Proof) -> Result<(), CallError> {
        let mut values = describe(&claim.message);
        values.extend([
            ("state", text(State::Complete.as_str())),
            ("completed_at", time(Timestamp::now())),
            ("reason", text(proof.reason)),
        ]);
        let mut keys = proof.keys.iter();
        values.extend(keys.next().map(|key| ("key", text(key))));
        let more_keys: Vec<AttributeValue> = keys.map(text).collect();
        values
            .extend((!more_keys.is_empty()).then_some(("more_keys", AttributeValue::L(more_keys))));
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
        // A row that was lost meanwhile comes back whole.
        let update = format!(
            "SET {}, #generation = if_not_exists(#generation, :generation), #attempts = if_not_exists(#attempts, :attempts) \
             REMOVE #owner, #lease_until, #error",
            assignments(&values)
        );
        values.extend([
            ("generation", number(claim.generation)),
            ("attempts", number(claim.attempts)),
        ]);
        self.update(
            &claim.message,
            &update,
            "attribute_not_exists(#pk) OR #state <> :state",
            values,
        )
        .await
        .map(drop)
    }

    /// Updates the row of a claim if it is still ours; `false` if it is not.
    async fn update_ours(
        &self,
        claim: &Claim,
        update: &str,
        mut values: Vec<(&'static str, AttributeValue)>,
    ) -> Result<bool, CallError> {
        values.extend([
            ("leased", text(State::Leased.as_str())),
            ("generation", number(claim.generation)),
            ("owner", text(&claim.owner)),
        ]);
        Ok(matches!(
            self.update(&claim.message, update, OURS, values).await?,
            Written::Now(_)
        ))
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(ERROR_MAX).collect()
}
