//! Mistakes of the kind that people make, each planted in the template: the linters or a rule must find every one.

use serde_json::{Value, json};
use tests::template::{check, template, translate};

use super::rules;

const WORKER: &str = "/Resources/WorkerTask/Properties/ContainerDefinitions/0";

/// What was done wrong, where (a JSON pointer), what stands there instead (`None`: nothing), and a word of what is said.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn plants() -> Vec<(&'static str, String, Option<Value>, &'static str)> {
    let of = |resource: &str, path: &str| format!("/Resources/{resource}/Properties/{path}");
    let worker = |path: &str| format!("{WORKER}/{path}");
    vec![
        // What linters find.
        (
            "a queue that does not exist",
            of("WorkQueue", "RedrivePolicy/deadLetterTargetArn"),
            Some(json!({"Fn::GetAtt": ["Letters", "Arn"]})),
            "Letters",
        ),
        (
            "a misspelt property",
            of("CheckpointTable", "BillingModus"),
            Some(json!("PAY_PER_REQUEST")),
            "BillingModus",
        ),
        (
            "an action that does not exist",
            of("WorkerRole", "Policies/0/PolicyDocument/Statement/2/Action"),
            Some(json!("dynamodb:UpdateItems")),
            "updateitems",
        ),
        (
            "a queue's name as a dead-letter queue's",
            of("WorkQueue", "RedrivePolicy/deadLetterTargetArn"),
            Some(json!({"Ref": "NoSuchQueue"})),
            "NoSuchQueue",
        ),
        (
            "a runtime that does not exist",
            of("Producer", "Runtime"),
            Some(json!("provided.al2024")),
            "provided.al2024",
        ),
        (
            "a comparison that does not exist",
            of("GoneAlarm", "ComparisonOperator"),
            Some(json!("GreaterThan")),
            "GreaterThan",
        ),
        (
            "a parameter that does not exist",
            worker("Image"),
            Some(json!({"Ref": "Image"})),
            "Image",
        ),
        (
            "a condition that does not exist",
            "/Resources/ArchiveBucket/Condition".into(),
            Some(json!("MakeBuckets")),
            "MakeBuckets",
        ),
        (
            "a key whose account is shut out of it",
            of("EncryptionKey", "KeyPolicy/Statement/0/Principal/AWS"),
            Some(json!("arn:aws:iam::123456789012:role/gone")),
            "nobody can change",
        ),
        // What only rules find.
        (
            "CPU that Fargate does not pair with its memory",
            "/Mappings/Worker/large/Cpu".into(),
            Some(json!("8192")),
            "Fargate has no",
        ),
        (
            "buffers larger than the container",
            "/Mappings/Worker/small/MemoryBudget".into(),
            Some(json!("2GiB")),
            "do not fit",
        ),
        (
            "more time to stop than Fargate gives",
            worker("StopTimeout"),
            Some(json!(180)),
            "StopTimeout",
        ),
        (
            "a grace that leaves no time for the waits after it",
            worker("Environment/10/Value"),
            Some(json!("95s")),
            "are needed",
        ),
        (
            "messages that return before their lease ends",
            of("WorkQueue", "VisibilityTimeout"),
            Some(json!(30)),
            "VisibilityTimeout",
        ),
        (
            "minute instead of minutes",
            "/Mappings/Schedule/5/Expression".into(),
            Some(json!("rate(5 minute)")),
            "rate(5 minute)",
        ),
        (
            "runs longer than the schedule",
            "/Mappings/Schedule/10/Timeout".into(),
            Some(json!(900)),
            "is started each",
        ),
        (
            "an id in metric math that is not defined",
            of("Backlog", "Metrics/0/Expression"),
            Some(json!("visible + in_flight")),
            "in_flight",
        ),
        (
            "a sum of which one metric is absent while no worker runs",
            of("Backlog", "Metrics/0/Expression"),
            Some(json!(
                "IF(visible + received > 0, visible + FILL(inflight, 0), 0)"
            )),
            "Backlog has no value where received has none",
        ),
        (
            "a sum that is absent while no message is received",
            of("NoBacklog", "Metrics/0/Expression"),
            Some(json!("visible + received")),
            "NoBacklog has no value where received has none",
        ),
        (
            "scaling by another queue",
            of(
                "NoBacklog",
                "Metrics/2/MetricStat/Metric/Dimensions/0/Value/Fn::GetAtt",
            ),
            Some(json!(["DeadLetterQueue", "QueueName"])),
            "NoBacklog takes",
        ),
        (
            "a dashboard that is no JSON",
            of("Dashboard", "DashboardBody/Fn::Sub"),
            Some(json!("{\"widgets\": [}")),
            "dashboard",
        ),
        (
            "a launch type beside capacity providers",
            of("Workers", "LaunchType"),
            Some(json!("FARGATE")),
            "LaunchType",
        ),
        (
            "a number of workers that each update restores",
            of("Workers", "DesiredCount"),
            Some(json!(1)),
            "DesiredCount",
        ),
        (
            "redrive long before the attempts are over",
            of("WorkQueue", "RedrivePolicy/maxReceiveCount"),
            Some(json!(5)),
            "maxReceiveCount",
        ),
        (
            "dead letters that expire with the messages",
            of("DeadLetterQueue", "MessageRetentionPeriod"),
            Some(json!(345_600)),
            "fourteen days",
        ),
        (
            "a table that goes with the stack",
            "/Resources/CheckpointTable/DeletionPolicy".into(),
            Some(json!("Delete")),
            "Retain",
        ),
        (
            "a bucket that goes with the stack",
            "/Resources/ArchiveBucket/DeletionPolicy".into(),
            None,
            "Retain",
        ),
        (
            "a bucket without versions",
            of("ArchiveBucket", "VersioningConfiguration"),
            None,
            "VersioningConfiguration",
        ),
        (
            "a bucket that may become public",
            of(
                "ArchiveBucket",
                "PublicAccessBlockConfiguration/BlockPublicPolicy",
            ),
            Some(json!(false)),
            "PublicAccessBlock",
        ),
        (
            "writes that replace whatever is there",
            of(
                "ArchivePolicy",
                "PolicyDocument/Statement/2/Condition/Null/s3:if-none-match",
            ),
            None,
            "unconditional",
        ),
        (
            "a worker that may delete what it likes",
            of(
                "WorkerRole",
                "Policies/0/PolicyDocument/Statement/4/Action/1",
            ),
            Some(json!("s3:*")),
            "s3:*",
        ),
        (
            "a producer that may do it to any table",
            of(
                "ProducerRole",
                "Policies/0/PolicyDocument/Statement/3/Resource",
            ),
            Some(json!("*")),
            "on anything",
        ),
        (
            "a policy of AWS's that allows everything",
            of("WorkerRole", "ManagedPolicyArns"),
            Some(json!(["arn:aws:iam::aws:policy/AmazonS3FullAccess"])),
            "policies of AWS's",
        ),
        (
            "a container as root",
            worker("User"),
            Some(json!("0")),
            "User",
        ),
        (
            "a container that can write",
            worker("ReadonlyRootFilesystem"),
            Some(json!(false)),
            "ReadonlyRootFilesystem",
        ),
        (
            "a port that is open to all",
            of("WorkerSecurityGroup", "SecurityGroupIngress"),
            Some(
                json!([{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "CidrIp": "0.0.0.0/0"}]),
            ),
            "SecurityGroupIngress",
        ),
        (
            "an alarm that tells nobody",
            of("GoneAlarm", "AlarmActions"),
            Some(json!([])),
            "tells nobody",
        ),
        (
            "an alarm without a runbook",
            of("GoneAlarm", "AlarmDescription"),
            Some(json!("Gone")),
            "what to do",
        ),
        (
            "an alarm that waits for what is never reported",
            of("GoneAlarm", "MetricName"),
            Some(json!("Lost")),
            "no program reports",
        ),
        (
            "a producer whose silence is no alarm",
            of("ProducerNotRunningAlarm", "TreatMissingData"),
            Some(json!("notBreaching")),
            "never runs",
        ),
        (
            "a gap between two steps of scaling",
            of(
                "WorkerSteps",
                "StepScalingPolicyConfiguration/StepAdjustments/3/MetricIntervalLowerBound",
            ),
            Some(json!(1200)),
            "gap",
        ),
        (
            "scaling that never goes to none",
            of("WorkerCount", "MinCapacity"),
            Some(json!(1)),
            "MinCapacity",
        ),
        (
            "a queue that is not encrypted",
            of("DeadLetterQueue", "SqsManagedSseEnabled"),
            None,
            "SqsManagedSseEnabled",
        ),
        (
            "a queue without the policy of TLS",
            of("QueuesPolicy", "Queues"),
            Some(json!([{"Ref": "WorkQueue"}])),
            "without TLS",
        ),
        (
            "failed runs that are run again beside the next",
            of("Producer", "EventInvokeConfig/MaximumRetryAttempts"),
            Some(json!(2)),
            "again",
        ),
        (
            "a role without a boundary",
            of("StartRole", "PermissionsBoundary"),
            None,
            "boundary",
        ),
        (
            "a log that is kept for ever",
            of("WorkerLog", "RetentionInDays"),
            None,
            "WorkerLog",
        ),
        (
            "a NAT gateway that nobody asked for",
            "/Resources/Nat".into(),
            Some(
                json!({"Type": "AWS::EC2::NatGateway", "Properties": {"SubnetId": {"Ref": "SubnetA"}, "ConnectivityType": "private"}}),
            ),
            "Nat",
        ),
        (
            "a parameter that does nothing",
            "/Parameters/Colour".into(),
            Some(
                json!({"Type": "String", "Default": "blue", "Description": "What colour the archive has"}),
            ),
            "Colour",
        ),
    ]
}

/// The template with something else, or nothing, at a pointer.
fn planted(mut template: Value, pointer: &str, instead: Option<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = template
        .pointer_mut(parent)
        .expect("the parent of what is planted is there");
    match (parent, instead) {
        (Value::Array(list), Some(instead)) => {
            list[name.parse::<usize>().expect("a place in a list")] = instead;
        }
        (parent, Some(instead)) => parent[name] = instead,
        (parent, None) => {
            let removed = parent
                .as_object_mut()
                .and_then(|object| object.remove(name));
            assert!(removed.is_some(), "there is no {pointer}");
        }
    }
    template
}

#[test]
fn every_planted_mistake_is_found() -> anyhow::Result<()> {
    let (template, plants) = (template()?, plants());
    assert!(plants.len() >= 20);
    let templates: Vec<Value> = plants
        .iter()
        .map(|(_, pointer, instead, _)| planted(template.clone(), pointer, instead.clone()))
        .collect();
    let mut left = Vec::new();
    for (nth, translated) in translate(&templates)?.into_iter().enumerate() {
        let mut found = translated.findings;
        if let Some(translated) = &translated.translated {
            // What cannot be resolved has been found, too.
            let broken = rules::broken(translated);
            found.extend(broken.unwrap_or_else(|error| vec![format!("{error:#}")]));
        }
        let (what, _, _, word) = &plants[nth];
        if !found.iter().any(|found| found.contains(word)) {
            left.push((what, word, found, templates[nth].clone()));
        }
    }
    // Linters take their time, so they get only what no rule has found.
    let templates: Vec<Value> = left.iter().map(|(.., template)| template.clone()).collect();
    let mut missed = Vec::new();
    for ((what, word, mut found, _), checked) in left.into_iter().zip(check(&templates)?) {
        found.extend(checked.findings);
        if !found.iter().any(|found| found.contains(word)) {
            missed.push(format!("{what}: {found:?}"));
        }
    }
    assert_eq!(missed, Vec::<String>::new());
    Ok(())
}
