//! Many files at once: take what there is room for, until told to stop; then drain.

use std::sync::Arc;
use std::time::Duration;

use shared::aws::{Aws, Meaning};
use shared::checkpoint::Checkpoints;
use shared::queue::{BATCH, Delivery, LONG_POLL, Queue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::breaker::Breaker;
use crate::config::Config;
use crate::download::Source;
use crate::ship::{Outcome, Ship, ship};
use crate::upload::Archive;

/// After the grace: how long giving back what still runs may take.
const LAST_MOMENT: Duration = Duration::from_secs(20);

/// Wait after a receive that failed in passing.
const AFTER_FAILED_RECEIVE: Duration = Duration::from_secs(1);

/// Ships what the queue brings until `stop`, or until the queue has been idle for as long as the configuration says.
/// `Err`: the TLS library cannot start.
pub async fn run(config: &Config, aws: Aws, stop: CancellationToken) -> anyhow::Result<()> {
    let queue = Queue::new(&aws, config.queue_url.clone());
    let cut_off = CancellationToken::new();
    let cx = Arc::new(Ship {
        queue: queue.clone(),
        dead_letters: Queue::new(&aws, config.dead_letter_queue_url.clone()),
        checkpoints: Checkpoints::new(&aws, config.checkpoint_table.clone()),
        source: Source::new(&aws, config.download)?,
        archive: Archive {
            s3: aws.s3,
            bucket: config.s3_bucket.clone(),
            codec: config.codec,
            level: config.level,
        },
        rds: aws.rds,
        prefix: config.s3_prefix.clone(),
        lease: config.lease,
        max_attempts: config.max_attempts,
        cut_off: cut_off.clone(),
    });
    let room = Arc::new(Semaphore::new(config.concurrency));
    let breaker = Arc::new(Breaker::default());
    let mut running = JoinSet::new();
    info!(concurrency = config.concurrency, codec = ?config.codec, level = config.level, "worker started");

    let worker = Worker {
        config,
        cx,
        queue,
        room,
        breaker,
    };
    worker.take(&mut running, &stop).await;

    info!(files = running.len(), "stopped taking messages, draining");
    if time::timeout(config.shutdown_grace, drain(&mut running))
        .await
        .is_err()
    {
        warn!(
            files = running.len(),
            "grace is over: giving back what still runs"
        );
        cut_off.cancel();
        if time::timeout(LAST_MOMENT, drain(&mut running))
            .await
            .is_err()
        {
            warn!(files = running.len(), "left to their leases");
        }
    }
    info!("worker stopped");
    Ok(())
}

struct Worker<'a> {
    config: &'a Config,
    cx: Arc<Ship>,
    queue: Queue,
    room: Arc<Semaphore>,
    breaker: Arc<Breaker>,
}

impl Worker<'_> {
    /// Takes messages until told to stop, or idle for long enough.
    async fn take(&self, running: &mut JoinSet<()>, stop: &CancellationToken) {
        let mut idle_since = None;
        loop {
            while let Some(ended) = running.try_join_next() {
                report_panic(ended);
            }
            let asked_at = Instant::now();
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.receive() => received,
            };
            let Some(received) = received else { continue };
            if !received.is_empty() {
                idle_since = None;
                self.start(received, running).await;
            } else if let Some(limit) = self.config.exit_when_idle {
                let since = *idle_since.get_or_insert(asked_at);
                if !self.idle().await {
                    idle_since = None;
                } else if since.elapsed() >= limit {
                    info!("nothing was queued for {limit:?}");
                    return;
                }
            }
        }
    }

    /// Waits for room, then for at most as many messages; each comes with its room. `None`: the call failed.
    async fn receive(&self) -> Option<Vec<(Delivery, OwnedSemaphorePermit)>> {
        let probing = self.breaker.wait();
        if let Some(wait) = probing {
            time::sleep(wait).await;
        }
        let first = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .expect("never closed");
        let most = if probing.is_some() { 1 } else { BATCH };
        let more = std::iter::from_fn(|| Arc::clone(&self.room).try_acquire_owned().ok());
        let permits: Vec<_> = std::iter::once(first).chain(more).take(most).collect();
        match self
            .queue
            .receive(permits.len(), self.poll(), self.config.lease)
            .await
        {
            Ok(deliveries) => Some(deliveries.into_iter().zip(permits).collect()),
            Err(error) if error.meaning() == Meaning::Environment => {
                self.breaker.trip(&error.to_string());
                None
            }
            Err(error) => {
                warn!("failed to receive: {error}");
                time::sleep(AFTER_FAILED_RECEIVE).await;
                None
            }
        }
    }

    /// How long to wait for messages: the longest that SQS allows, unless idleness must be noticed sooner.
    fn poll(&self) -> Duration {
        self.config.exit_when_idle.map_or(LONG_POLL, |limit| {
            (limit / 4).clamp(Duration::from_secs(1), LONG_POLL)
        })
    }

    /// Starts on what was received. While the breaker is open, what was received is a probe: waits for its end.
    async fn start(
        &self,
        received: Vec<(Delivery, OwnedSemaphorePermit)>,
        running: &mut JoinSet<()>,
    ) {
        let probing = self.breaker.wait().is_some();
        for (delivery, permit) in received {
            let (cx, breaker) = (Arc::clone(&self.cx), Arc::clone(&self.breaker));
            let span = info_span!("ship", message.id = delivery.message_id);
            let task = async move {
                let outcome = ship(&cx, &delivery).await;
                drop(permit);
                match outcome {
                    Outcome::Halted(why) => breaker.trip(&why),
                    Outcome::Settled if probing => breaker.close(),
                    Outcome::Settled => {}
                }
            };
            running.spawn(task.instrument(span));
        }
        if probing {
            drain(running).await;
        }
    }

    /// Whether nothing is visible, delayed or in flight, for us or for others.
    async fn idle(&self) -> bool {
        match self.queue.depth().await {
            Ok(depth) => depth.total() == 0,
            Err(error) => {
                warn!("failed to ask for the queue's depth: {error}");
                false
            }
        }
    }
}

/// Waits for all that runs.
async fn drain(running: &mut JoinSet<()>) {
    while let Some(ended) = running.join_next().await {
        report_panic(ended);
    }
}

/// A panic is one file's failure: its lease ends, and its message returns.
fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!("a file's task ended badly, its message returns after the lease: {panic}");
    }
}
