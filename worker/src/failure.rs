//! What goes wrong with a version, and what then becomes of it. Pure, and exhaustive: a new error must choose.
#![warn(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use shared::archive::Unfindable;
use shared::aws::{CallError, Meaning};
use shared::log_file::KeyRejected;

use crate::download::DownloadError;
use crate::heartbeat::Lost;

/// The longest wait before the next try.
const BACKOFF_MAX: Duration = Duration::from_mins(15);

/// When to ask again about an instance that is not ready.
const LATER: Duration = Duration::from_mins(5);

/// When to offer a message again that failed for no fault of its own.
const HALTED: Duration = Duration::from_secs(5);

/// Why a version was not shipped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// Its names give no object key.
    #[error(transparent)]
    Rejected(#[from] KeyRejected),
    /// It was tried too often already; the last worker died of it.
    #[error("claimed {attempts} times without an end")]
    Exhausted {
        /// Claims, this one included.
        attempts: u32,
    },
    /// A call to AWS failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The download failed.
    #[error("download of {name}")]
    Download {
        /// The log file, by the name that it had.
        name: String,
        /// How.
        source: DownloadError,
    },
    /// The instance is not there or not ready; it may be in a while.
    #[error("the instance is not ready")]
    Later(#[source] CallError),
    /// RDS does not offer the version any more, as far as one answer tells.
    #[error("RDS has no {0}")]
    Missing(String),
    /// A listing without it and an archive without it say the same.
    #[error("RDS has no {0}, nor has the archive")]
    Gone(String),
    /// A rotation renamed the file while it was read.
    #[error("{0} was renamed while it was read")]
    Moved(String),
    /// Others wrote the object twice while we compared.
    #[error("object {0} was written by others at the same time")]
    Raced(String),
    /// The encoder failed.
    #[error("compression")]
    Compression(#[source] std::io::Error),
    /// The claim is no longer ours.
    #[error("the claim was lost: {0}")]
    Fenced(Lost),
    /// The worker is told to stop and its grace is over.
    #[error("cut off by shutdown")]
    CutOff,
}

/// What becomes of a version that was not shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Give row and message back.
    Release {
        /// Before the next try.
        delay: Duration,
        /// Whether this try counts towards quarantine.
        counted: bool,
    },
    /// Give row and message back uncounted, and stop taking more.
    Halt {
        /// Before the next try.
        delay: Duration,
    },
    /// To the dead-letter queue, then quarantine.
    Quarantine,
    /// Record the loss.
    Gone,
    /// It is somebody else's now: touch nothing.
    Forget,
}

impl From<Unfindable> for ShipError {
    fn from(unfindable: Unfindable) -> Self {
        match unfindable {
            Unfindable::Rejected(rejected) => Self::Rejected(rejected),
            Unfindable::Call(call) => Self::Call(call),
        }
    }
}

impl ShipError {
    /// Decides. `attempt` counts from 1; `random` is uniform in 0..1.
    pub fn disposition(&self, attempt: u32, max_attempts: u32, random: f64) -> Disposition {
        let retry = if attempt >= max_attempts {
            Disposition::Quarantine
        } else {
            Disposition::Release {
                delay: backoff(attempt, random),
                counted: true,
            }
        };
        match self {
            Self::Rejected(_) | Self::Exhausted { .. } => Disposition::Quarantine,
            Self::Call(call) => by_meaning(call, retry),
            Self::Download { source, .. } => match source {
                DownloadError::Refused(call) => by_meaning(call, retry),
                DownloadError::Credentials(_) => Disposition::Halt { delay: HALTED },
                DownloadError::Broken { .. }
                | DownloadError::Short { .. }
                | DownloadError::Long { .. } => retry,
            },
            // One answer proves no loss.
            Self::Later(_) | Self::Missing(_) => Disposition::Release {
                delay: LATER,
                counted: false,
            },
            Self::Gone(_) => Disposition::Gone,
            Self::Raced(_) | Self::Compression(_) => retry,
            Self::Fenced(_) => Disposition::Forget,
            // Nothing is wrong with the file: try at once, under its new name or elsewhere.
            Self::Moved(_) | Self::CutOff => Disposition::Release {
                delay: Duration::ZERO,
                counted: false,
            },
        }
    }
}

fn by_meaning(call: &CallError, retry: Disposition) -> Disposition {
    match call.meaning() {
        Meaning::Environment => Disposition::Halt { delay: HALTED },
        Meaning::Transient | Meaning::Refused => retry,
    }
}

/// Full jitter: uniform between nothing and twice as long each time.
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let ceiling = Duration::from_secs(1)
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(BACKOFF_MAX);
    ceiling.mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(code: &str, status: u16) -> CallError {
        CallError::from_parts("Test", status, Some(code.to_owned()), "")
    }

    fn download(source: DownloadError) -> ShipError {
        ShipError::Download {
            name: "audit/x".to_owned(),
            source,
        }
    }

    fn rejected() -> KeyRejected {
        use shared::instance::Instance;
        use shared::log_file::{KeyForm, LogFile, Version};
        let names = || String::from("c");
        let instance = Instance {
            resource_id: names(),
            name: names(),
            cluster: names(),
            account: names(),
            region: names(),
        };
        let file = LogFile {
            name: "audit/..".to_owned(),
            version: Version::new(0, 1).unwrap(),
            twins: 1,
        };
        file.object_key("", &instance, KeyForm::Plain, "gz")
            .unwrap_err()
    }

    #[test]
    fn every_error_becomes_what_the_design_says() {
        use Disposition::{Forget, Halt, Quarantine, Release};
        let retry = Release {
            delay: Duration::from_secs(2),
            counted: true,
        };
        let uncounted = |delay| Release {
            delay,
            counted: false,
        };
        let halt = Halt { delay: HALTED };
        for (error, first, last) in [
            (ShipError::Rejected(rejected()), Quarantine, Quarantine),
            (ShipError::Exhausted { attempts: 6 }, Quarantine, Quarantine),
            (ShipError::Call(call("SlowDown", 503)), retry, Quarantine),
            (
                ShipError::Call(call("EntityTooLarge", 400)),
                retry,
                Quarantine,
            ),
            (ShipError::Call(call("AccessDenied", 403)), halt, halt),
            (
                ShipError::Call(call("KMS.DisabledException", 400)),
                halt,
                halt,
            ),
            (ShipError::Call(call("NoSuchBucket", 404)), halt, halt),
            (
                download(DownloadError::Refused(call("Throttling", 400))),
                retry,
                Quarantine,
            ),
            (
                download(DownloadError::Refused(call("ExpiredToken", 403))),
                retry,
                Quarantine,
            ),
            (
                download(DownloadError::Refused(call("AccessDenied", 403))),
                halt,
                halt,
            ),
            (
                download(DownloadError::Short { bytes: 1, size: 2 }),
                retry,
                Quarantine,
            ),
            (
                ShipError::Later(call("DBInstanceNotFound", 404)),
                uncounted(LATER),
                uncounted(LATER),
            ),
            (
                ShipError::Missing(String::new()),
                uncounted(LATER),
                uncounted(LATER),
            ),
            (
                ShipError::Gone(String::new()),
                Disposition::Gone,
                Disposition::Gone,
            ),
            (download(DownloadError::Long { size: 2 }), retry, Quarantine),
            (
                ShipError::Moved(String::new()),
                uncounted(Duration::ZERO),
                uncounted(Duration::ZERO),
            ),
            (ShipError::Raced(String::new()), retry, Quarantine),
            (
                ShipError::Compression(std::io::Error::other("x")),
                retry,
                Quarantine,
            ),
            (ShipError::Fenced(Lost::Refused), Forget, Forget),
            (
                ShipError::CutOff,
                uncounted(Duration::ZERO),
                uncounted(Duration::ZERO),
            ),
        ] {
            assert_eq!(error.disposition(1, 5, 1.0), first, "{error}");
            assert_eq!(error.disposition(5, 5, 1.0), last, "{error}");
        }
    }

    #[test]
    fn backoff_doubles_up_to_a_quarter_of_an_hour() {
        for (attempt, seconds) in [
            (1, 2),
            (2, 4),
            (5, 32),
            (9, 512),
            (10, 900),
            (u32::MAX, 900),
        ] {
            assert_eq!(backoff(attempt, 1.0), Duration::from_secs(seconds));
            assert_eq!(backoff(attempt, 0.0), Duration::ZERO);
        }
    }
}
