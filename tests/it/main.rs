//! The integration tests, in reading order.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that looks for what is not there fails, as it should"
)]

// The ground they stand on: the local stack does what AWS does, in everything that we rely on.
mod stack;

// And the harness does what it says.
mod harness;

// The protocol in every order that its steps can take, with every fault; and what each of its rules is for.
mod model;

// The main job, byte for byte.
mod journey;

// What the archive holds: the right bytes, under the right key, once.
mod archive;

// What Athena makes of it: every record, field by field.
mod athena;

// Duplicates, leases, poison: what becomes of messages.
mod delivery;

// What each service can do to us, and what it must not come to.
mod faults;

// What the wire can do to us, on the way to each of the four services.
mod network;

// Signals, the grace, idleness: how a worker ends.
mod shutdown;

// Health checks: whether a worker runs, and takes messages.
mod health;

// ECS is asked to end no worker that is busy.
mod protection;

// The producer: which instances, which versions, what is sent, and what never looks as if all were well.
mod producer;

// The producer as a Lambda function.
mod lambda;

// Dead letters, put back on the queue.
mod requeue;

// Versions of a time range, whatever the watermarks say.
mod backfill;

// What is given up, and why.
mod dismiss;

// RDS, table and archive, compared and mended.
mod reconcile;

// What is archived, read back.
mod verify;

// Processes die, or sleep, before and after each durable step.
mod points;

// Where everything stands, and what needs a person.
mod status;

// What it costs, and the README's word on it.
mod cost;

// All of it at once, in any order, as a seed has it.
mod chaos;

// What CloudWatch is told.
mod metrics;

// What production is deployed from.
mod template;

// Whom the programs trust.
mod trust;

// Settings: what programs say of them, what the README says, and what bad ones come to.
mod settings;

// What the programs print, word for word.
mod snapshots;

// What the READMEs show of tools that no other test runs.
mod readme;

// Whatever comes in: the fuzz targets, on their corpus and on mutations of it.
mod fuzz;

// Builds: production's have no stop points, and those that have them warn.
mod builds;

// The benchmark's servers, and what it counts.
mod bench;

// The repository's own rules.
mod tidy;
