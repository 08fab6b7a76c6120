//! What it costs, measured on the real programs.

// From exec to the first answer of AWS.
pub mod cold_start;

// A run of the producer when nothing is new.
pub mod producer;
