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
    /// In which order log files are listed.
    pub order: Order,
    /// Whether listings of log files are filtered before or after they are cut into pages.
    pub filtering: Filtering,
    /// Pages of log files without entries, but with a marker.
    pub empty_pages: EmptyPages,
    /// What `FileLastWritten` lets through.
    pub written_since: WrittenSince,
    /// How a refused download looks.
    pub error_body: ErrorBody,
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
            order: Order::Hash,
            filtering: Filtering::BeforePaging,
            empty_pages: EmptyPages::default(),
            written_since: WrittenSince::Inclusive,
            error_body: ErrorBody::Xml,
            empty_last_marker: false,
            content_length: false,
            gzip: true,
        }
    }
}

/// In which order log files are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One without meaning, but the same every time.
    Hash,
    /// By name.
    Name,
    /// By `LastWritten`, then name.
    OldestFirst,
    /// The reverse.
    NewestFirst,
}

/// When `FilenameContains`, `FileLastWritten` and `FileSize` take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    /// All pages but the last one are full.
    BeforePaging,
    /// Pages are cut first, so that any of them may end up with few entries or none, and still have a marker.
    AfterPaging,
}

/// Extra pages without entries, as [`Filtering::AfterPaging`] makes them. All but the last one of a listing have a marker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmptyPages {
    /// Before the first entry.
    pub first: u8,
    /// Between two pages with entries.
    pub between: u8,
    /// After the last entry.
    pub last: u8,
}

/// What `FileLastWritten` lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenSince {
    /// Files last written at that millisecond, or later.
    Inclusive,
    /// Files last written later than that millisecond.
    Exclusive,
    /// Files last written in that second, or later.
    InclusiveSecond,
    /// Files last written in a later second.
    ExclusiveSecond,
}

impl WrittenSince {
    pub(super) fn passes(self, last_written_ms: i64, since_ms: i64) -> bool {
        let second = |ms: i64| ms.div_euclid(1000);
        match self {
            Self::Inclusive => last_written_ms >= since_ms,
            Self::Exclusive => last_written_ms > since_ms,
            Self::InclusiveSecond => second(last_written_ms) >= second(since_ms),
            Self::ExclusiveSecond => second(last_written_ms) > second(since_ms),
        }
    }
}

/// How a refused download looks. The Query API always answers XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorBody {
    /// As the Query API answers.
    Xml,
    /// `{"__type": "AccessDenied", "message": ".."}`.
    JsonType,
    /// `{"__type": "com.amazonaws.rds#AccessDenied", "message": ".."}`.
    JsonShape,
    /// `{"Error": {"Code": "AccessDenied", "Message": ".."}}`.
    JsonError,
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
    /// The HTTP status answered; 0 where the connection was reset instead.
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

impl Request {
    /// The instance whose logs it asked for.
    pub fn instance(&self) -> Option<&str> {
        match self.place.as_ref()? {
            Where::Listing(instance) | Where::Download { instance, .. } => Some(instance),
            Where::Everywhere | Where::Clusters | Where::Instances => None,
        }
    }

    /// Whether it began a listing, instead of going on with one.
    pub fn is_first_page(&self) -> bool {
        self.params.get("Marker").is_none_or(String::is_empty)
    }
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
