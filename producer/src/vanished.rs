//! Instances that RDS has no more: reported by name at every run, as long as they have unfinished versions.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::aws::CallError;
use shared::checkpoint::{Checkpoints, Presence, Registered};

use crate::enumerate::Fleet;

/// Instances asked for or written at a time.
const CONCURRENCY: usize = 8;

/// Brings the table's account of the instances up to date; says which have vanished with unfinished versions, and what
/// in the account cannot be read. With `dry_run` nothing is written.
pub(crate) async fn account_for(
    checkpoints: &Checkpoints,
    fleet: &Fleet,
    dry_run: bool,
) -> Result<Vec<String>, CallError> {
    let (registered, malformed) = checkpoints.registered().await?;
    let news: Vec<Registered> = arrived(fleet, &registered);
    let missing = registered.iter().filter(|instance| {
        instance.presence != Presence::Closed && !fleet.existing.contains(&instance.resource_id)
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

/// Instances that are selected and not recorded as they are, and those that are back.
fn arrived(fleet: &Fleet, registered: &[Registered]) -> Vec<Registered> {
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
        .filter(|instance| fleet.existing.contains(&instance.resource_id))
        .map(|instance| Registered {
            presence: Presence::There,
            ..instance.clone()
        });
    let mut all: HashMap<String, Registered> = HashMap::new();
    for instance in back.chain(selected) {
        all.insert(instance.resource_id.clone(), instance);
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
    let known = checkpoints.known_since(&instance.resource_id, None).await?;
    let unfinished = known.rows.iter().filter(|row| !row.state.finished());
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
        Presence::Closed
    };
    let instance = Registered {
        presence,
        ..instance.clone()
    };
    Ok((instance, report))
}
