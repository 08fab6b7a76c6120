//! Send, then record: a message that was sent and not recorded is harmless, the reverse is not.

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::aws::CallError;
use shared::instance::Instance;
use shared::message::Message;
use shared::queue::BATCH;

use crate::config::Clients;
use crate::plan::Plan;

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
    let new: Vec<Message> = plan
        .send
        .iter()
        .map(|file| Message {
            instance: instance.clone(),
            file: file.clone(),
        })
        .collect();
    for batch in new.chunks(BATCH) {
        let bodies: Vec<String> = batch.iter().map(Message::to_wire).collect();
        let taken = clients.queue.send(&bodies).await?;
        let now = Timestamp::now();
        let messages = batch
            .iter()
            .zip(taken)
            .filter_map(|(message, taken)| taken.then_some(message));
        let records: Vec<_> = messages
            .map(|message| clients.checkpoints.record_queued(message, now))
            .collect();
        sent.new += records.len();
        sent.refused += batch.len() - records.len();
        stream::iter(records)
            .buffer_unordered(WRITES)
            .try_collect::<()>()
            .await?;
    }
    for batch in plan.resend.chunks(BATCH) {
        let bodies: Vec<String> = batch
            .iter()
            .map(|resend| resend.message.to_wire())
            .collect();
        let taken = clients.queue.send(&bodies).await?;
        let now = Timestamp::now();
        let resends = batch
            .iter()
            .zip(taken)
            .filter_map(|(resend, taken)| taken.then_some(resend));
        let records: Vec<_> = resends
            .map(|resend| {
                clients
                    .checkpoints
                    .record_resent(&resend.message, now, resend.resend_after)
            })
            .collect();
        sent.again += records.len();
        sent.refused += batch.len() - records.len();
        stream::iter(records)
            .buffer_unordered(WRITES)
            .try_collect::<()>()
            .await?;
    }
    Ok(sent)
}
