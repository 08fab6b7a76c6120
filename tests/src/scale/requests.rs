//! What the programs ask of AWS for an instance, a file, a run: counted in the code, where each line says.

/// Instances at a time in a run: `CONCURRENCY` in `producer/src/run.rs`.
pub const LISTINGS_AT_A_TIME: f64 = 8.0;
/// No instance is started later than this before the end of a run: `LAST_START` in `producer/src/run.rs`.
pub const LAST_START_SECONDS: f64 = 20.0;
/// Entries of a page of `DescribeDBClusters` and `DescribeDBInstances`: `producer/src/enumerate.rs` asks for no number,
/// which means 100 to RDS.
pub const DESCRIBED_PER_PAGE: u64 = 100;
/// Instances of a cluster, for the number of clusters: an assumption.
pub const INSTANCES_PER_CLUSTER: u64 = 3;
/// `DescribeDBLogFiles` per instance and run: `list` in `producer/src/run.rs` asks from the watermark on.
///
/// An instance that has written nothing since RDS deleted its last file costs a second one.
pub const LISTINGS: f64 = 1.0;
/// Writes per instance and run: the watermark of its one family (`marks` in `producer/src/run.rs`).
pub const MARK_WRITES: f64 = 1.0;
/// Messages in one request: `BATCH` in `shared/src/queue.rs`. A batch is of one instance (`producer/src/enqueue.rs`).
pub const MESSAGES_PER_SEND: u64 = 10;
/// Writes of the producer per file: Queued (`record_queued` in `shared/src/checkpoint.rs`).
pub const SEND_WRITES: f64 = 1.0;
/// Writes of a worker per file: claim and complete (`worker/src/ship.rs`). A file takes less than a third of a lease,
/// so its claim is not renewed.
pub const SHIP_WRITES: f64 = 2.0;
/// SQS requests of a worker per file, at most: receives and deletes, several messages in one.
pub const SHIP_SQS: f64 = 0.4;
/// Longest stretch of an upload that goes in one piece: `PART` in `worker/src/upload.rs`.
pub const PART_BYTES: f64 = 5_242_880.0;
/// Files in flight per vCPU of a worker unless told: `concurrency` in `worker/src/config.rs`.
pub const FILES_PER_VCPU: f64 = 8.0;

/// Bytes of a version's row when it is complete, names of usual length; a test holds it against the real writes.
pub const ROW_BYTES: u64 = 612;
/// Bytes of an instance's item in the register; a test holds it against the real writes.
pub const REGISTERED_BYTES: u64 = 109;
/// What one answer to a Query holds at most.
pub const QUERY_BYTES: u64 = 1 << 20;
/// Items of the first answer about an instance: `FIRST_PAGE` in `shared/src/checkpoint.rs`. All that follow are full.
pub const FIRST_PAGE: u64 = 50;
/// How much of a day's rows a run needs: those of two hours, which are since the watermark, the overlap and some more.
pub const ROWS_NEEDED: f64 = 2.0 / 24.0;
/// Bytes that one read unit reads, consistently.
pub const READ_UNIT_BYTES: u64 = 4096;
/// Seconds for a full answer to a Query: an assumption.
pub const QUERY_SECONDS: f64 = 0.1;

/// Memory of a run before it knows any instance, in MiB: an assumption.
pub const RUN_MIB: f64 = 64.0;
/// Memory of a run per instance, in KiB: RDS's description, which stays until all are selected, and ours.
pub const INSTANCE_KIB: f64 = 8.0;

/// Read units of a Query that reads so many bytes.
pub fn read_units(bytes: u64) -> u64 {
    bytes.div_ceil(READ_UNIT_BYTES).max(1)
}

/// Read units of the rows that a run reads of an instance: the first page, and another if it wants more.
pub fn row_units(rows_a_day: u64, rows: u64) -> u64 {
    let wanted = (rows_a_day as f64 * ROWS_NEEDED) as u64;
    let first = rows.min(FIRST_PAGE) * ROW_BYTES;
    let rest = if wanted > FIRST_PAGE {
        rows * ROW_BYTES - first
    } else {
        0
    };
    read_units(first) + rest.min(QUERY_BYTES).div_ceil(READ_UNIT_BYTES)
}

/// Requests of one upload of so many compressed bytes.
pub fn puts(stored: f64) -> u64 {
    if stored <= PART_BYTES {
        return 1;
    }
    2 + (stored / PART_BYTES).ceil() as u64
}

/// Pages of RDS's own list of everything, which each producer reads at each run, whatever it selects.
pub fn described_pages(instances: u64) -> u64 {
    let clusters = instances.div_ceil(INSTANCES_PER_CLUSTER);
    instances.div_ceil(DESCRIBED_PER_PAGE) + clusters.div_ceil(DESCRIBED_PER_PAGE)
}
