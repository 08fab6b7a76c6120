//! The step policy and the two alarms that act on it, as the template has them.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::expression::Expression;
use super::queue::Reported;
use crate::template::text;

/// The policy and its two alarms.
#[derive(Debug, Clone)]
pub struct Policy {
    /// From so many messages on, so many workers; ascending.
    steps: Vec<(f64, usize)>,
    /// Minutes between a change and fewer workers.
    pub(super) cooldown: usize,
    /// The most workers.
    max: usize,
    backlog: Alarm,
    no_backlog: Alarm,
}

/// An alarm on metric math, of which a minute without a value is none that breaches.
#[derive(Debug, Clone)]
struct Alarm {
    expression: Expression,
    /// What SQS calls the metric of each id.
    metrics: BTreeMap<String, String>,
    /// Whether it breaches above the threshold, which is 0; else at or below.
    above: bool,
    /// Minutes of breaching until it rings.
    minutes: usize,
}

impl Alarm {
    fn of(deployed: &Value, name: &str) -> anyhow::Result<Self> {
        let alarm = deployed.pointer(&format!("/Resources/{name}/Properties"));
        let alarm = alarm.with_context(|| format!("there is no {name}"))?;
        ensure!(alarm["Threshold"] == 0, "{name} compares with another");
        ensure!(
            alarm["TreatMissingData"] == "notBreaching",
            "{name} rings for nothing"
        );
        let above = match text(&alarm["ComparisonOperator"]).as_str() {
            "GreaterThanThreshold" => true,
            "LessThanOrEqualToThreshold" => false,
            other => bail!("{name} compares by {other}"),
        };
        let (mut expression, mut metrics) = (None, BTreeMap::new());
        for metric in alarm["Metrics"].as_array().into_iter().flatten() {
            if let Some(text) = metric["Expression"].as_str() {
                expression = Some(Expression::parse(text)?);
            } else {
                let of = metric.pointer("/MetricStat/Metric/MetricName");
                let of = text(of.with_context(|| format!("no metric: {metric}"))?);
                metrics.insert(text(&metric["Id"]), of);
            }
        }
        Ok(Self {
            expression: expression.with_context(|| format!("{name} has no expression"))?,
            metrics,
            above,
            minutes: text(&alarm["EvaluationPeriods"]).parse()?,
        })
    }

    fn value(&self, reported: &Reported) -> anyhow::Result<Option<f64>> {
        self.expression.value(&|id| {
            let metric = self.metrics.get(id);
            reported.get(metric.with_context(|| format!("{id} is no metric"))?)
        })
    }

    /// The last value, if the alarm rings for it.
    fn rings(&self, reported: &[Reported]) -> anyhow::Result<Option<f64>> {
        let Some(first) = reported.len().checked_sub(self.minutes) else {
            return Ok(None);
        };
        let mut last = None;
        for minute in reported.get(first..).unwrap_or_default() {
            let value = self.value(minute)?;
            last = value.filter(|value| (*value > 0.0) == self.above);
            if last.is_none() {
                return Ok(None);
            }
        }
        Ok(last)
    }
}

impl Policy {
    /// As the resolved template has it.
    pub fn of(deployed: &Value) -> anyhow::Result<Self> {
        let property = |path: &str| {
            let value = deployed.pointer(&format!("/Resources/{path}"));
            value.with_context(|| format!("there is no {path}"))
        };
        let number = |path: &str| -> anyhow::Result<usize> { Ok(text(property(path)?).parse()?) };
        let configuration = "WorkerSteps/Properties/StepScalingPolicyConfiguration";
        let adjustments = property(&format!("{configuration}/StepAdjustments"))?;
        let mut steps = Vec::new();
        for step in adjustments.as_array().context("no steps")? {
            let from = step.get("MetricIntervalLowerBound").and_then(Value::as_f64);
            let workers = step.get("ScalingAdjustment").and_then(Value::as_u64);
            let workers = usize::try_from(workers.context("no workers")?)?;
            steps.push((from.unwrap_or(f64::NEG_INFINITY), workers));
        }
        ensure!(!steps.is_empty(), "there are no steps");
        Ok(Self {
            steps,
            cooldown: number(&format!("{configuration}/Cooldown"))? / 60,
            max: number("WorkerCount/Properties/MaxCapacity")?,
            backlog: Alarm::of(deployed, "Backlog")?,
            no_backlog: Alarm::of(deployed, "NoBacklog")?,
        })
    }

    /// Workers for a value of an alarm's.
    pub fn workers(&self, messages: f64) -> usize {
        let mut steps = self.steps.iter().rev();
        let step = steps.find(|(from, _)| messages >= *from);
        step.map_or(0, |(_, workers)| (*workers).min(self.max))
    }

    /// Workers that the alarms ask for, the last minute being the last that they see; `None`: neither rings.
    pub(super) fn wanted(&self, reported: &[Reported]) -> anyhow::Result<Option<usize>> {
        let mut wanted = None;
        for alarm in [&self.no_backlog, &self.backlog] {
            if let Some(value) = alarm.rings(reported)? {
                wanted = Some(self.workers(value));
            }
        }
        Ok(wanted)
    }
}
