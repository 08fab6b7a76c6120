//! Deletes the messages of settled versions, ten in a request.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use shared::aws::CallError;
use shared::queue::{BATCH, Queue};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// How long a message waits for others to be deleted with it: to an idle queue it is nothing, to a busy one more than enough.
const LINGER: Duration = Duration::from_millis(100);

/// Messages that may wait. Beyond that, files wait for room, and so the worker takes no more than it can delete.
const WAITING: usize = 10 * BATCH;

/// Why a message was not deleted. One request's failure is that of all its messages.
type NotDeleted = Arc<CallError>;

struct Settled {
    receipt: String,
    done: oneshot::Sender<Result<(), NotDeleted>>,
}

/// Where settled messages are handed in.
#[derive(Debug, Clone)]
pub struct Deletions(mpsc::Sender<Settled>);

/// The other end: deletes what is handed in.
pub(crate) struct Deleter {
    queue: Queue,
    settled: mpsc::Receiver<Settled>,
}

/// Both ends for one queue.
pub(crate) fn deletions(queue: Queue) -> (Deletions, Deleter) {
    let (hand_in, settled) = mpsc::channel(WAITING);
    (Deletions(hand_in), Deleter { queue, settled })
}

impl Deletions {
    /// Deletes a message, soon. `room` is given back as soon as that is sure to be tried, so that the next file need not
    /// wait for SQS.
    pub(crate) async fn delete<R>(&self, receipt: String, room: R) -> Result<(), NotDeleted> {
        let (done, told) = oneshot::channel();
        let handed_in = self.0.send(Settled { receipt, done }).await;
        drop(room);
        match handed_in {
            Ok(()) => told.await.unwrap_or_else(|_closed| Err(ended())),
            Err(_closed) => Err(ended()),
        }
    }
}

/// The deleter is gone, and with it the worker.
fn ended() -> NotDeleted {
    Arc::new(CallError::nonsense(
        "DeleteMessageBatch",
        "the worker has ended",
    ))
}

impl Deleter {
    /// Deletes for ever.
    pub(crate) async fn run(&mut self) -> Infallible {
        loop {
            let batch = self.next().await;
            let (receipts, askers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|it| (it.receipt, it.done)).unzip();
            let results = match self.queue.delete_batch(&receipts).await {
                Ok(left) => left
                    .into_iter()
                    .map(|left| left.map_or(Ok(()), |error| Err(Arc::new(error))))
                    .collect(),
                Err(error) => vec![Err(Arc::new(error)); askers.len()],
            };
            for (asker, result) in askers.into_iter().zip(results) {
                // Whoever asked may have been cut off; the message is deleted all the same.
                drop(asker.send(result));
            }
        }
    }

    /// As many as there are, up to ten, soon after the first.
    async fn next(&mut self) -> Vec<Settled> {
        let Some(first) = self.settled.recv().await else {
            return pending().await;
        };
        let until = Instant::now() + LINGER;
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(Some(next)) = timeout_at(until, self.settled.recv()).await
        {
            batch.push(next);
        }
        batch
    }
}
