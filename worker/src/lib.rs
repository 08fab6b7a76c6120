//! Moves audit log files from RDS to S3, exactly as often as needed.

// Start here: the journey of one version.
pub mod ship;

// Its middle: the bytes, by their present name and under the right key.
mod carry;

// 1. Bytes out of RDS.
pub mod download;

// 2. Fewer bytes.
pub mod compress;

// 3. Bytes into S3, by compare-and-swap.
pub mod upload;

// 4. The message deleted, with others.
mod delete;

// Meanwhile: message and claim stay ours.
mod heartbeat;

// Or: what goes wrong, and what then becomes of the message (pure).
pub mod failure;

// Before it all: room for the file, and for its buffers.
mod room;

// Around it all: many files at once, until told to stop.
pub mod run;

// What came of them, each minute.
pub mod tally;

// When everything goes wrong: stop taking, probe.
mod breaker;

// ECS is asked to end no worker that is busy.
mod protection;

// Whoever looks after containers asks: does it run, does it take messages?
pub mod health;

// Settings.
pub mod config;
