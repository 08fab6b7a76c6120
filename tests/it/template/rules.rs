//! What must be true of the translated template that no linter knows: each rule is a function that says what breaks it.

use std::collections::BTreeSet;

use anyhow::Context;
use serde_json::{Value, json};
use tests::template::{IMAGE, Parameters, members, of_type, resolve, text};

/// Every way in which it can be deployed that changes more than a value.
const DEPLOYMENTS: [Parameters<'static>; 5] = [
    &[IMAGE],
    &[
        IMAGE,
        ("ScheduleMinutes", "5"),
        ("WorkerSize", "small"),
        ("UseSpot", "true"),
    ],
    &[
        IMAGE,
        ("ScheduleMinutes", "60"),
        ("WorkerSize", "large"),
        ("Architecture", "x86_64"),
    ],
    &[
        IMAGE,
        ("ExistingBucket", "ours"),
        ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/ours"),
        ("ExistingVpc", "vpc-0"),
        ("ExistingSubnets", "subnet-1,subnet-2"),
        ("PublicIp", "DISABLED"),
        ("AlarmTopicArn", "arn:aws:sns:us-east-1:123456789012:ours"),
    ],
    &[
        IMAGE,
        ("ScheduleMinutes", "30"),
        ("ObjectLockMode", "COMPLIANCE"),
        ("ObjectLockDays", "400"),
        ("DeepArchiveAfterDays", "100"),
        (
            "PermissionsBoundary",
            "arn:aws:iam::123456789012:policy/boundary",
        ),
    ],
];

/// What is wrong with it.
type Broken = Vec<String>;

/// What each deployment breaks. `Err`: it cannot even be read.
pub(super) fn broken(translated: &Value) -> anyhow::Result<Vec<String>> {
    let mut broken = parameters_are_explained_and_used(translated);
    broken.extend(every_schedule_leaves_time_for_a_run(translated));
    broken.extend(every_size_is_one_that_fargate_has(translated)?);
    for parameters in DEPLOYMENTS {
        let deployed = resolve(translated, parameters)?;
        for rule in RULES {
            broken.extend(rule(&deployed));
        }
    }
    broken.sort();
    broken.dedup();
    Ok(broken)
}

/// Each is asked of each deployment.
const RULES: [fn(&Value) -> Broken; 17] = [
    queues_keep_what_they_must,
    leases_end_before_messages_return,
    containers_have_time_to_stop,
    containers_are_nobody_and_may_nothing,
    the_service_leaves_its_size_to_scaling,
    scaling_covers_every_backlog,
    nothing_can_connect_to_a_worker,
    the_archive_is_protected,
    what_is_evidence_outlives_the_stack,
    the_table_is_protected,
    everything_travels_by_tls,
    runs_are_neither_doubled_nor_lost_sight_of,
    roles_name_what_they_allow,
    alarms_reach_people_and_say_what_to_do,
    metric_math_adds_up,
    the_dashboard_can_be_read,
    logs_are_kept_for_a_while,
];

/// A property of a resource, by path; null where there is none.
fn of<'t>(deployed: &'t Value, resource: &str, path: &str) -> &'t Value {
    let pointer = format!("/Resources/{resource}/Properties/{path}");
    deployed.pointer(&pointer).unwrap_or(&Value::Null)
}

/// What is no whole number is smaller than any that is expected.
fn number(value: &Value) -> i64 {
    text(value).parse().unwrap_or(i64::MIN)
}

/// Says what is wrong unless it holds.
fn must(holds: bool, what: &str) -> Option<String> {
    (!holds).then(|| what.to_owned())
}

fn is(deployed: &Value, resource: &str, path: &str, expected: &Value) -> Option<String> {
    let found = of(deployed, resource, path);
    must(
        found == expected,
        &format!("{resource} {path} is {found}, not {expected}"),
    )
}

fn parameters_are_explained_and_used(template: &Value) -> Broken {
    let mut broken = Vec::new();
    let rest = ["Resources", "Conditions", "Outputs"]
        .map(|section| template[section].to_string())
        .concat();
    let groups = &template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let shown: Vec<String> = groups
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|group| group["Parameters"].as_array().into_iter().flatten())
        .map(text)
        .collect();
    for (name, declared) in members(template, "Parameters") {
        let used = rest.contains(&format!("\"{name}\"")) || rest.contains(&format!("${{{name}}}"));
        broken.extend(must(used, &format!("parameter {name} is not used")));
        broken.extend(must(
            text(&declared["Description"]).len() > 20,
            &format!("parameter {name} is not explained"),
        ));
        broken.extend(must(
            shown.contains(name),
            &format!("parameter {name} is in no group"),
        ));
    }
    broken
}

fn every_schedule_leaves_time_for_a_run(template: &Value) -> Broken {
    let mut broken = Vec::new();
    for minutes in template["Parameters"]["ScheduleMinutes"]["AllowedValues"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let minutes = text(minutes);
        let schedule = &template["Mappings"]["Schedule"][&minutes];
        let expression = text(&schedule["Expression"]);
        let expected = format!(
            "rate({minutes} minute{})",
            if minutes == "1" { "" } else { "s" }
        );
        broken.extend(must(
            expression == expected,
            &format!("schedule {minutes} is {expression}"),
        ));
        let (timeout, every) = (
            number(&schedule["Timeout"]),
            number(&minutes.as_str().into()) * 60,
        );
        broken.extend(must(
            (60..=900).contains(&timeout) && timeout < every,
            &format!("a run may take {timeout} s, and is started each {every} s"),
        ));
    }
    broken
}

fn every_size_is_one_that_fargate_has(template: &Value) -> anyhow::Result<Broken> {
    /// CPU units, and whole GB of memory from, to.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
    const PAIRS: [(i64, i64, i64); 4] = [(512, 1, 4), (1024, 2, 8), (2048, 4, 16), (4096, 8, 30)];
    let mut broken = Vec::new();
    for size in template["Parameters"]["WorkerSize"]["AllowedValues"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let size = text(size);
        let deployed = resolve(template, &[IMAGE, ("WorkerSize", &size)])?;
        let (cpu, memory) = (
            of(&deployed, "WorkerTask", "Cpu"),
            of(&deployed, "WorkerTask", "Memory"),
        );
        let (units, mebibytes) = (number(cpu), number(memory));
        let there_is = PAIRS.iter().any(|(cpu, from, to)| {
            *cpu == units && mebibytes % 1024 == 0 && (*from..=*to).contains(&(mebibytes / 1024))
        });
        broken.extend(must(
            there_is,
            &format!("Fargate has no {cpu} with {memory}"),
        ));
        let budget = variable(&deployed, "MEMORY_BUDGET");
        let budget = shared::config::size(&budget)
            .map_err(anyhow::Error::msg)
            .context("MEMORY_BUDGET")?;
        // The other half is for the program itself, TLS, and what buffers are not counted.
        let fits = budget <= text(memory).parse::<u64>()? << 19;
        broken.extend(must(
            fits,
            &format!("{budget} bytes of buffers do not fit in {memory} MiB"),
        ));
    }
    Ok(broken)
}

/// A variable of the worker's.
fn variable(deployed: &Value, name: &str) -> String {
    let all = of(deployed, "WorkerTask", "ContainerDefinitions/0/Environment").as_array();
    let found = all
        .into_iter()
        .flatten()
        .find(|variable| variable["Name"] == name);
    found.map_or(String::new(), |variable| text(&variable["Value"]))
}

/// A duration as settings write it; what is none is longer than any.
fn seconds(duration: &str) -> i64 {
    let seconds = shared::config::duration(duration).map(|duration| duration.as_secs());
    seconds
        .ok()
        .and_then(|seconds| i64::try_from(seconds).ok())
        .unwrap_or(i64::MAX >> 1)
}

fn queues_keep_what_they_must(deployed: &Value) -> Broken {
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

fn leases_end_before_messages_return(deployed: &Value) -> Broken {
    let lease = seconds(&variable(deployed, "LEASE"));
    let visibility = number(of(deployed, "WorkQueue", "VisibilityTimeout"));
    must(
        (3..=visibility).contains(&lease),
        &format!("LEASE is {lease} s, VisibilityTimeout {visibility} s"),
    )
    .into_iter()
    .collect()
}

fn containers_have_time_to_stop(deployed: &Value) -> Broken {
    // What still runs is given back after the grace, within 20 s.
    let needed = seconds(&variable(deployed, "SHUTDOWN_GRACE")) + 20;
    let stop = number(of(
        deployed,
        "WorkerTask",
        "ContainerDefinitions/0/StopTimeout",
    ));
    must(
        needed < stop && stop <= 120,
        &format!("StopTimeout is {stop} s, and {needed} s are needed"),
    )
    .into_iter()
    .collect()
}

fn containers_are_nobody_and_may_nothing(deployed: &Value) -> Broken {
    let container = |path: &str, expected: Value| {
        is(
            deployed,
            "WorkerTask",
            &format!("ContainerDefinitions/0/{path}"),
            &expected,
        )
    };
    [
        container("User", json!("65532:65532")),
        container("ReadonlyRootFilesystem", json!(true)),
        container(
            "LinuxParameters",
            json!({"Capabilities": {"Drop": ["ALL"]}}),
        ),
        container("Privileged", Value::Null),
        container(
            "HealthCheck/Command",
            json!(["CMD", "/auditferry-worker", "health"]),
        ),
        container("LogConfiguration/LogDriver", json!("awslogs")),
        must(
            of(deployed, "WorkerTask", "TaskRoleArn")
                != of(deployed, "WorkerTask", "ExecutionRoleArn"),
            "workers have the role that starts them",
        ),
        must(
            variable(deployed, "HEALTH_ADDRESS").starts_with("127.0.0.1:"),
            "health checks are answered to others than the container itself",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn the_service_leaves_its_size_to_scaling(deployed: &Value) -> Broken {
    let providers = of(deployed, "Workers", "CapacityProviderStrategy");
    [
        is(deployed, "Workers", "DesiredCount", &Value::Null),
        is(deployed, "Workers", "LaunchType", &Value::Null),
        is(deployed, "WorkerCount", "MinCapacity", &json!(0)),
        is(
            deployed,
            "WorkerCount",
            "ResourceId",
            &json!("service/cluster/workers.Name"),
        ),
        is(
            deployed,
            "Workers",
            "DeploymentConfiguration/DeploymentCircuitBreaker/Enable",
            &json!(true),
        ),
        must(
            providers.as_array().is_some_and(|all| all.len() == 1),
            "there is not one capacity provider",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn scaling_covers_every_backlog(deployed: &Value) -> Broken {
    let mut broken: Broken = [
        is(deployed, "WorkerSteps", "PolicyType", &json!("StepScaling")),
        is(
            deployed,
            "WorkerSteps",
            "StepScalingPolicyConfiguration/AdjustmentType",
            &json!("ExactCapacity"),
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    let steps = of(
        deployed,
        "WorkerSteps",
        "StepScalingPolicyConfiguration/StepAdjustments",
    );
    let steps: Vec<&Value> = steps.as_array().into_iter().flatten().collect();
    let bound = |step: &Value, name: &str| step.get(name).map(number);
    let (mut upper, mut workers) = (None, -1);
    for (nth, step) in steps.iter().enumerate() {
        let lower = bound(step, "MetricIntervalLowerBound");
        broken.extend(must(
            lower == upper && (nth == 0) == lower.is_none(),
            &format!("there is a gap before {step}"),
        ));
        let more = number(&step["ScalingAdjustment"]);
        broken.extend(must(
            more > workers,
            &format!("more work, no more workers: {step}"),
        ));
        (upper, workers) = (bound(step, "MetricIntervalUpperBound"), more);
    }
    broken.extend(must(
        upper.is_none() && steps.len() > 2,
        "the last step ends somewhere",
    ));
    for (alarm, comparison, minutes) in [
        ("Backlog", "GreaterThanThreshold", 1),
        ("NoBacklog", "LessThanOrEqualToThreshold", 20),
    ] {
        // The policy's bounds are differences from this.
        broken.extend(is(deployed, alarm, "Threshold", &json!(0)));
        broken.extend(is(
            deployed,
            alarm,
            "ComparisonOperator",
            &json!(comparison),
        ));
        broken.extend(is(deployed, alarm, "EvaluationPeriods", &json!(minutes)));
        broken.extend(is(deployed, alarm, "AlarmActions", &json!(["workersteps"])));
        broken.extend(is(
            deployed,
            alarm,
            "TreatMissingData",
            &json!("notBreaching"),
        ));
        for (nth, metric) in [
            (1, "ApproximateNumberOfMessagesVisible"),
            (2, "ApproximateNumberOfMessagesNotVisible"),
        ] {
            let stat = |path: &str, expected: Value| {
                is(
                    deployed,
                    alarm,
                    &format!("Metrics/{nth}/MetricStat/{path}"),
                    &expected,
                )
            };
            broken.extend(stat("Metric/MetricName", json!(metric)));
            broken.extend(stat("Metric/Dimensions/0/Value", json!("WorkQueue")));
            broken.extend(stat("Period", json!(60)));
        }
    }
    broken
}

fn nothing_can_connect_to_a_worker(deployed: &Value) -> Broken {
    let mut broken: Broken = Vec::new();
    for (name, _) in of_type(deployed, "AWS::EC2::SecurityGroup") {
        broken.extend(is(deployed, name, "SecurityGroupIngress", &Value::Null));
        for rule in of(deployed, name, "SecurityGroupEgress")
            .as_array()
            .into_iter()
            .flatten()
        {
            broken.extend(must(
                rule["FromPort"] == 443 && rule["ToPort"] == 443,
                &format!("{name} lets {rule} out"),
            ));
        }
    }
    for kind in [
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::NatGateway",
        "AWS::EC2::EIP",
    ] {
        broken.extend(of_type(deployed, kind).map(|(name, _)| format!("{name} is {kind}")));
    }
    let subnets = of(
        deployed,
        "Workers",
        "NetworkConfiguration/AwsvpcConfiguration/Subnets",
    );
    broken.extend(must(
        subnets.as_array().is_some_and(|all| all.len() == 2),
        "workers have not two subnets",
    ));
    broken
}

fn the_archive_is_protected(deployed: &Value) -> Broken {
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

fn what_is_evidence_outlives_the_stack(deployed: &Value) -> Broken {
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

fn the_table_is_protected(deployed: &Value) -> Broken {
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

fn everything_travels_by_tls(deployed: &Value) -> Broken {
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

fn runs_are_neither_doubled_nor_lost_sight_of(deployed: &Value) -> Broken {
    let invoke = of_type(deployed, "AWS::Lambda::EventInvokeConfig")
        .next()
        .map(|(_, it)| &it["Properties"]);
    let invoke = invoke.unwrap_or(&Value::Null);
    let ends_in = |value: &Value, end: &str| text(value).ends_with(end);
    [
        must(
            invoke["MaximumRetryAttempts"] == 0,
            "Lambda runs a failed run again, beside the next one",
        ),
        must(
            ends_in(
                &invoke["DestinationConfig"]["OnFailure"]["Destination"],
                ":FailedRuns",
            ),
            "nobody is told of a failed run",
        ),
        must(
            ends_in(of(deployed, "Schedule", "Target/Arn"), ":function:producer"),
            "the schedule runs something else",
        ),
        must(
            ends_in(
                of(deployed, "Schedule", "Target/RoleArn"),
                ":role/schedulerole",
            ),
            "the schedule has another's role",
        ),
        must(
            ends_in(
                of(deployed, "Schedule", "Target/DeadLetterConfig/Arn"),
                ":FailedRuns",
            ),
            "nobody is told of a run that could not be started",
        ),
        is(deployed, "Schedule", "State", &Value::Null),
        is(deployed, "Producer", "Runtime", &json!("provided.al2023")),
        is(deployed, "Producer", "Handler", &json!("bootstrap")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn roles_name_what_they_allow(deployed: &Value) -> Broken {
    /// Actions for which AWS has no resource level.
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>
    const WITHOUT_RESOURCES: [&str; 1] = ["ecr:GetAuthorizationToken"];
    let mut broken = Vec::new();
    let mut policies = BTreeSet::new();
    for (name, role) in of_type(deployed, "AWS::IAM::Role") {
        broken.extend(must(
            role["Properties"]["ManagedPolicyArns"].is_null(),
            &format!("{name} has policies of AWS's"),
        ));
        for statement in super::access::statements(role) {
            let actions = super::access::list(&statement["Action"]);
            let resources = super::access::list(&statement["Resource"]);
            broken.extend(must(
                statement["Effect"] == "Allow" && !resources.is_empty(),
                &format!("{name}: {statement}"),
            ));
            for action in &actions {
                broken.extend(must(!action.contains('*'), &format!("{name} may {action}")));
                for resource in &resources {
                    let named = resource != "*" || WITHOUT_RESOURCES.contains(&action.as_str());
                    broken.extend(must(named, &format!("{name} may {action} on anything")));
                    policies.insert((name, action.clone(), resource.clone()));
                }
            }
        }
    }
    let bounded: Vec<bool> = of_type(deployed, "AWS::IAM::Role")
        .map(|(_, role)| role["Properties"].get("PermissionsBoundary").is_some())
        .collect();
    broken.extend(must(
        bounded.windows(2).all(|two| two[0] == two[1]),
        "some roles have no boundary",
    ));
    broken.extend(must(policies.len() > 20, "the roles allow next to nothing"));
    broken
}

fn alarms_reach_people_and_say_what_to_do(deployed: &Value) -> Broken {
    /// What has to wake somebody.
    const ALARMS: [&str; 8] = [
        "OldestUnfinishedAlarm",
        "GoneAlarm",
        "DeadLettersAlarm",
        "ProducerFailingAlarm",
        "ProducerNotRunningAlarm",
        "WorkersMissingAlarm",
        "BreakerOpenAlarm",
        "ThrottlesAlarm",
    ];
    let mut broken: Broken = ALARMS
        .iter()
        .filter_map(|name| {
            must(
                deployed["Resources"].get(name).is_some(),
                &format!("there is no {name}"),
            )
        })
        .collect();
    for (name, alarm) in of_type(deployed, "AWS::CloudWatch::Alarm") {
        let alarm = &alarm["Properties"];
        let missing = text(&alarm["TreatMissingData"]);
        broken.extend(must(
            ["breaching", "notBreaching", "ignore"].contains(&missing.as_str()),
            &format!("{name} does not say what no data means"),
        ));
        if !name.ends_with("Alarm") {
            continue;
        }
        let action = text(&alarm["AlarmActions"][0]);
        broken.extend(must(
            action.contains(":sns:"),
            &format!("{name} tells nobody"),
        ));
        let runbook = text(&alarm["AlarmDescription"]);
        let does = ["auditferry", "log", "See", "Look", "events"]
            .iter()
            .any(|word| runbook.contains(word));
        broken.extend(must(
            runbook.len() > 80 && does,
            &format!("{name} does not say what to do"),
        ));
        let ours = text(&alarm["Namespace"]).starts_with("Auditferry/");
        let metric = text(&alarm["MetricName"]);
        broken.extend(must(
            !ours || is_reported(&metric),
            &format!("{name} waits for {metric}, which no program reports"),
        ));
    }
    broken.extend(must(
        of(deployed, "ProducerNotRunningAlarm", "TreatMissingData") == "breaching",
        "a producer that never runs raises no alarm",
    ));
    broken
}

fn is_reported(metric: &str) -> bool {
    shared::metrics::Metric::ALL
        .iter()
        .any(|known| known.name() == metric)
}

fn metric_math_adds_up(deployed: &Value) -> Broken {
    const FUNCTIONS: [&str; 1] = ["FILL"];
    let mut broken = Vec::new();
    for (name, alarm) in of_type(deployed, "AWS::CloudWatch::Alarm") {
        let Some(metrics) = alarm["Properties"]["Metrics"].as_array() else {
            continue;
        };
        let ids: Vec<String> = metrics.iter().map(|metric| text(&metric["Id"])).collect();
        let results = metrics
            .iter()
            .filter(|metric| metric["ReturnData"] != false)
            .count();
        broken.extend(must(results == 1, &format!("{name} has {results} results")));
        let periods: BTreeSet<String> = metrics
            .iter()
            .filter_map(|metric| metric.pointer("/MetricStat/Period"))
            .map(text)
            .collect();
        broken.extend(must(periods.len() == 1, &format!("{name} mixes periods")));
        for expression in metrics
            .iter()
            .filter_map(|metric| metric["Expression"].as_str())
        {
            for word in
                expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            {
                let known = word.is_empty()
                    || word.parse::<f64>().is_ok()
                    || FUNCTIONS.contains(&word)
                    || ids.iter().any(|id| id == word);
                broken.extend(must(known, &format!("{name}: nothing is called {word}")));
            }
        }
    }
    broken
}

fn the_dashboard_can_be_read(deployed: &Value) -> Broken {
    let body = text(of(deployed, "Dashboard", "DashboardBody"));
    let body: Value = match serde_json::from_str(&body) {
        Ok(body) => body,
        Err(error) => return vec![format!("the dashboard is no JSON: {error}")],
    };
    let mut broken = Vec::new();
    for widget in body["widgets"].as_array().into_iter().flatten() {
        let mut namespace = String::new();
        for metric in widget["properties"]["metrics"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if metric[0] != "." {
                namespace = text(&metric[0]);
            }
            let name = text(&metric[1]);
            broken.extend(must(
                !namespace.starts_with("Auditferry/") || is_reported(&name),
                &format!("the dashboard shows {name}, which no program reports"),
            ));
        }
    }
    broken.extend(must(
        body["widgets"].as_array().is_some_and(|all| all.len() > 4),
        "the dashboard is empty",
    ));
    broken
}

fn logs_are_kept_for_a_while(deployed: &Value) -> Broken {
    let groups: Vec<&String> = of_type(deployed, "AWS::Logs::LogGroup")
        .map(|(name, _)| name)
        .collect();
    let mut broken: Broken = groups
        .iter()
        .filter_map(|name| {
            must(
                number(of(deployed, name, "RetentionInDays")) >= 30,
                &format!("{name} keeps logs for ever, or not at all"),
            )
        })
        .collect();
    let into = [
        text(of(deployed, "Producer", "LoggingConfig/LogGroup")),
        text(of(
            deployed,
            "WorkerTask",
            "ContainerDefinitions/0/LogConfiguration/Options/awslogs-group",
        )),
    ];
    for into in into {
        let known = groups.iter().any(|name| name.to_lowercase() == into);
        broken.extend(must(
            known,
            &format!("a program logs into {into}, which is not of this stack"),
        ));
    }
    broken
}
