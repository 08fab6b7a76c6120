//! The benchmark: real programs between servers that cost next to nothing, beside the least that it could take and beside
//! what people do today. `cargo bench-fleet` plays it.

// What is played.
pub mod scenario;

// The log files.
pub mod files;

// A fast RDS.
pub mod source;

// A fast S3.
pub mod sink;

// What both are made on.
pub mod server;

// A program, and what it took.
pub mod process;

// One scenario, once.
pub mod play;

// The compressor alone.
pub mod floor;

// From exec to the first answer of AWS.
pub mod cold_start;

// A run of the producer when nothing is new.
pub mod producer;

// What runs took, and what came of them in figures.
pub mod figures;

// What is aimed at.
pub mod targets;

// Tables, and a file.
pub mod report;

/// Where the programs' logs go.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
/// Where all figures go.
pub const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench.json");
