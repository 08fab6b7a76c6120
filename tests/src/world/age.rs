//! Time passes: the times that the checkpoint table records move into the past.
//!
//! Tests run with the default durations, such as two hours until a version is quarantined, and wait for none of them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;

use super::World;

type Item = HashMap<String, AttributeValue>;

/// How often an item may change while it is being aged.
const ATTEMPTS: u32 = 20;

/// Whether [`World::age`] moves a number of this name, in milliseconds: `at`, `since`, `not_before`, and all that end in
/// `_at`, `_since` or `_until`.
///
/// So it moves when something was recorded, or shall happen. It does not move what names evidence (`last_written`,
/// `watermark`, `from` and `to` of a gap, anything in a key), nor `expires_at`, which is in seconds and of DynamoDB.
pub fn is_recorded_time(name: &str) -> bool {
    match name {
        "expires_at" => false,
        "at" | "since" | "not_before" => true,
        _ => ["_at", "_since", "_until"]
            .iter()
            .any(|end| name.ends_with(end)),
    }
}

impl World {
    /// Moves all recorded times of all items in the checkpoint table into the past, as [`is_recorded_time`] says.
    ///
    /// Numbers in maps and lists are moved like those of the item itself. Programs may be running: an item that changes
    /// meanwhile is read again. A lease ages, too, so its worker loses it. Messages do not: see [`World::come_back`].
    pub async fn age(&self, by: Duration) -> anyhow::Result<()> {
        self.age_named(by, is_recorded_time).await
    }

    /// Moves all numbers whose name is `aged` into the past, in all items of the checkpoint table.
    pub async fn age_named(&self, by: Duration, aged: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let by = i64::try_from(by.as_millis())?;
        let scan = self.dynamodb.scan().table_name(&self.resources.table);
        let mut items = scan.consistent_read(true).into_paginator().items().send();
        while let Some(item) = items.next().await {
            self.age_item(item?, by, &aged).await?;
        }
        Ok(())
    }

    /// Ages one item. Changes only what ages, and only if it is still as read.
    async fn age_item(
        &self,
        mut item: Item,
        by: i64,
        aged: &impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let key: Item = ["pk", "sk"]
            .into_iter()
            .filter_map(|part| Some((part.to_owned(), item.get(part)?.clone())))
            .collect();
        for _ in 0..ATTEMPTS {
            let changes = changes(&item, by, aged)?;
            if changes.is_empty() {
                return Ok(());
            }
            let mut update = self
                .dynamodb
                .update_item()
                .table_name(&self.resources.table)
                .set_key(Some(key.clone()));
            let (mut sets, mut conditions) = (Vec::new(), Vec::new());
            for (n, (name, new)) in changes.into_iter().enumerate() {
                sets.push(format!("#{n} = :new{n}"));
                conditions.push(format!("#{n} = :old{n}"));
                let old = item.get(&name).context("only what is there ages")?;
                update = update
                    .expression_attribute_values(format!(":old{n}"), old.clone())
                    .expression_attribute_values(format!(":new{n}"), new)
                    .expression_attribute_names(format!("#{n}"), name);
            }
            let update = update
                .update_expression(format!("SET {}", sets.join(", ")))
                .condition_expression(conditions.join(" AND "));
            match update.send().await {
                Ok(_) => return Ok(()),
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {}
                Err(error) => return Err(error.into()),
            }
            let read = self
                .dynamodb
                .get_item()
                .table_name(&self.resources.table)
                .set_key(Some(key.clone()))
                .consistent_read(true);
            match read.send().await?.item {
                Some(read) => item = read,
                None => return Ok(()),
            }
        }
        bail!("an item changed {ATTEMPTS} times while it was being aged: {key:?}")
    }
}

/// The attributes of an item that are others `by` milliseconds later.
fn changes(
    item: &Item,
    by: i64,
    aged: &impl Fn(&str) -> bool,
) -> anyhow::Result<BTreeMap<String, AttributeValue>> {
    let mut changes = BTreeMap::new();
    for (name, value) in item {
        let new = older(name, value, by, aged)?;
        if new != *value {
            changes.insert(name.clone(), new);
        }
    }
    Ok(changes)
}

/// A value of that name, `by` milliseconds later.
fn older(
    name: &str,
    value: &AttributeValue,
    by: i64,
    aged: &impl Fn(&str) -> bool,
) -> anyhow::Result<AttributeValue> {
    Ok(match value {
        AttributeValue::N(number) if aged(name) => {
            let time: i64 = number.parse().with_context(|| format!("{name} {number}"))?;
            AttributeValue::N((time - by).to_string())
        }
        AttributeValue::M(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| anyhow::Ok((name.clone(), older(name, value, by, aged)?)));
            AttributeValue::M(fields.collect::<Result<_, _>>()?)
        }
        AttributeValue::L(values) => {
            let values = values.iter().map(|value| older(name, value, by, aged));
            AttributeValue::L(values.collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_times_age_and_names_of_evidence_do_not() {
        for name in [
            "at",
            "since",
            "empty_since",
            "status_since",
            "failing_since",
            "missing_since",
            "lease_until",
            "not_before",
            "queued_at",
            "quarantined_at",
            "completed_at",
            "gone_at",
            "dismissed_at",
            "last_enumerated_at",
            "last_processed_at",
            "noticed_at",
            "closed_at",
        ] {
            assert!(is_recorded_time(name), "{name}");
        }
        for name in [
            "pk",
            "sk",
            "last_written",
            "watermark",
            "from",
            "to",
            "size",
            "generation",
            "attempts",
            "stat",
            "expires_at",
        ] {
            assert!(!is_recorded_time(name), "{name}");
        }
    }

    #[test]
    fn only_numbers_of_those_names_change_however_deep() -> anyhow::Result<()> {
        let number = |number: &str| AttributeValue::N(number.to_owned());
        let entry = |since: &str| {
            let fields = [("since", number(since)), ("size", number("9"))];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            AttributeValue::M(HashMap::from(fields))
        };
        let item = Item::from([
            ("sk".to_owned(), AttributeValue::S("L#".to_owned())),
            ("at".to_owned(), number("5000")),
            ("closed_at".to_owned(), AttributeValue::S("text".to_owned())),
            ("watermark".to_owned(), number("4000")),
            ("open".to_owned(), AttributeValue::L(vec![entry("3000")])),
        ]);
        let changes = changes(&item, 1000, &is_recorded_time)?;
        let expected = BTreeMap::from([
            ("at".to_owned(), number("4000")),
            ("open".to_owned(), AttributeValue::L(vec![entry("2000")])),
        ]);
        assert_eq!(changes, expected);
        Ok(())
    }
}
