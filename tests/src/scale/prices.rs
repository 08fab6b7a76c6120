//! What AWS charges: list prices in dollars, us-east-1, as of 2026-11. What a free tier gives is not taken off.

/// SQS, standard queue, per request. <https://aws.amazon.com/sqs/pricing/>
pub const SQS_REQUEST: f64 = 0.40e-6;
/// DynamoDB on demand, per write request unit. <https://aws.amazon.com/dynamodb/pricing/on-demand/>
pub const TABLE_WRITE: f64 = 0.625e-6;
/// DynamoDB on demand, per read request unit. <https://aws.amazon.com/dynamodb/pricing/on-demand/>
pub const TABLE_READ: f64 = 0.125e-6;
/// DynamoDB, a GB of table for a month, with its point-in-time recovery: 0.25 + 0.20.
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>
pub const TABLE_GB: f64 = 0.45;
/// Lambda on arm64, per GB-second. <https://aws.amazon.com/lambda/pricing/>
pub const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// Fargate on arm64, per vCPU-hour. <https://aws.amazon.com/fargate/pricing/>
pub const FARGATE_VCPU_HOUR: f64 = 0.032_38;
/// Fargate on arm64, per GB-hour. <https://aws.amazon.com/fargate/pricing/>
pub const FARGATE_GB_HOUR: f64 = 0.003_56;
/// S3, per PUT, and per request of a multipart upload. <https://aws.amazon.com/s3/pricing/>
pub const S3_PUT: f64 = 0.005e-3;
/// S3 Standard, a GB for a month, the first 50 TB. <https://aws.amazon.com/s3/pricing/>
pub const S3_GB: f64 = 0.023;

/// Days of a month, for what is charged by the month.
pub const DAYS: f64 = 30.0;
