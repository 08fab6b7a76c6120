//! The integration tests, in reading order.

// The ground they stand on: the local stack does what AWS does, in everything that we rely on.
mod stack;

// The main job, byte for byte.
mod journey;
