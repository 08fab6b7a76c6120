//! People hear of what goes wrong, and can look at it.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::autoscale::expression::Expression;
use tests::template::{of_type, text};

use super::{Broken, must, number, of};

pub(super) fn alarms_reach_people_and_say_what_to_do(deployed: &Value) -> Broken {
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

pub(super) fn metric_math_adds_up(deployed: &Value) -> Broken {
    const FUNCTIONS: [&str; 2] = ["FILL", "IF"];
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

/// A metric without a value in a minute leaves a sum without one, and that never rings.
pub(super) fn sums_fill_metrics_that_may_be_absent(deployed: &Value) -> Broken {
    /// Without it the queue is idle, and there is nothing to scale for.
    const ALWAYS_THERE: [&str; 1] = ["visible"];
    let mut broken = Vec::new();
    for (name, alarm) in of_type(deployed, "AWS::CloudWatch::Alarm") {
        let metrics = alarm["Properties"]["Metrics"].as_array();
        let expressions = metrics.into_iter().flatten();
        for text in expressions.filter_map(|metric| metric["Expression"].as_str()) {
            match Expression::parse(text) {
                Ok(expression) => broken.extend(
                    expression
                        .unfilled()
                        .into_iter()
                        .filter(|metric| !ALWAYS_THERE.contains(metric))
                        .map(|metric| format!("{name} has no value where {metric} has none")),
                ),
                Err(error) => broken.push(format!("{name}: {error:#}")),
            }
        }
    }
    broken
}

pub(super) fn the_dashboard_can_be_read(deployed: &Value) -> Broken {
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

pub(super) fn logs_are_kept_for_a_while(deployed: &Value) -> Broken {
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
