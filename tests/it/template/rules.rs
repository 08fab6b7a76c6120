//! What must be true of the translated template that no linter knows: each rule is a function that says what breaks it.

// Workers have time, size and rights that fit.
mod workers;
// What is archived, and what is known of it, is kept.
mod evidence;
// People hear of what goes wrong.
mod observed;

use std::collections::BTreeSet;

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
    broken.extend(workers::every_size_is_one_that_fargate_has(translated)?);
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
const RULES: [fn(&Value) -> Broken; 18] = [
    evidence::queues_keep_what_they_must,
    workers::leases_end_before_messages_return,
    workers::containers_have_time_to_stop,
    workers::containers_are_nobody_and_may_nothing,
    workers::the_service_leaves_its_size_to_scaling,
    workers::scaling_covers_every_backlog,
    workers::nothing_can_connect_to_a_worker,
    evidence::the_archive_is_protected,
    evidence::what_is_evidence_outlives_the_stack,
    evidence::the_table_is_protected,
    evidence::everything_travels_by_tls,
    runs_are_neither_doubled_nor_lost_sight_of,
    roles_name_what_they_allow,
    observed::alarms_reach_people_and_say_what_to_do,
    observed::metric_math_adds_up,
    observed::sums_fill_metrics_that_may_be_absent,
    observed::the_dashboard_can_be_read,
    observed::logs_are_kept_for_a_while,
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
