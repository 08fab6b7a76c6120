//! `auditferry enumerate`: from what RDS lists to what is queued and recorded.

// Which instances are meant.
mod selection;
// Every page of every listing.
mod paging;
// Which versions are due.
mod due;
// What is sent and recorded.
mod sending;
// What SQS does not take.
mod refusals;
// Messages that got lost.
mod resending;
// How far everything is finished.
mod watermark;
// Silence never looks as if all were well.
mod silence;
// Instances that are there no more.
mod vanished;
// What is wrong with one stops no other.
mod failures;
// Nothing is new: what a run costs.
mod steady;
// What people and programs read.
mod output;

use anyhow::Context;
use serde_json::Value;
use tests::world::World;

/// Enumerates with these settings; the exit code and the summary.
async fn enumerate(world: &World, with: &[(&str, &str)]) -> anyhow::Result<(Option<i32>, Value)> {
    let ended = world
        .auditferry_with(&["enumerate", "--json"], with)
        .await?;
    Ok((ended.code(), ended.json()?))
}

/// What a summary says of an instance.
fn report<'s>(summary: &'s Value, instance: &str) -> anyhow::Result<&'s Value> {
    let reports = summary.get("instances").and_then(Value::as_array);
    let report = reports
        .into_iter()
        .flatten()
        .find(|report| report.get("instance").and_then(Value::as_str) == Some(instance));
    report.with_context(|| format!("nothing of {instance} in {summary:#}"))
}

/// The texts of a list in a summary or report.
fn texts(value: &Value, list: &str) -> Vec<String> {
    let list = value.get(list).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Whether some text of a list begins like this.
fn says(value: &Value, list: &str, beginning: &str) -> bool {
    texts(value, list)
        .iter()
        .any(|text| text.starts_with(beginning))
}
