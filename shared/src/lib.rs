//! What the producer and the worker must agree on; nothing else.
//!
//! The journey of one log file: the producer lists it ([`listing`]), decides that a version of it is due
//! ([`log_file`]), sends a [`message`] to the [`queue`] and records it ([`checkpoint`]); a worker receives the
//! message, claims the version, ships it to the archive and records it as complete.
//!
//! What holds everywhere:
//! 1. The object key is a pure function of the log file; uploads are compare-and-swap, so versions only increase.
//! 2. A message is deleted only after Complete or Gone is in the checkpoint table, or its copy is a dead letter.
//! 3. No log file is ever whole in memory or on disk.
//! 4. Nothing but `message.rs`, `checkpoint.rs` and `archive.rs` says how things are stored between processes.
//! 5. Only `config.rs` files read settings from the environment, and only `aws.rs` builds clients of AWS.

// Start here: what a log file is, and from that its object key and table key.
pub mod log_file;

// Whose log file it is.
pub mod instance;

// What RDS says an instance has, page by page.
pub mod listing;

// What travels through the queue.
pub mod message;

// The work queue and its dead-letter queue.
pub mod queue;

// What is known of each version: the checkpoint table.
pub mod checkpoint;

// What the archive has of it.
pub mod archive;

// What a process does to the world, step by step.
pub mod step;

// Around it all: AWS clients and what their errors mean.
pub mod aws;

// What requests are signed with.
pub mod credentials;

// Whom connections trust.
pub mod roots;

// Settings that every program has.
pub mod config;

// How the programs speak.
pub mod telemetry;

// What they report in figures.
pub mod metrics;
