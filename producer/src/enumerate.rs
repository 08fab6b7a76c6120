//! Which instances there are: members of the selected clusters, and the selected standalone instances.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use aws_sdk_rds::types::{DbCluster, DbInstance, Tag};
use shared::aws::CallError;
use shared::instance::Instance;
use shared::listing::Pages;

/// How many existing names to offer for one that does not exist.
const SUGGESTIONS: usize = 3;

/// What `CLUSTERS` or `INSTANCES` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(Vec<Pick>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pick {
    All,
    Tagged { key: String, value: String },
    Named(String),
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let picks = words.map(|word| match (word, word.strip_prefix("tag:")) {
            ("*", _) => Ok(Pick::All),
            (_, Some(tag)) => match tag.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok(Pick::Tagged {
                    key: key.to_owned(),
                    value: value.to_owned(),
                }),
                _ => Err(format!(
                    "{word:?} selects by no tag; write it like tag:Key=Value"
                )),
            },
            (name, None) => Ok(Pick::Named(name.to_owned())),
        });
        picks.collect::<Result<_, _>>().map(Self)
    }
}

impl Selection {
    /// Whether it selects nothing at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An instance to enumerate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who it is.
    pub instance: Instance,
    /// Whether RDS calls it available: else it may be creating, stopped, rebooting …
    pub available: bool,
    /// RDS's word for its engine, e.g. `aurora-mysql`; empty if unknown.
    pub engine: String,
}

/// What the selections came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Each instance once, by cluster and name.
    pub found: Vec<Found>,
    /// What was selected and is not there.
    pub problems: Vec<String>,
    /// Selected by `*` or a tag, but of an engine that has no such audit logs.
    pub other_engines: Vec<String>,
    /// Every instance that RDS has, selected or not, by its `DbiResourceId`.
    pub existing: HashMap<String, Found>,
    /// The `DbiResourceId` of each that [`Fleet::add`] has seen: looking through `found` takes minutes for large fleets.
    added: HashSet<String>,
}

/// Asks RDS for everything, and selects.
pub async fn enumerate(
    rds: &aws_sdk_rds::Client,
    clusters: &Selection,
    instances: &Selection,
    region: &str,
) -> Result<Fleet, CallError> {
    let all_clusters = if clusters.is_empty() {
        Vec::new()
    } else {
        describe_clusters(rds).await?
    };
    let all_instances = describe_instances(rds).await?;
    Ok(select(
        &all_clusters,
        &all_instances,
        clusters,
        instances,
        region,
    ))
}

async fn describe_clusters(rds: &aws_sdk_rds::Client) -> Result<Vec<DbCluster>, CallError> {
    let mut all = Vec::new();
    let mut pages = Pages::new("DescribeDBClusters");
    loop {
        let page = rds
            .describe_db_clusters()
            .set_marker(pages.marker())
            .send()
            .await;
        let page = page.map_err(|error| CallError::new("DescribeDBClusters", &error))?;
        let more = pages.turn(page.marker())?;
        all.extend(page.db_clusters.unwrap_or_default());
        if !more {
            return Ok(all);
        }
    }
}

async fn describe_instances(rds: &aws_sdk_rds::Client) -> Result<Vec<DbInstance>, CallError> {
    let mut all = Vec::new();
    let mut pages = Pages::new("DescribeDBInstances");
    loop {
        let page = rds
            .describe_db_instances()
            .set_marker(pages.marker())
            .send()
            .await;
        let page = page.map_err(|error| CallError::new("DescribeDBInstances", &error))?;
        let more = pages.turn(page.marker())?;
        all.extend(page.db_instances.unwrap_or_default());
        if !more {
            return Ok(all);
        }
    }
}

/// What a cluster or an instance is selected by.
struct Candidate<'a, T> {
    name: &'a str,
    tags: &'a [Tag],
    engine: &'a str,
    item: &'a T,
}

fn select(
    all_clusters: &[DbCluster],
    all_instances: &[DbInstance],
    clusters: &Selection,
    instances: &Selection,
    region: &str,
) -> Fleet {
    let existing = all_instances.iter().filter_map(|instance| {
        let own_name = instance.db_instance_identifier().unwrap_or_default();
        let cluster = cluster_of(instance).unwrap_or(own_name);
        let found = read(instance, cluster, region).ok()?;
        Some((found.instance.resource_id.clone(), found))
    });
    let mut fleet = Fleet {
        existing: existing.collect(),
        ..Fleet::default()
    };
    let (mut by_name, mut by_cluster) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
    for instance in all_instances {
        if let Some(name) = instance.db_instance_identifier() {
            by_name.entry(name).or_insert(instance);
            if let Some(cluster) = cluster_of(instance) {
                by_cluster.entry(cluster).or_default().push(name);
            }
        }
    }
    let candidates = candidates(all_clusters, |cluster| {
        (
            cluster.db_cluster_identifier(),
            cluster.tag_list(),
            cluster.engine(),
        )
    });
    for (cluster, named) in pick("cluster", clusters, &candidates, &mut fleet) {
        let name = cluster.db_cluster_identifier().unwrap_or_default();
        let listed = cluster
            .db_cluster_members()
            .iter()
            .filter_map(|member| member.db_instance_identifier());
        // Whichever of the two answers is older may lack a member.
        let claiming = by_cluster.get(name).into_iter().flatten().copied();
        let members: HashSet<&str> = listed.chain(claiming).collect();
        // A secondary of a global database may have none, and is no fault unless it was asked for.
        if members.is_empty() && named {
            fleet
                .problems
                .push(format!("cluster {name} has no instances"));
        }
        for member in members {
            match by_name.get(member) {
                Some(instance) => fleet.add(instance, name, region),
                None => fleet.problems.push(format!(
                    "cluster {name} has a member {member} that DescribeDBInstances does not know"
                )),
            }
        }
    }

    let candidates = self::candidates(all_instances, |instance| {
        (
            instance.db_instance_identifier(),
            instance.tag_list(),
            instance.engine(),
        )
    });
    for (instance, named) in pick("instance", instances, &candidates, &mut fleet) {
        let own_name = instance.db_instance_identifier().unwrap_or_default();
        match cluster_of(instance) {
            None => fleet.add(instance, own_name, region),
            Some(cluster) if named => fleet.add(instance, cluster, region),
            Some(_) => {} // CLUSTERS is what selects members
        }
    }

    if fleet.found.is_empty() && fleet.problems.is_empty() {
        fleet
            .problems
            .push("CLUSTERS and INSTANCES select no instance at all".to_owned());
    }
    fleet.found.sort_by(|a, b| {
        (&a.instance.cluster, &a.instance.name).cmp(&(&b.instance.cluster, &b.instance.name))
    });
    fleet.other_engines.sort();
    fleet
}

impl Fleet {
    /// Keeps the instances with these names or resource ids; one that is not selected is a problem. None means all.
    pub fn narrow(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let selected = |name: &String| {
            let name = std::slice::from_ref(name);
            self.found
                .iter()
                .any(|found| found.instance.is_one_of(name))
        };
        let unknown = names.iter().filter(|name| !selected(name));
        let unknown: Vec<String> = unknown
            .map(|name| format!("CLUSTERS and INSTANCES select no instance {name}"))
            .collect();
        self.problems.extend(unknown);
        self.found.retain(|found| found.instance.is_one_of(names));
    }

    /// Adds an instance, unless it is there: of a cluster first, then standalone.
    fn add(&mut self, instance: &DbInstance, cluster: &str, region: &str) {
        match read(instance, cluster, region) {
            Ok(one) => {
                if self.added.insert(one.instance.resource_id.clone()) {
                    self.found.push(one);
                }
            }
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// The cluster that an instance says it is a member of; `None` if it is standalone.
fn cluster_of(instance: &DbInstance) -> Option<&str> {
    instance
        .db_cluster_identifier()
        .filter(|cluster| !cluster.is_empty())
}

fn candidates<'a, T>(
    all: &'a [T],
    of: impl Fn(&'a T) -> (Option<&'a str>, &'a [Tag], Option<&'a str>),
) -> Vec<Candidate<'a, T>> {
    let read = |item| match of(item) {
        (Some(name), tags, engine) => Some(Candidate {
            name,
            tags,
            engine: engine.unwrap_or_default(),
            item,
        }),
        (None, ..) => None,
    };
    all.iter().filter_map(read).collect()
}

/// The candidates that a selection means, and whether by name; what it names in vain is a problem.
fn pick<'a, T>(
    what: &str,
    selection: &Selection,
    candidates: &[Candidate<'a, T>],
    fleet: &mut Fleet,
) -> Vec<(&'a T, bool)> {
    let mut picked = Vec::new();
    for pick in &selection.0 {
        let named = matches!(pick, Pick::Named(_));
        let matching = candidates.iter().filter(|candidate| match pick {
            Pick::All => true,
            Pick::Tagged { key, value } => candidate
                .tags
                .iter()
                .any(|tag| tag.key() == Some(key) && tag.value().unwrap_or_default() == value),
            // RDS stores identifiers in lower case and takes them in any.
            Pick::Named(name) => candidate.name.eq_ignore_ascii_case(name),
        });
        let matching: Vec<_> = matching.collect();
        match pick {
            Pick::Named(name) if matching.is_empty() => {
                fleet.problems.push(unknown(what, name, candidates));
            }
            Pick::Tagged { key, value } if matching.is_empty() => {
                fleet
                    .problems
                    .push(format!("no {what} has the tag {key}={value}"));
            }
            Pick::All | Pick::Tagged { .. } | Pick::Named(_) => {}
        }
        for candidate in matching {
            if named || has_audit_files(candidate.engine) {
                picked.push((candidate.item, named));
            } else {
                fleet
                    .other_engines
                    .push(format!("{what} {} ({})", candidate.name, candidate.engine));
            }
        }
    }
    picked
}

/// Says what does not exist, and what does that is spelled most like it.
fn unknown<T>(what: &str, name: &str, candidates: &[Candidate<'_, T>]) -> String {
    let mut closest: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(name, candidate.name),
                candidate.name,
            )
        })
        .collect();
    closest.sort_unstable();
    let closest: Vec<&str> = closest
        .into_iter()
        .take(SUGGESTIONS)
        .map(|(_, name)| name)
        .collect();
    if closest.is_empty() {
        format!("{what} {name} does not exist, nor does any other {what}")
    } else {
        format!(
            "{what} {name} does not exist; the closest that do: {}",
            closest.join(", ")
        )
    }
}

/// Whether `*` means instances of this engine. An engine that nobody knows yet is listed, to be safe.
fn has_audit_files(engine: &str) -> bool {
    let others = ["postgres", "oracle", "sqlserver", "db2", "docdb", "neptune"];
    !others.iter().any(|other| engine.contains(other))
}

fn read(instance: &DbInstance, cluster: &str, region: &str) -> Result<Found, String> {
    let name = instance.db_instance_identifier().unwrap_or_default();
    let resource_id = instance
        .dbi_resource_id()
        .filter(|id| !id.is_empty())
        .ok_or_else(|| format!("instance {name} has no DbiResourceId"))?;
    // arn:aws:rds:{region}:{account}:db:{name}
    let mut arn = instance
        .db_instance_arn()
        .unwrap_or_default()
        .split(':')
        .skip(3);
    let arn_region = arn.next().filter(|region| !region.is_empty());
    Ok(Found {
        instance: Instance {
            resource_id: resource_id.to_owned(),
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            region: arn_region.unwrap_or(region).to_owned(),
            account: arn.next().unwrap_or_default().to_owned(),
        },
        available: instance.db_instance_status() == Some("available"),
        engine: instance.engine().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests;
