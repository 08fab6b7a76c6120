//! What RDS has had, version by version, and what may have become of each.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use shared::instance::Instance;
use shared::log_file::{LogFile, Name, Version};
use shared::message::Message;

use super::script::{Change, Log};
use crate::rds::Rds;
use crate::stack::{ACCOUNT, REGION};
use crate::world::MINUTE;
use crate::world::by_hand::{CLUSTER, INSTANCE, log, noise};

/// The MariaDB instance.
pub(super) const MARIA: &str = "maria";
const ACTIVE: &str = "audit/server_audit.log";
const OTHER: &str = "audit/other";
/// A log file whose name gives no key.
pub(super) const ESCAPING: &str = "audit/../chaos";

/// How long before now RDS began: so all that it writes is due.
const AGE: i64 = 20 * 60 * MINUTE;

/// More than a part, after compression too.
const LARGE: usize = (8 << 20) + 300_000;

/// An instance and a sort key: which version.
pub(super) type Id = (String, String);

/// One version that RDS has had.
#[derive(Debug, Clone)]
pub(super) struct Had {
    pub(super) message: Message,
    pub(super) content: Bytes,
    /// Whether a run of the producer that has gone well has seen it: then there must be a row.
    pub(super) seen: bool,
    /// Whether RDS has deleted it before it was known to be complete.
    pub(super) may_be_gone: bool,
}

/// All of them, and the clock of RDS.
#[derive(Debug)]
pub(super) struct Model {
    seed: u64,
    now: i64,
    resource_ids: BTreeMap<&'static str, String>,
    /// When the stripes' files say that they began.
    day: String,
    /// The files that the stripes are writing, by number.
    stripes: [u32; 2],
    pub(super) had: BTreeMap<Id, Had>,
    /// Versions that were Complete when somebody looked.
    pub(super) complete: BTreeSet<Id>,
    /// Whether a file was written that takes several parts.
    pub(super) large: bool,
}

impl Model {
    /// Of the two instances, which have nothing yet.
    pub(super) fn new(seed: u64, rds: &Rds) -> Self {
        let ids = [INSTANCE, MARIA].map(|name| (name, rds.resource_id(name)));
        let now = Timestamp::now().as_millisecond() - AGE;
        let began = Timestamp::from_millisecond(now).expect("a time of our own");
        Self {
            seed,
            now,
            day: began.strftime("%Y-%m-%d").to_string(),
            resource_ids: ids.into(),
            stripes: [0; 2],
            had: BTreeMap::new(),
            complete: BTreeSet::new(),
            large: false,
        }
    }

    /// RDS goes on. Its clock never stands still, so no two writes have the same time.
    pub(super) fn change(&mut self, rds: &Rds, change: Change) {
        let before = self.offered(rds);
        self.now += 1 + i64::try_from(self.random() % 60_000).unwrap_or_default();
        match change {
            Change::Write(to, size) => {
                let seed = self.random();
                self.write(rds, to, &log(seed, size));
            }
            Change::WriteLarge(to) => {
                self.large = true;
                let seed = self.random();
                self.write(rds, to, &noise(seed, LARGE));
            }
            Change::NewFile(stripe) => {
                let number = self.stripes.get_mut(usize::from(stripe));
                *number.expect("there are two stripes") += 1;
                let seed = self.random();
                self.write(rds, Log::Stripe(stripe), &log(seed, 400));
            }
            Change::Escape => rds.put_file(INSTANCE, ESCAPING, "x\n", self.now),
            Change::Rotate => rds.rotate(MARIA, self.now),
            Change::Delete(which) => self.delete(rds, which),
        }
        self.note(rds);
        let after = self.offered(rds);
        for lost in before.difference(&after) {
            if !self.complete.contains(lost)
                && let Some(had) = self.had.get_mut(lost)
            {
                had.may_be_gone = true;
            }
        }
    }

    /// Versions that RDS lists now, and that are due.
    pub(super) fn listed(&self, rds: &Rds) -> BTreeSet<Id> {
        let files = self.files(rds).into_iter();
        files.map(|(message, _)| id(&message)).collect()
    }

    /// A version that there was, whichever this number means.
    pub(super) fn any(&self, which: u8) -> Option<&Had> {
        let nth = usize::from(which) % self.had.len().max(1);
        self.had.values().nth(nth)
    }

    /// Somebody: for messages that no producer has sent.
    pub(super) fn instance(&self, name: &'static str) -> Instance {
        Instance {
            resource_id: self.resource_ids.get(name).cloned().unwrap_or_default(),
            name: name.to_owned(),
            cluster: if name == INSTANCE { CLUSTER } else { name }.to_owned(),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
        }
    }

    /// What time it is for RDS, in milliseconds.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// Versions whose bytes RDS can still give: listed, or the beginning of a file that has grown.
    fn offered(&self, rds: &Rds) -> BTreeSet<Id> {
        let files = self.files(rds);
        let offered = |(id, had): (&Id, &Had)| {
            let there = files.iter().any(|(message, _)| {
                super::model::id(message) == *id
                    || (!had.message.file.renamed()
                        && message.instance == had.message.instance
                        && message.file.name == had.message.file.name)
            });
            there.then(|| id.clone())
        };
        self.had.iter().filter_map(offered).collect()
    }

    fn files(&self, rds: &Rds) -> Vec<(Message, Bytes)> {
        let mut all = Vec::new();
        for name in [INSTANCE, MARIA] {
            for (file, last_written, content) in rds.files(name) {
                if Name::parse(&file) == Name::Active {
                    continue;
                }
                let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
                let version = Version::new(last_written, size).expect("a time of our own");
                let file = LogFile {
                    name: file,
                    version,
                    twins: 1,
                };
                let instance = self.instance(name);
                all.push((Message { instance, file }, content));
            }
        }
        all
    }

    /// Remembers all that is new.
    fn note(&mut self, rds: &Rds) {
        for (message, content) in self.files(rds) {
            self.had.entry(id(&message)).or_insert_with(|| Had {
                message,
                content,
                seen: false,
                may_be_gone: false,
            });
        }
    }

    fn write(&mut self, rds: &Rds, to: Log, bytes: &[u8]) {
        let (instance, name) = match to {
            Log::Stripe(stripe) => (INSTANCE, self.stripe(stripe)),
            Log::Active => (MARIA, ACTIVE.to_owned()),
            Log::OtherOfAurora => (INSTANCE, OTHER.to_owned()),
            Log::OtherOfMariaDb => (MARIA, OTHER.to_owned()),
        };
        if rds.files(instance).iter().any(|(file, ..)| *file == name) {
            rds.grow_file(instance, &name, bytes, self.now);
        } else {
            rds.put_file(instance, &name, bytes.to_vec(), self.now);
        }
    }

    fn stripe(&self, stripe: u8) -> String {
        let number = self.stripes.get(usize::from(stripe)).copied();
        let (day, number) = (&self.day, number.unwrap_or_default());
        format!("audit/audit.log.{stripe}.{day}-00-00.{number}")
    }

    /// RDS deletes what is not being written.
    fn delete(&mut self, rds: &Rds, which: u8) {
        let mut deletable: Vec<(&str, String)> = Vec::new();
        for instance in [INSTANCE, MARIA] {
            let names = rds.files(instance).into_iter().map(|(name, ..)| name);
            let names = names.filter(|name| ![ACTIVE, OTHER, ESCAPING].contains(&name.as_str()));
            deletable.extend(names.map(|name| (instance, name)));
        }
        // A stripe that has lost its file goes on with the next one: a name is never used again.
        let nth = usize::from(which) % deletable.len().max(1);
        if let Some((instance, name)) = deletable.get(nth) {
            for stripe in 0..2 {
                if *instance == INSTANCE && *name == self.stripe(stripe) {
                    let number = self.stripes.get_mut(usize::from(stripe));
                    *number.expect("there are two stripes") += 1;
                }
            }
            rds.remove_file(instance, name);
        }
    }

    /// Numbers that follow from the seed and from how much has happened.
    fn random(&mut self) -> u64 {
        self.seed = fastrand::Rng::with_seed(self.seed).u64(..);
        self.seed
    }
}

/// Which version a message is of.
pub(super) fn id(message: &Message) -> Id {
    (
        message.instance.resource_id.clone(),
        message.file.sort_key(),
    )
}
