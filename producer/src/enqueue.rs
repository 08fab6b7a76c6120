//! Send, then record: a message that was sent and not recorded is harmless, the reverse is not.

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::aws::CallError;
use shared::instance::Instance;
use shared::log_file::LogFile;
use shared::message::Message;
use shared::queue::BATCH;

use crate::config::Clients;
use crate::plan::{Again, Plan};

/// Rows written at a time.
const WRITES: usize = 8;

/// How many messages SQS has taken of those that a plan wants.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) new: usize,
    pub(crate) again: usize,
    /// Not taken after several tries; the next run plans them again.
    pub(crate) refused: usize,
}

/// Puts what the plan wants on the queue, in batches, and records each message that was taken.
pub(crate) async fn enqueue(
    clients: &Clients,
    instance: &Instance,
    plan: &Plan,
) -> Result<Sent, CallError> {
    let mut sent = Sent::default();
    // Also what is sent again bears the instance's present name: RDS is asked by it, and instances are renamed.
    let message = |file: &LogFile| Message {
        instance: instance.clone(),
        file: file.clone(),
    };
    let new = plan.send.iter().map(|file| (message(file), None));
    let again = plan
        .resend
        .iter()
        .map(|resend| (message(&resend.file), Some(resend.resend_after)));
    let all: Vec<_> = new.chain(again).collect();
    for batch in all.chunks(BATCH) {
        let bodies: Vec<String> = batch.iter().map(|(message, _)| message.to_wire()).collect();
        let taken = clients.queue.send(&bodies).await?;
        let now = Timestamp::now();
        let records = batch.iter().zip(&taken).filter(|(_, taken)| **taken).map(
            async |((message, again), _)| match again {
                None => clients.checkpoints.record_queued(message, now).await,
                Some(resend_after) => {
                    clients
                        .checkpoints
                        .record_resent(message, now, *resend_after)
                        .await
                }
            },
        );
        stream::iter(records.collect::<Vec<_>>())
            .buffer_unordered(WRITES)
            .try_collect::<()>()
            .await?;
        for ((_, again), taken) in batch.iter().zip(taken) {
            match (taken, again) {
                (false, _) => sent.refused += 1,
                (true, None) => sent.new += 1,
                (true, Some(_)) => sent.again += 1,
            }
        }
    }
    Ok(sent)
}

/// Has a finished version shipped again: reopens its row, then sends. `false` if the row is not any more what it was.
pub(crate) async fn ship_again(
    clients: &Clients,
    instance: &Instance,
    again: &Again,
    reason: &str,
) -> Result<bool, CallError> {
    let message = Message {
        instance: instance.clone(),
        file: again.file.clone(),
    };
    let checkpoints = &clients.checkpoints;
    if !checkpoints
        .reopen(&message, again.generation, reason)
        .await?
    {
        return Ok(false);
    }
    if clients.queue.send(&[message.to_wire()]).await? == [true] {
        return Ok(true);
    }
    Err(CallError::nonsense(
        "SendMessageBatch",
        format!(
            "SQS did not take the message of {}, which waits now: auditferry reconcile --repair sends it",
            again.file.name
        ),
    ))
}
