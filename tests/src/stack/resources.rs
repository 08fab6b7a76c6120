//! Queues, a table and a bucket that are shaped as the template of production says.
//!
//! A test cannot pass on a queue that production does not have.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use super::Stack;

/// The template that production is deployed from.
const TEMPLATE: &str = include_str!("../../../infra/template.yaml");

/// What one test has for itself.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The work queue, for `QUEUE_URL`.
    pub queue_url: String,
    /// The dead-letter queue, for `DEAD_LETTER_QUEUE_URL`.
    pub dead_letter_queue_url: String,
    /// The checkpoint table, for `CHECKPOINT_TABLE`.
    pub table: String,
    /// The archive, for `S3_BUCKET`.
    pub bucket: String,
}

impl Resources {
    /// Makes all of them under names that nobody else has.
    pub async fn create(stack: &Stack) -> anyhow::Result<Self> {
        Self::make(stack, None).await
    }

    /// The same, but what the work queue hands out comes back after `visibility` (whole seconds) by default.
    pub async fn create_with_visibility(
        stack: &Stack,
        visibility: Duration,
    ) -> anyhow::Result<Self> {
        Self::make(stack, Some(visibility)).await
    }

    async fn make(stack: &Stack, visibility: Option<Duration>) -> anyhow::Result<Self> {
        let template = serde_saphyr::from_str(TEMPLATE).context("parse infra/template.yaml")?;
        let suffix: String = std::iter::repeat_with(fastrand::lowercase)
            .take(10)
            .collect();
        let config = stack.sdk_config();

        let sqs = aws_sdk_sqs::Client::new(&config);
        let dead_letters = properties(&template, "DeadLetterQueue")?;
        let dead_letter_queue_url =
            create_queue(&sqs, &format!("dead-letters-{suffix}"), dead_letters).await?;
        let mut work = properties(&template, "WorkQueue")?.clone();
        let target = work
            .pointer_mut("/RedrivePolicy/deadLetterTargetArn")
            .context("WorkQueue has no dead letters")?;
        let ours = json!({"Fn::GetAtt": ["DeadLetterQueue", "Arn"]});
        ensure!(
            *target == ours,
            "WorkQueue sends its dead letters to {target} and not to {ours}"
        );
        *target = arn(&sqs, &dead_letter_queue_url).await?.into();
        if let Some(visibility) = visibility {
            *work
                .pointer_mut("/VisibilityTimeout")
                .context("WorkQueue has no VisibilityTimeout")? = visibility.as_secs().into();
        }
        let queue_url = create_queue(&sqs, &format!("work-{suffix}"), &work).await?;

        let table = format!("checkpoints-{suffix}");
        create_table(
            &aws_sdk_dynamodb::Client::new(&config),
            &table,
            properties(&template, "CheckpointTable")?,
        )
        .await?;
        let bucket = format!("archive-{suffix}");
        create_bucket(
            &aws_sdk_s3::Client::new(&config),
            &bucket,
            properties(&template, "ArchiveBucket")?,
        )
        .await?;
        Ok(Self {
            queue_url,
            dead_letter_queue_url,
            table,
            bucket,
        })
    }
}

/// The properties of a resource in the template.
fn properties<'t>(template: &'t Value, resource: &str) -> anyhow::Result<&'t Value> {
    let properties = template.pointer(&format!("/Resources/{resource}/Properties"));
    properties.with_context(|| format!("infra/template.yaml has no {resource} with properties"))
}

/// The text at a JSON pointer.
fn text<'t>(value: &'t Value, pointer: &str) -> anyhow::Result<&'t str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no text at {pointer} in {value}"))
}

/// The list at a JSON pointer.
fn list<'t>(value: &'t Value, pointer: &str) -> anyhow::Result<&'t [Value]> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    Ok(list.with_context(|| format!("no list at {pointer} in {value}"))?)
}

async fn arn(sqs: &aws_sdk_sqs::Client, queue_url: &str) -> anyhow::Result<String> {
    let request = sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::QueueArn);
    let attributes = request
        .send()
        .await
        .context("ask for the ARN of a queue")?
        .attributes;
    attributes
        .and_then(|mut all| all.remove(&QueueAttributeName::QueueArn))
        .context("a queue has no ARN")
}

/// The template names attributes as SQS does; only are they all text here, and the redrive policy is JSON in text.
async fn create_queue(
    sqs: &aws_sdk_sqs::Client,
    name: &str,
    properties: &Value,
) -> anyhow::Result<String> {
    let mut create = sqs.create_queue().queue_name(name);
    // Tags are no attribute, and nothing here reads them.
    for (attribute, value) in properties
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(attribute, _)| *attribute != "Tags")
    {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        create = create.attributes(QueueAttributeName::from(attribute.as_str()), text);
    }
    let created = create
        .send()
        .await
        .with_context(|| format!("create queue {name}"))?;
    created
        .queue_url
        .with_context(|| format!("queue {name} has no URL"))
}

async fn create_table(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
    properties: &Value,
) -> anyhow::Result<()> {
    let billing = BillingMode::from(text(properties, "/BillingMode")?);
    let mut create = dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(billing);
    for attribute in list(properties, "/AttributeDefinitions")? {
        let definition = AttributeDefinition::builder()
            .attribute_name(text(attribute, "/AttributeName")?)
            .attribute_type(ScalarAttributeType::from(text(
                attribute,
                "/AttributeType",
            )?));
        create = create.attribute_definitions(definition.build()?);
    }
    for key in list(properties, "/KeySchema")? {
        let element = KeySchemaElement::builder()
            .attribute_name(text(key, "/AttributeName")?)
            .key_type(KeyType::from(text(key, "/KeyType")?));
        create = create.key_schema(element.build()?);
    }
    create
        .send()
        .await
        .with_context(|| format!("create table {name}"))?;

    let expiry = TimeToLiveSpecification::builder()
        .attribute_name(text(properties, "/TimeToLiveSpecification/AttributeName")?)
        .enabled(true);
    let expiry = dynamodb
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(expiry.build()?);
    expiry
        .send()
        .await
        .with_context(|| format!("let rows of table {name} expire"))?;
    Ok(())
}

async fn create_bucket(
    s3: &aws_sdk_s3::Client,
    name: &str,
    properties: &Value,
) -> anyhow::Result<()> {
    s3.create_bucket()
        .bucket(name)
        .send()
        .await
        .with_context(|| format!("create bucket {name}"))?;
    let status = BucketVersioningStatus::from(text(properties, "/VersioningConfiguration/Status")?);
    let versioning = VersioningConfiguration::builder().status(status).build();
    let versioning = s3
        .put_bucket_versioning()
        .bucket(name)
        .versioning_configuration(versioning);
    versioning
        .send()
        .await
        .with_context(|| format!("keep versions in bucket {name}"))?;
    Ok(())
}
