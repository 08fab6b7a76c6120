//! Each request that a program really makes is allowed to its role and by the bucket's policy, and a role allows nothing
//! that was never asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use iam_rs::{Decision, PolicyEvaluator};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tests::ecs::Ecs;
use tests::lambda::{Answer, Function};
use tests::proxy::{Call, Proxy};
use tests::rds::{FOREVER, Fault, Where};
use tests::stack::{ACCOUNT, REGION, Resources, Stack};
use tests::template::{IMAGE, STACK, resolve};
use tests::world::by_hand::{FILE, INSTANCE, KEY, noise};
use tests::world::{MINUTE, NOON, World};
use tokio::sync::mpsc::UnboundedReceiver;

use super::access::{BESIDE, BUCKET, DEAD, TABLE, WORK, actions, decide, policies, role};
use super::translated;

/// More than one part of a multipart upload, compressed.
const LARGE: usize = 6 << 20;

/// What keys in the archive begin with.
const PREFIX: &str = "logs/";

/// Everything that the programs ask of AWS, on its way.
struct Watched {
    stack: (Proxy, UnboundedReceiver<Call>),
    rds: (Proxy, UnboundedReceiver<Call>),
}

impl Watched {
    async fn start(world: &mut World) -> anyhow::Result<Self> {
        let stack = Proxy::start_watched(&Stack::shared().await?.endpoint)?;
        let rds = Proxy::start_watched(&world.rds.url())?;
        world.rds.set_authority(rds.0.authority());
        world.set_environment(&[
            ("AWS_ENDPOINT_URL", &stack.0.url()),
            ("AWS_ENDPOINT_URL_RDS", &rds.0.url()),
        ]);
        Ok(Self { stack, rds })
    }

    /// All calls since the last time.
    fn calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        for told in [&mut self.stack.1, &mut self.rds.1] {
            calls.extend(std::iter::from_fn(|| told.try_recv().ok()));
        }
        calls
    }
}

/// What IAM is asked when a call arrives.
#[derive(Debug)]
struct Asked {
    action: String,
    resource: String,
    context: Vec<(&'static str, String)>,
}

fn asked(action: &str, resource: &str) -> Asked {
    Asked {
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: Vec::new(),
    }
}

/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
fn asks(call: &Call, resources: &Resources) -> anyhow::Result<Vec<Asked>> {
    let operation = call.operation.as_str();
    let path = call.head.uri.path();
    let query = call.head.uri.query().unwrap_or_default();
    Ok(match operation {
        "DescribeStacks" => vec![asked(
            "cloudformation:DescribeStacks",
            &format!(
                "arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{}/1",
                value(std::str::from_utf8(&call.body)?, "StackName").context("which stack?")?
            ),
        )],
        "DescribeDBClusters" => vec![asked(
            "rds:DescribeDBClusters",
            &format!("arn:aws:rds:{REGION}:{ACCOUNT}:cluster:*"),
        )],
        "DescribeDBInstances" | "DescribeDBLogFiles" => {
            let name = value(std::str::from_utf8(&call.body)?, "DBInstanceIdentifier");
            vec![asked(
                &format!("rds:{operation}"),
                &instance(&name.unwrap_or("*".to_owned())),
            )]
        }
        "downloadCompleteLogFile" => vec![asked(
            "rds:DownloadCompleteDBLogFile",
            &instance(path.split('/').nth(3).context("which instance?")?),
        )],
        "HeadBucket" => vec![asked("s3:ListBucket", BUCKET)],
        "ListObjectsV2" => {
            let mut list = asked("s3:ListBucket", BUCKET);
            let prefix = value(query, "prefix").context("all of the bucket?")?;
            list.context.push(("s3:prefix", prefix));
            vec![list]
        }
        // Of a key with nothing, S3 also asks whether one may know that.
        "HeadObject" => vec![
            asked("s3:GetObject", &object(path, &resources.bucket)?),
            asked("s3:ListBucket", BUCKET),
        ],
        "GetObject" => vec![asked("s3:GetObject", &object(path, &resources.bucket)?)],
        "AbortMultipartUpload" => vec![asked(
            "s3:AbortMultipartUpload",
            &object(path, &resources.bucket)?,
        )],
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            let mut put = asked("s3:PutObject", &object(path, &resources.bucket)?);
            put.context = conditions(call)?;
            vec![put]
        }
        _ => {
            let body: Value = serde_json::from_slice(&call.body).context(call.operation.clone())?;
            let one = operation.strip_suffix("Batch").unwrap_or(operation);
            let (action, resource) = if let Some(url) = body["QueueUrl"].as_str() {
                let queue = [
                    (&resources.queue_url, WORK),
                    (&resources.dead_letter_queue_url, DEAD),
                ]
                .into_iter()
                .find(|(known, _)| *known == url);
                (format!("sqs:{one}"), queue.context("which queue?")?.1)
            } else {
                anyhow::ensure!(body["TableName"] == *resources.table, "{operation}: {body}");
                (format!("dynamodb:{operation}"), TABLE)
            };
            vec![asked(&action, resource)]
        }
    })
}

/// What S3 knows of a write. A part, or the beginning of an upload, creates no object.
fn conditions(call: &Call) -> anyhow::Result<Vec<(&'static str, String)>> {
    let creates = ["PutObject", "CompleteMultipartUpload"].contains(&&*call.operation);
    let mut context = vec![("s3:ObjectCreationOperation", creates.to_string())];
    for (header, key) in [
        ("if-none-match", "s3:if-none-match"),
        ("if-match", "s3:if-match"),
        (
            "x-amz-server-side-encryption",
            "s3:x-amz-server-side-encryption",
        ),
        (
            "x-amz-server-side-encryption-aws-kms-key-id",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
        ),
    ] {
        if let Some(value) = call.head.headers.get(header) {
            context.push((key, value.to_str()?.to_owned()));
        }
    }
    Ok(context)
}

fn instance(name: &str) -> String {
    format!("arn:aws:rds:{REGION}:{ACCOUNT}:db:{name}")
}

fn object(path: &str, bucket: &str) -> anyhow::Result<String> {
    let key = path.strip_prefix(&format!("/{bucket}/"));
    let key = percent_decode_str(key.context("another bucket")?).decode_utf8()?;
    Ok(format!("{BUCKET}/{key}"))
}

/// Of a query or a form.
fn value(form: &str, name: &str) -> Option<String> {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Holds calls against a role and the bucket's policy; the actions that were needed.
fn held_against(
    deployed: &Value,
    name: &str,
    calls: &[Call],
    resources: &Resources,
) -> anyhow::Result<BTreeSet<String>> {
    let mut evaluator = PolicyEvaluator::new();
    for policy in policies(role(deployed, name)?) {
        evaluator.add_policy(serde_json::from_value(policy.clone())?);
    }
    let of_bucket = &deployed["Resources"]["ArchivePolicy"]["Properties"]["PolicyDocument"];
    evaluator.add_policy(serde_json::from_value(of_bucket.clone())?);
    let mut needed = BTreeSet::new();
    for call in calls {
        for asked in asks(call, resources)? {
            let context: Vec<(&str, &str)> = [("aws:SecureTransport", "true")]
                .into_iter()
                .chain(asked.context.iter().map(|(key, value)| (*key, &**value)))
                .collect();
            let decision = decide(&evaluator, &asked.action, &asked.resource, &context)?;
            assert!(
                decision == Decision::Allow,
                "{name} makes {}, which asks {asked:?}: {decision:?}",
                call.operation
            );
            needed.insert(asked.action);
        }
    }
    Ok(needed)
}

/// What the role allows, but what AWS itself needs it for.
fn for_requests(deployed: &Value, name: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut allowed = actions(role(deployed, name)?);
    for (of, action, _why) in BESIDE {
        if of == name {
            allowed.remove(action);
        }
    }
    Ok(allowed)
}

fn failing() -> Fault {
    Fault::Status {
        status: 500,
        code: "InternalFailure".to_owned(),
        message: "the reason why".to_owned(),
    }
}

/// A new Aurora log file, a large one, a rotated one, one that another script has archived, one that will be gone, and
/// two that cannot be downloaded.
async fn put_files(world: &World) -> anyhow::Result<()> {
    let [large, gone] = ["audit/large", "audit/gone"];
    world.add_mariadb("legacy");
    let rotated = "audit/server_audit.log.1";
    world.rds.put_file("legacy", rotated, "one line\n", NOON);
    world.rds.put_file(INSTANCE, FILE, "one line\n", NOON);
    world.rds.put_file(INSTANCE, large, noise(1, LARGE), NOON);
    world.rds.put_file(INSTANCE, gone, "one line\n", NOON);
    for file in ["audit/poison-1", "audit/poison-2"] {
        world.rds.put_file(INSTANCE, file, "one line\n", NOON);
        let download = Where::download(INSTANCE, file);
        world.rds.fail(download, failing(), FOREVER);
    }
    let early = Fault::Truncate {
        after_bytes: LARGE - 1,
    };
    world.rds.fail(Where::download(INSTANCE, large), early, 1);
    let script = world.s3.put_object().bucket(&world.resources.bucket);
    let (key, body) = (
        format!("{PREFIX}{KEY}"),
        b"of another script".to_vec().into(),
    );
    script.key(key).body(body).send().await?;
    Ok(())
}

#[tokio::test]
async fn every_request_is_allowed_to_whoever_makes_it_and_all_that_is_allowed_is_asked()
-> anyhow::Result<()> {
    // Narrower than without a prefix.
    let deployed = resolve(&translated()?, &[IMAGE, ("ArchivePrefix", PREFIX)])?;
    let mut world = World::with_aurora().await?;
    world.set_environment(&[("S3_PREFIX", PREFIX)]);
    put_files(&world).await?;
    let mut watched = Watched::start(&mut world).await?;
    let resources = world.resources.clone();

    let mut producer = Function::start(&world, &[]).await?;
    let answer = producer.invoke(&json!({}), Duration::from_mins(5)).await?;
    assert!(
        matches!(&answer, Answer::Done(summary) if summary["sent"] == 6),
        "{answer:?}"
    );
    producer.stop(&world).await?;
    let needed = held_against(&deployed, "ProducerRole", &watched.calls(), &resources)?;
    assert_eq!(needed, for_requests(&deployed, "ProducerRole")?);

    world.rds.remove_file(INSTANCE, "audit/gone");
    for error in ["dead letter, ", "gone, evidence is lost"] {
        world.expect_error(error);
    }
    let ecs = Ecs::start()?;
    world
        .work_with(&[
            ("MAX_ATTEMPTS", "2"),
            // Every file outlasts it, so that protection is asked for.
            ("SHUTDOWN_GRACE", "0s"),
            ("ECS_AGENT_URI", &ecs.agent_uri()),
        ])
        .await?;
    let calls = watched.calls();
    let mut needed = held_against(&deployed, "WorkerRole", &calls, &resources)?;
    assert!(!ecs.asked().is_empty());
    needed.insert("ecs:UpdateTaskProtection".to_owned());
    assert_eq!(needed, for_requests(&deployed, "WorkerRole")?);
    assert_eq!(world.dead_letters().await?, (2, 0));
    // The policies were asked about every way to write.
    for operation in [
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
    ] {
        let made = calls.iter().any(|call| call.operation == operation);
        assert!(made, "no {operation}");
    }
    assert!(
        calls
            .iter()
            .any(|call| call.head.headers.contains_key("if-match"))
    );

    world.rds.clear_faults();
    world
        .rds
        .put_file(INSTANCE, "audit/late", "one line\n", NOON + MINUTE);
    let operator = [
        (&["status"][..], 2),
        (&["requeue", "--dry-run"], 0),
        (&["requeue", "--reason", "audit/poison-1"], 0),
        (
            &[
                "dismiss",
                "--instance",
                INSTANCE,
                "--file",
                "audit/poison-2",
                "--reason",
                "why",
            ],
            0,
        ),
        (
            &["backfill", "--from", "2024-10-01", "--to", "2024-10-01"],
            0,
        ),
        (&["enumerate"], 0),
        (&["reconcile", "--since", "2024-01-01", "--repair"], 0),
        (&["verify", "--since", "2024-01-01"], 2),
        (&["status", "--from-stack", STACK], 64),
    ];
    for (arguments, code) in operator {
        let ended = world.auditferry(arguments).await?;
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {ended:?}");
    }
    let needed = held_against(&deployed, "OperatorRole", &watched.calls(), &resources)?;
    assert_eq!(needed, for_requests(&deployed, "OperatorRole")?);
    Ok(())
}
