//! One run of the producer, request by request.

use super::{Scenario, limits, requests};

/// How AWS throttles: a token per request, so many new ones a second, so many kept.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: f64,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: f64, burst: f64) -> Self {
        Self {
            rate,
            burst,
            tokens: burst,
            at: 0.0,
        }
    }

    /// When a request that is made at that time is let through; a refused one is tried again until it is.
    pub fn take(&mut self, asked_at: f64) -> f64 {
        let mut now = asked_at.max(self.at);
        self.tokens = (self.tokens + (now - self.at) * self.rate).min(self.burst);
        if self.tokens < 1.0 {
            now += (1.0 - self.tokens) / self.rate;
            self.tokens = 1.0;
        }
        self.tokens -= 1.0;
        self.at = now;
        now
    }
}

/// The producers of a region, which run at the same time: as one that is so many times as fast.
#[derive(Debug)]
pub struct Run<'a> {
    scenario: &'a Scenario,
    bucket: &'a mut Bucket,
    /// How far it is.
    pub now: f64,
}

impl<'a> Run<'a> {
    /// Begins a run.
    pub fn start(scenario: &'a Scenario, bucket: &'a mut Bucket, now: f64) -> Self {
        Self {
            scenario,
            bucket,
            now,
        }
    }

    /// Reads RDS's list of everything, each producer one page after the other; calls back for each request.
    pub fn describe(&mut self, instances: u64, mut asked: impl FnMut(f64)) {
        for _ in 0..self.scenario.shards * requests::described_pages(instances) {
            let answered = self.now + self.scenario.listing / self.scenario.shards as f64;
            self.now = self.bucket.take(answered);
            asked(self.now);
        }
        self.now += register_pages(instances) as f64 * requests::QUERY_SECONDS;
    }

    /// Lists one instance; returns when.
    pub fn list(&mut self) -> f64 {
        let at_a_time = requests::LISTINGS_AT_A_TIME * self.scenario.shards as f64;
        let answered = self.now + self.scenario.listing * requests::LISTINGS / at_a_time;
        self.now = self.bucket.take(answered);
        self.now
    }
}

/// Pages of the register of instances, which each producer reads at each run.
pub fn register_pages(instances: u64) -> u64 {
    (instances * requests::REGISTERED_BYTES).div_ceil(requests::QUERY_BYTES)
}

/// Seconds that a run takes for all instances of a region, if nothing ends it.
pub fn seconds_for_all(scenario: &Scenario, instances: u64) -> f64 {
    let mut bucket = Bucket::new(scenario.rds_rate, scenario.rds_burst);
    let mut run = Run::start(scenario, &mut bucket, 0.0);
    run.describe(instances, |_| {});
    for _ in 0..instances {
        run.list();
    }
    run.now
}

/// How many producers one region needs so that each ends within its Lambda's time, were the RDS API not throttled; `None`
/// if reading the list of everything takes too long already.
pub fn shards_needed(scenario: &Scenario, instances: u64) -> Option<u64> {
    let pages = requests::described_pages(instances) as f64 * scenario.listing
        + register_pages(instances) as f64 * requests::QUERY_SECONDS;
    let left = limits::LAMBDA_SECONDS - requests::LAST_START_SECONDS - pages;
    let listings =
        instances as f64 * scenario.listing * requests::LISTINGS / requests::LISTINGS_AT_A_TIME;
    (left > 0.0).then(|| (listings / left).ceil().max(1.0) as u64)
}

/// RDS API requests per second, if every instance is listed at every run.
pub fn requests_asked_for(scenario: &Scenario, instances: u64) -> f64 {
    let pages = (scenario.shards * requests::described_pages(instances)) as f64;
    (pages + instances as f64 * requests::LISTINGS) / scenario.schedule.as_secs_f64()
}
