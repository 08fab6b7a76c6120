//! A worker's right on a version, and what it does with it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::row::{Row, State};
use super::transition::Transition;
use super::{Checkpoints, Written, malformed, transition};
use crate::aws::CallError;
use crate::message::Message;

/// A worker's exclusive right on a version until its lease ends. In production only [`Checkpoints::claim`] makes one.
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
    /// Whose it is: another try of the same call finds that it has won.
    pub owner: String,
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
        let claimed = transition::claimed(message, &owner, now, lease);
        let row = match self.update(message, claimed).await? {
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
        Ok(Claimed::by(&owner, &row, message, now, deadline))
    }

    /// Prolongs a claim by `lease` from now; `false` if it is no longer ours. The caller moves the deadline.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool, CallError> {
        self.update_ours(claim, transition::renewed(claim, Timestamp::now(), lease))
            .await
    }

    /// Gives a claim back. Without `counted` the attempt does not count. `false` if it was no longer ours.
    pub async fn release(
        &self,
        claim: &Claim,
        error: &str,
        counted: bool,
    ) -> Result<bool, CallError> {
        let released = transition::released(claim, Timestamp::now(), error, counted);
        self.update_ours(claim, released).await
    }

    /// Records that a person is needed. The dead letter must have been sent before. `false` if it was no longer ours.
    pub async fn quarantine(&self, claim: &Claim, error: &str) -> Result<bool, CallError> {
        let quarantined = transition::quarantined(claim, Timestamp::now(), error);
        self.update_ours(claim, quarantined).await
    }

    /// Records that RDS no longer has a version that was never archived. `false` if it was no longer ours.
    pub async fn gone(&self, claim: &Claim, reason: &str) -> Result<bool, CallError> {
        self.update_ours(claim, transition::gone(claim, Timestamp::now(), reason))
            .await
    }

    /// Records what S3 has proved. Needs no fence: proof is proof, and the first one stays.
    pub async fn complete(&self, claim: Claim, proof: &Proof) -> Result<(), CallError> {
        self.prove(&claim.message, claim.generation, claim.attempts, proof)
            .await
    }

    /// Records what S3 has proved of a version that nobody needs to have claimed. `generation` and `attempts` are for a
    /// row that is not there.
    pub async fn prove(
        &self,
        message: &Message,
        generation: u64,
        attempts: u32,
        proof: &Proof,
    ) -> Result<(), CallError> {
        let complete = transition::complete(message, generation, attempts, proof, Timestamp::now());
        self.update(message, complete).await.map(drop)
    }

    /// Updates the row of a claim if it is still ours; `false` if it is not.
    async fn update_ours(&self, claim: &Claim, transition: Transition) -> Result<bool, CallError> {
        let written = self.update(&claim.message, transition).await?;
        Ok(matches!(written, Written::Now(_)))
    }
}

impl Claimed {
    /// Reads the row that an attempt to claim has left, or was refused by.
    pub fn by(
        owner: &str,
        row: &Row,
        message: &Message,
        now: Timestamp,
        deadline: Instant,
    ) -> Self {
        match row.state {
            // Also when it was refused: in favour of our own owner, so an earlier try of this very call had won.
            State::Leased if row.owner.as_deref() == Some(owner) => Self::Ours(Claim {
                message: message.clone(),
                generation: row.generation,
                attempts: row.attempts,
                deadline,
                owner: owner.to_owned(),
            }),
            // Queued: it was given back between the two tries of one call.
            State::Queued | State::Leased => {
                let left = row.lease_until.map(|until| until.duration_since(now));
                Self::Theirs(
                    left.and_then(|left| Duration::try_from(left).ok())
                        .unwrap_or_default(),
                )
            }
            State::Quarantined => Self::Quarantined,
            State::Complete | State::Gone => Self::Finished(row.state),
        }
    }
}
