//! All that a server knows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::faults::{Schedule, Where};
use super::inventory::Inventory;

/// The credentials that the server accepts, and where it claims to be.
#[derive(Debug, Clone)]
pub struct Access {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: String,
    /// `AWS_SESSION_TOKEN`; where there is none, a request must not bring one.
    pub session_token: Option<String>,
    /// `AWS_REGION`.
    pub region: String,
    /// For the ARNs.
    pub account: String,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: Some("IQoJb3JpZ2luX2VjE/session+token==".to_owned()),
            region: "eu-central-1".to_owned(),
            account: "123456789012".to_owned(),
        }
    }
}

/// What real RDS does in one way or another.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// Entries on a page, if `MaxRecords` does not ask for fewer (1 or more).
    pub page_size: usize,
    /// Whether the last page has an empty marker, instead of none.
    pub empty_last_marker: bool,
    /// Whether a download has a `Content-Length`, instead of being chunked.
    pub content_length: bool,
    /// Whether `Accept-Encoding: gzip` is honoured; what is compressed is chunked.
    pub gzip: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            page_size: 100,
            empty_last_marker: false,
            content_length: false,
            gzip: true,
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// As `DescribeDBLogFiles`; `downloadCompleteLogFile` for a download; the path of anything else.
    pub action: String,
    /// With the names asked for; `None` if RDS has nothing of the kind.
    pub place: Option<Where>,
    /// Of the Query API, with `Action` and `Version`.
    pub params: BTreeMap<String, String>,
    /// The HTTP status answered.
    pub status: u16,
    /// The error code answered.
    pub code: Option<String>,
    /// Whether it brought a session token.
    pub had_session_token: bool,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
}

/// All of it.
#[derive(Default)]
pub(super) struct State {
    pub(super) access: Access,
    /// Accepted besides.
    pub(super) others: Vec<Access>,
    /// Access keys.
    pub(super) expired: BTreeSet<String>,
    /// What clients call the server, if it is not its address.
    pub(super) authority: Option<String>,
    pub(super) clock: SignedDuration,
    pub(super) behaviour: Behaviour,
    pub(super) inventory: Inventory,
    pub(super) schedule: Schedule,
    pub(super) requests: Vec<Request>,
    pub(super) answered: u64,
}

impl State {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now() + self.clock
    }

    pub(super) fn next_request_id(&mut self) -> String {
        self.answered += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.answered)
    }
}
