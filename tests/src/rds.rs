//! A fake Amazon RDS: lists, serves, stalls, truncates, refuses.
//!
//! A real HTTP server on 127.0.0.1, which production code reaches through `AWS_ENDPOINT_URL_RDS`. It answers
//! `DescribeDBClusters`, `DescribeDBInstances`, `DescribeDBLogFiles` and `downloadCompleteLogFile`, and checks the
//! signature of every request. [`Rds`] is its handle: it fills the server, breaks it, and tells what was asked.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::inventory::LogFile;
use self::state::State;

// What a server knows: whom to let in, how to behave, what it was asked.
mod state;
// What there is: clusters, instances, log files.
mod inventory;
// What goes wrong, and what happens behind the client's back.
mod faults;
// One request in, one answer out.
mod server;
// 1. May this client ask?
mod signature;
// 2. What does it ask for?
mod asked;
// 3. What is the right answer?
mod answers;
// 4. The answer, or what is left of it, onto the wire.
mod body;
// How RDS spells answers and errors.
pub(crate) mod xml;

#[cfg(test)]
mod tests;

pub use self::faults::{ANY, FOREVER, Fault, Where};
pub use self::inventory::{NewCluster, NewInstance, Rotation, Tags, Taken};
pub use self::state::{Access, Behaviour, Request};

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

    /// Adds a cluster without members.
    pub fn add_cluster(&self, cluster: NewCluster) {
        self.state().inventory.add_cluster(cluster);
    }

    /// Adds an instance, `available` and without log files; returns its `DbiResourceId`.
    pub fn add_instance(&self, instance: NewInstance) -> String {
        self.state().inventory.add_instance(instance)
    }

    /// The `DbiResourceId` of an instance.
    pub fn resource_id(&self, name: &str) -> String {
        self.state().inventory.instance(name).resource_id.clone()
    }

    /// Removes an instance with its log files.
    pub fn remove_instance(&self, name: &str) {
        self.state()
            .inventory
            .instances
            .retain(|instance| instance.name != name);
    }

    /// Takes an instance away, which may come back with [`Rds::put_back`].
    pub fn take_away(&self, name: &str) -> Taken {
        self.state().inventory.take_away(name)
    }

    /// Brings an instance back as it was.
    pub fn put_back(&self, taken: Taken) {
        self.state().inventory.put_back(taken);
    }

    /// Gives an instance another name; it stays the same one.
    pub fn rename_instance(&self, name: &str, new_name: &str) {
        new_name.clone_into(&mut self.state().inventory.instance(name).name);
    }

    /// Sets `DBInstanceStatus`. For its logs, `creating` is not found and `paused` is not ready; all others answer.
    pub fn set_instance_status(&self, name: &str, status: &str) {
        self.state().inventory.instance(name).status = status.into();
    }

    /// Adds a log file, or replaces it.
    pub fn put_file(
        &self,
        instance: &str,
        name: &str,
        content: impl Into<Bytes>,
        last_written_ms: i64,
    ) {
        let file = LogFile {
            content: content.into(),
            last_written_ms,
            listed_size: None,
        };
        self.state()
            .inventory
            .instance(instance)
            .files
            .insert(name.to_owned(), file);
    }

    /// Appends to a log file.
    pub fn grow_file(&self, instance: &str, name: &str, more: &[u8], last_written_ms: i64) {
        self.state()
            .inventory
            .instance(instance)
            .file(name)
            .grow(more, last_written_ms);
    }

    /// Removes a log file.
    pub fn remove_file(&self, instance: &str, name: &str) {
        let removed = self.state().inventory.instance(instance).files.remove(name);
        removed.expect("the instance has the log file");
    }

    /// Lets listings lie about a size; `None` ends the lie.
    pub fn set_listed_size(&self, instance: &str, name: &str, size: Option<u64>) {
        self.state()
            .inventory
            .instance(instance)
            .file(name)
            .listed_size = size;
    }

    /// Sets how [`Rds::rotate`] numbers an instance's files.
    pub fn set_rotation(&self, instance: &str, rotation: Rotation) {
        self.state().inventory.instance(instance).rotation = rotation;
    }

    /// Rotates `audit/server_audit.log` as MariaDB does, and starts an empty one.
    ///
    /// Renamed files keep their content and `LastWritten`; `last_written_ms` is that of the empty one.
    pub fn rotate(&self, instance: &str, last_written_ms: i64) {
        self.state()
            .inventory
            .instance(instance)
            .rotate(last_written_ms);
    }

    /// All log files of an instance by name, with `LastWritten` (ms) and content.
    pub fn files(&self, instance: &str) -> Vec<(String, i64, Bytes)> {
        let mut state = self.state();
        let files = state.inventory.instance(instance).files.iter();
        files
            .map(|(name, file)| (name.clone(), file.last_written_ms, file.content.clone()))
            .collect()
    }

    /// Lets the next `times` requests to `at` fail, or all of them if [`FOREVER`]. Faults set earlier come first.
    pub fn fail(&self, at: Where, fault: Fault, times: u32) {
        self.state().schedule.fail(at, fault, times);
    }

    /// Forgets all faults still to come.
    pub fn clear_faults(&self) {
        self.state().schedule.clear_faults();
    }

    /// Bodies that are silent now.
    pub fn stalled(&self) -> usize {
        self.shared.release.receiver_count()
    }

    /// Lets all bodies that are silent now go on.
    pub fn release_stalls(&self) {
        self.shared.release.send_replace(());
    }

    /// Runs `hook` once, after the `nth` good answer to `at` from now on has been made, and before it is sent.
    pub fn after(&self, at: Where, nth: u32, hook: impl FnOnce(&Rds) + Send + 'static) {
        self.state().schedule.after(at, nth, Box::new(hook));
    }

    /// Rotates `instance` behind the `nth` page of its listing from now on.
    pub fn rotate_after_listing(&self, instance: &str, nth: u32, last_written_ms: i64) {
        let rotated = instance.to_owned();
        self.after(Where::listing(instance), nth, move |rds| {
            rds.rotate(&rotated, last_written_ms);
        });
    }

    /// Rotates `instance` behind the `nth` download from it from now on, which still serves the old content.
    pub fn rotate_after_download(&self, instance: &str, nth: u32, last_written_ms: i64) {
        let rotated = instance.to_owned();
        let at = Where::download(instance, ANY);
        self.after(at, nth, move |rds| rds.rotate(&rotated, last_written_ms));
    }

    /// All requests so far, refused ones too, in the order of their answers.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How many requests went to `at` so far, refused ones too.
    pub fn count(&self, at: &Where) -> usize {
        let places =
            |request: &&Request| request.place.as_ref().is_some_and(|place| at.covers(place));
        self.state().requests.iter().filter(places).count()
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
