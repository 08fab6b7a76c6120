//! The instances of one region, and when they write which log files.
//!
//! Bytes are a function of time, so that nothing is kept of a file but how far its instance was listed.

use std::f64::consts::TAU;

use fastrand::Rng;

use super::requests;

/// Seconds of a day.
pub const DAY: f64 = 86_400.0;
/// Files that an Aurora instance writes at a time.
pub const STRIPES: u64 = 4;
/// A file rotates at this size,
const ROTATION_BYTES: u64 = 100_000_000;
/// and after this time, whichever is first. All stripes of an instance rotate at the same minute.
const ROTATION: f64 = 3600.0;
/// How much more than the average is written at the busiest time of the day, and less at the quietest,
const TIDE: f64 = 0.6;
/// which is this part of the day.
const HIGH_TIDE: f64 = 14.0 / 24.0;

/// One instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What one of its stripes writes in a day.
    stripe_bytes: f64,
    /// When in the hour its stripes rotate.
    phase: f64,
    /// Up to when its files are known.
    pub listed_at: f64,
}

/// Files that one listing finds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Due {
    /// How many can be shipped.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests that their uploads take.
    pub puts: u64,
    /// How many RDS has deleted before.
    pub lost_files: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// When the oldest of those to be shipped was last written to; infinite without any.
    pub oldest: f64,
}

/// A fleet whose instances write so many bytes a day together: log-normal, a few busy ones and many small.
pub fn fleet(rng: &mut Rng, instances: u64, bytes_per_day: f64, spread: f64) -> Vec<Instance> {
    let weights: Vec<f64> = (0..instances)
        .map(|_| (spread * normal(rng)).exp())
        .collect();
    let all: f64 = weights.iter().sum();
    let instance = |weight: f64| Instance {
        stripe_bytes: bytes_per_day * weight / all / STRIPES as f64,
        phase: rng.f64() * ROTATION,
        listed_at: 0.0,
    };
    weights.into_iter().map(instance).collect()
}

/// Normally distributed, by Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let (radius, angle) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}

/// Days' worth of bytes until then: the day has a tide.
fn days_worth(at: f64) -> f64 {
    let wave = |days: f64| (TAU * (days - HIGH_TIDE)).sin() / TAU;
    at / DAY + TIDE * (wave(at / DAY) - wave(0.0))
}

impl Instance {
    /// What it has written until then.
    pub fn written(&self, at: f64) -> u64 {
        self.stripe_written(at) * STRIPES
    }

    fn stripe_written(&self, at: f64) -> u64 {
        (self.stripe_bytes * days_worth(at)) as u64
    }

    /// How many files it has on an average day, about.
    pub fn files_per_day(&self) -> u64 {
        STRIPES * (24 + self.stripe_bytes as u64 / ROTATION_BYTES)
    }

    /// What it is writing to, which no listing calls sealed: the bytes.
    pub fn open(&self, now: f64) -> u64 {
        let hour = ((now - self.phase) / ROTATION).floor();
        let begun = self.stripe_written(self.rotation(hour));
        STRIPES * ((self.stripe_written(now) - begun) % ROTATION_BYTES)
    }

    /// The files sealed since the last listing; compressed so many times, they are uploaded.
    pub fn list(&mut self, now: f64, ratio: f64, kept: f64) -> Due {
        let mut due = Due {
            oldest: f64::INFINITY,
            ..Due::default()
        };
        let since = self.listed_at;
        let mut hour = ((since - self.phase) / ROTATION).floor();
        loop {
            let (begin, end) = (self.rotation(hour), self.rotation(hour + 1.0));
            let begun = self.stripe_written(begin);
            let full = |at: f64| (self.stripe_written(at) - begun) / ROTATION_BYTES;
            let in_hour = self.stripe_written(end) - begun;
            let (before, after) = (full(since.max(begin)), full(now.min(end)));
            let sealed_at =
                begin + (end - begin) * ((before + 1) * ROTATION_BYTES) as f64 / in_hour as f64;
            let gone = end < now - kept;
            due.add(after - before, ROTATION_BYTES, sealed_at, ratio, gone);
            if end > now {
                break;
            }
            let rest = in_hour % ROTATION_BYTES;
            due.add(u64::from(rest > 0), rest, end, ratio, gone);
            hour += 1.0;
        }
        self.listed_at = now;
        due
    }

    /// When the stripes rotate for want of time.
    fn rotation(&self, hour: f64) -> f64 {
        (self.phase + hour * ROTATION).max(0.0)
    }
}

impl Due {
    /// So many files of each stripe.
    fn add(&mut self, files: u64, size: u64, sealed_at: f64, ratio: f64, gone: bool) {
        let files = files * STRIPES;
        if files == 0 {
            return;
        }
        if gone {
            self.lost_files += files;
            self.lost_bytes += files * size;
            return;
        }
        self.files += files;
        self.bytes += files * size;
        self.puts += files * requests::puts(size as f64 / ratio);
        self.oldest = self.oldest.min(sealed_at);
    }
}
