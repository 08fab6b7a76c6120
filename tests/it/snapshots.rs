//! What the programs print, word for word: `tests/snapshots`, which `cargo regenerate` rewrites.

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
