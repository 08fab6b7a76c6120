//! Who may do what: each role allows its own work and nobody else's, and the bucket refuses what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use iam_rs::{Decision, IAMPolicy, IAMRequest, PolicyEvaluator};
use serde_json::{Value, json};
use tests::regenerate;
use tests::template::{IMAGE, Parameters, resolve};

use super::translated;

const PLAIN: Parameters<'static> = &[IMAGE];
const WITH_PREFIX: Parameters<'static> = &[IMAGE, ("ArchivePrefix", "logs/")];

/// The calls of AWS in the sources, and the action that allows each.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
const CALLS: [(&str, &str); 26] = [
    (".describe_db_clusters()", "rds:DescribeDBClusters"),
    (".describe_db_instances()", "rds:DescribeDBInstances"),
    (".describe_db_log_files()", "rds:DescribeDBLogFiles"),
    // Of the request that no SDK has.
    (
        "\"downloadCompleteLogFile\"",
        "rds:DownloadCompleteDBLogFile",
    ),
    (".send_message_batch()", "sqs:SendMessage"),
    (".send_message()", "sqs:SendMessage"),
    (".receive_message()", "sqs:ReceiveMessage"),
    (
        ".change_message_visibility()",
        "sqs:ChangeMessageVisibility",
    ),
    (".delete_message()", "sqs:DeleteMessage"),
    (".delete_message_batch()", "sqs:DeleteMessage"),
    (".get_queue_attributes()", "sqs:GetQueueAttributes"),
    (".get_item()", "dynamodb:GetItem"),
    (".query()", "dynamodb:Query"),
    (".scan()", "dynamodb:Scan"),
    (".update_item()", "dynamodb:UpdateItem"),
    (".head_bucket()", "s3:ListBucket"),
    (".list_objects_v2()", "s3:ListBucket"),
    (".head_object()", "s3:GetObject"),
    (".get_object()", "s3:GetObject"),
    (".put_object()", "s3:PutObject"),
    (".create_multipart_upload()", "s3:PutObject"),
    (".upload_part()", "s3:PutObject"),
    (".complete_multipart_upload()", "s3:PutObject"),
    (".abort_multipart_upload()", "s3:AbortMultipartUpload"),
    // Of the agent in a task, which asks in the worker's name.
    (".put(&self.url)", "ecs:UpdateTaskProtection"),
    (".describe_stacks()", "cloudformation:DescribeStacks"),
];

/// What roles may do that is no call in the sources, and why.
pub(super) const BESIDE: [(&str, &str, &str); 5] = [
    (
        "ProducerRole",
        "logs:CreateLogStream",
        "Lambda writes its log",
    ),
    ("ProducerRole", "logs:PutLogEvents", "Lambda writes its log"),
    (
        "WorkerRole",
        "kms:GenerateDataKey",
        "S3 encrypts for whoever writes",
    ),
    (
        "WorkerRole",
        "kms:Decrypt",
        "S3 decrypts parts to put them together",
    ),
    (
        "OperatorRole",
        "kms:Decrypt",
        "S3 decrypts for whoever reads",
    ),
];

/// The statements of a role's policies.
pub(super) fn statements(role: &Value) -> impl Iterator<Item = &Value> {
    policies(role).flat_map(|policy| policy["Statement"].as_array().into_iter().flatten())
}

/// A role's policies.
pub(super) fn policies(role: &Value) -> impl Iterator<Item = &Value> {
    let policies = role["Properties"]["Policies"].as_array();
    let policies = policies.into_iter().flatten();
    policies.map(|policy| &policy["PolicyDocument"])
}

/// One or several, as policies have them.
pub(super) fn list(one_or_more: &Value) -> Vec<String> {
    match one_or_more {
        Value::Array(several) => several.iter().map(tests::template::text).collect(),
        Value::Null => Vec::new(),
        one => vec![tests::template::text(one)],
    }
}

pub(super) fn role<'t>(deployed: &'t Value, name: &str) -> anyhow::Result<&'t Value> {
    let role = &deployed["Resources"][name];
    role.is_object()
        .then_some(role)
        .with_context(|| format!("there is no {name}"))
}

pub(super) fn actions(role: &Value) -> BTreeSet<String> {
    statements(role)
        .flat_map(|statement| list(&statement["Action"]))
        .collect()
}

fn sources(folder: &Path, found: &mut String) -> anyhow::Result<()> {
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        entries.push(entry?.path());
    }
    for path in entries {
        if path.is_dir() {
            sources(&path, found)?;
        } else {
            found.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// What the SDKs of the programs can call, as they spell it: `.receive_message()`.
fn of_the_sdks() -> anyhow::Result<BTreeSet<String>> {
    #[expect(clippy::disallowed_methods, reason = "cargo says where it is")]
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let mut calls = BTreeSet::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |name: &str| package[name].as_str().unwrap_or_default();
        if !text("name").starts_with("aws-sdk-") {
            continue;
        }
        let operations = Path::new(text("manifest_path")).with_file_name("src/operation");
        for entry in fs::read_dir(operations)? {
            let path = entry?.path();
            let name = path.file_stem().context("a file without a name")?;
            calls.insert(format!(".{}()", name.to_string_lossy()));
        }
    }
    Ok(calls)
}

#[test]
fn every_call_in_the_sources_has_its_action_in_some_role() -> anyhow::Result<()> {
    let mut source = String::new();
    for member in ["producer", "worker", "shared"] {
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(member)
                .join("src"),
            &mut source,
        )?;
    }
    let known: BTreeMap<&str, &str> = CALLS.into();
    let of_the_sdks = of_the_sdks()?;
    // Hundreds; else they were not found.
    assert!(of_the_sdks.contains(".put_object()") && of_the_sdks.contains(".receive_message()"));
    for call in of_the_sdks {
        let is_there = source.contains(&call);
        assert!(
            !is_there || known.contains_key(&*call),
            "which action has {call}?"
        );
    }
    let deployed = resolve(&translated()?, PLAIN)?;
    let mut allowed = BTreeSet::new();
    for name in ["ProducerRole", "WorkerRole", "OperatorRole"] {
        allowed.extend(actions(role(&deployed, name)?));
    }
    for (call, action) in known {
        assert!(source.contains(call), "nothing calls {call} any more");
        assert!(allowed.contains(action), "no role has {action} for {call}");
    }
    Ok(())
}

/// What the role's policies say of one request; an explicit refusal and none are the same to whoever asks.
fn may(
    deployed: &Value,
    name: &str,
    action: &str,
    resource: &str,
    context: &[(&str, &str)],
) -> anyhow::Result<bool> {
    let mut evaluator = PolicyEvaluator::new();
    for policy in policies(role(deployed, name)?) {
        evaluator.add_policy(serde_json::from_value(policy.clone())?);
    }
    decide(&evaluator, action, resource, context).map(|decision| decision == Decision::Allow)
}

pub(super) fn decide(
    evaluator: &PolicyEvaluator,
    action: &str,
    resource: &str,
    context: &[(&str, &str)],
) -> anyhow::Result<Decision> {
    let principal = iam_rs::Principal::Aws(iam_rs::PrincipalId::String(
        "arn:aws:iam::123456789012:role/one".to_owned(),
    ));
    let mut request = IAMRequest::new(principal, action, iam_rs::Arn::parse(resource)?);
    for (key, value) in context {
        let value = match value.parse() {
            Ok(boolean) => iam_rs::ContextValue::Boolean(boolean),
            Err(_) => iam_rs::ContextValue::String((*value).to_owned()),
        };
        request.context.insert((*key).to_owned(), value);
    }
    evaluator
        .evaluate(&request)
        .map(|result| result.decision)
        .map_err(anyhow::Error::from)
}

const DB: &str = "arn:aws:rds:us-east-1:123456789012:db:orders-1";
pub(super) const WORK: &str = "arn:aws:sqs:us-east-1:123456789012:WorkQueue";
pub(super) const DEAD: &str = "arn:aws:sqs:us-east-1:123456789012:DeadLetterQueue";
pub(super) const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/checkpointtable";
pub(super) const BUCKET: &str = "arn:aws:s3:::archivebucket";
const OBJECT: &str = "arn:aws:s3:::archivebucket/orders/audit/2024/10/01/12/orders-1/audit.log.0.2024-10-01-12-00.0.gz";
const UNDER_PREFIX: &str =
    "arn:aws:s3:::archivebucket/logs/orders/audit/2024/10/01/12/orders-1/audit.log.gz";
const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/encryptionkey";
const BY_S3: &[(&str, &str)] = &[("kms:ViaService", "s3.us-east-1.amazonaws.com")];
const BY_SQS: &[(&str, &str)] = &[("kms:ViaService", "sqs.us-east-1.amazonaws.com")];

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn each_role_may_do_its_own_work_and_nobody_elses() -> anyhow::Result<()> {
    let deployed = resolve(&translated()?, PLAIN)?;
    for (name, action, resource, context, allowed) in [
        ("ProducerRole", "rds:DescribeDBLogFiles", DB, &[][..], true),
        ("ProducerRole", "rds:DescribeDBInstances", DB, &[], true),
        (
            "ProducerRole",
            "rds:DescribeDBClusters",
            "arn:aws:rds:us-east-1:123456789012:cluster:orders",
            &[],
            true,
        ),
        ("ProducerRole", "sqs:SendMessage", WORK, &[], true),
        ("ProducerRole", "dynamodb:UpdateItem", TABLE, &[], true),
        ("ProducerRole", "dynamodb:Query", TABLE, &[], true),
        // It lists, and does not download; in other regions and accounts it does not even list.
        (
            "ProducerRole",
            "rds:DownloadCompleteDBLogFile",
            DB,
            &[],
            false,
        ),
        (
            "ProducerRole",
            "rds:DownloadDBLogFilePortion",
            DB,
            &[],
            false,
        ),
        (
            "ProducerRole",
            "rds:DescribeDBLogFiles",
            "arn:aws:rds:eu-west-1:123456789012:db:orders-1",
            &[],
            false,
        ),
        (
            "ProducerRole",
            "rds:DescribeDBLogFiles",
            "arn:aws:rds:us-east-1:999999999999:db:orders-1",
            &[],
            false,
        ),
        ("ProducerRole", "rds:DeleteDBInstance", DB, &[], false),
        // It cannot requeue, nor take messages, nor touch the archive.
        ("ProducerRole", "sqs:ReceiveMessage", DEAD, &[], false),
        ("ProducerRole", "sqs:DeleteMessage", DEAD, &[], false),
        ("ProducerRole", "sqs:SendMessage", DEAD, &[], false),
        ("ProducerRole", "sqs:ReceiveMessage", WORK, &[], false),
        ("ProducerRole", "dynamodb:Scan", TABLE, &[], false),
        ("ProducerRole", "dynamodb:DeleteItem", TABLE, &[], false),
        ("ProducerRole", "s3:GetObject", OBJECT, &[], false),
        ("ProducerRole", "s3:PutObject", OBJECT, &[], false),
        ("WorkerRole", "rds:DownloadCompleteDBLogFile", DB, &[], true),
        ("WorkerRole", "rds:DescribeDBLogFiles", DB, &[], true),
        ("WorkerRole", "sqs:ReceiveMessage", WORK, &[], true),
        ("WorkerRole", "sqs:DeleteMessage", WORK, &[], true),
        ("WorkerRole", "sqs:ChangeMessageVisibility", WORK, &[], true),
        ("WorkerRole", "sqs:SendMessage", DEAD, &[], true),
        ("WorkerRole", "dynamodb:UpdateItem", TABLE, &[], true),
        ("WorkerRole", "s3:PutObject", OBJECT, &[], true),
        ("WorkerRole", "s3:GetObject", OBJECT, &[], true),
        ("WorkerRole", "s3:AbortMultipartUpload", OBJECT, &[], true),
        // S3 asks this of a HEAD that finds nothing, with no prefix.
        ("WorkerRole", "s3:ListBucket", BUCKET, &[], true),
        ("WorkerRole", "kms:GenerateDataKey", KEY, BY_S3, true),
        ("WorkerRole", "kms:Decrypt", KEY, BY_S3, true),
        (
            "WorkerRole",
            "ecs:UpdateTaskProtection",
            "arn:aws:ecs:us-east-1:123456789012:task/cluster/1",
            &[],
            true,
        ),
        // It never deletes, and sends nothing to itself.
        ("WorkerRole", "s3:DeleteObject", OBJECT, &[], false),
        ("WorkerRole", "s3:DeleteObjectVersion", OBJECT, &[], false),
        ("WorkerRole", "s3:PutObjectRetention", OBJECT, &[], false),
        (
            "WorkerRole",
            "s3:BypassGovernanceRetention",
            OBJECT,
            &[],
            false,
        ),
        ("WorkerRole", "s3:PutBucketPolicy", BUCKET, &[], false),
        (
            "WorkerRole",
            "s3:PutObject",
            "arn:aws:s3:::another/orders/audit/1",
            &[],
            false,
        ),
        ("WorkerRole", "sqs:SendMessage", WORK, &[], false),
        ("WorkerRole", "sqs:ReceiveMessage", DEAD, &[], false),
        ("WorkerRole", "sqs:PurgeQueue", WORK, &[], false),
        ("WorkerRole", "dynamodb:DeleteItem", TABLE, &[], false),
        ("WorkerRole", "dynamodb:DeleteTable", TABLE, &[], false),
        ("WorkerRole", "kms:Decrypt", KEY, BY_SQS, false),
        ("WorkerRole", "kms:Decrypt", KEY, &[], false),
        ("WorkerRole", "kms:ScheduleKeyDeletion", KEY, BY_S3, false),
        (
            "WorkerRole",
            "ecs:UpdateTaskProtection",
            "arn:aws:ecs:us-east-1:123456789012:task/another/1",
            &[],
            false,
        ),
        (
            "WorkerRole",
            "ecs:UpdateService",
            "arn:aws:ecs:us-east-1:123456789012:service/cluster/workers",
            &[],
            false,
        ),
        // What starts a worker has nothing of what a worker has.
        (
            "StartRole",
            "ecr:GetAuthorizationToken",
            "arn:aws:ecr:us-east-1:123456789012:repository/any",
            &[],
            true,
        ),
        (
            "StartRole",
            "ecr:BatchGetImage",
            "arn:aws:ecr:us-east-1:123456789012:repository/auditferry-worker",
            &[],
            true,
        ),
        ("StartRole", "s3:PutObject", OBJECT, &[], false),
        ("StartRole", "sqs:ReceiveMessage", WORK, &[], false),
        (
            "ScheduleRole",
            "lambda:InvokeFunction",
            "arn:aws:lambda:us-east-1:123456789012:function:producer",
            &[],
            true,
        ),
        (
            "ScheduleRole",
            "lambda:InvokeFunction",
            "arn:aws:lambda:us-east-1:123456789012:function:another",
            &[],
            false,
        ),
        (
            "ScheduleRole",
            "lambda:UpdateFunctionCode",
            "arn:aws:lambda:us-east-1:123456789012:function:producer",
            &[],
            false,
        ),
        ("OperatorRole", "sqs:ReceiveMessage", DEAD, &[], true),
        ("OperatorRole", "sqs:DeleteMessage", DEAD, &[], true),
        ("OperatorRole", "sqs:SendMessage", WORK, &[], true),
        ("OperatorRole", "dynamodb:Scan", TABLE, &[], true),
        ("OperatorRole", "s3:GetObject", OBJECT, &[], true),
        (
            "OperatorRole",
            "s3:ListBucket",
            BUCKET,
            &[("s3:prefix", "orders/")],
            true,
        ),
        ("OperatorRole", "kms:Decrypt", KEY, BY_S3, true),
        (
            "OperatorRole",
            "cloudformation:DescribeStacks",
            "arn:aws:cloudformation:us-east-1:123456789012:stack/auditferry/1",
            &[],
            true,
        ),
        // People with it can neither change nor delete evidence, nor download from RDS past the workers.
        ("OperatorRole", "s3:PutObject", OBJECT, &[], false),
        ("OperatorRole", "s3:DeleteObject", OBJECT, &[], false),
        (
            "OperatorRole",
            "s3:BypassGovernanceRetention",
            OBJECT,
            &[],
            false,
        ),
        ("OperatorRole", "dynamodb:DeleteItem", TABLE, &[], false),
        ("OperatorRole", "sqs:ReceiveMessage", WORK, &[], false),
        ("OperatorRole", "sqs:PurgeQueue", DEAD, &[], false),
        (
            "OperatorRole",
            "rds:DownloadCompleteDBLogFile",
            DB,
            &[],
            false,
        ),
    ] {
        let found = may(&deployed, name, action, resource, context)?;
        assert_eq!(found, allowed, "{name} {action} {resource} {context:?}");
    }
    Ok(())
}

#[test]
fn an_archive_with_a_prefix_is_all_that_its_programs_see_of_the_bucket() -> anyhow::Result<()> {
    let deployed = resolve(&translated()?, WITH_PREFIX)?;
    for (name, action, resource, context, allowed) in [
        ("WorkerRole", "s3:PutObject", UNDER_PREFIX, &[][..], true),
        ("WorkerRole", "s3:GetObject", UNDER_PREFIX, &[], true),
        ("WorkerRole", "s3:PutObject", OBJECT, &[], false),
        ("WorkerRole", "s3:GetObject", OBJECT, &[], false),
        (
            "WorkerRole",
            "s3:ListBucket",
            BUCKET,
            &[("s3:prefix", "logs/orders/")],
            true,
        ),
        (
            "WorkerRole",
            "s3:ListBucket",
            BUCKET,
            &[("s3:prefix", "secrets/")],
            false,
        ),
        ("OperatorRole", "s3:GetObject", UNDER_PREFIX, &[], true),
        ("OperatorRole", "s3:GetObject", OBJECT, &[], false),
        (
            "OperatorRole",
            "s3:ListBucket",
            BUCKET,
            &[("s3:prefix", "secrets/")],
            false,
        ),
    ] {
        let found = may(&deployed, name, action, resource, context)?;
        assert_eq!(found, allowed, "{name} {action} {resource} {context:?}");
    }
    Ok(())
}

#[test]
fn the_bucket_refuses_what_is_not_conditional_not_by_tls_or_not_encrypted_with_its_key()
-> anyhow::Result<()> {
    const TLS: (&str, &str) = ("aws:SecureTransport", "true");
    const TLS_1_2: (&str, &str) = ("s3:TlsVersion", "1.2");
    const CREATES: (&str, &str) = ("s3:ObjectCreationOperation", "true");
    const PART: (&str, &str) = ("s3:ObjectCreationOperation", "false");
    let deployed = resolve(&translated()?, PLAIN)?;
    let policy = &deployed["Resources"]["ArchivePolicy"]["Properties"]["PolicyDocument"];
    let mut evaluator = PolicyEvaluator::new();
    evaluator.add_policy(serde_json::from_value::<IAMPolicy>(policy.clone())?);
    // As if everybody were allowed everything.
    let everything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    evaluator.add_policy(serde_json::from_value::<IAMPolicy>(everything)?);
    for (what, action, context, allowed) in [
        (
            "put where nothing is",
            "s3:PutObject",
            &[TLS, TLS_1_2, CREATES, ("s3:if-none-match", "*")][..],
            true,
        ),
        (
            "put in place of what was read",
            "s3:PutObject",
            &[TLS, TLS_1_2, CREATES, ("s3:if-match", "\"etag\"")],
            true,
        ),
        (
            "put, whatever is there",
            "s3:PutObject",
            &[TLS, TLS_1_2, CREATES],
            false,
        ),
        (
            "a part, or the beginning of an upload",
            "s3:PutObject",
            &[TLS, TLS_1_2, PART],
            true,
        ),
        ("read", "s3:GetObject", &[TLS, TLS_1_2], true),
        (
            "read without TLS",
            "s3:GetObject",
            &[("aws:SecureTransport", "false")],
            false,
        ),
        (
            "read with TLS 1.1",
            "s3:GetObject",
            &[TLS, ("s3:TlsVersion", "1.1")],
            false,
        ),
        (
            "put, encrypted with S3's own key",
            "s3:PutObject",
            &[
                TLS,
                TLS_1_2,
                CREATES,
                ("s3:if-none-match", "*"),
                ("s3:x-amz-server-side-encryption", "AES256"),
            ],
            false,
        ),
        (
            "put, encrypted with another key",
            "s3:PutObject",
            &[
                TLS,
                TLS_1_2,
                CREATES,
                ("s3:if-none-match", "*"),
                ("s3:x-amz-server-side-encryption", "aws:kms"),
                (
                    "s3:x-amz-server-side-encryption-aws-kms-key-id",
                    "arn:aws:kms:us-east-1:123456789012:key/another",
                ),
            ],
            false,
        ),
    ] {
        let decision = decide(&evaluator, action, OBJECT, context)?;
        assert_eq!(decision == Decision::Allow, allowed, "{what}: {decision:?}");
    }
    Ok(())
}

#[test]
fn the_readme_shows_the_policy_that_a_bucket_made_here_has() -> anyhow::Result<()> {
    let deployed = resolve(&translated()?, &[IMAGE, ("ArchivePrefix", "PREFIX")])?;
    let policy = &deployed["Resources"]["ArchivePolicy"]["Properties"]["PolicyDocument"];
    let policy = serde_json::to_string_pretty(policy)?
        .replace("archivebucket", "BUCKET")
        .replace(KEY, "KEY_ARN");
    let block = format!("```json\n{policy}\n```");
    regenerate::block("infra/README.md", "archive policy", &block)
}
