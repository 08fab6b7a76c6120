//! What AWS allows. Defaults of accounts, unless said otherwise; as of 2026-11.

/// RDS API requests per second, sustained, of one account in one region.
///
/// That is of every program, console and script together. AWS raises it on request. Only the RDS API as a whole has a published limit, `DescribeDBLogFiles` has none of its own.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-api-throttling.html>
pub const RDS_RATE: f64 = 12.0;
/// RDS API requests at once, when there were none before: the same page's token bucket.
pub const RDS_BURST: f64 = 300.0;

/// Longest run of a Lambda function. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const LAMBDA_SECONDS: f64 = 900.0;
/// Most memory of a Lambda function; same page.
pub const LAMBDA_MIB: f64 = 10_240.0;

/// Messages of a standard queue that were received and not deleted.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
pub const SQS_IN_FLIGHT: f64 = 120_000.0;

/// Write units per second that a new on-demand table takes at once.
///
/// It takes more as it gets more, up to twice the previous peak within half an hour, and as much as one asks for beforehand
/// (warm throughput).
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput-scenarios.html>
pub const TABLE_WRITES: f64 = 4_000.0;
/// Read units per second that a new on-demand table takes at once; same page.
pub const TABLE_READS: f64 = 12_000.0;
/// Write units per second of one partition, however large the table is; same page.
pub const PARTITION_WRITES: f64 = 1_000.0;
/// Read units per second of one partition; same page.
pub const PARTITION_READS: f64 = 3_000.0;

/// PUT requests per second of one prefix of a bucket.
///
/// S3 splits prefixes as load grows, so ours, which begin with the cluster, get several times as many; this is as if all
/// were one.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
pub const S3_PUTS: f64 = 3_500.0;

/// Fargate on-demand vCPUs of a new account in a region; AWS raises it by itself with use, and on request.
/// <https://docs.aws.amazon.com/general/latest/gr/ecs-service.html>
pub const FARGATE_VCPUS: f64 = 6.0;

/// How long RDS keeps an audit log file, about.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Auditing.html>
pub const RETENTION_SECONDS: f64 = 86_400.0;
