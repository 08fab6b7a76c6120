//! When everything goes wrong: a broken role or a missing bucket must not push a backlog into the dead-letter queue.

use std::sync::Mutex;
use std::time::Duration;

use tracing::{error, info};

/// First wait before a probe; doubles up to the last.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait before a probe.
const LAST: Duration = Duration::from_mins(1);

/// Open while the environment is broken: then nothing is taken but probes, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    wait: Mutex<Option<Duration>>,
}

impl Breaker {
    /// Opens, and says why, once; a failed probe makes the next wait longer.
    pub(crate) fn trip(&self, why: &str) {
        let mut wait = self.wait.lock().expect("nothing panics with the lock held");
        if wait.is_none() {
            error!("stopped taking messages until this is mended, and probing: {why}");
        }
        *wait = Some(wait.map_or(FIRST, |before| (before * 2).min(LAST)));
    }

    /// A probe went through: closes, and says so.
    pub(crate) fn close(&self) {
        if self
            .wait
            .lock()
            .expect("nothing panics with the lock held")
            .take()
            .is_some()
        {
            info!("taking messages again");
        }
    }

    /// How long to wait before the next probe; `None` if it is closed.
    pub(crate) fn wait(&self) -> Option<Duration> {
        *self.wait.lock().expect("nothing panics with the lock held")
    }
}
