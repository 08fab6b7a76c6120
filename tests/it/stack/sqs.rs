//! Messages hide, come back, are counted, and keep what is written on them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, DeleteMessageBatchResultEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use tests::stack::{Resources, Stack};

/// Polls of 1 s each until an expected message must have come.
const POLLS: usize = 20;

/// Longer than any test.
const HIDDEN: Duration = Duration::from_mins(10);

#[tokio::test]
async fn hides_what_it_hands_out_and_counts_the_receipts() -> anyhow::Result<()> {
    let (sqs, resources) = world().await?;
    let queue = &resources.queue_url;
    let entry = |id: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(format!("body of {id}"))
    };
    let sent = sqs
        .send_message_batch()
        .queue_url(queue)
        .entries(entry("a").build()?)
        .entries(entry("b").build()?);
    let sent = sent.send().await?;
    assert_eq!((sent.successful().len(), sent.failed().len()), (2, 0));

    let mut bodies = Vec::new();
    let mut last = None;
    while bodies.len() < 2 {
        for message in receive(&sqs, queue, HIDDEN).await? {
            assert_eq!(receive_count(&message), "1");
            bodies.extend(message.body.clone());
            last = Some(message);
        }
    }
    bodies.sort();
    assert_eq!(bodies, ["body of a", "body of b"]);
    assert_eq!(
        count(&sqs, queue).await?,
        Counts {
            visible: 0,
            in_flight: 2,
            delayed: 0
        }
    );

    // Released at once, it comes back at once, to be told from the first time by its count and its receipt.
    let last = last.expect("there were two");
    let release = sqs
        .change_message_visibility()
        .queue_url(queue)
        .set_receipt_handle(last.receipt_handle.clone());
    release.visibility_timeout(0).send().await?;
    let again = receive(&sqs, queue, HIDDEN).await?;
    let [again] = again.as_slice() else {
        panic!("one message was released: {again:?}")
    };
    assert_eq!(again.message_id, last.message_id);
    assert_ne!(again.receipt_handle, last.receipt_handle);
    assert_eq!(receive_count(again), "2");

    sqs.delete_message()
        .queue_url(queue)
        .set_receipt_handle(again.receipt_handle.clone())
        .send()
        .await?;
    assert_eq!(
        count(&sqs, queue).await?,
        Counts {
            visible: 0,
            in_flight: 1,
            delayed: 0
        }
    );
    Ok(())
}

#[tokio::test]
async fn gives_back_what_nobody_renewed() -> anyhow::Result<()> {
    let stack = Stack::shared().await?;
    let sqs = aws_sdk_sqs::Client::new(&stack.sdk_config());
    let Resources { queue_url, .. } =
        Resources::create_with_visibility(stack, Duration::from_secs(1)).await?;
    sqs.send_message()
        .queue_url(&queue_url)
        .message_body("body")
        .send()
        .await?;

    // The queue's own visibility, since this receive names none.
    let first = sqs
        .receive_message()
        .queue_url(&queue_url)
        .wait_time_seconds(1)
        .send()
        .await?;
    assert_eq!(first.messages().len(), 1);
    // The longer one of this receive.
    let second = receive(&sqs, &queue_url, HIDDEN).await?;
    assert_eq!(second.len(), 1);
    assert_eq!(
        count(&sqs, &queue_url).await?,
        Counts {
            visible: 0,
            in_flight: 1,
            delayed: 0
        }
    );

    // A renewal is counted from now, so it may also shorten.
    let renew = sqs
        .change_message_visibility()
        .queue_url(&queue_url)
        .visibility_timeout(1);
    renew
        .set_receipt_handle(
            second
                .into_iter()
                .next()
                .and_then(|message| message.receipt_handle),
        )
        .send()
        .await?;
    let third = receive(&sqs, &queue_url, HIDDEN).await?;
    assert_eq!(third.iter().map(receive_count).collect::<Vec<_>>(), ["3"]);
    Ok(())
}

#[tokio::test]
async fn counts_visible_hidden_and_delayed_messages() -> anyhow::Result<()> {
    let (sqs, Resources { queue_url, .. }) = world().await?;
    for delay in [0, 0, 0, 900] {
        sqs.send_message()
            .queue_url(&queue_url)
            .message_body("body")
            .delay_seconds(delay)
            .send()
            .await?;
    }
    let receive = sqs
        .receive_message()
        .queue_url(&queue_url)
        .max_number_of_messages(1)
        .wait_time_seconds(5);
    assert_eq!(receive.send().await?.messages().len(), 1);
    assert_eq!(
        count(&sqs, &queue_url).await?,
        Counts {
            visible: 2,
            in_flight: 1,
            delayed: 1
        }
    );
    Ok(())
}

#[tokio::test]
async fn keeps_the_attributes_of_a_dead_letter() -> anyhow::Result<()> {
    let (
        sqs,
        Resources {
            dead_letter_queue_url,
            ..
        },
    ) = world().await?;
    let reason = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("déjà vu: 5 attempts")
        .build()?;
    let send = sqs
        .send_message()
        .queue_url(&dead_letter_queue_url)
        .message_body("body");
    send.message_attributes("reason", reason.clone())
        .send()
        .await?;
    let received = receive(&sqs, &dead_letter_queue_url, HIDDEN).await?;
    let attributes = received
        .first()
        .and_then(|message| message.message_attributes.clone());
    assert_eq!(
        attributes,
        Some(HashMap::from([("reason".to_owned(), reason)]))
    );
    Ok(())
}

#[tokio::test]
async fn answers_a_batch_that_half_fails_with_success() -> anyhow::Result<()> {
    let (sqs, Resources { queue_url, .. }) = world().await?;
    sqs.send_message()
        .queue_url(&queue_url)
        .message_body("body")
        .send()
        .await?;
    let received = receive(&sqs, &queue_url, HIDDEN).await?;
    let receipt = received
        .first()
        .and_then(Message::receipt_handle)
        .expect("a message was sent");
    let entry = |id: &str, receipt: &str| {
        DeleteMessageBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(receipt)
            .build()
    };
    let delete = sqs.delete_message_batch().queue_url(&queue_url);
    let answer = delete
        .entries(entry("good", receipt)?)
        .entries(entry("bad", "no receipt")?)
        .send()
        .await?;
    assert_eq!(
        answer
            .successful()
            .iter()
            .map(DeleteMessageBatchResultEntry::id)
            .collect::<Vec<_>>(),
        ["good"]
    );
    let failed: Vec<_> = answer
        .failed()
        .iter()
        .map(|entry| (entry.id(), entry.code(), entry.sender_fault()))
        .collect();
    assert_eq!(failed, [("bad", "ReceiptHandleIsInvalid", true)]);
    Ok(())
}

#[tokio::test]
async fn queues_are_those_of_the_template() -> anyhow::Result<()> {
    let (
        sqs,
        Resources {
            queue_url,
            dead_letter_queue_url,
            ..
        },
    ) = world().await?;
    let all = |queue: &str| {
        sqs.get_queue_attributes()
            .queue_url(queue)
            .attribute_names(QueueAttributeName::All)
            .send()
    };
    let attributes = all(&queue_url).await?.attributes.unwrap_or_default();
    assert_eq!(
        attributes
            .get(&QueueAttributeName::VisibilityTimeout)
            .map(String::as_str),
        Some("120")
    );
    let dead_letters = all(&dead_letter_queue_url)
        .await?
        .attributes
        .unwrap_or_default();
    assert_eq!(
        dead_letters
            .get(&QueueAttributeName::MessageRetentionPeriod)
            .map(String::as_str),
        Some("1209600")
    );
    let redrive: serde_json::Value =
        serde_json::from_str(&attributes[&QueueAttributeName::RedrivePolicy])?;
    let expected = dead_letters
        .get(&QueueAttributeName::QueueArn)
        .map(String::as_str);
    assert_eq!(
        (
            redrive["deadLetterTargetArn"].as_str(),
            redrive["maxReceiveCount"].as_u64()
        ),
        (expected, Some(1000))
    );
    Ok(())
}

async fn world() -> anyhow::Result<(aws_sdk_sqs::Client, Resources)> {
    let stack = Stack::shared().await?;
    Ok((
        aws_sdk_sqs::Client::new(&stack.sdk_config()),
        Resources::create(stack).await?,
    ))
}

/// Receives something, hidden for as long as said.
async fn receive(
    sqs: &aws_sdk_sqs::Client,
    queue: &str,
    hidden: Duration,
) -> anyhow::Result<Vec<Message>> {
    for _ in 0..POLLS {
        let receive = sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10)
            .wait_time_seconds(1);
        let receive = receive.visibility_timeout(i32::try_from(hidden.as_secs())?);
        let receive = receive
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let messages = receive
            .message_attribute_names("All")
            .send()
            .await?
            .messages
            .unwrap_or_default();
        if !messages.is_empty() {
            return Ok(messages);
        }
    }
    anyhow::bail!(
        "{queue} had no message for {POLLS} s; it has {:?}",
        count(sqs, queue).await?
    )
}

fn receive_count(message: &Message) -> &str {
    let attributes = message.attributes.as_ref();
    let count =
        attributes.and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    count.map(String::as_str).unwrap_or_default()
}

#[derive(Debug, PartialEq)]
struct Counts {
    visible: u32,
    in_flight: u32,
    delayed: u32,
}

async fn count(sqs: &aws_sdk_sqs::Client, queue: &str) -> anyhow::Result<Counts> {
    use QueueAttributeName::{
        ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
        ApproximateNumberOfMessagesNotVisible as InFlight,
    };
    let names = Some(vec![Visible, InFlight, Delayed]);
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(queue)
        .set_attribute_names(names)
        .send()
        .await?;
    let attributes = attributes.attributes.unwrap_or_default();
    let number = |name| attributes.get(&name).map_or("", String::as_str).parse();
    Ok(Counts {
        visible: number(Visible)?,
        in_flight: number(InFlight)?,
        delayed: number(Delayed)?,
    })
}
