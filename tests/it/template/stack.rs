//! Queues, table and bucket as CloudFormation makes them of the template, and a journey through them.
//!
//! The emulator makes these as AWS does; of the rest it makes only some, so that it would prove nothing.

use aws_sdk_cloudformation::types::{Parameter, StackStatus};
use serde_json::{Map, Value};
use tests::archive;
use tests::eventually::eventually;
use tests::stack::Stack;
use tests::template::{IMAGE, members};
use tests::world::by_hand::{FILE, INSTANCE};
use tests::world::{NOON, World};

use super::translated;

/// What is left of the template.
const RESOURCES: [&str; 5] = [
    "EncryptionKey",
    "ArchiveBucket",
    "CheckpointTable",
    "WorkQueue",
    "DeadLetterQueue",
];

fn reduced(mut template: Value) -> Value {
    let settings: Map<String, Value> = members(&template, "Outputs")
        .filter(|(_, output)| {
            let description = output["Description"].as_str();
            description.is_some_and(|description| description.starts_with("The setting "))
        })
        .map(|(name, output)| (name.clone(), output.clone()))
        .collect();
    template["Outputs"] = settings.into();
    if let Some(resources) = template["Resources"].as_object_mut() {
        resources.retain(|name, _| RESOURCES.contains(&name.as_str()));
    }
    template
}

/// Deploys what is left of the template, and waits until it is there.
async fn deploy(
    cloudformation: &aws_sdk_cloudformation::Client,
    name: &str,
    parameters: &[(&str, &str)],
) -> anyhow::Result<()> {
    let template = reduced(translated()?);
    let mut create = cloudformation
        .create_stack()
        .stack_name(name)
        .template_body(template.to_string());
    for (key, value) in parameters {
        create = create.parameters(
            Parameter::builder()
                .parameter_key(*key)
                .parameter_value(*value)
                .build(),
        );
    }
    create.send().await?;
    eventually("the stack is there", async || {
        let described = cloudformation
            .describe_stacks()
            .stack_name(name)
            .send()
            .await;
        let stack = described.map_err(|error| format!("{error:?}"))?;
        let stack = stack.stacks.unwrap_or_default().pop().ok_or("no stack")?;
        match stack.stack_status {
            Some(StackStatus::CreateComplete) => Ok(()),
            other => Err(format!("{other:?}: {:?}", stack.stack_status_reason)),
        }
    })
    .await
}

/// None of the settings that outputs have.
const UNSET: [(&str, &str); 6] = [
    ("QUEUE_URL", ""),
    ("DEAD_LETTER_QUEUE_URL", ""),
    ("CHECKPOINT_TABLE", ""),
    ("S3_BUCKET", ""),
    ("CLUSTERS", ""),
    ("INSTANCES", ""),
];

#[tokio::test]
async fn a_file_travels_through_a_deployed_stack_that_tells_the_operator_all_settings()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.set_environment(&UNSET);
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    let cloudformation = aws_sdk_cloudformation::Client::new(&Stack::shared().await?.sdk_config());
    deploy(
        &cloudformation,
        "journey",
        &[IMAGE, ("ArchivePrefix", "logs/")],
    )
    .await?;

    let ended = world
        .auditferry(&["enumerate", "--json", "--from-stack=journey"])
        .await?;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.json()?["sent"], 1);

    let described = cloudformation
        .describe_stacks()
        .stack_name("journey")
        .send()
        .await?;
    let outputs: Vec<(String, String)> = described.stacks()[0]
        .outputs()
        .iter()
        .filter_map(|output| {
            Some((
                producer::from_stack::variable(output.output_key()?),
                output.output_value()?.to_owned(),
            ))
        })
        .collect();
    let settings: Vec<(&str, &str)> = outputs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    world.work_with(&settings).await?;
    let bucket = settings
        .iter()
        .find(|(name, _)| *name == "S3_BUCKET")
        .expect("it is an output")
        .1;
    let objects = archive::objects(&world.s3, bucket).await?;
    let keys: Vec<&String> = objects.keys().collect();
    assert!(
        matches!(keys[..], [key] if key.starts_with("logs/")),
        "{keys:?}"
    );

    // A flag and a variable each go before the stack.
    world.expect_error("ResourceNotFoundException");
    let ended = world
        .auditferry(&["status", "--json", "--from-stack=journey"])
        .await?;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let elsewhere = world
        .auditferry_with(
            &["status", "--from-stack=journey"],
            &[("CHECKPOINT_TABLE", "another")],
        )
        .await?;
    assert_eq!(elsewhere.code(), Some(1), "{elsewhere:?}");
    Ok(())
}

#[tokio::test]
async fn a_stack_that_is_not_there_or_not_ours_is_said_to_be_so() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.set_environment(&UNSET);
    let ended = world
        .auditferry(&["status", "--from-stack=nowhere"])
        .await?;
    assert_eq!(ended.code(), Some(64), "{ended:?}");
    assert!(
        ended.stderr.contains("--from-stack nowhere: "),
        "{}",
        ended.stderr
    );

    let cloudformation = aws_sdk_cloudformation::Client::new(&Stack::shared().await?.sdk_config());
    let template =
        serde_json::json!({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}).to_string();
    cloudformation
        .create_stack()
        .stack_name("another")
        .template_body(template)
        .send()
        .await?;
    let ended = world
        .auditferry(&["status", "--from-stack=another"])
        .await?;
    assert_eq!(ended.code(), Some(64), "{ended:?}");
    assert!(
        ended.stderr.contains("not Auditferry's"),
        "{}",
        ended.stderr
    );
    Ok(())
}
