//! Many files at once: take what there is room for, until told to stop; then drain.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use shared::archive::Archive;
use shared::aws::{Aws, Meaning};
use shared::checkpoint::Checkpoints;
use shared::message::Message;
use shared::queue::{BATCH, Delivery, Queue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::breaker::Breaker;
use crate::config::Config;
use crate::delete::deletions;
use crate::download::Source;
use crate::failure::backoff;
use crate::health::{self, Readiness};
use crate::protection::{self, InFlight, Protection, Started};
use crate::room::{Capacity, Room};
use crate::ship::{Outcome, Ship, ship};
use crate::tally::Tally;

/// After the grace: how long releasing what still runs may take.
const LAST_MOMENT: Duration = Duration::from_secs(15);

/// How long to wait for messages. Short of the 20 s that SQS allows, since a stop waits for it.
const POLL: Duration = Duration::from_secs(5);

/// How much longer than it should a receive may take once the worker is told to stop.
const POLL_SLACK: Duration = Duration::from_secs(2);

/// How long releasing what the last receive brought may take.
const HAND_BACK: Duration = Duration::from_secs(5);

/// Steps of the backoff after receives that failed in passing; the last one is half a minute.
const BACKOFF_STEPS: u32 = 5;

/// The longest that a stop takes, from the signal to the exit: every wait on the way is in it.
///
/// The grace counts from the signal, and so covers the wait for the last receive. Deletions and metrics have no wait of
/// their own: a file ends when its message is deleted, and metrics are printed.
pub fn longest_stop(grace: Duration) -> Duration {
    grace.max(POLL + POLL_SLACK + HAND_BACK) + LAST_MOMENT + protection::TIMEOUT
}

/// Ships what the queue brings until `stop`, or until the queue has been idle for as long as the configuration says.
///
/// `Err`: the TLS library cannot start, or nobody may listen where health checks are to be answered.
pub async fn run(config: &Config, aws: Aws, stop: CancellationToken) -> anyhow::Result<()> {
    let health_checks = match config.health_address {
        Some(address) => Some(health::listen(address).await?),
        None => None,
    };
    let queue = Queue::new(&aws, config.queue_url.clone());
    let (deletions, mut deleter) = deletions(queue.clone());
    let cut_off = CancellationToken::new();
    let tally = Arc::<Tally>::default();
    let cx = Arc::new(Ship {
        queue: queue.clone(),
        deletions,
        dead_letters: Queue::new(&aws, config.dead_letter_queue_url.clone()),
        checkpoints: Checkpoints::new(&aws, config.checkpoint_table.clone()),
        source: Source::new(&aws, &config.roots, config.download)?,
        archive: Archive::new(&aws, config.s3_bucket.clone(), config.s3_prefix.clone()),
        codec: config.codec,
        level: config.level,
        rds: aws.rds,
        lease: config.lease,
        max_attempts: config.max_attempts,
        tally: Arc::clone(&tally),
        cut_off: cut_off.clone(),
    });
    info!(concurrency = config.concurrency, codec = ?config.codec, compression_level = config.level, "worker started");
    let mut protection = Protection::new(config.ecs_agent_uri.as_deref())?;
    let (started, in_flight) = watch::channel(Started::default());
    let worker = Worker {
        config,
        cx,
        queue,
        capacity: Capacity::new(
            config.concurrency,
            config.memory_budget,
            config.codec,
            config.level,
        ),
        probes: Arc::new(Semaphore::new(1)),
        breaker: Arc::default(),
        in_flight: started,
    };
    let readiness = Readiness {
        breaker: Arc::clone(&worker.breaker),
        stopping: stop.child_token(),
    };
    let (namespace, breaker) = (config.metrics_namespace.as_deref(), &*worker.breaker);
    let work = async {
        let mut running = JoinSet::new();
        let told = told_during(worker.take(&mut running, &stop), &stop).await;
        readiness.stopping.cancel();
        finish(running, told + config.shutdown_grace, &cut_off).await;
    };
    tokio::select! {
        () = work => {}
        never = health::serve(health_checks, readiness.clone()) => match never {},
        never = protection.keep(in_flight, config.shutdown_grace) => match never {},
        never = deleter.run() => match never {},
        never = tally.keep(namespace, breaker) => match never {},
    }
    tally.report(namespace, breaker);
    protection.end().await;
    info!("worker stopped");
    Ok(())
}

/// When the worker was told to stop, once it has taken its last message; now, if it was not.
async fn told_during(taking: impl Future<Output = ()>, stop: &CancellationToken) -> Instant {
    let mut taking = pin!(taking);
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = &mut taking => return Instant::now(),
    }
    let told = Instant::now();
    taking.await;
    told
}

/// Lets files end until the grace is over; then has them released.
async fn finish(mut running: JoinSet<()>, grace: Instant, cut_off: &CancellationToken) {
    info!(files = running.len(), "stopped taking messages, draining");
    if time::timeout_at(grace, drain(&mut running)).await.is_err() {
        warn!(
            files = running.len(),
            "grace is over: releasing what still runs"
        );
        cut_off.cancel();
        if time::timeout(LAST_MOMENT, drain(&mut running))
            .await
            .is_err()
        {
            warn!(files = running.len(), "left to their leases");
        }
    }
}

struct Worker<'a> {
    config: &'a Config,
    cx: Arc<Ship>,
    queue: Queue,
    capacity: Capacity,
    probes: Arc<Semaphore>,
    breaker: Arc<Breaker>,
    /// Since when each file has been.
    in_flight: watch::Sender<Started>,
}

/// For messages that are about to be asked for.
struct Ready {
    rooms: Vec<Room>,
    /// While the breaker is open; there is only one.
    probe: Option<OwnedSemaphorePermit>,
}

impl Worker<'_> {
    /// Takes messages until told to stop, or idle for long enough.
    async fn take(&self, running: &mut JoinSet<()>, stop: &CancellationToken) {
        let mut idle_since: Option<Instant> = None;
        let mut failures = 0;
        // False since a receive was refused; the next one that is not is proof enough that the queue is mended.
        let mut receiving = true;
        loop {
            while let Some(ended) = running.try_join_next() {
                report_panic(ended);
            }
            let ready = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ready = self.ready() => ready,
            };
            let received = self
                .queue
                .receive(ready.rooms.len(), self.poll(), self.config.lease);
            let received = tokio::select! {
                biased;
                received = received => received,
                // What SQS hands to a connection that was closed is hidden for a whole lease: so wait for its answer.
                () = stopped_for(stop, POLL + POLL_SLACK) => return,
            };
            if stop.is_cancelled() {
                let given_back = self.give_back(received.unwrap_or_default());
                if time::timeout(HAND_BACK, given_back).await.is_err() {
                    warn!(
                        "failed to release the last messages in time; SQS will redeliver them after the visibility timeout"
                    );
                }
                return;
            }
            if received.is_ok() && !receiving {
                receiving = true;
                self.breaker.close();
            }
            match received {
                Ok(deliveries) if deliveries.is_empty() => {
                    failures = 0;
                    let Some(limit) = self.config.exit_when_idle else {
                        continue;
                    };
                    let idle = tokio::select! {
                        () = stop.cancelled() => return,
                        idle = self.idle() => idle,
                    };
                    if !idle {
                        idle_since = None;
                    } else if idle_since.get_or_insert_with(Instant::now).elapsed() >= limit {
                        info!("the queue has been empty for {limit:?}");
                        return;
                    }
                }
                Ok(deliveries) => {
                    (failures, idle_since) = (0, None);
                    self.start(deliveries, ready, running);
                }
                Err(error) if error.meaning() == Meaning::Environment => {
                    receiving = false;
                    self.breaker.trip(&error.to_string());
                    self.breaker.wait_longer();
                }
                Err(error) => {
                    failures = BACKOFF_STEPS.min(failures + 1);
                    let delay = backoff(failures, fastrand::f64());
                    warn!(retry_in = ?delay, "failed to receive: {error}");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = time::sleep(delay) => {}
                    }
                }
            }
        }
    }

    /// Waits until there is room for messages; while the breaker is open, until it is time for a probe.
    async fn ready(&self) -> Ready {
        loop {
            let mut probe = None;
            if self.breaker.wait().is_some() {
                probe = Some(acquire(&self.probes).await);
            }
            // The last probe may have closed it while this one waited its turn.
            match self.breaker.wait() {
                Some(wait) => time::sleep(wait).await,
                None => probe = None,
            }
            let most = if probe.is_some() { 1 } else { BATCH };
            let rooms = self.capacity.take(most).await;
            // The file that has made room may have opened it.
            if probe.is_none() && self.breaker.wait().is_some() {
                continue;
            }
            return Ready { rooms, probe };
        }
    }

    /// How long to wait for messages, unless idleness must be noticed sooner.
    fn poll(&self) -> Duration {
        self.config.exit_when_idle.map_or(POLL, |limit| {
            (limit / 4).clamp(Duration::from_secs(1), POLL)
        })
    }

    /// Starts on as many deliveries as there was room for.
    fn start(&self, deliveries: Vec<Delivery>, mut ready: Ready, running: &mut JoinSet<()>) {
        // If it opened while SQS was asked, the first of them tells as much as a probe does: there may be no other.
        if ready.probe.is_none() && self.breaker.wait().is_some() {
            ready.probe = Arc::clone(&self.probes).try_acquire_owned().ok();
        }
        for (delivery, mut room) in deliveries.into_iter().zip(ready.rooms) {
            let message = Message::from_wire(&delivery.body);
            let size = message.as_ref().map_or(0, |it| it.file.version.size);
            self.capacity.fit(&mut room, size);
            let (cx, breaker, probe) = (
                Arc::clone(&self.cx),
                Arc::clone(&self.breaker),
                ready.probe.take(),
            );
            let in_flight = InFlight::new(&self.in_flight);
            let span = info_span!("ship", message.id = delivery.message_id);
            let task = async move {
                match (ship(&cx, &delivery, message, room).await, &probe) {
                    (Outcome::Halted(why), probe) => {
                        breaker.trip(&why);
                        if probe.is_some() {
                            breaker.wait_longer();
                        }
                    }
                    (Outcome::Complete, Some(_)) => breaker.close(),
                    (Outcome::Complete, None) | (Outcome::Settled | Outcome::Left, _) => {}
                }
                drop((probe, in_flight));
            };
            running.spawn(task.instrument(span));
        }
    }

    /// Gives back what came when it was too late to start on it.
    async fn give_back(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            if let Err(error) = self.queue.hide(&delivery.receipt, Duration::ZERO).await {
                warn!(
                    message.id = delivery.message_id,
                    "a message stays hidden for a lease: {error}"
                );
            }
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

/// Returns so long after a stop.
async fn stopped_for(stop: &CancellationToken, duration: Duration) {
    stop.cancelled().await;
    time::sleep(duration).await;
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .expect("it is never closed")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_grace_counts_from_the_signal_and_not_from_the_last_receive() {
        const RECEIVE: Duration = Duration::from_millis(200);
        let stop = CancellationToken::new();
        let signal = Instant::now();
        stop.cancel();
        let told = told_during(time::sleep(RECEIVE), &stop).await;
        assert!(told < signal + RECEIVE, "{:?}", told - signal);
        assert!(
            Instant::now() >= signal + RECEIVE,
            "the receive was waited for"
        );
    }

    #[tokio::test]
    async fn a_worker_that_ends_by_itself_has_its_grace_from_then_on() {
        let (begun, never) = (Instant::now(), CancellationToken::new());
        let ended = told_during(time::sleep(Duration::from_millis(50)), &never).await;
        assert!(ended >= begun + Duration::from_millis(50));
    }

    #[test]
    fn a_stop_with_the_default_grace_takes_less_than_two_minutes() {
        assert_eq!(
            longest_stop(Duration::from_secs(90)),
            Duration::from_secs(107)
        );
        // A short grace does not shorten the wait for SQS.
        assert_eq!(longest_stop(Duration::ZERO), Duration::from_secs(29));
    }
}
