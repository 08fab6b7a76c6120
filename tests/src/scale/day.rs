//! A day of one region, after a day of warming up: runs of the producer on schedule, and workers on what they send.

use fastrand::Rng;
use jiff::Timestamp;
use producer::run::begin;

use super::fleet::{DAY, Instance, fleet};
use super::producer::{Bucket, Run};
use super::workers::{self, Sent, Workers};
use super::{Scenario, limits, requests};

/// Days that are played; the last one counts.
const DAYS: usize = 2;
const MINUTES: usize = 1440;

/// What was asked of AWS in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Minute {
    /// Requests of the RDS API.
    pub rds: f64,
    /// Downloads.
    pub downloads: f64,
    /// SQS requests.
    pub sqs: f64,
    /// Write units.
    pub writes: f64,
    /// Read units.
    pub reads: f64,
    /// PUTs and requests of multipart uploads.
    pub puts: f64,
    /// Messages in flight.
    pub in_flight: f64,
    /// Tasks that worked.
    pub tasks: f64,
    /// vCPUs that computed.
    pub busy_vcpus: f64,
}

/// What became of the bytes of all days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Written by the instances.
    pub written: u64,
    /// Archived.
    pub shipped: u64,
    /// Sent, and waiting for a worker.
    pub queued: u64,
    /// In RDS, sealed and not listed yet.
    pub unlisted: u64,
    /// In RDS, still being written to.
    pub open: u64,
    /// Deleted by RDS before they were listed.
    pub lost: u64,
}

/// The figures of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// Its minutes.
    pub minutes: Vec<Minute>,
    /// What became of all bytes.
    pub bytes: Bytes,
    /// Bytes that were shipped on that day.
    pub shipped_bytes: u64,
    /// Files that were shipped on that day.
    pub shipped_files: u64,
    /// Files that a listing came too late for: RDS had deleted them.
    pub lost_files: u64,
    /// Listings of instances that were not listed before for as long as RDS keeps files.
    pub unseen: u64,
    /// Seconds that runs took, all together.
    pub run_seconds: f64,
    /// Runs.
    pub runs: u64,
    /// Runs that ended before they had begun to list.
    pub stillborn: u64,
    /// Listings.
    pub listings: u64,
    /// Seconds from the last write to the archive of the file for which it took longest, or takes yet.
    pub oldest: f64,
    /// Write units per second of the busiest instance, on average.
    pub busiest_writes: f64,
    /// Rows of a day.
    pub rows: u64,
}

impl Day {
    /// A figure's average per second.
    pub fn average(&self, figure: impl Fn(&Minute) -> f64) -> f64 {
        self.total(figure) / DAY
    }

    /// A figure's average over its busiest minute, per second.
    pub fn peak(&self, figure: impl Fn(&Minute) -> f64) -> f64 {
        self.minutes.iter().map(figure).fold(0.0, f64::max) / 60.0
    }

    /// A figure's sum.
    pub fn total(&self, figure: impl Fn(&Minute) -> f64) -> f64 {
        self.minutes.iter().map(figure).sum()
    }
}

/// Plays a region with so many instances.
pub fn play(scenario: &Scenario, region: u64, instances: u64) -> Day {
    let mut rng = Rng::with_seed(scenario.seed.wrapping_add(region));
    let bytes = scenario.bytes_per_day() * instances as f64 / scenario.instances as f64;
    let fleet = fleet(&mut rng, instances, bytes, scenario.spread);
    let mut region = Region::new(scenario, fleet);
    let end = DAYS as f64 * DAY;
    let mut next_run = 0.0;
    for minute in 0..DAYS * MINUTES {
        let minute_end = (minute + 1) as f64 * 60.0;
        while next_run < minute_end {
            let ended = region.run(next_run);
            // A run that falls into another one does not take place.
            while next_run < ended {
                next_run += scenario.schedule.as_secs_f64();
            }
        }
        region.work(minute, minute_end);
    }
    region.close(end)
}

/// A region while it is played.
struct Region<'a> {
    scenario: &'a Scenario,
    fleet: Vec<Instance>,
    /// Read units of the query that each instance costs.
    query_units: Vec<f64>,
    bucket: Bucket,
    workers: Workers,
    /// By the minute in which it was sent.
    sent: Vec<Sent>,
    minutes: Vec<Minute>,
    day: Day,
}

impl<'a> Region<'a> {
    fn new(scenario: &'a Scenario, fleet: Vec<Instance>) -> Self {
        let busiest = fleet.iter().map(Instance::files_per_day).max().unwrap_or(0);
        let writes = requests::SEND_WRITES + requests::SHIP_WRITES;
        let query = |instance: &Instance| {
            let files = instance.files_per_day();
            requests::row_units(files, files * scenario.history_days) as f64
        };
        // A last run may go on after the end.
        let minutes = DAYS * MINUTES + 60;
        Self {
            scenario,
            query_units: fleet.iter().map(query).collect(),
            bucket: Bucket::new(scenario.rds_rate, scenario.rds_burst),
            workers: Workers::default(),
            sent: vec![Sent::default(); minutes],
            minutes: vec![Minute::default(); minutes],
            day: Day {
                minutes: Vec::new(),
                bytes: Bytes::default(),
                shipped_bytes: 0,
                shipped_files: 0,
                lost_files: 0,
                unseen: 0,
                run_seconds: 0.0,
                runs: 0,
                stillborn: 0,
                listings: 0,
                oldest: 0.0,
                busiest_writes: busiest as f64 * writes / DAY,
                rows: fleet.iter().map(Instance::files_per_day).sum(),
            },
            fleet,
        }
    }

    /// One run of the producer; returns when it ended.
    fn run(&mut self, start: f64) -> f64 {
        let scenario = self.scenario;
        let instances = self.fleet.len() as u64;
        let counts = start >= (DAYS - 1) as f64 * DAY;
        let killed = start + limits::LAMBDA_SECONDS;
        let last_start = killed - requests::LAST_START_SECONDS;
        let now = Timestamp::from_second(start as i64).expect("within some days");
        let mut order: Vec<u32> = (0..self.fleet.len() as u32).collect();
        let first = begin(now, order.len());
        order.rotate_left(first);
        let mut bucket = self.bucket.clone();
        let mut run = Run::start(scenario, &mut bucket, start);
        let minutes = &mut self.minutes;
        run.describe(instances, |at| {
            if at < killed {
                minute(minutes, at).rds += 1.0;
            }
        });
        let register = requests::read_units(instances * requests::REGISTERED_BYTES);
        minute(minutes, run.now.min(killed)).reads += (register * scenario.shards) as f64;
        let mut listed = 0_u64;
        for index in order {
            if run.now >= last_start {
                break;
            }
            let at = run.list();
            listed += 1;
            let minute = minute(&mut self.minutes, at);
            minute.rds += requests::LISTINGS;
            minute.writes += requests::MARK_WRITES;
            let index = index as usize;
            let (Some(instance), Some(units)) =
                (self.fleet.get_mut(index), self.query_units.get(index))
            else {
                continue;
            };
            minute.reads += units;
            let unseen = at - instance.listed_at > limits::RETENTION_SECONDS;
            let due = instance.list(at, scenario.ratio, limits::RETENTION_SECONDS);
            minute.writes += due.files as f64 * requests::SEND_WRITES;
            minute.sqs += due.files.div_ceil(requests::MESSAGES_PER_SEND) as f64;
            if counts {
                self.day.unseen += u64::from(unseen);
                self.day.lost_files += due.lost_files;
            }
            self.day.bytes.lost += due.lost_bytes;
            let sent = self.sent.get_mut((at / 60.0) as usize);
            if let Some(sent) = sent.filter(|_| due.files > 0) {
                let first = sent.files == 0;
                sent.oldest = if first {
                    due.oldest
                } else {
                    sent.oldest.min(due.oldest)
                };
                sent.files += due.files;
                sent.bytes += due.bytes;
                sent.puts += due.puts;
            }
        }
        let ended = run.now.min(killed);
        self.bucket = bucket;
        if counts {
            self.day.runs += 1;
            self.day.stillborn += u64::from(listed == 0);
            self.day.listings += listed;
            self.day.run_seconds += ended - start;
        }
        ended
    }

    /// One minute of the workers.
    fn work(&mut self, index: usize, end: f64) {
        let scenario = self.scenario;
        self.workers
            .send(self.sent.get(index).copied().unwrap_or_default());
        let shipped = self.workers.work(scenario);
        let tasks = self.workers.tasks;
        let minute = minute(&mut self.minutes, end - 60.0);
        minute.downloads += shipped.files as f64;
        minute.puts += shipped.puts as f64;
        minute.writes += shipped.files as f64 * requests::SHIP_WRITES;
        minute.sqs += workers::sqs_requests(&shipped, tasks);
        minute.in_flight = workers::in_flight(&shipped, scenario);
        minute.tasks = tasks as f64;
        minute.busy_vcpus = shipped.cpu(scenario) / 60.0;
        self.day.bytes.shipped += shipped.bytes;
        if index >= (DAYS - 1) * MINUTES {
            self.day.shipped_bytes += shipped.bytes;
            self.day.shipped_files += shipped.files;
            self.day.oldest = self.day.oldest.max(end - shipped.oldest);
        }
    }

    /// Counts what is left.
    fn close(mut self, end: f64) -> Day {
        let last_day = (DAYS - 1) * MINUTES..DAYS * MINUTES;
        let waiting = self.workers.waiting();
        // Sent by a run that went on after the end.
        let late = self.sent.iter().skip(DAYS * MINUTES);
        self.day.bytes.queued = waiting.bytes + late.map(|sent| sent.bytes).sum::<u64>();
        self.day.oldest = self.day.oldest.max(end - waiting.oldest);
        for instance in &mut self.fleet {
            let now = end.max(instance.listed_at);
            self.day.bytes.written += instance.written(now);
            self.day.bytes.open += instance.open(now);
            let unlisted = instance.list(now, self.scenario.ratio, f64::INFINITY);
            self.day.bytes.unlisted += unlisted.bytes;
            self.day.oldest = self.day.oldest.max(end - unlisted.oldest);
        }
        self.day.minutes = self.minutes.get(last_day).unwrap_or_default().to_vec();
        self.day
    }
}

/// The minute of a time; times after the end count as the last one.
fn minute(minutes: &mut [Minute], at: f64) -> &mut Minute {
    let last = minutes.len() - 1;
    minutes
        .get_mut(((at / 60.0) as usize).min(last))
        .expect("the index is no more than the last")
}
