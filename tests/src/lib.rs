//! The harness: a world of one's own, in which the real programs run over the real wire.

// A test's own instances, queues, table and bucket, and what became of them.
pub mod world;

// The real programs, built and run.
pub mod programs;

// The producer under AWS Lambda's runtime API.
pub mod lambda;

// What the archive holds, read back.
pub mod archive;

// The archive as Athena reads it, with DuckDB in its place.
pub mod athena;

// What must hold once everything has settled.
pub mod invariants;

// Bounded, named waits.
pub mod eventually;

// SQS, DynamoDB and S3.
pub mod stack;

// A Python with the packages that something needs, made on first use.
pub mod venv;

// What production is deployed from.
pub mod template;

// How many workers that has, minute by minute.
pub mod autoscale;

// RDS: lists, serves, stalls, truncates, refuses.
pub mod rds;

// What ECS has for a container: credentials, protection from scale-in.
pub mod ecs;

// Between a program and a service: loses, forges, delays and breaks answers.
pub mod proxy;

// TLS before any of them.
pub mod tls;

// What RDS has to serve: realistic audit logs, seeded.
pub mod generate;

// What must hold for any input at all.
pub mod fuzz;

// What runs have shown, in figures.
pub mod proof;

// Text in the repository that follows from the programs, compared or rewritten.
pub mod regenerate;

// All that goes wrong at once, in any order, as a seed has it.
pub mod chaos;

// What the programs take, beside the least that they could take and beside what people do today.
pub mod bench;

// What a table does with production's writes.
pub mod dynamodb;

// The protocol, in every order that its steps can take.
pub mod model;

// A day of a large fleet, on paper.
pub mod scale;
