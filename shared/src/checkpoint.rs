//! What is known of each version: the checkpoint table (DynamoDB). Each transition is one conditional write.
//!
//! ```text
//! (none) ── sent, then recorded ──► Queued ── claim: generation+1, attempts+1 ──► Leased ── S3 confirmed ──► Complete
//!                                     ▲ └──────────── release (same generation) ─────┘ ├── RDS lost it ──► Gone
//!                                     └── requeue: generation+1 ── Quarantined ◄───────┘ DLQ copy first, then the row
//! ```

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use crate::aws::{Aws, CallError};

use crate::message::Message;

// What a worker does to a row.
mod claim;

// How rows are written.
mod row;

pub use claim::{Claim, Claimed, Content, Proof};
use row::{Item, MARK, Malformed, VERSION, describe, number, partition_key, span, text, time};
pub use row::{Mark, Row, State};

/// The checkpoint table.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
}

/// What became of a requeue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// The row was quarantined and is Queued now.
    Reset,
    /// The row was not quarantined: it is in this state, untouched.
    Untouched(State),
    /// There is no row.
    Absent,
}

/// What the table knows of one instance.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// One per family that it ever had.
    pub marks: Vec<Mark>,
    /// All versions since the earliest watermark, less the overlap.
    pub rows: Vec<Row>,
    /// Rows that this program did not write, or that somebody changed.
    pub malformed: Vec<String>,
}

impl Known {
    /// From when on the rows are all there, and so from when on to list: the earliest watermark, less the overlap.
    pub fn since(&self, overlap: Duration) -> Option<Timestamp> {
        let earliest = self.marks.iter().map(|mark| mark.watermark).min()?;
        earliest.and_then(|watermark| watermark.checked_sub(overlap).ok())
    }
}

/// One item of the table.
#[derive(Debug)]
pub enum Entry {
    /// Of a version.
    Row(Row),
    /// A watermark.
    Mark(Mark),
}

/// What came of a conditional write.
enum Written {
    /// Done; the item as it is now.
    Now(Item),
    /// The condition did not hold; the item as it is, if there is one.
    Refused(Option<Item>),
}

impl Checkpoints {
    /// The table of that name.
    pub fn new(aws: &Aws, table: String) -> Self {
        Self {
            dynamodb: aws.dynamodb.clone(),
            table,
        }
    }

    /// Records that a version's message was sent. Does nothing if a row is there already: a worker may have been faster.
    pub async fn record_queued(&self, message: &Message, now: Timestamp) -> Result<(), CallError> {
        let mut values = describe(message);
        values.extend([
            ("state", text(State::Queued.as_str())),
            ("generation", number(0)),
            ("attempts", number(0)),
            ("queued_at", time(now)),
        ]);
        let update = format!("SET {}", assignments(&values));
        self.update(message, &update, "attribute_not_exists(#pk)", values)
            .await
            .map(drop)
    }

    /// Records that an unfinished version's message was sent again, and when it would be stale next.
    pub async fn record_resent(
        &self,
        message: &Message,
        now: Timestamp,
        resend_after: Duration,
    ) -> Result<(), CallError> {
        let update = "SET #queued_at = :queued_at, #resend_after = :resend_after";
        let values = vec![
            ("queued_at", time(now)),
            ("resend_after", span(resend_after)),
            ("queued", text(State::Queued.as_str())),
            ("leased", text(State::Leased.as_str())),
        ];
        self.update(message, update, "#state IN (:queued, :leased)", values)
            .await
            .map(drop)
    }

    /// Makes a quarantined version Queued again, with no attempts and a new generation. Its message must be sent next.
    pub async fn requeue(&self, message: &Message) -> Result<Requeued, CallError> {
        let update = "SET #state = :queued, #queued_at = :now, #generation = #generation + :one, #attempts = :zero, \
                      #requeues = if_not_exists(#requeues, :zero) + :one REMOVE #resend_after, #quarantined_at";
        let values = vec![
            ("queued", text(State::Queued.as_str())),
            ("quarantined", text(State::Quarantined.as_str())),
            ("now", time(Timestamp::now())),
            ("zero", number(0)),
            ("one", number(1)),
        ];
        Ok(
            match self
                .update(message, update, "#state = :quarantined", values)
                .await?
            {
                Written::Now(_) => Requeued::Reset,
                Written::Refused(Some(item)) => {
                    Requeued::Untouched(Row::read(&item).map_err(malformed)?.state)
                }
                Written::Refused(None) => Requeued::Absent,
            },
        )
    }

    /// Where a version stands; `None` if there is no row.
    pub async fn state(&self, message: &Message) -> Result<Option<State>, CallError> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .consistent_read(true);
        let request = request
            .key("pk", text(partition_key(&message.instance.resource_id)))
            .key("sk", text(message.file.sort_key()));
        let answer = request
            .send()
            .await
            .map_err(|error| CallError::new("GetItem", &error))?;
        answer
            .item()
            .map(|item| Row::read(item).map(|row| row.state).map_err(malformed))
            .transpose()
    }

    /// Records an enumeration of an instance; with `watermark`, moves it there. It never moves back.
    pub async fn record_enumerated(
        &self,
        mark: &Mark,
        watermark: Option<Timestamp>,
    ) -> Result<(), CallError> {
        let mut values = vec![
            ("instance", text(&mark.instance)),
            ("cluster", text(&mark.cluster)),
            ("last_enumerated_at", time(mark.last_enumerated_at)),
            ("listed", number(mark.listed)),
        ];
        if let Some(watermark) = watermark {
            values.extend([
                ("watermark", time(watermark)),
                ("last_processed_at", time(mark.last_enumerated_at)),
            ]);
        }
        let update = format!("SET {}", assignments(&values));
        let condition =
            watermark.map(|_| "attribute_not_exists(#watermark) OR #watermark <= :watermark");
        let sort_key = format!("{MARK}{}", mark.family);
        // Refused: another run has moved it further.
        self.update_item(
            partition_key(&mark.resource_id),
            sort_key,
            &update,
            condition,
            values,
        )
        .await
        .map(drop)
    }

    /// Reads an instance's watermarks and, newest first, its versions back to the earliest watermark less `overlap`.
    pub async fn known(&self, resource_id: &str, overlap: Duration) -> Result<Known, CallError> {
        let mut known = Known::default();
        let mut start = None;
        loop {
            let request = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .scan_index_forward(false);
            let request = request
                .key_condition_expression("#pk = :pk")
                .expression_attribute_names("#pk", "pk");
            let request = request
                .expression_attribute_values(":pk", text(partition_key(resource_id)))
                .set_exclusive_start_key(start);
            let page = request
                .send()
                .await
                .map_err(|error| CallError::new("Query", &error))?;
            for item in page.items() {
                match read(item) {
                    Ok(Some(Entry::Mark(mark))) => known.marks.push(mark),
                    Ok(Some(Entry::Row(row))) => known.rows.push(row),
                    Ok(None) => {}
                    Err(malformed) => known.malformed.push(malformed.to_string()),
                }
            }
            start = page.last_evaluated_key;
            let oldest = known
                .rows
                .last()
                .map(|row| row.message.file.version.last_written);
            let enough = known
                .since(overlap)
                .zip(oldest)
                .is_some_and(|(since, oldest)| oldest < since);
            if start.is_none() || enough {
                return Ok(known);
            }
        }
    }

    /// Shows every item of the table to `see`, page by page, in no order.
    pub async fn each(
        &self,
        mut see: impl FnMut(Result<Entry, Malformed>),
    ) -> Result<(), CallError> {
        let mut start = None;
        loop {
            let request = self
                .dynamodb
                .scan()
                .table_name(&self.table)
                .set_exclusive_start_key(start);
            let page = request
                .send()
                .await
                .map_err(|error| CallError::new("Scan", &error))?;
            page.items()
                .iter()
                .filter_map(|item| read(item).transpose())
                .for_each(&mut see);
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    async fn update(
        &self,
        message: &Message,
        update: &str,
        condition: &str,
        values: Vec<(&'static str, AttributeValue)>,
    ) -> Result<Written, CallError> {
        let partition = partition_key(&message.instance.resource_id);
        self.update_item(
            partition,
            message.file.sort_key(),
            update,
            Some(condition),
            values,
        )
        .await
    }

    async fn update_item(
        &self,
        partition_key: String,
        sort_key: String,
        update: &str,
        condition: Option<&str>,
        values: Vec<(&'static str, AttributeValue)>,
    ) -> Result<Written, CallError> {
        let mut request = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("pk", text(partition_key))
            .key("sk", text(sort_key))
            .update_expression(update)
            .set_condition_expression(condition.map(str::to_owned))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // Every attribute goes by a placeholder, since `state`, `name` and `owner` are reserved words.
        for name in placeholders(update).chain(placeholders(condition.unwrap_or_default())) {
            request = request.expression_attribute_names(format!("#{name}"), name);
        }
        for (name, value) in values {
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        match request.send().await {
            Ok(answer) => Ok(Written::Now(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Written::Refused(refused.item().cloned()))
                }
                _ => Err(CallError::new("UpdateItem", &error)),
            },
        }
    }
}

fn read(item: &Item) -> Result<Option<Entry>, Malformed> {
    let sort_key = item
        .get("sk")
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
        .unwrap_or_default();
    if sort_key.starts_with(MARK) {
        Mark::read(item).map(Entry::Mark).map(Some)
    } else if sort_key.starts_with(VERSION) {
        Row::read(item).map(Entry::Row).map(Some)
    } else {
        Ok(None) // of a newer version of this program
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: Malformed) -> CallError {
    CallError::nonsense("the checkpoint table", error.to_string())
}

/// `#a = :a, #b = :b`
fn assignments(values: &[(&'static str, AttributeValue)]) -> String {
    let each: Vec<String> = values
        .iter()
        .map(|(name, _)| format!("#{name} = :{name}"))
        .collect();
    each.join(", ")
}

/// The attribute names behind the `#` of an expression.
fn placeholders(expression: &str) -> impl Iterator<Item = &str> {
    let word_end = |part: &str| {
        part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(part.len())
    };
    expression
        .split('#')
        .skip(1)
        .filter_map(move |part| part.get(..word_end(part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_file::Family;

    #[test]
    fn placeholders_are_found() {
        let found: Vec<&str> =
            placeholders("#state IN (:queued) OR (#a_b < :now AND attribute_not_exists(#pk))")
                .collect();
        assert_eq!(found, ["state", "a_b", "pk"]);
        assert_eq!(placeholders("nothing").count(), 0);
    }

    #[test]
    fn watermarks_say_from_when_on_rows_are_known() {
        let mark = |watermark: Option<i64>| Mark {
            resource_id: String::new(),
            instance: String::new(),
            cluster: String::new(),
            family: Family::Other,
            watermark: watermark.map(|ms| Timestamp::from_millisecond(ms).unwrap()),
            last_processed_at: None,
            last_enumerated_at: Timestamp::UNIX_EPOCH,
            listed: 0,
        };
        let since = |marks: &[Option<i64>]| {
            let known = Known {
                marks: marks.iter().map(|ms| mark(*ms)).collect(),
                ..Known::default()
            };
            known
                .since(Duration::from_secs(1))
                .map(Timestamp::as_millisecond)
        };
        assert_eq!(since(&[]), None);
        assert_eq!(since(&[Some(9000)]), Some(8000));
        assert_eq!(since(&[Some(9000), Some(5000)]), Some(4000));
        assert_eq!(since(&[Some(9000), None]), None);
    }
}
