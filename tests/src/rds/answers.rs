//! The right answers: three listings and a file.

use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::asked::{Asked, invalid};
use super::faults::Where;
use super::inventory::{Cluster, Instance, LogFile, Tags};
use super::pages::{Entry, MOST_RECORDS, Page, page};
use super::state::{EmptyPages, Order, State};
use super::xml::{Refusal, element, response, text};

/// What an answer brings.
#[derive(Debug)]
pub(super) enum Content {
    /// Of the Query API, or an error: a media type and a text.
    Text(&'static str, String),
    /// A log file.
    File(Bytes),
}

impl State {
    /// The right answer, but for a listing without entries if `empty`.
    pub(super) fn answer(
        &mut self,
        asked: &Asked,
        empty: bool,
        request_id: &str,
    ) -> Result<Content, Refusal> {
        let (entries, list) = match &asked.place {
            Some(Where::Download { instance, file }) => return self.download(instance, file),
            Some(Where::Clusters) => (self.clusters(asked)?, "DBClusters"),
            Some(Where::Instances) => (self.instances(asked)?, "DBInstances"),
            Some(Where::Listing(name)) => (self.log_files(name, asked)?, "DescribeDBLogFiles"),
            Some(Where::Everywhere) | None => return Err(asked.unknown()),
        };
        let page = match &asked.place {
            _ if empty => Page::last_and_empty(),
            Some(Where::Listing(_)) => {
                let empty_pages = self.behaviour.empty_pages;
                page(entries, asked, self.behaviour, empty_pages)?
            }
            _ => page(entries, asked, self.behaviour, EmptyPages::default())?,
        };
        if let (Some(Where::Listing(name)), true) = (&asked.place, page.is_last) {
            self.inventory.instance(name).listed();
        }
        let result = [page.marker, element(list, &page.entries)].concat();
        let xml = response(&asked.action, &result, request_id);
        Ok(Content::Text("text/xml", xml))
    }

    fn clusters(&self, asked: &Asked) -> Result<Vec<Entry>, Refusal> {
        asked.check_params(&["DBClusterIdentifier"])?;
        check_max_records(asked)?;
        let wanted = asked.param("DBClusterIdentifier");
        let found: Vec<_> = self
            .inventory
            .clusters
            .iter()
            .filter(|cluster| wanted.is_none_or(|id| cluster.id == id))
            .map(|cluster| Entry::new(&cluster.id, self.cluster(cluster)))
            .collect();
        match wanted {
            Some(id) if found.is_empty() => Err(not_found(
                "DBClusterNotFoundFault",
                format!("DBCluster {id} not found."),
            )),
            _ => Ok(found),
        }
    }

    fn instances(&self, asked: &Asked) -> Result<Vec<Entry>, Refusal> {
        asked.check_params(&["DBInstanceIdentifier"])?;
        check_max_records(asked)?;
        let wanted = asked.param("DBInstanceIdentifier");
        let found: Vec<_> = self
            .inventory
            .instances
            .iter()
            .filter(|instance| wanted.is_none_or(|name| instance.name == name))
            .map(|instance| Entry::new(&instance.name, self.instance(instance)))
            .collect();
        match wanted {
            Some(name) if found.is_empty() => Err(no_instance(name)),
            _ => Ok(found),
        }
    }

    fn log_files(&self, instance: &str, asked: &Asked) -> Result<Vec<Entry>, Refusal> {
        let filters = ["FilenameContains", "FileLastWritten", "FileSize"];
        asked.check_params(&[&["DBInstanceIdentifier"], filters.as_slice()].concat())?;
        let instance = self.with_logs(instance)?;
        let contains = asked.param("FilenameContains").unwrap_or_default();
        let since = asked.number("FileLastWritten")?;
        let larger_than = asked.number::<u64>("FileSize")?;
        let written_since = self.behaviour.written_since;
        let passes = |name: &str, file: &LogFile| {
            name.contains(contains)
                && since.is_none_or(|since| written_since.passes(file.last_written_ms, since))
                && larger_than.is_none_or(|size| file.size() > size)
        };
        let entries = instance
            .files
            .iter()
            .filter(|(_, file)| !file.is_hidden())
            .map(|(name, file)| {
                let fields = [
                    text("LastWritten", file.last_written_ms),
                    text("LogFileName", name),
                    text("Size", file.size()),
                ];
                let xml = element("DescribeDBLogFilesDetails", &fields.concat());
                Entry {
                    position: self.behaviour.order.position(name, file.last_written_ms),
                    xml,
                    passes: passes(name, file),
                }
            });
        Ok(entries.collect())
    }

    fn download(&self, instance: &str, file: &str) -> Result<Content, Refusal> {
        match self.with_logs(instance)?.files.get(file) {
            Some(file) if !file.is_hidden() => Ok(Content::File(file.content.clone())),
            _ => Err(not_found(
                "DBLogFileNotFoundFault",
                format!("DBLog File: {file}, is not found on the DB instance"),
            )),
        }
    }

    /// An instance that can be asked for its logs. One in creation is not found, a paused one not ready.
    fn with_logs(&self, name: &str) -> Result<&Instance, Refusal> {
        match self.inventory.find(name) {
            Some(instance) if instance.paused || instance.status == "paused" => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "DBInstanceNotReady",
                format!("DBInstance {name} is not ready."),
            )),
            Some(instance) if instance.status != "creating" => Ok(instance),
            _ => Err(no_instance(name)),
        }
    }

    fn cluster(&self, cluster: &Cluster) -> String {
        let mut is_writer = true;
        let mut members = String::new();
        for instance in &self.inventory.instances {
            if instance.cluster.as_ref() == Some(&cluster.id) {
                let fields = [
                    text("DBInstanceIdentifier", &instance.name),
                    text("IsClusterWriter", is_writer),
                ];
                members += &element("DBClusterMember", &fields.concat());
                is_writer = false;
            }
        }
        let fields = [
            text("DBClusterIdentifier", &cluster.id),
            text("DBClusterArn", self.arn("cluster", &cluster.id)),
            text("DbClusterResourceId", &cluster.resource_id),
            text("Engine", &cluster.engine),
            text("Status", "available"),
            element("DBClusterMembers", &members),
            tag_list(&cluster.tags),
        ];
        element("DBCluster", &fields.concat())
    }

    fn instance(&self, instance: &Instance) -> String {
        let cluster = instance
            .cluster
            .as_ref()
            .map(|id| text("DBClusterIdentifier", id));
        let created = instance.created_ms.map(|created| {
            let created = Timestamp::from_millisecond(created).expect("a time of day");
            text("InstanceCreateTime", created)
        });
        let fields = [
            text("DBInstanceIdentifier", &instance.name),
            text("DBInstanceArn", self.arn("db", &instance.name)),
            text("DbiResourceId", &instance.resource_id),
            cluster.unwrap_or_default(),
            text("Engine", &instance.engine),
            text("DBInstanceStatus", &instance.status),
            created.unwrap_or_default(),
            tag_list(&instance.tags),
        ];
        element("DBInstance", &fields.concat())
    }

    fn arn(&self, kind: &str, name: &str) -> String {
        format!(
            "arn:aws:rds:{}:{}:{kind}:{name}",
            self.access.region, self.access.account
        )
    }
}

impl Order {
    /// Where a log file stands in listings.
    fn position(self, name: &str, last_written_ms: i64) -> Vec<u8> {
        // Moved by half the range, so that bytes sort as the numbers do.
        let written = last_written_ms.cast_unsigned() ^ (1 << 63);
        let by_time: Vec<u8> = [&written.to_be_bytes(), name.as_bytes()].concat();
        match self {
            Self::Hash => Sha256::digest(name).to_vec(),
            Self::Name => name.into(),
            Self::OldestFirst => by_time,
            Self::NewestFirst => by_time.into_iter().map(|byte| !byte).collect(),
        }
    }
}

/// Clusters and instances take 20 to 100, log files any number.
fn check_max_records(asked: &Asked) -> Result<(), Refusal> {
    match asked.number::<usize>("MaxRecords")? {
        Some(records) if !(20..=MOST_RECORDS).contains(&records) => Err(invalid(format!(
            "Invalid value {records} for MaxRecords. Must be between 20 and 100"
        ))),
        _ => Ok(()),
    }
}

fn tag_list(tags: &Tags) -> String {
    let tag = |(key, value): &(String, String)| {
        element("Tag", &[text("Key", key), text("Value", value)].concat())
    };
    element("TagList", &tags.iter().map(tag).collect::<String>())
}

fn not_found(code: &str, message: String) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, code, message)
}

fn no_instance(name: &str) -> Refusal {
    not_found(
        "DBInstanceNotFound",
        format!("DBInstance {name} not found."),
    )
}
