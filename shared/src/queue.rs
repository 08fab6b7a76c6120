//! The work queue and its dead-letter queue (SQS).

use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use jiff::Timestamp;

use crate::aws::{Aws, CallError};
use crate::step::{self, Step};

/// The longest that SQS lets a receive wait.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
pub const LONG_POLL: Duration = Duration::from_secs(20);

/// The most messages in one request.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
pub const BATCH: usize = 10;

/// Longest visibility timeout that SQS accepts, counted from the first receive.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
pub const VISIBILITY_MAX: Duration = Duration::from_hours(12);

/// Times that a batch is sent for the sake of entries that SQS answers as failed.
const BATCH_TRIES: u32 = 4;

/// Message attribute of a dead letter: why it is one.
pub const REASON: &str = "reason";

/// Longest reason; SQS counts attributes into a message's size.
const REASON_MAX: usize = 1000;

/// One queue.
#[derive(Debug, Clone)]
pub struct Queue {
    sqs: aws_sdk_sqs::Client,
    poll: aws_sdk_sqs::Client,
    url: String,
}

/// One receipt of one message, ours until its visibility ends.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The same for each delivery of a message.
    pub message_id: String,
    /// What renewing, releasing and deleting need.
    pub receipt: String,
    /// As sent.
    pub body: String,
    /// For a dead letter: why it is one, where the one who put it there said so.
    pub reason: Option<String>,
    /// When it was sent to this queue; for what SQS itself moved here, to the queue that it came from.
    pub sent_at: Option<Timestamp>,
}

/// How many messages a queue holds. SQS calls its own figures approximate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Depth {
    /// Waiting to be received.
    pub visible: u64,
    /// Received and neither deleted nor released.
    pub in_flight: u64,
    /// Sent, not yet to be received.
    pub delayed: u64,
}

impl Depth {
    /// All of them.
    pub fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

impl Queue {
    /// The queue with this URL.
    pub fn new(aws: &Aws, url: String) -> Self {
        Self {
            sqs: aws.sqs.clone(),
            poll: aws.sqs_poll.clone(),
            url,
        }
    }

    /// Sends bodies in batches; `Ok` holds for each body, in order, whether SQS has it. Failed entries are sent again.
    pub async fn send(&self, bodies: &[String]) -> Result<Vec<bool>, CallError> {
        let mut sent = vec![false; bodies.len()];
        for (chunk, sent) in bodies.chunks(BATCH).zip(sent.chunks_mut(BATCH)) {
            for attempt in 1..=BATCH_TRIES {
                self.send_unsent(chunk, sent).await?;
                if sent.iter().all(|sent| *sent) {
                    break;
                }
                if attempt < BATCH_TRIES {
                    tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt)).await;
                }
            }
        }
        Ok(sent)
    }

    /// One batch of at most ten: sends what is not sent and marks what was.
    async fn send_unsent(&self, bodies: &[String], sent: &mut [bool]) -> Result<(), CallError> {
        let mut request = self.sqs.send_message_batch().queue_url(&self.url);
        for (index, body) in bodies
            .iter()
            .enumerate()
            .filter(|(index, _)| sent.get(*index) == Some(&false))
        {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(body)
                .build();
            request = request.entries(entry.expect("id and body are set"));
        }
        let answer = step::take(Step::Send, request.send())
            .await
            .map_err(|error| CallError::new("SendMessageBatch", &error))?;
        for entry in answer.successful() {
            if let Some(sent) = entry
                .id()
                .parse()
                .ok()
                .and_then(|index: usize| sent.get_mut(index))
            {
                *sent = true;
            }
        }
        for failed in answer.failed() {
            tracing::warn!(
                code = failed.code(),
                "SQS did not take a message of a batch: {}",
                failed.message().unwrap_or("no reason given")
            );
        }
        Ok(())
    }

    /// Sends a dead letter: the body unharmed, and why it is one.
    pub async fn send_dead_letter(&self, body: &str, reason: &str) -> Result<(), CallError> {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(sqs_text(reason))
            .build();
        let request = self
            .sqs
            .send_message()
            .queue_url(&self.url)
            .message_body(body);
        let request = request.message_attributes(REASON, value.expect("the data type is set"));
        step::take(Step::SendDeadLetter, request.send())
            .await
            .map(drop)
            .map_err(|error| CallError::new("SendMessage", &error))
    }

    /// Waits up to `wait` (whole seconds) for at most `room` messages, hidden from others for `visibility`.
    pub async fn receive(
        &self,
        room: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Delivery>, CallError> {
        let answer = self
            .poll
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(room.clamp(1, BATCH)).expect("at most ten"))
            .wait_time_seconds(seconds(wait.min(LONG_POLL)))
            .visibility_timeout(seconds(visibility))
            .message_attribute_names(REASON)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|error| CallError::new("ReceiveMessage", &error))?;
        let deliveries = answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(|message| {
                let reason = message
                    .message_attributes
                    .as_ref()
                    .and_then(|all| all.get(REASON))
                    .and_then(|reason| reason.string_value.clone());
                let sent_at = message
                    .attributes
                    .as_ref()
                    .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
                    .and_then(|milliseconds| milliseconds.parse().ok())
                    .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok());
                Some(Delivery {
                    message_id: message.message_id.unwrap_or_default(),
                    receipt: message.receipt_handle?,
                    body: message.body.unwrap_or_default(),
                    reason,
                    sent_at,
                })
            });
        Ok(deliveries.collect())
    }

    /// Hides a message for `visibility` from now; zero gives it back at once.
    pub async fn hide(&self, receipt: &str, visibility: Duration) -> Result<(), CallError> {
        let request = self
            .sqs
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt);
        let request = request.visibility_timeout(seconds(visibility));
        step::take(Step::Hide, request.send())
            .await
            .map(drop)
            .map_err(|error| CallError::new("ChangeMessageVisibility", &error))
    }

    /// Deletes a message: it is settled.
    pub async fn delete(&self, receipt: &str) -> Result<(), CallError> {
        let request = self
            .sqs
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(receipt);
        step::take(Step::Delete, request.send())
            .await
            .map(drop)
            .map_err(|error| CallError::new("DeleteMessage", &error))
    }

    /// Deletes at most ten messages in one request; which of them, in order, SQS did not delete, and why.
    pub async fn delete_batch(
        &self,
        receipts: &[String],
    ) -> Result<Vec<Option<CallError>>, CallError> {
        const OPERATION: &str = "DeleteMessageBatch";
        let entries = receipts.iter().enumerate().map(|(index, receipt)| {
            let entry = DeleteMessageBatchRequestEntry::builder();
            let entry = entry.id(index.to_string()).receipt_handle(receipt);
            entry.build().expect("id and receipt are set")
        });
        let request = self.sqs.delete_message_batch().queue_url(&self.url);
        let request = request.set_entries(Some(entries.collect()));
        let answer = step::take(Step::Delete, request.send())
            .await
            .map_err(|error| CallError::new(OPERATION, &error))?;
        let left = receipts.iter().enumerate().map(|(index, _)| {
            let id = index.to_string();
            if answer.successful().iter().any(|entry| entry.id() == id) {
                return None;
            }
            let failed = answer.failed().iter().find(|entry| entry.id() == id);
            Some(failed.map_or_else(
                || CallError::nonsense(OPERATION, "nothing about one of its messages"),
                |failed| failed_entry(OPERATION, failed),
            ))
        });
        Ok(left.collect())
    }

    /// How many messages it holds.
    pub async fn depth(&self) -> Result<Depth, CallError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        const OPERATION: &str = "GetQueueAttributes";
        let request = self.sqs.get_queue_attributes().queue_url(&self.url);
        let request = request
            .attribute_names(Visible)
            .attribute_names(InFlight)
            .attribute_names(Delayed);
        let answer = request
            .send()
            .await
            .map_err(|error| CallError::new(OPERATION, &error))?;
        let figure = |name: &QueueAttributeName| {
            let figure = answer
                .attributes()
                .and_then(|all| all.get(name))
                .and_then(|figure| figure.parse().ok());
            figure.ok_or_else(|| CallError::nonsense(OPERATION, format!("no number for {name}")))
        };
        Ok(Depth {
            visible: figure(&Visible)?,
            in_flight: figure(&InFlight)?,
            delayed: figure(&Delayed)?,
        })
    }
}

/// What an entry of a batch has come to, with the status that the request would have had alone.
fn failed_entry(operation: &'static str, failed: &BatchResultErrorEntry) -> CallError {
    let status = if failed.sender_fault() { 400 } else { 500 };
    let detail = failed.message().unwrap_or_else(|| failed.code());
    CallError::from_parts(operation, status, Some(failed.code().to_owned()), detail)
}

/// Whole seconds, rounded up, as far as SQS accepts them.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.min(VISIBILITY_MAX).as_millis().div_ceil(1000);
    i32::try_from(whole).expect("at most 12 h")
}

/// Text that SQS takes as an attribute: short, not empty, only characters of XML 1.0.
fn sqs_text(text: &str) -> String {
    let allowed = |c: char| {
        if matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
        {
            c
        } else {
            '\u{FFFD}'
        }
    };
    let text: String = text.chars().map(allowed).take(REASON_MAX).collect();
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility_is_rounded_up_and_capped() {
        for (given, sent) in [
            (0, 0),
            (1, 1),
            (999, 1),
            (1000, 1),
            (1001, 2),
            (u64::MAX, 43_200),
        ] {
            assert_eq!(seconds(Duration::from_millis(given)), sent);
        }
    }

    #[test]
    fn a_reason_is_text_that_sqs_takes() {
        assert_eq!(sqs_text("a\u{0}b\u{FFFF}c"), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(sqs_text(""), "unknown");
        assert_eq!(sqs_text(&"x".repeat(5000)).len(), REASON_MAX);
    }
}
