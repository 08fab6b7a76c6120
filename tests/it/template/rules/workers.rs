//! Workers have time, size and rights that fit, and there are as many as there is work for.

use anyhow::Context;
use serde_json::{Value, json};
use tests::template::{IMAGE, of_type, resolve, text};

use super::{Broken, is, must, number, of};

pub(super) fn every_size_is_one_that_fargate_has(template: &Value) -> anyhow::Result<Broken> {
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

pub(super) fn leases_end_before_messages_return(deployed: &Value) -> Broken {
    let lease = seconds(&variable(deployed, "LEASE"));
    let visibility = number(of(deployed, "WorkQueue", "VisibilityTimeout"));
    must(
        (3..=visibility).contains(&lease),
        &format!("LEASE is {lease} s, VisibilityTimeout {visibility} s"),
    )
    .into_iter()
    .collect()
}

pub(super) fn containers_have_time_to_stop(deployed: &Value) -> Broken {
    // SIGKILL comes that much later than the last wait ends: enough for what has no limit of its own, such as log lines.
    const SLACK: u64 = 10;
    let grace = shared::config::duration(&variable(deployed, "SHUTDOWN_GRACE"));
    let needed = grace.map_or(i64::MAX, |grace| {
        let longest = worker::run::longest_stop(grace).as_secs() + SLACK;
        i64::try_from(longest).unwrap_or(i64::MAX)
    });
    let stop = number(of(
        deployed,
        "WorkerTask",
        "ContainerDefinitions/0/StopTimeout",
    ));
    must(
        needed <= stop && stop <= 120,
        &format!("StopTimeout is {stop} s, and {needed} s are needed"),
    )
    .into_iter()
    .collect()
}

pub(super) fn containers_are_nobody_and_may_nothing(deployed: &Value) -> Broken {
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

pub(super) fn the_service_leaves_its_size_to_scaling(deployed: &Value) -> Broken {
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

pub(super) fn scaling_covers_every_backlog(deployed: &Value) -> Broken {
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
        broken.extend(counts_the_work_queue(deployed, alarm));
    }
    broken
}

/// What SQS calls the metric of each id, and the statistic to take of a minute.
fn counts_the_work_queue(deployed: &Value, alarm: &str) -> Broken {
    let mut broken = Broken::new();
    let metrics = of(deployed, alarm, "Metrics").as_array();
    for metric in metrics.into_iter().flatten() {
        let stat = &metric["MetricStat"];
        if stat.is_null() {
            continue;
        }
        let id = text(&metric["Id"]);
        let (name, how) = match id.as_str() {
            "visible" => ("ApproximateNumberOfMessagesVisible", "Maximum"),
            "inflight" => ("ApproximateNumberOfMessagesNotVisible", "Maximum"),
            "received" => ("NumberOfMessagesReceived", "Sum"),
            _ => ("nothing", "nothing"),
        };
        let expected = json!({
            "Metric": {
                "Namespace": "AWS/SQS",
                "MetricName": name,
                "Dimensions": [{"Name": "QueueName", "Value": "WorkQueue"}],
            },
            "Period": 60,
            "Stat": how,
        });
        broken.extend(must(
            *stat == expected,
            &format!("{alarm} takes {stat} for {id}"),
        ));
    }
    let expression = text(of(deployed, alarm, "Metrics/0/Expression"));
    broken.extend(must(
        expression.contains("visible"),
        &format!("{alarm} does not look at the queue: {expression}"),
    ));
    broken
}

pub(super) fn nothing_can_connect_to_a_worker(deployed: &Value) -> Broken {
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
