//! The right answers: three listings and a file.

use aws_smithy_types::base64;
use axum::http::StatusCode;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::asked::{Asked, invalid};
use super::faults::Where;
use super::inventory::{Cluster, Instance, Tags};
use super::state::{Behaviour, State};
use super::xml::{Refusal, element, response, text};

const MOST_RECORDS: usize = 100;

/// What an answer brings.
#[derive(Debug)]
pub(super) enum Content {
    /// Of the Query API.
    Xml(String),
    /// A log file.
    File(Bytes),
}

impl State {
    /// The right answer, but for a listing without entries if `empty`.
    pub(super) fn answer(
        &self,
        asked: &Asked,
        empty: bool,
        request_id: &str,
    ) -> Result<Content, Refusal> {
        let (mut entries, list) = match &asked.place {
            Some(Where::Download { instance, file }) => return self.download(instance, file),
            Some(Where::Clusters) => (self.clusters(asked)?, "DBClusters"),
            Some(Where::Instances) => (self.instances(asked)?, "DBInstances"),
            Some(Where::Listing(name)) => (self.log_files(name, asked)?, "DescribeDBLogFiles"),
            Some(Where::Everywhere) | None => return Err(asked.unknown()),
        };
        if empty {
            entries.clear();
        }
        let (page, marker) = page(entries, asked, self.behaviour)?;
        let result = [marker, element(list, &page)].concat();
        Ok(Content::Xml(response(&asked.action, &result, request_id)))
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

    /// In an order of no meaning, but the same every time.
    fn log_files(&self, instance: &str, asked: &Asked) -> Result<Vec<Entry>, Refusal> {
        let filters = ["FilenameContains", "FileLastWritten", "FileSize"];
        asked.check_params(&[&["DBInstanceIdentifier"], filters.as_slice()].concat())?;
        let instance = self.with_logs(instance)?;
        let contains = asked.param("FilenameContains").unwrap_or_default();
        let written_since = asked.number("FileLastWritten")?.unwrap_or(i64::MIN);
        let larger_than = asked.number::<u64>("FileSize")?;
        let entries = instance
            .files
            .iter()
            .filter(|(name, _)| name.contains(contains))
            .filter(|(_, file)| file.last_written_ms >= written_since)
            .filter(|(_, file)| larger_than.is_none_or(|size| file.size() > size))
            .map(|(name, file)| {
                let fields = [
                    text("LastWritten", file.last_written_ms),
                    text("LogFileName", name),
                    text("Size", file.size()),
                ];
                let xml = element("DescribeDBLogFilesDetails", &fields.concat());
                Entry {
                    position: Sha256::digest(name).to_vec(),
                    xml,
                }
            });
        Ok(entries.collect())
    }

    fn download(&self, instance: &str, file: &str) -> Result<Content, Refusal> {
        match self.with_logs(instance)?.files.get(file) {
            Some(file) => Ok(Content::File(file.content.clone())),
            None => Err(not_found(
                "DBLogFileNotFoundFault",
                format!("DBLog File: {file}, is not found on the DB instance"),
            )),
        }
    }

    /// An instance that can be asked for its logs. One in creation is not found, a paused one not ready.
    fn with_logs(&self, name: &str) -> Result<&Instance, Refusal> {
        match self.inventory.find(name) {
            Some(instance) if instance.status == "paused" => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "DBInstanceNotReady",
                format!("DBInstance {name} is paused."),
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
        let fields = [
            text("DBInstanceIdentifier", &instance.name),
            text("DBInstanceArn", self.arn("db", &instance.name)),
            text("DbiResourceId", &instance.resource_id),
            cluster.unwrap_or_default(),
            text("Engine", &instance.engine),
            text("DBInstanceStatus", &instance.status),
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

/// One entry of a listing, and where it stands in it.
struct Entry {
    position: Vec<u8>,
    xml: String,
}

impl Entry {
    fn new(id: &str, xml: String) -> Self {
        Self {
            position: id.into(),
            xml,
        }
    }
}

/// Cuts out the page that a marker asks for: its entries, and the marker element of the next.
///
/// A marker names the last entry served, so that a page skips and repeats nothing that stays.
fn page(
    mut entries: Vec<Entry>,
    asked: &Asked,
    behaviour: Behaviour,
) -> Result<(String, String), Refusal> {
    entries.sort_unstable_by(|one, other| one.position.cmp(&other.position));
    if let Some(marker) = asked.param("Marker") {
        let served =
            base64::decode(marker).map_err(|error| invalid(format!("Invalid Marker: {error}")))?;
        entries.retain(|entry| entry.position > served);
    }
    let size = asked
        .number("MaxRecords")?
        .unwrap_or(MOST_RECORDS)
        .min(behaviour.page_size)
        .max(1);
    let is_last = entries.len() <= size;
    entries.truncate(size);
    let marker = match entries.last() {
        Some(last) if !is_last => text("Marker", base64::encode(&last.position)),
        _ if behaviour.empty_last_marker => text("Marker", ""),
        _ => String::new(),
    };
    Ok((entries.into_iter().map(|entry| entry.xml).collect(), marker))
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
