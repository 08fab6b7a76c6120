//! What is known of each version: the checkpoint table (DynamoDB). Each transition is one conditional write.

use std::time::Duration;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use crate::aws::{Aws, CallError};
use crate::message::Message;
use crate::step;

// Which writes there are, and when each may be made.
pub mod transition;

// What a worker does to a row.
mod claim;

// How rows are written.
mod row;

pub use claim::{Claim, Claimed, Content, Proof};
use row::{INSTANCE, INSTANCES, MARK, VERSION, partition_key, text};
pub use row::{Item, Malformed, Mark, Presence, Registered, Row, State};
use transition::Transition;

/// Items on the first page of what is known of an instance. A run with nothing new needs no more; without a limit each run
/// would read, and pay for, 1 MB of rows that were finished long ago.
const FIRST_PAGE: i32 = 50;

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
    /// The row is quarantined, and was put back this many times already.
    TooOften(u32),
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
#[expect(clippy::large_enum_variant, reason = "nearly all are rows")]
pub enum Entry {
    /// Of a version.
    Row(Row),
    /// A watermark.
    Mark(Mark),
    /// An instance.
    Instance(Registered),
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
        self.update(message, transition::queued(message, now))
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
        self.update(message, transition::resent(now, resend_after))
            .await
            .map(drop)
    }

    /// Makes a quarantined version Queued again, with no attempts and a new generation, unless that was done `most` times
    /// already. Its message must be sent next.
    pub async fn requeue(&self, message: &Message, most: u32) -> Result<Requeued, CallError> {
        let requeued = transition::requeued(Timestamp::now(), most);
        Ok(match self.update(message, requeued).await? {
            Written::Now(_) => Requeued::Reset,
            Written::Refused(Some(item)) => {
                Requeued::refused(&Row::read(&item).map_err(malformed)?)
            }
            Written::Refused(None) => Requeued::Absent,
        })
    }

    /// Gives a version up, if it still is of that generation; `false` if not, if it is complete, or somebody is at work
    /// on it.
    pub async fn dismiss(
        &self,
        message: &Message,
        generation: u64,
        reason: &str,
    ) -> Result<bool, CallError> {
        let dismissed = transition::dismissed(generation, Timestamp::now(), reason);
        let written = self.update(message, dismissed).await?;
        Ok(matches!(written, Written::Now(_)))
    }

    /// Has a finished version shipped again, if it still is of that generation; `false` if not. Its message must be sent
    /// next.
    pub async fn reopen(
        &self,
        message: &Message,
        generation: u64,
        reason: &str,
    ) -> Result<bool, CallError> {
        let reopened = transition::reopened(generation, Timestamp::now(), reason);
        let written = self.update(message, reopened).await?;
        Ok(matches!(written, Written::Now(_)))
    }

    /// What is known of a version; `None` if there is no row.
    pub async fn row(&self, message: &Message) -> Result<Option<Row>, CallError> {
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
            .map(|item| Row::read(item).map_err(malformed))
            .transpose()
    }

    /// Records an enumeration of an instance; with `watermark`, moves it there. It never moves back.
    pub async fn record_enumerated(
        &self,
        mark: &Mark,
        watermark: Option<Timestamp>,
    ) -> Result<(), CallError> {
        // Refused: another run has moved it further.
        self.write(
            partition_key(&mark.resource_id),
            format!("{MARK}{}", mark.family),
            transition::enumerated(mark, watermark),
        )
        .await
        .map(drop)
    }

    /// Records that there is an instance, or that it is not there any more.
    pub async fn register(&self, instance: &Registered) -> Result<(), CallError> {
        self.write(
            INSTANCES.to_owned(),
            format!("{INSTANCE}{}", instance.resource_id),
            transition::registered(instance),
        )
        .await
        .map(drop)
    }

    /// Every instance that was ever enumerated, and what is wrong with the table's account of it.
    pub async fn registered(&self) -> Result<(Vec<Registered>, Vec<Malformed>), CallError> {
        let (mut instances, mut malformed) = (Vec::new(), Vec::new());
        let mut start = None;
        loop {
            let page = self.query(INSTANCES.to_owned(), start, None).await?;
            for item in page.items() {
                match Registered::read(item) {
                    Ok(instance) => instances.push(instance),
                    Err(unreadable) => malformed.push(unreadable),
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok((instances, malformed));
            }
        }
    }

    /// Reads an instance's watermarks and its versions back to the earliest watermark less `overlap`.
    pub async fn known(&self, resource_id: &str, overlap: Duration) -> Result<Known, CallError> {
        self.known_until(resource_id, |_row| true, |known| known.since(overlap))
            .await
    }

    /// Reads an instance's watermarks and all its versions that are not finished.
    pub async fn unfinished(&self, resource_id: &str) -> Result<Known, CallError> {
        self.known_until(resource_id, |row| !row.state.finished(), |_known| None)
            .await
    }

    /// Reads an instance's watermarks and its versions back to a time; all of them without one.
    pub async fn known_since(
        &self,
        resource_id: &str,
        since: Option<Timestamp>,
    ) -> Result<Known, CallError> {
        self.known_until(resource_id, |_row| true, |_known| since)
            .await
    }

    /// Reads newest first, until the versions are older than what `until` says.
    async fn known_until(
        &self,
        resource_id: &str,
        wanted: impl Fn(&Row) -> bool,
        until: impl Fn(&Known) -> Option<Timestamp>,
    ) -> Result<Known, CallError> {
        let mut known = Known::default();
        let mut start = None;
        loop {
            let limit = start.is_none().then_some(FIRST_PAGE);
            let page = self.query(partition_key(resource_id), start, limit);
            let page = page.await?;
            for item in page.items() {
                match read(item) {
                    Ok(Some(Entry::Mark(mark))) => known.marks.push(mark),
                    Ok(Some(Entry::Row(row))) => known.rows.extend(Some(row).filter(&wanted)),
                    Ok(Some(Entry::Instance(_)) | None) => {}
                    Err(malformed) => known.malformed.push(malformed.to_string()),
                }
            }
            start = page.last_evaluated_key;
            let oldest = known
                .rows
                .last()
                .map(|row| row.message.file.version.last_written);
            let enough = until(&known)
                .zip(oldest)
                .is_some_and(|(until, oldest)| oldest < until);
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

    /// One page of a partition, newest versions first: at most so many items, and 1 MB.
    async fn query(
        &self,
        partition_key: String,
        start: Option<Item>,
        limit: Option<i32>,
    ) -> Result<QueryOutput, CallError> {
        let request = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(false);
        request
            .key_condition_expression("#pk = :pk")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_values(":pk", text(partition_key))
            .set_exclusive_start_key(start)
            .set_limit(limit)
            .send()
            .await
            .map_err(|error| CallError::new("Query", &error))
    }

    async fn update(
        &self,
        message: &Message,
        transition: Transition,
    ) -> Result<Written, CallError> {
        self.write(
            partition_key(&message.instance.resource_id),
            message.file.sort_key(),
            transition,
        )
        .await
    }

    async fn write(
        &self,
        partition_key: String,
        sort_key: String,
        transition: Transition,
    ) -> Result<Written, CallError> {
        let mut request = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("pk", text(partition_key))
            .key("sk", text(sort_key))
            .update_expression(&transition.update)
            .set_condition_expression(transition.condition.map(str::to_owned))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // Every attribute goes by a placeholder, since `state`, `name` and `owner` are reserved words.
        for name in transition.attributes() {
            request = request.expression_attribute_names(format!("#{name}"), name);
        }
        for (name, value) in transition.values {
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        match step::take(transition.step, request.send()).await {
            Ok(answer) => Ok(Written::Now(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Written::Refused(refused.item().cloned()))
                }
                _ => Err(CallError::new("UpdateItem", &error)),
            },
        }
    }
}

impl Requeued {
    /// Reads the row that a requeue was refused by.
    fn refused(row: &Row) -> Self {
        match row.state {
            State::Quarantined => Self::TooOften(row.requeues),
            State::Queued | State::Leased | State::Gone | State::Complete => {
                Self::Untouched(row.state)
            }
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
    } else if sort_key.starts_with(INSTANCE) {
        Registered::read(item).map(Entry::Instance).map(Some)
    } else {
        Ok(None) // of a newer version of this program
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: Malformed) -> CallError {
    CallError::nonsense("the checkpoint table", error.to_string())
}

#[cfg(test)]
mod tests;
