//! Decides what should be in the queue.

// Start here: one run over all instances.
pub mod run;

// 1. Which instances there are.
pub mod enumerate;

// 2. Which of their versions should be sent, sent again, or passed by the watermark (pure).
pub mod plan;

// 3. Send, then record.
mod enqueue;

// Beside them: instances that are there no more.
mod vanished;

// The operator's commands.
pub mod cli;
pub mod cost;
pub mod dismiss;
mod interrupt;
pub mod reconcile;
pub mod requeue;
mod show;
pub mod status;
pub mod verify;

// Settings.
pub mod config;
pub mod from_stack;
