//! The queue of one region and the workers on it, minute by minute.

use std::collections::VecDeque;

use super::{Scenario, requests};

/// Minutes from the decision to start a task until it works.
const START: usize = 3;
/// Minutes that a task is kept after it was last needed.
const KEEP: usize = 10;
/// Minutes within which the workers shall be done with what waits.
const DRAIN: f64 = 10.0;

/// Files that were sent in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sent {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests that their uploads take.
    pub puts: u64,
    /// When the oldest was last written to.
    pub oldest: f64,
}

impl Sent {
    /// CPU seconds that they take.
    pub fn cpu(&self, scenario: &Scenario) -> f64 {
        self.files as f64 * scenario.cpu_per_file + self.bytes as f64 / 1e9 * scenario.cpu_per_gb
    }

    /// Seconds of a vCPU that is held up, by computing or by files that wait for answers in all its places.
    pub fn vcpu_seconds(&self, scenario: &Scenario) -> f64 {
        let cpu = self.cpu(scenario);
        let in_flight = self.files as f64 * scenario.wait_per_file + cpu;
        cpu.max(in_flight / scenario.files_per_vcpu)
    }

    /// Splits off the part that can be done in this time.
    fn split(&mut self, part: f64) -> Self {
        let of = |count: u64| ((count as f64 * part) as u64).min(count);
        let done = Self {
            files: of(self.files),
            bytes: of(self.bytes),
            puts: of(self.puts),
            oldest: self.oldest,
        };
        self.files -= done.files;
        self.bytes -= done.bytes;
        self.puts -= done.puts;
        done
    }
}

/// What waits, and who works on it.
#[derive(Debug, Default)]
pub struct Workers {
    queue: VecDeque<Sent>,
    /// Tasks that were wanted, of the last minutes, the newest first.
    wanted: VecDeque<u64>,
    /// Tasks that work now.
    pub tasks: u64,
}

impl Workers {
    /// Takes what was sent.
    pub fn send(&mut self, sent: Sent) {
        if sent.files > 0 {
            self.queue.push_back(sent);
        }
    }

    /// What waits: all of it together.
    pub fn waiting(&self) -> Sent {
        let none = Sent {
            oldest: f64::INFINITY,
            ..Sent::default()
        };
        self.queue.iter().fold(none, |all, sent| Sent {
            files: all.files + sent.files,
            bytes: all.bytes + sent.bytes,
            puts: all.puts + sent.puts,
            oldest: all.oldest.min(sent.oldest),
        })
    }

    /// Works for a minute, the oldest first; returns what was shipped.
    pub fn work(&mut self, scenario: &Scenario) -> Sent {
        self.scale(scenario);
        let mut left = self.tasks as f64 * scenario.task_vcpus * 60.0;
        let mut shipped = Sent {
            oldest: f64::INFINITY,
            ..Sent::default()
        };
        while let Some(first) = self.queue.front_mut() {
            let needed = first.vcpu_seconds(scenario);
            let done = if needed <= left {
                self.queue.pop_front().unwrap_or_default()
            } else {
                first.split(left / needed)
            };
            left = (left - needed).max(0.0);
            if done.files > 0 {
                shipped.oldest = shipped.oldest.min(done.oldest);
            }
            shipped.files += done.files;
            shipped.bytes += done.bytes;
            shipped.puts += done.puts;
            if left <= 0.0 {
                break;
            }
        }
        shipped
    }

    /// As many tasks as drain the queue in time, late by their start, and kept for a while.
    fn scale(&mut self, scenario: &Scenario) {
        let minute = scenario.task_vcpus * 60.0;
        let wanted = self.waiting().vcpu_seconds(scenario) / (minute * DRAIN);
        self.wanted
            .push_front((wanted.ceil() as u64).min(scenario.max_tasks));
        self.wanted.truncate(START + KEEP);
        self.tasks = self.wanted.iter().skip(START).copied().max().unwrap_or(0);
    }
}

/// Files in flight on average in a minute in which so many were shipped.
pub fn in_flight(shipped: &Sent, scenario: &Scenario) -> f64 {
    (shipped.files as f64 * scenario.wait_per_file + shipped.cpu(scenario)) / 60.0
}

/// SQS requests of a minute: for what was shipped, and polls that find nothing.
pub fn sqs_requests(shipped: &Sent, tasks: u64) -> f64 {
    const POLLS: f64 = 12.0; // of 5 s: `POLL` in `worker/src/run.rs`
    let files = shipped.files as f64 * requests::SHIP_SQS;
    files.max(tasks as f64 * POLLS)
}
