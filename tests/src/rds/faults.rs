//! What shall go wrong, where, and how often; and what shall happen right after an answer.

use std::time::Duration;

use axum::http::StatusCode;

use super::Rds;
use super::xml::Refusal;

/// Stands for every instance, or every log file, in a [`Where`].
pub const ANY: &str = "any";

/// As a number of times.
pub const FOREVER: u32 = u32::MAX;

/// Which requests are meant. Names may be [`ANY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// Every request.
    Everywhere,
    /// `DescribeDBClusters`.
    Clusters,
    /// `DescribeDBInstances`.
    Instances,
    /// `DescribeDBLogFiles` of an instance.
    Listing(String),
    /// `downloadCompleteLogFile`.
    Download {
        /// The instance's name.
        instance: String,
        /// The log file's name.
        file: String,
    },
}

impl Where {
    /// The listings of `instance`, or of [`ANY`].
    pub fn listing(instance: impl Into<String>) -> Self {
        Self::Listing(instance.into())
    }

    /// The downloads of `file`, or of [`ANY`], from `instance`, or from [`ANY`].
    pub fn download(instance: impl Into<String>, file: impl Into<String>) -> Self {
        Self::Download {
            instance: instance.into(),
            file: file.into(),
        }
    }

    /// Whether a request for exactly `asked` is among those meant.
    pub(super) fn covers(&self, asked: &Self) -> bool {
        let same = |meant: &str, asked: &str| meant == ANY || meant == asked;
        match (self, asked) {
            (Self::Everywhere, _)
            | (Self::Clusters, Self::Clusters)
            | (Self::Instances, Self::Instances) => true,
            (Self::Listing(meant), Self::Listing(asked)) => same(meant, asked),
            (
                Self::Download { instance, file },
                Self::Download {
                    instance: asked_instance,
                    file: asked_file,
                },
            ) => same(instance, asked_instance) && same(file, asked_file),
            _ => false,
        }
    }
}

/// What goes wrong with one answer.
///
/// Numbers of bytes count the content before any compression, and are below its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An error answer instead.
    Status {
        /// The HTTP status.
        status: u16,
        /// As `DBInstanceNotReady`.
        code: String,
        /// For people.
        message: String,
    },
    /// RDS's own throttling error.
    Throttle,
    /// Nothing after so many bytes, on an open connection, until [`Rds::release_stalls`]; then the rest.
    Stall {
        /// Sent before.
        after_bytes: usize,
    },
    /// A proper end of the body, too early: nothing but the content shows it.
    Truncate {
        /// Sent before.
        after_bytes: usize,
    },
    /// A TCP reset in the middle of the body.
    Reset {
        /// Sent before; some of it may be lost on the way.
        after_bytes: usize,
    },
    /// A listing without entries and without a marker.
    EmptyListing,
    /// The right answer, late.
    Delay(Duration),
    /// A TCP reset before any answer.
    Disconnect,
    /// Not a byte of an answer, on an open connection, until [`Rds::release_stalls`]; then the right one.
    Hang,
}

impl Fault {
    /// An error answer.
    pub fn status(status: u16, code: &str, message: &str) -> Self {
        Self::Status {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// `InternalFailure` (500).
    pub fn internal_error() -> Self {
        let message = "The request processing has failed because of an unknown error";
        Self::status(500, "InternalFailure", message)
    }

    /// `ServiceUnavailable` (503).
    pub fn unavailable() -> Self {
        let message = "The request has failed due to a temporary failure of the server.";
        Self::status(503, "ServiceUnavailable", message)
    }

    /// `AccessDenied` (403).
    pub fn access_denied() -> Self {
        let message = "User is not authorized to perform this action, with an explicit deny in an identity-based policy";
        Self::status(403, "AccessDenied", message)
    }

    /// Whether it breaks a body.
    pub(super) fn breaks_body(&self) -> bool {
        matches!(
            self,
            Self::Stall { .. } | Self::Truncate { .. } | Self::Reset { .. }
        )
    }

    /// The error answer to give instead, if it is one.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Status {
                status,
                code,
                message,
            } => {
                let status = StatusCode::from_u16(*status).expect("an HTTP status");
                Some(Refusal::new(status, code, message))
            }
            Self::Throttle => Some(Refusal::new(
                StatusCode::BAD_REQUEST,
                "Throttling",
                "Rate exceeded",
            )),
            Self::Stall { .. }
            | Self::Truncate { .. }
            | Self::Reset { .. }
            | Self::EmptyListing
            | Self::Delay(_)
            | Self::Disconnect
            | Self::Hang => None,
        }
    }
}

/// What a body continues with after something has happened to its log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The rest of the content when the download began.
    Original,
    /// What the file of that name has then from there on, if anything.
    Current,
}

/// What runs between an answer's making and its sending, or in the middle of a body.
pub(super) type Hook = Box<dyn FnOnce(&Rds) + Send>;

/// All faults and hooks still to come.
#[derive(Default)]
pub(super) struct Schedule {
    faults: Vec<(Where, Fault, u32)>,
    outages: Vec<(Where, Fault)>,
    hooks: Vec<(Where, u32, Hook)>,
    interludes: Vec<(Where, Interlude)>,
}

/// What happens during a download.
pub(super) struct Interlude {
    pub(super) after_bytes: usize,
    pub(super) rest: Rest,
    pub(super) hook: Hook,
}

impl Schedule {
    pub(super) fn fail(&mut self, at: Where, fault: Fault, times: u32) {
        self.faults.push((at, fault, times));
    }

    pub(super) fn after(&mut self, at: Where, nth: u32, hook: Hook) {
        self.hooks.push((at, nth, hook));
    }

    pub(super) fn during(&mut self, at: Where, after_bytes: usize, rest: Rest, hook: Hook) {
        let interlude = Interlude {
            after_bytes,
            rest,
            hook,
        };
        self.interludes.push((at, interlude));
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    pub(super) fn start_outage(&mut self, at: Where, fault: Fault) {
        self.end_outages(|outage| *outage == at);
        self.outages.push((at, fault));
    }

    pub(super) fn end_outages(&mut self, ends: impl Fn(&Where) -> bool) {
        self.outages.retain(|(at, _)| !ends(at));
    }

    /// The latest outage that covers `asked`; else takes the oldest fault that does, once.
    pub(super) fn take_fault(&mut self, asked: &Where) -> Option<Fault> {
        let outage = self.outages.iter().rfind(|(at, _)| at.covers(asked));
        if let Some((_, fault)) = outage {
            return Some(fault.clone());
        }
        let (_, fault, times) = self
            .faults
            .iter_mut()
            .find(|(at, _, times)| *times > 0 && at.covers(asked))?;
        if *times != FOREVER {
            *times -= 1;
        }
        Some(fault.clone())
    }

    /// Takes the oldest interlude of the download `asked`.
    pub(super) fn take_interlude(&mut self, asked: &Where) -> Option<Interlude> {
        let found = self
            .interludes
            .iter()
            .position(|(at, _)| at.covers(asked))?;
        Some(self.interludes.remove(found).1)
    }

    /// Counts an answer to `asked`, and takes the hooks that waited for it.
    pub(super) fn take_hooks(&mut self, asked: &Where) -> Vec<Hook> {
        for (_, left, _) in self.hooks.iter_mut().filter(|(at, ..)| at.covers(asked)) {
            *left = left.saturating_sub(1);
        }
        self.hooks
            .extract_if(.., |(_, left, _)| *left == 0)
            .map(|(.., hook)| hook)
            .collect()
    }
}
