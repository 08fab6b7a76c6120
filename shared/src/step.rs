//! The durable steps of the protocol, each of which a process may die before or after, or sleep through.
//!
//! Nothing is changed outside of a process but by one of these; so tests can stop a real process at each, kill it there or
//! let it go on when the world has moved on, and look at what is left.

/// One thing that a process does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Producer and operator: messages go on the work queue.
    Send,
    /// Producer: the row of a version whose message was sent.
    RecordQueued,
    /// Producer: the row of a version whose message was sent again.
    RecordResent,
    /// Producer: that an instance was listed, and its watermark.
    RecordEnumerated,
    /// Producer: that there is an instance, or not any more.
    Register,
    /// Worker: the row becomes Leased.
    Claim,
    /// Worker: the lease goes on.
    Renew,
    /// A message is hidden for a while, or given back.
    Hide,
    /// Worker: a multipart upload begins.
    CreateUpload,
    /// Worker: one part of it.
    UploadPart,
    /// Worker: the parts become the object.
    CompleteUpload,
    /// Worker: a small object, at once.
    PutObject,
    /// Worker: the parts are thrown away.
    AbortUpload,
    /// The row becomes Complete.
    Complete,
    /// A message is deleted: it is settled.
    Delete,
    /// Worker: the row becomes Queued again.
    Release,
    /// Worker: a copy of the message goes to the dead-letter queue.
    SendDeadLetter,
    /// Worker: the row becomes Quarantined.
    Quarantine,
    /// Worker: the row becomes Gone.
    Gone,
    /// Operator: a Quarantined row becomes Queued.
    Requeue,
    /// Operator: a row becomes Gone, with a reason.
    Dismiss,
    /// Producer and operator: a finished row becomes Queued, since the archive lacks what RDS has, or may lack it.
    Reopen,
}

impl Step {
    /// All of them, in the order in which a version may meet them.
    pub const ALL: [Self; 22] = [
        Self::Send,
        Self::RecordQueued,
        Self::RecordResent,
        Self::RecordEnumerated,
        Self::Register,
        Self::Claim,
        Self::Renew,
        Self::Hide,
        Self::CreateUpload,
        Self::UploadPart,
        Self::CompleteUpload,
        Self::PutObject,
        Self::AbortUpload,
        Self::Complete,
        Self::Delete,
        Self::Release,
        Self::SendDeadLetter,
        Self::Quarantine,
        Self::Gone,
        Self::Requeue,
        Self::Dismiss,
        Self::Reopen,
    ];

    /// The name of the point before or after it, as tests give it in `STOP_AT`: e.g. `Claim.before`.
    pub fn point(self, when: When) -> String {
        format!("{self:?}.{when}")
    }
}

/// Which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// Nothing of it has happened.
    Before,
    /// It has happened, and the answer has arrived.
    After,
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// Takes a durable step.
pub fn take<T>(step: Step, call: impl Future<Output = T>) -> impl Future<Output = T> {
    // The SDK's futures are large, and would be part of every future that awaits this.
    let call = Box::pin(call);
    async move {
        stop_point(step, When::Before);
        let done = call.await;
        stop_point(step, When::After);
        done
    }
}

#[cfg(not(feature = "failpoints"))]
fn stop_point(_step: Step, _when: When) {}

#[cfg(feature = "failpoints")]
fn stop_point(step: Step, when: When) {
    fail::fail_point!(&step.point(when));
}

/// The warning at start of builds that have stop points.
pub const WARNING: &str = "built with stop points for tests: do not deploy this build";

/// Prepares the point that `STOP_AT` names, where the process then stops itself (SIGSTOP), once. Only in builds for tests.
#[cfg(not(feature = "failpoints"))]
pub fn arm() {}

/// Warns that this build has stop points, and prepares the one that `STOP_AT` names, where the process then stops itself.
///
/// It does so once (SIGSTOP): at `Claim.before`, or the third time that it gets there, at `Claim.before@3`.
#[cfg(feature = "failpoints")]
pub fn arm() {
    use std::sync::atomic::{AtomicU32, Ordering};

    tracing::warn!("{WARNING}");
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting: builds for tests only"
    )]
    let Ok(stop_at) = std::env::var("STOP_AT") else {
        return;
    };
    let (point, nth) = stop_at.split_once('@').unwrap_or((&stop_at, "1"));
    let nth: u32 = nth.parse().expect("STOP_AT is point@number");
    let passed = AtomicU32::new(0);
    let stop_self = move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            let itself = std::process::id().to_string();
            let stopped = std::process::Command::new("kill")
                .args(["-STOP", &itself])
                .status();
            assert!(
                stopped.is_ok_and(|status| status.success()),
                "kill -STOP failed"
            );
            // Another thread may be to take it, and on a busy machine that takes a while, in which this one would go on.
            while stop_is_pending() {
                std::thread::yield_now();
            }
        }
    };
    fail::cfg_callback(point, stop_self).expect("a point can always be set");
}

/// Whether this process has been sent a SIGSTOP that no thread has taken yet. <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
#[cfg(feature = "failpoints")]
fn stop_is_pending() -> bool {
    const SIGSTOP: u32 = 19;
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let pending = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("it has the shared pending signals");
    pending & (1 << (SIGSTOP - 1)) != 0
}
