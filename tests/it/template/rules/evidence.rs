//! What is archived, and what is known of it, is protected and kept.

use serde_json::{Value, json};
use tests::template::{of_type, text};

use super::{Broken, is, must, number, of};

pub(super) fn queues_keep_what_they_must(deployed: &Value) -> Broken {
    let days = |queue: &str| number(of(deployed, queue, "MessageRetentionPeriod")) / 86_400;
    let target = of(deployed, "WorkQueue", "RedrivePolicy/deadLetterTargetArn");
    [
        must(
            days("WorkQueue") == 4,
            "WorkQueue does not keep messages for four days",
        ),
        must(
            days("DeadLetterQueue") == 14,
            "DeadLetterQueue does not keep messages for fourteen days",
        ),
        must(
            text(target).ends_with(":DeadLetterQueue"),
            &format!("dead letters go to {target}"),
        ),
        is(
            deployed,
            "WorkQueue",
            "RedrivePolicy/maxReceiveCount",
            &json!(1000),
        ),
    ]
    .into_iter()
    .flatten()
    .chain(
        of_type(deployed, "AWS::SQS::Queue")
            .filter_map(|(name, _)| is(deployed, name, "SqsManagedSseEnabled", &json!(true))),
    )
    .collect()
}

pub(super) fn the_archive_is_protected(deployed: &Value) -> Broken {
    if deployed["Resources"].get("ArchiveBucket").is_none() {
        return Vec::new();
    }
    let bucket = |path: &str, expected: Value| is(deployed, "ArchiveBucket", path, &expected);
    let encryption = "BucketEncryption/ServerSideEncryptionConfiguration/0";
    let statements = of(deployed, "ArchivePolicy", "PolicyDocument/Statement").as_array();
    let conditional = json!({
        "Sid": "OnlyConditionalWrites", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::archivebucket/*",
        "Condition": {
            "Null": {"s3:if-none-match": "true", "s3:if-match": "true"},
            "Bool": {"s3:ObjectCreationOperation": "true"},
        },
    });
    let lock = of(
        deployed,
        "ArchiveBucket",
        "ObjectLockConfiguration/Rule/DefaultRetention",
    );
    let days = of(
        deployed,
        "ArchiveBucket",
        "LifecycleConfiguration/Rules/0/AbortIncompleteMultipartUpload/DaysAfterInitiation",
    );
    [
        bucket("VersioningConfiguration/Status", json!("Enabled")),
        bucket("ObjectLockEnabled", json!(true)),
        bucket("PublicAccessBlockConfiguration", json!({
            "BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true,
        })),
        bucket("OwnershipControls/Rules/0/ObjectOwnership", json!("BucketOwnerEnforced")),
        bucket(&format!("{encryption}/BucketKeyEnabled"), json!(true)),
        bucket(&format!("{encryption}/ServerSideEncryptionByDefault/SSEAlgorithm"), json!("aws:kms")),
        must(number(days) == 2, "unfinished uploads are not aborted after two days"),
        must(lock.is_null() || number(&lock["Days"]) >= 1, &format!("objects are locked for {lock}")),
        must(
            statements.is_some_and(|all| all.contains(&conditional)),
            "an unconditional write is not refused",
        ),
        is(deployed, "ArchivePolicy", "Bucket", &json!("archivebucket")),
    ]
    .into_iter()
    .flatten()
    .chain(of_type(deployed, "AWS::KMS::Key").flat_map(|(name, key)| {
        let first = &key["Properties"]["KeyPolicy"]["Statement"][0];
        let account = text(&first["Principal"]["AWS"]).ends_with(":root");
        let decides = account && first["Effect"] == "Allow" && first["Action"] == "kms:*";
        [
            is(deployed, name, "EnableKeyRotation", &json!(true)),
            must(decides, "nobody can change the key's policy again"),
        ]
        .into_iter()
        .flatten()
    }))
    .collect()
}

pub(super) fn what_is_evidence_outlives_the_stack(deployed: &Value) -> Broken {
    let mut broken = Vec::new();
    for kind in [
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::KMS::Key",
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
    ] {
        for (name, resource) in of_type(deployed, kind) {
            for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
                broken.extend(must(
                    resource[policy] == "Retain",
                    &format!("{name} has no {policy} Retain"),
                ));
            }
        }
    }
    broken
}

pub(super) fn the_table_is_protected(deployed: &Value) -> Broken {
    let table = |path: &str, expected: Value| is(deployed, "CheckpointTable", path, &expected);
    [
        table("BillingMode", json!("PAY_PER_REQUEST")),
        table("DeletionProtectionEnabled", json!(true)),
        table(
            "TimeToLiveSpecification",
            json!({"AttributeName": "expires_at", "Enabled": true}),
        ),
        table(
            "PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled",
            json!(true),
        ),
        table("SSESpecification/SSEEnabled", json!(true)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn everything_travels_by_tls(deployed: &Value) -> Broken {
    let refuses = |policy: &str| {
        let statements = of(deployed, policy, "PolicyDocument/Statement").as_array();
        let plain = json!({"Bool": {"aws:SecureTransport": "false"}});
        statements.into_iter().flatten().any(|one| {
            one["Effect"] == "Deny" && one["Principal"] == "*" && one["Condition"] == plain
        })
    };
    let covered = |name: &str| {
        let queues = of(deployed, "QueuesPolicy", "Queues").as_array();
        queues
            .into_iter()
            .flatten()
            .any(|url| text(url).ends_with(&format!("/{name}")))
    };
    let mut broken: Broken = of_type(deployed, "AWS::SQS::Queue")
        .filter_map(|(name, _)| must(covered(name), &format!("{name} takes requests without TLS")))
        .collect();
    for (kind, policy) in [
        ("AWS::SQS::Queue", "QueuesPolicy"),
        ("AWS::S3::Bucket", "ArchivePolicy"),
        ("AWS::SNS::Topic", "AlarmTopicPolicy"),
    ] {
        if of_type(deployed, kind).next().is_some() {
            broken.extend(must(
                refuses(policy),
                &format!("{policy} allows requests without TLS"),
            ));
        }
    }
    broken
}
