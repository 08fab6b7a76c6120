//! The evaluator by which the model applies production's writes, held to what a table does.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::checkpoint::transition::{self, Transition};
use shared::checkpoint::{Claim, Content, Item, Mark, Presence, Proof, Registered};
use shared::instance::Instance;
use shared::log_file::{Family, LogFile, Version};
use shared::message::Message;
use shared::step::Step;
use tests::dynamodb;
use tests::stack::{Resources, Stack};
use tests::world::NOON;

/// Of both sides: what the item is afterwards, if the condition held.
type Written = Option<Item>;

#[tokio::test]
async fn every_write_does_to_every_row_what_the_evaluator_says() -> anyhow::Result<()> {
    let stack = Stack::shared().await?;
    let table = Resources::create(stack).await?.table;
    let dynamodb = aws_sdk_dynamodb::Client::new(&stack.sdk_config());
    let writes = writes();
    let rows = rows(&writes);
    let cases = rows.iter().enumerate().flat_map(|(row, item)| {
        let all = writes.iter().enumerate();
        all.map(move |(write, transition)| (format!("{row}-{write}"), item, transition))
    });
    let refused: Vec<bool> = stream::iter(cases)
        .map(|(pk, item, transition)| {
            let (dynamodb, table) = (&dynamodb, &table);
            async move {
                let item = item.clone().map(|item| keyed(item, &pk));
                let said = dynamodb::write(&pk, "row", item.as_ref(), transition);
                let said = said.map_err(anyhow::Error::msg)?;
                let done = on_the_wire(dynamodb, table, &pk, item.clone(), transition).await?;
                assert_eq!(said, done, "{transition:#?} of {item:#?}");
                anyhow::Ok(done.is_none())
            }
        })
        .buffer_unordered(16)
        .try_collect()
        .await?;
    let refusals = refused.iter().filter(|refused| **refused).count();
    println!(
        "{} rows × {} writes: {refusals} refused",
        rows.len(),
        writes.len()
    );
    assert!(refusals * 4 > refused.len() && refusals * 4 < refused.len() * 3);
    Ok(())
}

/// Every write that there is, in the shapes that it can take.
fn writes() -> Vec<Transition> {
    let now = Timestamp::from_millisecond(NOON).expect("a time of day");
    let (soon, later) = (Duration::from_mins(1), Duration::from_mins(5));
    let message = message();
    let claim = |generation, owner: &str| Claim {
        message: message.clone(),
        generation,
        attempts: 2,
        deadline: tokio::time::Instant::now(),
        owner: owner.to_owned(),
    };
    let proof = |keys: &[&str], content| Proof {
        reason: "shipped",
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        etag: Some("etag".to_owned()),
        content,
        stored_bytes: Some(1),
    };
    let content = Content {
        sha256: "00".to_owned(),
        raw_bytes: 3,
        lines: 1,
    };
    let mark = Mark {
        resource_id: "db-1".to_owned(),
        instance: "instance-1".to_owned(),
        cluster: "cluster".to_owned(),
        family: Family::Aurora,
        watermark: None,
        last_processed_at: None,
        last_enumerated_at: now,
        listed: 1,
    };
    let registered = |presence| Registered {
        resource_id: "db-1".to_owned(),
        name: "instance-1".to_owned(),
        cluster: "cluster".to_owned(),
        presence,
    };
    let writes = vec![
        transition::queued(&message, now),
        transition::resent(now, soon),
        transition::claimed(&message, "one", now, soon),
        transition::claimed(&message, "other", now + later, soon),
        transition::renewed(&claim(1, "one"), now, later),
        transition::released(&claim(1, "one"), now, "why", true),
        transition::released(&claim(2, "other"), now, "why", false),
        transition::quarantined(&claim(1, "one"), now, "why"),
        transition::quarantined(&claim(1, "other"), now, "why"),
        transition::gone(&claim(1, "one"), now, "why"),
        transition::complete(&message, 1, 1, &proof(&["key"], None), now),
        transition::complete(
            &message,
            1,
            1,
            &proof(&["key", "other"], Some(content)),
            now,
        ),
        transition::requeued(now, u32::MAX),
        transition::requeued(now, 1),
        transition::dismissed(1, now, "why"),
        transition::reopened(1, now, "why"),
        transition::enumerated(&mark, None),
        transition::enumerated(&mark, Some(now)),
        transition::enumerated(&mark, Some(now + later)),
        transition::registered(&registered(Presence::There)),
        transition::registered(&registered(Presence::Vanished)),
    ];
    let (first, last) = (Step::RecordQueued, Step::Reopen);
    for step in Step::ALL
        .iter()
        .filter(|step| **step >= first && **step <= last)
    {
        let of_the_table = !matches!(
            step,
            Step::Hide
                | Step::CreateUpload
                | Step::UploadPart
                | Step::CompleteUpload
                | Step::PutObject
                | Step::AbortUpload
                | Step::Delete
                | Step::SendDeadLetter
        );
        let there = writes.iter().any(|write| write.step == *step);
        assert_eq!(there, of_the_table, "{step:?}");
    }
    writes
}

/// No row, and every row to which up to three writes lead.
fn rows(writes: &[Transition]) -> Vec<Option<Item>> {
    let mut rows: Vec<Option<Item>> = vec![None];
    for _ in 0..3 {
        for row in rows.clone() {
            for write in writes {
                // What a row of another kind would come to, no reader could say.
                let of_a_version = row.as_ref().is_none_or(|item| item.contains_key("state"));
                let row_write = !matches!(write.step, Step::RecordEnumerated | Step::Register);
                let after = dynamodb::write("pk", "row", row.as_ref(), write).expect("understood");
                if row.is_none() || of_a_version == row_write {
                    let alike =
                        |known: &Option<Item>| shape(known.as_ref()) == shape(after.as_ref());
                    if !rows.iter().any(alike) {
                        rows.push(after);
                    }
                }
            }
        }
    }
    rows
}

/// What tells rows from each other: what conditions read, and which attributes there are.
fn shape(item: Option<&Item>) -> Vec<(&String, Option<&AttributeValue>)> {
    let read = [
        "state",
        "generation",
        "owner",
        "lease_until",
        "requeues",
        "watermark",
    ];
    let mut shape: Vec<_> = item
        .into_iter()
        .flatten()
        .map(|(name, value)| (name, Some(value).filter(|_| read.contains(&name.as_str()))))
        .collect();
    shape.sort_by_key(|(name, _)| *name);
    shape
}

async fn on_the_wire(
    dynamodb: &aws_sdk_dynamodb::Client,
    table: &str,
    pk: &str,
    item: Option<Item>,
    transition: &Transition,
) -> anyhow::Result<Written> {
    if let Some(item) = item {
        let put = dynamodb.put_item().table_name(table).set_item(Some(item));
        put.send().await?;
    }
    let names: HashMap<String, String> = transition
        .attributes()
        .map(|name| (format!("#{name}"), name.to_owned()))
        .collect();
    let values = transition.values.iter().cloned();
    let values = values.map(|(name, value)| (format!(":{name}"), value));
    let update = dynamodb
        .update_item()
        .table_name(table)
        .set_key(Some(keyed(Item::new(), pk)))
        .update_expression(&transition.update)
        .set_condition_expression(transition.condition.map(str::to_owned))
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(Some(values.collect()))
        .return_values(ReturnValue::AllNew);
    match update.send().await {
        Ok(done) => Ok(done.attributes),
        Err(error) => {
            let error = error.into_service_error();
            let refused = error.is_conditional_check_failed_exception();
            if refused { Ok(None) } else { Err(error.into()) }
        }
    }
}

fn keyed(mut item: Item, pk: &str) -> Item {
    item.insert("pk".to_owned(), AttributeValue::S(pk.to_owned()));
    item.insert("sk".to_owned(), AttributeValue::S("row".to_owned()));
    item
}

fn message() -> Message {
    let name = || "name".to_owned();
    Message {
        instance: Instance {
            resource_id: "db-1".to_owned(),
            name: name(),
            cluster: name(),
            account: name(),
            region: name(),
        },
        file: LogFile {
            name: "audit/audit.log.0.2024-10-01-12-00.0".to_owned(),
            version: Version::new(NOON, 1000).expect("a time and a size"),
            twins: 1,
        },
    }
}
