//! What the programs report to CloudWatch: figures in its embedded metric format, which it reads out of their logs.
//!
//! They have no dimensions: a namespace is one deployment's, and whatever is of one instance is in the log and in the table.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::warn;

/// Each is reported under its name as it stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// By a run of the producer: versions sent.
    Sent,
    /// Versions sent again.
    Resent,
    /// Instances that failed or vanished, and selections that name nothing.
    Failures,
    /// Instances that the run had no time for.
    NotStarted,
    /// Hours since the last write of the version that has been waiting longest, of the instances that the run reached; 0
    /// if none is.
    OldestUnfinishedHours,
    /// By a worker, each minute: versions that are complete.
    Shipped,
    /// Bytes of them in RDS.
    RawBytes,
    /// Bytes of them in the archive.
    StoredBytes,
    /// Versions given back, to be tried again.
    Released,
    /// Messages that became dead letters.
    Quarantined,
    /// Versions that RDS deleted before they were archived.
    Gone,
    /// 1 while no messages are taken, since AWS refuses us; else 0.
    BreakerOpen,
}

impl Metric {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Sent,
        Self::Resent,
        Self::Failures,
        Self::NotStarted,
        Self::OldestUnfinishedHours,
        Self::Shipped,
        Self::RawBytes,
        Self::StoredBytes,
        Self::Released,
        Self::Quarantined,
        Self::Gone,
        Self::BreakerOpen,
    ];

    /// What CloudWatch calls it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// One of CloudWatch's units, which has none for hours.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
    fn unit(self) -> &'static str {
        match self {
            Self::RawBytes | Self::StoredBytes => "Bytes",
            Self::OldestUnfinishedHours => "None",
            _ => "Count",
        }
    }
}

/// Prints figures for CloudWatch, on standard output: Lambda and ECS log it like standard error.
pub fn report(namespace: &str, figures: &[(Metric, f64)]) {
    let line = line(namespace, Timestamp::now(), figures);
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        warn!("failed to report metrics: {error}");
    }
}

fn line(namespace: &str, now: Timestamp, figures: &[(Metric, f64)]) -> Value {
    let metrics: Vec<Value> = figures
        .iter()
        .map(|(metric, _)| json!({"Name": metric.name(), "Unit": metric.unit()}))
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [[]], "Metrics": metrics}],
        }),
    );
    for (metric, value) in figures {
        line.insert(metric.name(), json!(value));
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_cloudwatch_reads_it() {
        let now = Timestamp::from_millisecond(1_732_000_000_123).unwrap();
        let figures = [(Metric::Shipped, 3.0), (Metric::RawBytes, 1e8)];
        assert_eq!(
            line("Auditferry/stack", now, &figures),
            json!({
                "_aws": {
                    "Timestamp": 1_732_000_000_123_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Auditferry/stack",
                        "Dimensions": [[]],
                        "Metrics": [{"Name": "Shipped", "Unit": "Count"}, {"Name": "RawBytes", "Unit": "Bytes"}],
                    }],
                },
                "Shipped": 3.0,
                "RawBytes": 1e8,
            })
        );
    }
}
