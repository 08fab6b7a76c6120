//! One writer wins, the others see what they lost to, and ranges come in order.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures_util::future::join_all;
use tests::stack::{Resources, Stack};

use super::refusal;

#[tokio::test]
async fn the_table_is_that_of_the_template() -> anyhow::Result<()> {
    let (dynamodb, Resources { table, .. }) = world().await?;
    let described = dynamodb.describe_table().table_name(&table).send().await?;
    let described = described.table.expect("it was just made");
    let keys: Vec<_> = described
        .key_schema()
        .iter()
        .map(|key| (key.attribute_name(), key.key_type().as_str()))
        .collect();
    assert_eq!(keys, [("pk", "HASH"), ("sk", "RANGE")]);
    let expiry = dynamodb
        .describe_time_to_live()
        .table_name(&table)
        .send()
        .await?;
    let expiry = expiry
        .time_to_live_description
        .and_then(|expiry| expiry.attribute_name);
    assert_eq!(expiry.as_deref(), Some("expires_at"));
    Ok(())
}

#[tokio::test]
async fn puts_an_item_only_if_the_condition_holds() -> anyhow::Result<()> {
    let (dynamodb, Resources { table, .. }) = world().await?;
    let put = |owner: &str| {
        let put = dynamodb
            .put_item()
            .table_name(&table)
            .set_item(Some(item("p", "s", owner)));
        put.condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };
    put("first").send().await?;
    let refused = put("second")
        .send()
        .await
        .expect_err("the condition fails")
        .into_service_error();
    assert!(
        refused.is_conditional_check_failed_exception(),
        "{refused:?}"
    );
    let found = match refused {
        PutItemError::ConditionalCheckFailedException(refused) => refused.item,
        other => panic!("{other:?}"),
    };
    assert_eq!(found, Some(item("p", "s", "first")));
    assert_eq!(
        get(&dynamodb, &table, "p", "s").await?,
        Some(item("p", "s", "first"))
    );
    Ok(())
}

#[tokio::test]
async fn updates_an_item_only_if_the_condition_holds() -> anyhow::Result<()> {
    let (dynamodb, Resources { table, .. }) = world().await?;
    dynamodb
        .put_item()
        .table_name(&table)
        .set_item(Some(item("p", "s", "first")))
        .send()
        .await?;
    let update = |sk: &str, from: &str, to: &str| {
        let update = dynamodb
            .update_item()
            .table_name(&table)
            .set_key(Some(key("p", sk)));
        update
            .update_expression("SET #o = :to, generation = if_not_exists(generation, :zero) + :one")
            .condition_expression("#o = :from")
            .expression_attribute_names("#o", "owner")
            .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
            .expression_attribute_values(":to", AttributeValue::S(to.to_owned()))
            .expression_attribute_values(":zero", AttributeValue::N("0".to_owned()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };
    let found = |refused| match refused {
        UpdateItemError::ConditionalCheckFailedException(refused) => refused.item,
        other => panic!("{other:?}"),
    };
    let mut updated = item("p", "s", "second");
    updated.insert("generation".to_owned(), AttributeValue::N("1".to_owned()));

    update("s", "first", "second").send().await?;
    let refused = update("s", "first", "third")
        .send()
        .await
        .expect_err("another owner")
        .into_service_error();
    assert_eq!(found(refused), Some(updated.clone()));
    assert_eq!(get(&dynamodb, &table, "p", "s").await?, Some(updated));

    // A condition on what is not there fails, shows nothing, and makes nothing.
    let refused = update("absent", "first", "second")
        .send()
        .await
        .expect_err("no such row")
        .into_service_error();
    assert_eq!(found(refused), None);
    assert_eq!(get(&dynamodb, &table, "p", "absent").await?, None);
    Ok(())
}

#[tokio::test]
async fn lets_one_of_many_win() -> anyhow::Result<()> {
    let (dynamodb, Resources { table, .. }) = world().await?;
    let puts = (0..16).map(|owner| {
        let put = dynamodb.put_item().table_name(&table).set_item(Some(item(
            "p",
            "s",
            &owner.to_string(),
        )));
        put.condition_expression("attribute_not_exists(pk)").send()
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(puts).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for lost in lost {
        assert_eq!(
            refusal(lost),
            (400, "ConditionalCheckFailedException".to_owned())
        );
    }
    Ok(())
}

#[tokio::test]
async fn queries_ranges_in_order_page_by_page() -> anyhow::Result<()> {
    let (dynamodb, Resources { table, .. }) = world().await?;
    for sk in ["F#3", "M#aurora", "F#1", "F#5", "F#2", "F#4"] {
        dynamodb
            .put_item()
            .table_name(&table)
            .set_item(Some(item("p", sk, "o")))
            .send()
            .await?;
    }
    dynamodb
        .put_item()
        .table_name(&table)
        .set_item(Some(item("other", "F#3", "o")))
        .send()
        .await?;
    let query = |condition: &str, from: &str, to: Option<&str>| {
        let query = dynamodb
            .query()
            .table_name(&table)
            .key_condition_expression(condition);
        let query = query.expression_attribute_values(":pk", AttributeValue::S("p".to_owned()));
        let query = query.expression_attribute_values(":from", AttributeValue::S(from.to_owned()));
        match to {
            Some(to) => query.expression_attribute_values(":to", AttributeValue::S(to.to_owned())),
            None => query,
        }
    };

    let mut sks = Vec::new();
    let mut pages = 0;
    let mut start = None;
    loop {
        let page = query("pk = :pk AND begins_with(sk, :from)", "F#", None)
            .limit(2)
            .set_exclusive_start_key(start);
        let page = page.consistent_read(true).send().await?;
        sks.extend(sort_keys(page.items()));
        pages += 1;
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    assert_eq!((sks.join(" ").as_str(), pages), ("F#1 F#2 F#3 F#4 F#5", 3));

    let between = query("pk = :pk AND sk BETWEEN :from AND :to", "F#2", Some("F#4"))
        .send()
        .await?;
    assert_eq!(sort_keys(between.items()), ["F#2", "F#3", "F#4"]);
    let newest = query("pk = :pk AND sk < :from", "F#4", None)
        .scan_index_forward(false)
        .limit(1)
        .send()
        .await?;
    assert_eq!(sort_keys(newest.items()), ["F#3"]);
    Ok(())
}

async fn world() -> anyhow::Result<(aws_sdk_dynamodb::Client, Resources)> {
    let stack = Stack::shared().await?;
    Ok((
        aws_sdk_dynamodb::Client::new(&stack.sdk_config()),
        Resources::create(stack).await?,
    ))
}

type Item = HashMap<String, AttributeValue>;

fn key(pk: &str, sk: &str) -> Item {
    [("pk", pk), ("sk", sk)]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
        .into()
}

fn item(pk: &str, sk: &str, owner: &str) -> Item {
    let mut item = key(pk, sk);
    item.insert("owner".to_owned(), AttributeValue::S(owner.to_owned()));
    item
}

async fn get(
    dynamodb: &aws_sdk_dynamodb::Client,
    table: &str,
    pk: &str,
    sk: &str,
) -> anyhow::Result<Option<Item>> {
    let get = dynamodb
        .get_item()
        .table_name(table)
        .set_key(Some(key(pk, sk)))
        .consistent_read(true);
    Ok(get.send().await?.item)
}

fn sort_keys(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| item.get("sk")?.as_s().ok().cloned())
        .collect()
}
