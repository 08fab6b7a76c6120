//! Instances that RDS has no more: reported by name at every run, as long as they have unfinished versions. And those that
//! it has under another name, so that nothing selects them any more.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::aws::CallError;
use shared::checkpoint::{Checkpoints, Presence, Registered};
use tracing::warn;

use crate::enumerate::{Fleet, Found};

/// Instances asked for or written at a time.
const CONCURRENCY: usize = 8;

/// Brings the table's account of the instances up to date; says which have vanished with unfinished versions, and what
/// in the account cannot be read. With `dry_run` nothing is written.
pub(crate) async fn account_for(
    checkpoints: &Checkpoints,
    fleet: &mut Fleet,
    dry_run: bool,
) -> Result<Vec<String>, CallError> {
    let (registered, malformed) = checkpoints.registered().await?;
    let renamed = renamed(fleet, &registered);
    let news: Vec<Registered> = arrived(fleet, &registered, &renamed);
    let missing = registered.iter().filter(|instance| {
        instance.presence != Presence::Closed && !fleet.existing.contains_key(&instance.resource_id)
    });
    let left: Vec<(Registered, Option<String>)> = stream::iter(missing)
        .map(async |instance| leave(checkpoints, instance).await)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let changed = left
        .iter()
        .map(|(instance, _)| instance)
        .filter(|instance| !registered.contains(instance))
        .chain(&news)
        .filter(|_| !dry_run);
    stream::iter(changed)
        .map(async |instance| checkpoints.register(instance).await)
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    fleet.found.extend(renamed);
    let tampered = malformed
        .iter()
        .map(|row| format!("the table was tampered with: {row}"));
    let mut reports: Vec<String> = left
        .into_iter()
        .filter_map(|(_, report)| report)
        .chain(tampered)
        .collect();
    reports.sort();
    Ok(reports)
}

/// Instances that were selected when they had another name or cluster, and are not any more: in a blue/green switchover
/// nobody has taken the old ones out of the selection, and their log must not be lost. They are enumerated by their
/// present name until they are deleted, and stay registered by the former one.
fn renamed(fleet: &Fleet, registered: &[Registered]) -> Vec<Found> {
    let found = fleet.found.iter();
    let selected: HashSet<&str> = found
        .map(|found| found.instance.resource_id.as_str())
        .collect();
    let moved = registered
        .iter()
        .filter(|before| {
            before.presence == Presence::There && !selected.contains(before.resource_id.as_str())
        })
        .filter_map(|before| Some((before, fleet.existing.get(&before.resource_id)?)))
        .filter(|(before, now)| {
            before.name != now.instance.name || before.cluster != now.instance.cluster
        });
    moved
        .map(|(before, now)| {
            warn!(
                "{} of {} is {} of {} now, which nothing selects: enumerating it all the same",
                before.name, before.cluster, now.instance.name, now.instance.cluster
            );
            now.clone()
        })
        .collect()
}

/// Instances that are selected and not recorded as they are, and those that are back.
fn arrived(fleet: &Fleet, registered: &[Registered], renamed: &[Found]) -> Vec<Registered> {
    let known: HashMap<&str, &Registered> = registered
        .iter()
        .map(|instance| (instance.resource_id.as_str(), instance))
        .collect();
    let selected = fleet.found.iter().map(|found| Registered {
        resource_id: found.instance.resource_id.clone(),
        name: found.instance.name.clone(),
        cluster: found.instance.cluster.clone(),
        presence: Presence::There,
    });
    let back = registered
        .iter()
        .filter(|instance| fleet.existing.contains_key(&instance.resource_id))
        .map(|instance| Registered {
            presence: Presence::There,
            ..instance.clone()
        });
    let mut all: HashMap<String, Registered> = HashMap::new();
    for instance in back.chain(selected) {
        all.insert(instance.resource_id.clone(), instance);
    }
    for kept in renamed {
        all.remove(&kept.instance.resource_id);
    }
    all.into_values()
        .filter(|instance| known.get(instance.resource_id.as_str()) != Some(&instance))
        .collect()
}

/// How an instance that RDS has no more stands, and what to say of it.
async fn leave(
    checkpoints: &Checkpoints,
    instance: &Registered,
) -> Result<(Registered, Option<String>), CallError> {
    // All of it: a backfill leaves unfinished versions far below the watermark.
    let known = checkpoints.unfinished(&instance.resource_id).await?;
    let unfinished = known.rows.iter();
    let oldest = unfinished
        .clone()
        .min_by_key(|row| row.message.file.version);
    let (name, id) = (&instance.name, &instance.resource_id);
    let report = match (oldest, known.malformed.first()) {
        (Some(oldest), _) => Some(format!(
            "{name} ({id}) is gone from RDS with {} unfinished versions, the oldest {}: nobody can download them any more; \
             say so with auditferry dismiss --instance {id} --reason …",
            unfinished.count(),
            oldest.message.file.name,
        )),
        (None, Some(malformed)) => Some(format!(
            "{name} ({id}) is gone from RDS, and what the table knows of it was tampered with: {malformed}"
        )),
        (None, None) => None,
    };
    let presence = if report.is_some() {
        Presence::Vanished
    } else {
        let last_look = known.marks.iter().map(|mark| mark.last_enumerated_at).max();
        let last_look = last_look.map_or_else(|| "ever".to_owned(), |at| at.to_string());
        warn!(
            "{name} ({id}) is gone from RDS: all versions known of it are finished, but what it wrote last, and after the \
             last look at it ({last_look}), nobody has seen"
        );
        Presence::Closed
    };
    let instance = Registered {
        presence,
        ..instance.clone()
    };
    Ok((instance, report))
}
