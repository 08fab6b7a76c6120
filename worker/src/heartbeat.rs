//! Keeps claim and message ours while a file is being shipped. A sibling of the work, not a background task.

use std::fmt;
use std::time::Duration;

use shared::checkpoint::{Checkpoints, Claim};
use shared::queue::Queue;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

/// How a claim was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Another worker has it, or an operator took it away.
    Refused,
    /// It could not be renewed in time by our own clock.
    Late,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "another has it",
            Self::Late => "it could not be renewed in time",
        })
    }
}

/// Runs the work while the claim lasts; drops it where it stands when the claim is lost.
pub(crate) async fn hold<T, E>(
    renewals: impl Future<Output = E>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        lost = renewals => Err(lost), // the version may already be someone else's: stop
        done = work => done,
    }
}

/// Renews row and message at each third of the lease; ends when the claim is lost.
pub(crate) async fn renew(
    checkpoints: &Checkpoints,
    queue: &Queue,
    claim: &Claim,
    receipt: &str,
    lease: Duration,
) -> Lost {
    let mut deadline = claim.deadline;
    let mut next = Instant::now() + lease / 3;
    loop {
        sleep_until(next.min(deadline)).await;
        let asked_at = Instant::now();
        next = asked_at + lease / 3;
        match timeout_at(deadline, checkpoints.renew(claim, lease)).await {
            Ok(Ok(true)) => deadline = asked_at + lease,
            Ok(Ok(false)) => return Lost::Refused,
            Ok(Err(error)) => warn!("failed to renew a claim, trying on: {error}"),
            Err(_elapsed) => return Lost::Late,
        }
        if Instant::now() >= deadline {
            return Lost::Late;
        }
        // The row decides. A message that comes back meanwhile finds it leased.
        match timeout_at(deadline, queue.hide(receipt, lease)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("failed to keep a message hidden: {error}"),
            Err(_elapsed) => return Lost::Late,
        }
    }
}
