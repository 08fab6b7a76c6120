//! What the fake holds: clusters, instances, and their log files.

use std::collections::BTreeMap;
use std::mem;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::FOREVER;

const ACTIVE: &str = "audit/server_audit.log";

/// 2020-09-13T12:26:40Z, in milliseconds: when instances were created if a test says nothing else.
const CREATED: i64 = 1_600_000_000_000;

/// Key and value pairs.
pub type Tags = Vec<(String, String)>;

/// A cluster to be added.
#[derive(Debug, Clone)]
pub struct NewCluster {
    /// `DBClusterIdentifier`.
    pub id: String,
    /// As `aurora-mysql`.
    pub engine: String,
    /// Its tags.
    pub tags: Tags,
}

/// An instance to be added.
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// `DBInstanceIdentifier`.
    pub name: String,
    /// The cluster it is a member of, if any. A cluster's first member is its writer.
    pub cluster: Option<String>,
    /// As `aurora-mysql` or `mariadb`.
    pub engine: String,
    /// Its tags.
    pub tags: Tags,
}

/// How [`Rds::rotate`](super::Rds::rotate) numbers the files it renames.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Rotated files kept; the oldest is deleted. With 0 the active file is never rotated, and grows.
    pub history: usize,
    /// At least so many digits: 2 makes `.01`.
    pub digits: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            history: 10,
            digits: 1,
        }
    }
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: String,
    pub(super) resource_id: String,
    pub(super) engine: String,
    pub(super) tags: Tags,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) resource_id: String,
    pub(super) cluster: Option<String>,
    pub(super) engine: String,
    pub(super) status: String,
    pub(super) tags: Tags,
    pub(super) files: BTreeMap<String, LogFile>,
    pub(super) rotation: Rotation,
    pub(super) created_ms: Option<i64>,
    /// Not ready, whatever its status.
    pub(super) paused: bool,
}

/// An instance that is not there for now.
#[derive(Debug)]
pub struct Taken(Instance);

#[derive(Debug, Default)]
pub(super) struct LogFile {
    pub(super) content: Bytes,
    pub(super) last_written_ms: i64,
    /// What listings say instead of the true size.
    pub(super) listed_size: Option<u64>,
    /// Or what they add to it.
    pub(super) listed_skew: i64,
    /// How many more listings omit it.
    pub(super) hidden_for: u32,
}

impl LogFile {
    pub(super) fn size(&self) -> u64 {
        let served = self.content.len() as u64;
        self.listed_size
            .unwrap_or_else(|| served.saturating_add_signed(self.listed_skew))
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.hidden_for > 0
    }

    pub(super) fn grow(&mut self, more: &[u8], last_written_ms: i64) {
        let mut content = BytesMut::from(mem::take(&mut self.content));
        content.extend_from_slice(more);
        self.content = content.freeze();
        self.last_written_ms = last_written_ms;
    }
}

impl Instance {
    /// The file, which a test says is there.
    pub(super) fn file(&mut self, name: &str) -> &mut LogFile {
        self.files
            .get_mut(name)
            .expect("the instance has the log file")
    }

    /// Renames as MariaDB does: the active file to `.1`, `.1` to `.2`, and so on.
    pub(super) fn rotate(&mut self, last_written_ms: i64) {
        let Rotation { history, digits } = self.rotation;
        assert!(history > 0, "{} never rotates: history is 0", self.name);
        let name = |n: usize| match n {
            0 => ACTIVE.to_owned(),
            n => format!("{ACTIVE}.{n:0digits$}"),
        };
        self.files.remove(&name(history));
        for n in (0..history).rev() {
            if let Some(file) = self.files.remove(&name(n)) {
                self.files.insert(name(n + 1), file);
            }
        }
        let active = LogFile {
            last_written_ms,
            ..LogFile::default()
        };
        self.files.insert(name(0), active);
    }

    /// Deletes what was last written before `before_ms`, but for the active file; the names.
    pub(super) fn expire(&mut self, before_ms: i64) -> Vec<String> {
        let is_expired =
            |name: &String, file: &mut LogFile| file.last_written_ms < before_ms && name != ACTIVE;
        let expired = self.files.extract_if(.., is_expired);
        expired.map(|(name, _)| name).collect()
    }

    /// Counts a listing that has ended.
    pub(super) fn listed(&mut self) {
        for file in self.files.values_mut() {
            if file.hidden_for != FOREVER {
                file.hidden_for = file.hidden_for.saturating_sub(1);
            }
        }
    }
}

/// Clusters and instances, in the order of their adding.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) clusters: Vec<Cluster>,
    pub(super) instances: Vec<Instance>,
    /// How many resource ids were given out.
    born: u32,
}

impl Inventory {
    pub(super) fn add_cluster(&mut self, new: NewCluster) {
        let resource_id = self.resource_id("cluster", &new.id);
        let NewCluster { id, engine, tags } = new;
        self.clusters.push(Cluster {
            id,
            resource_id,
            engine,
            tags,
        });
    }

    pub(super) fn add_instance(&mut self, new: NewInstance) -> String {
        let resource_id = self.resource_id("db", &new.name);
        let NewInstance {
            name,
            cluster,
            engine,
            tags,
        } = new;
        self.instances.push(Instance {
            name,
            resource_id: resource_id.clone(),
            cluster,
            engine,
            status: "available".to_owned(),
            tags,
            files: BTreeMap::new(),
            rotation: Rotation::default(),
            created_ms: Some(CREATED),
            paused: false,
        });
        resource_id
    }

    /// The cluster, which a test says is there.
    pub(super) fn cluster(&mut self, id: &str) -> &mut Cluster {
        self.clusters
            .iter_mut()
            .find(|cluster| cluster.id == id)
            .expect("the server has the cluster")
    }

    /// The instance, which a test says is there.
    pub(super) fn instance(&mut self, name: &str) -> &mut Instance {
        self.instances
            .iter_mut()
            .find(|instance| instance.name == name)
            .expect("the server has the instance")
    }

    pub(super) fn take_away(&mut self, name: &str) -> Taken {
        let found = self.instances.iter().position(|one| one.name == name);
        Taken(
            self.instances
                .remove(found.expect("the server has the instance")),
        )
    }

    pub(super) fn put_back(&mut self, taken: Taken) {
        self.instances.push(taken.0);
    }

    pub(super) fn find(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.name == name)
    }

    /// `db-` and 26 capitals and digits: the same in every run, another one for a name used again.
    fn resource_id(&mut self, kind: &str, name: &str) -> String {
        self.born += 1;
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter();
        let letter = |byte: u8| alphabet.clone().nth(usize::from(byte % 32)).copied();
        let hash = Sha256::digest(format!("{kind}/{name}/{}", self.born));
        let id = hash.into_iter().filter_map(letter).map(char::from).take(26);
        format!("{kind}-{}", id.collect::<String>())
    }
}
