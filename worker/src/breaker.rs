//! When everything goes wrong: a broken role or a missing bucket must not push a backlog into the dead-letter queue.

use std::sync::{Mutex, MutexGuard, PoisonError};
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
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    why: String,
    /// Before the next probe.
    wait: Duration,
}

impl Breaker {
    /// Opens, and says why, once.
    pub(crate) fn trip(&self, why: &str) {
        let mut open = self.lock();
        if open.is_none() {
            error!("stopped taking messages until this is mended, and probing: {why}");
            *open = Some(Open {
                why: why.to_owned(),
                wait: FIRST,
            });
        }
    }

    /// A probe failed: the next one waits longer.
    pub(crate) fn wait_longer(&self) {
        if let Some(open) = self.lock().as_mut() {
            open.wait = (open.wait * 2).min(LAST);
        }
    }

    /// A probe went through: closes, and says so.
    pub(crate) fn close(&self) {
        if self.lock().take().is_some() {
            info!("taking messages again");
        }
    }

    /// How long to wait before the next probe; `None` if it is closed.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.lock().as_ref().map(|open| open.wait)
    }

    /// What it opened for; `None` if it is closed.
    pub(crate) fn why(&self) -> Option<String> {
        self.lock().as_ref().map(|open| open.why.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
