//! What the figures rest on.

use serde::Serialize;

/// Something that the figures rest on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assumption {
    /// What is assumed.
    pub what: &'static str,
    /// Its value where all is cheap,
    pub cheap: f64,
    /// and where all is dear.
    pub dear: f64,
    /// Why.
    pub why: &'static str,
}

/// Days of a month, as in all figures of the README.
pub(super) const DAYS: f64 = 30.0;
/// Hours of it.
pub(super) const HOURS: f64 = DAYS * 24.0;
/// Runs of the producer in a day, one every 15 minutes.
pub(super) const RUNS: f64 = 96.0;
/// A log file of Aurora rotates at so many GB.
pub(super) const ROTATION_GB: f64 = 0.1;
/// Seconds of CPU of a worker for a file, whatever its size: the README's 1.07 ms.
pub(super) const CPU_PER_FILE: f64 = 0.00107;
/// Seconds that a file waits for answers of RDS, S3, SQS and DynamoDB,
pub(super) const WAIT_PER_FILE: f64 = 0.3;
/// while so many others of the same vCPU go on.
pub(super) const FILES_PER_VCPU: f64 = 8.0;
/// Memory of a worker beside its one vCPU.
pub(super) const TASK_GB: f64 = 2.0;
/// Polls of a worker in an hour: one every 5 s.
pub(super) const POLLS: f64 = 720.0;
/// Memory of the producer.
pub(super) const PRODUCER_GB: f64 = 1.0;
/// Instances that the producer lists at a time.
pub(super) const LISTINGS_AT_A_TIME: f64 = 8.0;
/// The longest that a Lambda function runs.
pub(super) const LAMBDA_SECONDS: f64 = 900.0;
/// Memory of the script: 1769 MB, with which Lambda gives one vCPU.
pub(super) const SCRIPT_GB: f64 = 1769.0 / 1024.0;
/// Writes per file: queued, claimed, complete.
pub const WRITES_PER_FILE: f64 = 3.0;
/// Writes per instance and run: its watermark.
pub const WRITES_PER_LISTING: f64 = 1.0;
/// Bytes of a file's row.
pub const ROW_BYTES: f64 = 612.0;
/// Rows that a run reads of an instance at least, if there are as many.
pub const ROWS_READ: f64 = 50.0;
/// Bytes that one read unit reads.
pub const READ_UNIT_BYTES: f64 = 4096.0;
/// Bytes up to which an object is uploaded in one piece, and of each part beyond.
pub const PART_BYTES: f64 = 5_242_880.0;
/// Objects that Firehose writes hold so many GB.
pub(super) const OBJECT_GB: f64 = 0.064;

/// Assumptions that are soft.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assumed {
    pub(super) ratio: f64,
    pub(super) files_per_instance: f64,
    pub(super) cpu_per_gb: f64,
    pub(super) busy: f64,
    pub(super) task_hours_a_day: f64,
    pub(super) listing: f64,
    pub(super) sqs_per_file: f64,
    pub(super) own_log_kb_per_file: f64,
    pub(super) nat_gateways: f64,
    pub(super) nat_uploads: f64,
    pub(super) firehose_rounding: f64,
    pub(super) firehose_objects_a_day: f64,
    pub(super) script_runs: f64,
    pub(super) script_seconds_per_gb: f64,
    pub(super) script_seconds_per_head: f64,
}

/// With these, everything is cheap.
pub(super) const CHEAP: Assumed = Assumed {
    ratio: 10.0,
    files_per_instance: 4.0,
    cpu_per_gb: 11.0,
    busy: 0.8,
    task_hours_a_day: 1.0,
    listing: 0.1,
    sqs_per_file: 0.5,
    own_log_kb_per_file: 0.5,
    nat_gateways: 1.0,
    nat_uploads: 0.0,
    firehose_rounding: 1.0,
    firehose_objects_a_day: 96.0,
    script_runs: 24.0,
    script_seconds_per_gb: 20.0,
    script_seconds_per_head: 0.01,
};

/// With these, everything is dear.
pub(super) const DEAR: Assumed = Assumed {
    ratio: 4.3,
    files_per_instance: 96.0,
    cpu_per_gb: 20.0,
    busy: 0.5,
    task_hours_a_day: 24.0,
    listing: 1.0,
    sqs_per_file: 4.0,
    own_log_kb_per_file: 2.0,
    nat_gateways: 2.0,
    nat_uploads: 1.0,
    firehose_rounding: 2.0,
    firehose_objects_a_day: 1440.0,
    script_runs: 96.0,
    script_seconds_per_gb: 120.0,
    script_seconds_per_head: 0.03,
};

/// One of the assumptions.
type Value = fn(&Assumed) -> f64;

/// What is soft, and why.
const SOFT: [(&str, Value, &str); 15] = [
    (
        "times that gzip makes a log smaller",
        |assumed| assumed.ratio,
        "generated logs have 9.3, logs of long and varied statements less; taken for CloudWatch's own compression, too",
    ),
    (
        "log files per instance and day",
        |assumed| assumed.files_per_instance,
        "4 stripes of Aurora, rotated daily or hourly, and at 100 MB besides; RDS MySQL and MariaDB rotate at 1 MB unless told otherwise",
    ),
    (
        "CPU seconds of a worker per GB",
        |assumed| assumed.cpu_per_gb,
        "11 to 12 as measured at the default level; small files and less regular logs take more",
    ),
    (
        "share of a task's time in which it works",
        |assumed| assumed.busy,
        "tasks start 3 minutes late, and stay 20 minutes after the last file",
    ),
    (
        "hours a day that a task runs at least",
        |assumed| assumed.task_hours_a_day,
        "scaled to nothing, and woken four times; or one that never ends",
    ),
    (
        "seconds for the listing of an instance",
        |assumed| assumed.listing,
        "AWS says nothing",
    ),
    (
        "SQS requests per file",
        |assumed| assumed.sqs_per_file,
        "batches of ten, or one by one",
    ),
    (
        "KB of a program's own log per file",
        |assumed| assumed.own_log_kb_per_file,
        "one line for each file, in CloudWatch Logs",
    ),
    (
        "NAT gateways, where there are any",
        |assumed| assumed.nat_gateways,
        "one, or one in each of two availability zones",
    ),
    (
        "share of uploads that go through NAT, too",
        |assumed| assumed.nat_uploads,
        "none with a gateway endpoint for S3, which is free",
    ),
    (
        "times that Firehose's rounding makes records larger",
        |assumed| assumed.firehose_rounding,
        "it counts in steps of 5 KB, and CloudWatch sends compressed batches of any size",
    ),
    (
        "objects a day that Firehose writes",
        |assumed| assumed.firehose_objects_a_day,
        "one stream that waits for 15 minutes, or for 1; and one object more for each 64 MB",
    ),
    (
        "runs of the script in a day",
        |assumed| assumed.script_runs,
        "hourly, or every 15 minutes",
    ),
    (
        "seconds of the script per GB",
        |assumed| assumed.script_seconds_per_gb,
        "19 as measured with whole files; more with DownloadDBLogFilePortion, which gives 1 MB at a time",
    ),
    (
        "seconds of the script per HeadObject",
        |assumed| assumed.script_seconds_per_head,
        "one for each file that RDS lists, which is those of a day, at each run, one after the other",
    ),
];

/// What is taken as given, and why.
const GIVEN: [(&str, f64, &str); 16] = [
    ("days of a month", DAYS, "720 hours"),
    ("runs of the producer in a day", RUNS, "every 15 minutes"),
    ("GB of memory of the producer", PRODUCER_GB, "on arm64"),
    (
        "seconds that a run of Lambda lasts at most",
        LAMBDA_SECONDS,
        "what the producer has not listed by then, its next run does",
    ),
    ("GB of memory of a worker", TASK_GB, "with 1 vCPU, on arm64"),
    (
        "GB of memory of the script",
        SCRIPT_GB,
        "1769 MB, which brings one vCPU, on x86-64",
    ),
    (
        "writes to the table per file",
        WRITES_PER_FILE,
        "queued, claimed, complete; and one per instance and run",
    ),
    (
        "bytes of the table per file",
        ROW_BYTES,
        "rows stay as long as the log",
    ),
    (
        "rows that the producer reads of an instance",
        ROWS_READ,
        "at each run; of more than 600 files a day, those of two hours",
    ),
    (
        "instances that the producer lists at a time",
        LISTINGS_AT_A_TIME,
        "more of them make its runs longer",
    ),
    (
        "MB of a log file when it rotates",
        ROTATION_GB * 1e3,
        "of Aurora",
    ),
    (
        "MB of a part of an upload",
        PART_BYTES / 1e6,
        "what is smaller takes one PUT, what is larger one for each part and two more",
    ),
    (
        "milliseconds of CPU of a worker per file",
        CPU_PER_FILE * 1e3,
        "as measured, beside what its size takes",
    ),
    (
        "seconds that a file waits for AWS",
        WAIT_PER_FILE,
        "RDS, S3, SQS and DynamoDB; others go on meanwhile",
    ),
    (
        "files in flight per vCPU",
        FILES_PER_VCPU,
        "CONCURRENCY of a worker",
    ),
    (
        "polls of the queue in an hour of a task",
        POLLS,
        "every 5 s",
    ),
];

/// What the figures rest on: what is soft, then what is given.
pub fn assumptions() -> Vec<Assumption> {
    let soft = SOFT.map(|(what, value, why)| Assumption {
        what,
        cheap: value(&CHEAP),
        dear: value(&DEAR),
        why,
    });
    let given = GIVEN.map(|(what, value, why)| Assumption {
        what,
        cheap: value,
        dear: value,
        why,
    });
    soft.into_iter().chain(given).collect()
}
