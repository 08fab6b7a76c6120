//! What the programs print, word for word: `tests/snapshots`, which `cargo regenerate` rewrites.
//!
//! To add one, write a test below this module that ends in `regenerate::snapshot(folder, file, &text)`, or in
//! `regenerate::snapshots` for several files of one folder, and run `cargo regenerate`. A folder belongs to one test.

// What programs and commands say of themselves.
mod help;

// What they answer when they are given something wrong.
pub(crate) mod errors;

// The estimate, in full.
mod cost;

// The log of a journey.
mod journey;

// What commands show of what is there.
mod tables;
