//! A fake Amazon RDS: lists, serves, stalls, truncates, refuses.
//!
//! A real HTTP server on 127.0.0.1, which production code reaches through `AWS_ENDPOINT_URL_RDS`. It answers
//! `DescribeDBClusters`, `DescribeDBInstances`, `DescribeDBLogFiles` and `downloadCompleteLogFile`, and checks the
//! signature of every request. [`Rds`] is its handle: it fills the server, breaks it, and tells what was asked.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::state::State;

// What a server knows: whom to let in, how to behave, what it was asked.
mod state;
// What there is: clusters, instances, log files.
mod inventory;
// What goes wrong, and what happens behind the client's back.
mod faults;
// The handle on all of it, by subject.
mod calls;
mod files;
mod hooks;
mod instances;
mod outages;
// One request in, one answer out.
mod server;
// 1. May this client ask?
mod signature;
// 2. What does it ask for?
mod asked;
// 3. What is the right answer?
mod answers;
// Of which a listing gives one page.
mod pages;
// 4. The answer, or what is left of it, onto the wire.
mod body;
// How RDS spells answers and errors.
pub(crate) mod xml;

#[cfg(test)]
mod tests;

pub use self::calls::Calls;
pub use self::faults::{ANY, FOREVER, Fault, Rest, Where};
pub use self::inventory::{NewCluster, NewInstance, Rotation, Tags, Taken};
pub use self::state::{
    Access, Behaviour, EmptyPages, ErrorBody, Filtering, Order, Request, WrittenSince,
};

/// The handle on a running server, cheap to clone. Dropping the last one stops the server.
///
/// Methods that name an instance or a log file panic if the server has none of that name.
#[derive(Clone)]
pub struct Rds {
    shared: Arc<Shared>,
    /// `None` in the server itself, which must not keep itself alive.
    _server: Option<Arc<JoinSet<()>>>,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    /// Every stalled body listens.
    release: watch::Sender<()>,
    /// Whether clients shall reach the server.
    reachable: watch::Sender<bool>,
    /// Whether they do.
    reached: watch::Sender<bool>,
}

impl Rds {
    /// Starts a server on a free port, in the current runtime, with [`Access::default`].
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(Access::default())
    }

    /// Starts a server on a free port, in the current runtime.
    pub fn start_with(access: Access) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let state = Mutex::new(State {
            access,
            ..State::default()
        });
        let shared = Arc::new(Shared {
            address,
            state,
            release: watch::Sender::new(()),
            reachable: watch::Sender::new(true),
            reached: watch::Sender::new(true),
        });

        let mut server = JoinSet::new();
        server.spawn(server::serve(
            listener,
            Self {
                shared: Arc::clone(&shared),
                _server: None,
            },
        ));
        Ok(Self {
            shared,
            _server: Some(Arc::new(server)),
        })
    }

    /// The value for `AWS_ENDPOINT_URL_RDS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Lets clients call the server this, as they must if it is behind a proxy, and nothing else.
    pub fn set_authority(&self, authority: String) {
        self.state().authority = Some(authority);
    }

    /// What the server accepts at present.
    pub fn access(&self) -> Access {
        self.state().access.clone()
    }

    /// Accepts other credentials instead from now on, which have not expired.
    pub fn set_access(&self, access: Access) {
        let mut state = self.state();
        state.expired.remove(&access.access_key);
        state.access = access;
    }

    /// Accepts these credentials, too.
    pub fn add_access(&self, access: Access) {
        self.state().others.push(access);
    }

    /// Answers `ExpiredToken` until [`Rds::set_access`].
    pub fn expire_token(&self) {
        let access_key = self.access().access_key;
        self.expire(&access_key);
    }

    /// Answers `ExpiredToken` to whoever comes with this access key.
    pub fn expire(&self, access_key: &str) {
        self.state().expired.insert(access_key.to_owned());
    }

    /// Sets the server's clock to the true time plus `offset`.
    pub fn set_clock(&self, offset: SignedDuration) {
        self.state().clock = offset;
    }

    /// Changes how answers are given.
    pub fn configure(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that named what is not there has panicked; that harmed nothing here.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Rds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rds")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}
