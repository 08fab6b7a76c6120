//! When everything goes wrong: a broken role or a missing bucket must not push a backlog into the dead-letter queue.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::{error, info};

/// First wait before a probe; doubles with each probe that fails.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait before a probe.
const LAST: Duration = Duration::from_mins(1);

/// Open while the environment is broken: then nothing is taken but probes, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// `None` while it is closed.
    wait: Mutex<Option<Duration>>,
}

impl Breaker {
    /// Opens, and says why, once.
    pub(crate) fn trip(&self, why: &str) {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        if wait.is_none() {
            error!("stopped taking messages until this is mended, and probing: {why}");
            *wait = Some(FIRST);
        }
    }

    /// A probe failed: the next one waits longer.
    pub(crate) fn wait_longer(&self) {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        *wait = wait.map(|before| (before * 2).min(LAST));
    }

    /// A probe went through: closes, and says so.
    pub(crate) fn close(&self) {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        if wait.take().is_some() {
            info!("taking messages again");
        }
    }

    /// How long to wait before the next probe; `None` if it is closed.
    pub(crate) fn wait(&self) -> Option<Duration> {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
