//! The harness keeps its own promises.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tests::world::World;

type Item = HashMap<String, AttributeValue>;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A look with one open file, `since` then.
fn look(instance: usize, at: i64, since: i64) -> Item {
    let open = Item::from([("since".to_owned(), number(since))]);
    Item::from([
        ("pk".to_owned(), text(&format!("I#db-{instance}"))),
        ("sk".to_owned(), text("L#")),
        ("at".to_owned(), number(at)),
        ("watermark".to_owned(), number(7)),
        ("expires_at".to_owned(), number(7)),
        (
            "open".to_owned(),
            AttributeValue::L(vec![AttributeValue::M(open)]),
        ),
    ])
}

#[tokio::test]
async fn aging_moves_recorded_times_of_all_items_and_nothing_else() -> anyhow::Result<()> {
    let world = World::new().await?;
    let put = async |item: Item| {
        let put = world.dynamodb.put_item();
        let put = put.table_name(&world.resources.table).set_item(Some(item));
        put.send().await
    };
    for instance in 0..3 {
        put(look(instance, 9_000_000, 8_000_000)).await?;
    }
    world.age(Duration::from_hours(2)).await?;
    for instance in 0..3 {
        let expected = look(instance, 1_800_000, 800_000);
        let read = world.dynamodb.get_item().table_name(&world.resources.table);
        let key = ["pk", "sk"].map(|part| (part.to_owned(), expected[part].clone()));
        let read = read.set_key(Some(HashMap::from(key))).send().await?;
        assert_eq!(read.item, Some(expected));
    }
    Ok(())
}
