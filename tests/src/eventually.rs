//! Waits for a state, with a bound and a name.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take on a busy machine.
pub const BOUND: Duration = Duration::from_mins(1);

/// How often to look.
const PERIOD: Duration = Duration::from_millis(50);

/// Looks until `probe` gives `Ok`; its last `Err`, what it saw instead, is in the error after [`BOUND`].
pub async fn eventually<T, S: Debug>(
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, S>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + BOUND;
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(saw) if Instant::now() >= deadline => {
                anyhow::bail!("waited {BOUND:?} for: {what}; last saw {saw:?}")
            }
            Err(_) => sleep(PERIOD).await,
        }
    }
}

/// Looks for at most `bound` until `probe` says yes; whether it did.
pub async fn within(bound: Duration, mut probe: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + bound;
    loop {
        if probe().await {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(PERIOD).await;
    }
}
