//! What this worker has done, reported each minute.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::checkpoint::Proof;
use shared::metrics::{self, Metric};
use tokio::time::{Instant, interval_at};

use crate::breaker::Breaker;

/// CloudWatch's own resolution.
const EVERY: Duration = Duration::from_mins(1);

/// Counts since the last report.
#[derive(Debug, Default)]
pub struct Tally {
    shipped: AtomicU64,
    raw_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    released: AtomicU64,
    quarantined: AtomicU64,
    gone: AtomicU64,
}

impl Tally {
    pub(crate) fn shipped(&self, raw_bytes: u64, proof: &Proof) {
        self.shipped.fetch_add(1, Ordering::Relaxed);
        self.raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
        let stored = proof.stored_bytes.unwrap_or_default();
        self.stored_bytes.fetch_add(stored, Ordering::Relaxed);
    }

    pub(crate) fn released(&self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn quarantined(&self) {
        self.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gone(&self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports each minute, for ever, if there is where to.
    pub(crate) async fn keep(&self, namespace: Option<&str>, breaker: &Breaker) -> Infallible {
        if namespace.is_none() {
            return pending().await;
        }
        let mut minutes = interval_at(Instant::now() + EVERY, EVERY);
        loop {
            minutes.tick().await;
            self.report(namespace, breaker);
        }
    }

    /// Reports what was counted since the last time.
    pub(crate) fn report(&self, namespace: Option<&str>, breaker: &Breaker) {
        let Some(namespace) = namespace else { return };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a minute has no 2^53 bytes, and CloudWatch counts in doubles"
        )]
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed) as f64;
        metrics::report(
            namespace,
            &[
                (Metric::Shipped, take(&self.shipped)),
                (Metric::RawBytes, take(&self.raw_bytes)),
                (Metric::StoredBytes, take(&self.stored_bytes)),
                (Metric::Released, take(&self.released)),
                (Metric::Quarantined, take(&self.quarantined)),
                (Metric::Gone, take(&self.gone)),
                (Metric::BreakerOpen, f64::from(breaker.why().is_some())),
            ],
        );
    }
}
