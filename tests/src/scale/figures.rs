//! What a day comes to: for each resource its rates, its limit and its cost; and the first limit that is met.

use super::day::{Day, Minute, play};
use super::{Scenario, limits, prices, producer, requests};

/// Fleets beyond this are not looked at for the first limit.
const LARGEST: u64 = 1_000_000;
/// How closely the first limit is looked for: one part in so many.
const CLOSELY: u64 = 100;

/// One resource. Rates and limits are those of the region where most is asked for; costs are of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is, with its unit.
    pub resource: &'static str,
    /// On average.
    pub average: f64,
    /// In the busiest minute.
    pub peak: f64,
    /// What it would take if no other limit were in the way.
    pub asked_for: f64,
    /// What AWS allows; `None` if it says nothing or allows anything.
    pub limit: Option<f64>,
    /// Dollars per month; `None` if it is not charged.
    pub cost: Option<f64>,
    /// What one unit costs.
    pub price: &'static str,
}

impl Line {
    /// How many times as much would be allowed.
    pub fn headroom(&self) -> Option<f64> {
        self.limit.map(|limit| limit / self.asked_for)
    }
}

/// A scenario played, and summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Each resource.
    pub lines: Vec<Line>,
    /// The days of all regions.
    pub days: Vec<Day>,
    /// Instances of the largest region.
    pub instances: u64,
    /// Seconds that a run takes to list all of them, if nothing ends it,
    pub run_seconds: f64,
    /// and if RDS answered as many requests as it is asked.
    pub unthrottled_seconds: f64,
    /// Read units of the register of instances, for one producer's run.
    pub register_units: f64,
    /// Read units of the query for one instance, on average.
    pub query_units: f64,
}

impl Figures {
    /// The sum of a figure over all regions.
    pub fn total(&self, figure: impl Fn(&Day) -> f64) -> f64 {
        self.days.iter().map(figure).sum()
    }

    /// The largest of a figure over all regions.
    pub fn worst(&self, figure: impl Fn(&Day) -> f64) -> f64 {
        self.days.iter().map(figure).fold(0.0, f64::max)
    }
}

/// Plays a day in each region.
pub fn figures(scenario: &Scenario) -> Figures {
    let regions = scenario.by_region();
    let days: Vec<Day> = (0..)
        .zip(&regions)
        .map(|(region, instances)| play(scenario, region, *instances))
        .collect();
    let instances = regions.first().copied().unwrap_or(0);
    let unthrottled = Scenario {
        rds_rate: f64::MAX,
        ..scenario.clone()
    };
    let register_units = requests::read_units(instances * requests::REGISTERED_BYTES) as f64;
    let mut figures = Figures {
        lines: Vec::new(),
        register_units,
        query_units: 0.0,
        run_seconds: producer::seconds_for_all(scenario, instances),
        unthrottled_seconds: producer::seconds_for_all(&unthrottled, instances),
        instances,
        days,
    };
    figures.query_units = figures.worst(|day| {
        let registers = register_units * (scenario.shards * day.runs) as f64;
        (day.total(|minute| minute.reads) - registers) / day.listings.max(1) as f64
    });
    figures.lines = lines(scenario, &figures);
    figures
}

fn lines(scenario: &Scenario, figures: &Figures) -> Vec<Line> {
    let mut lines = of_the_producer(scenario, figures);
    lines.extend(of_queue_and_table(scenario, figures));
    lines.extend(of_the_workers(scenario, figures));
    lines
}

/// What is counted minute by minute.
fn rate(resource: &'static str, figures: &Figures, figure: impl Fn(&Minute) -> f64) -> Line {
    let peak = figures.worst(|day| day.peak(&figure));
    Line {
        average: figures.worst(|day| day.average(&figure)),
        ..fixed(resource, peak)
    }
}

/// What is the same all day.
fn fixed(resource: &'static str, value: f64) -> Line {
    Line {
        resource,
        average: value,
        peak: value,
        asked_for: value,
        limit: None,
        cost: None,
        price: "",
    }
}

/// What a figure of a day costs in a month, in all regions.
fn month(figures: &Figures, price: f64, figure: impl Fn(&Minute) -> f64) -> f64 {
    figures.total(|day| day.total(&figure)) * prices::DAYS * price
}

fn of_the_producer(scenario: &Scenario, figures: &Figures) -> Vec<Line> {
    let instances = figures.instances;
    let downloads = rate("RDS downloads /s", figures, |minute| minute.downloads);
    let memory = requests::RUN_MIB + instances as f64 * requests::INSTANCE_KIB / 1024.0;
    let lambda_seconds = figures.total(|day| day.run_seconds) * scenario.shards as f64;
    let gb_seconds = lambda_seconds * scenario.lambda_mib / 1024.0;
    vec![
        Line {
            // Bursts are allowed.
            asked_for: producer::requests_asked_for(scenario, instances),
            limit: Some(scenario.rds_rate),
            ..rate("RDS API requests /s", figures, |minute| minute.rds)
        },
        Line {
            asked_for: downloads.peak.max(files_per_second(figures)),
            ..downloads
        },
        Line {
            average: figures.worst(|day| day.run_seconds / day.runs.max(1) as f64),
            peak: figures.run_seconds.min(limits::LAMBDA_SECONDS),
            limit: Some(limits::LAMBDA_SECONDS),
            cost: Some(gb_seconds * prices::LAMBDA_GB_SECOND * prices::DAYS),
            price: "$0.0000133334 per GB-s",
            ..fixed("Lambda, s of a run", figures.unthrottled_seconds)
        },
        Line {
            limit: Some(limits::LAMBDA_MIB),
            ..fixed("Lambda, MiB of a run", memory)
        },
    ]
}

fn of_queue_and_table(scenario: &Scenario, figures: &Figures) -> Vec<Line> {
    let (files, instances) = (files_per_second(figures), figures.instances as f64);
    let schedule = scenario.schedule.as_secs_f64();
    let rows = figures.total(|day| day.rows as f64);
    let table_gb = rows * (scenario.history_days * requests::ROW_BYTES) as f64 / 1e9;
    let register = figures.register_units * scenario.shards as f64;
    let writes = rate("DynamoDB write units /s", figures, |minute| minute.writes);
    let per_file = requests::SEND_WRITES + requests::SHIP_WRITES;
    let all_writes = files * per_file + instances * requests::MARK_WRITES / schedule;
    let reads = rate("DynamoDB read units /s", figures, |minute| minute.reads);
    let in_flight = rate("SQS messages in flight", figures, |minute| {
        minute.in_flight * 60.0
    });
    let busiest = figures.worst(|day| day.busiest_writes);
    vec![
        Line {
            cost: Some(month(figures, prices::SQS_REQUEST, |minute| minute.sqs)),
            price: "$0.40 per million",
            ..rate("SQS requests /s", figures, |minute| minute.sqs)
        },
        Line {
            limit: Some(limits::SQS_IN_FLIGHT),
            ..in_flight
        },
        Line {
            asked_for: writes.peak.max(all_writes),
            limit: Some(limits::TABLE_WRITES),
            cost: Some(month(figures, prices::TABLE_WRITE, |minute| minute.writes)),
            price: "$0.625 per million",
            ..writes
        },
        Line {
            asked_for: reads
                .peak
                .max((figures.query_units * instances + register) / schedule),
            limit: Some(limits::TABLE_READS),
            cost: Some(month(figures, prices::TABLE_READ, |minute| minute.reads)),
            price: "$0.125 per million",
            ..reads
        },
        Line {
            // Once in an hour its files of that hour may all come in one minute.
            asked_for: busiest * 60.0,
            limit: Some(limits::PARTITION_WRITES),
            ..fixed("hottest instance, write units /s", busiest)
        },
        Line {
            average: register / schedule,
            limit: Some(limits::PARTITION_READS),
            ..fixed("register of instances, read units /s", register / 60.0)
        },
        Line {
            cost: Some(table_gb * prices::TABLE_GB),
            price: "$0.45 per GB-month",
            ..fixed("DynamoDB, GB", table_gb)
        },
    ]
}

fn of_the_workers(scenario: &Scenario, figures: &Figures) -> Vec<Line> {
    let task_hours = figures.total(|day| day.total(|minute| minute.tasks)) / 60.0;
    let task_hour = scenario.task_vcpus * prices::FARGATE_VCPU_HOUR
        + scenario.task_gb * prices::FARGATE_GB_HOUR;
    let shipped_gb = figures.total(|day| day.shipped_bytes as f64) / 1e9;
    let archived_gb = shipped_gb / scenario.ratio * prices::DAYS;
    let oldest = figures.worst(|day| day.oldest) / 3600.0;
    vec![
        Line {
            limit: Some(limits::S3_PUTS),
            cost: Some(month(figures, prices::S3_PUT, |minute| minute.puts)),
            price: "$0.005 per thousand",
            ..rate("S3 PUTs /s", figures, |minute| minute.puts)
        },
        Line {
            cost: Some(archived_gb * prices::S3_GB),
            price: "$0.023 per GB-month",
            ..fixed("S3, GB more each month", archived_gb)
        },
        Line {
            limit: Some(limits::FARGATE_VCPUS),
            cost: Some(task_hours * prices::DAYS * task_hour),
            price: "$0.03238 per vCPU-h, $0.00356 per GB-h",
            ..rate("Fargate vCPUs", figures, |minute| {
                minute.tasks * scenario.task_vcpus * 60.0
            })
        },
        Line {
            limit: Some(limits::RETENTION_SECONDS / 3600.0),
            ..fixed("oldest file not archived, h", oldest)
        },
    ]
}

/// Files that the busiest region has to ship, per second.
fn files_per_second(figures: &Figures) -> f64 {
    figures.worst(|day| day.rows as f64) / super::fleet::DAY
}

/// The limit that a growing fleet meets first.
#[derive(Debug, Clone, PartialEq)]
pub struct First {
    /// The resource, at the smallest fleet that asks for too much.
    pub line: Line,
    /// That fleet.
    pub instances: u64,
}

/// Grows the fleet until it asks for too much of something; `None` if it never does.
pub fn first_limit(scenario: &Scenario) -> Option<First> {
    let met = |instances: u64| {
        let lines = figures(&scenario.with_instances(instances)).lines;
        let passed = lines.into_iter().filter_map(|line| {
            let headroom = line.headroom().filter(|headroom| *headroom < 1.0)?;
            Some((headroom, line))
        });
        let (_, line) = passed.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        Some(First { line, instances })
    };
    let steps = [1, 2, 5];
    let sizes = (3..)
        .flat_map(|zeros| steps.map(|step| step * 10_u64.pow(zeros)))
        .take_while(|size| *size <= LARGEST)
        .filter(|size| *size >= scenario.regions);
    let mut enough = scenario.regions.saturating_sub(1);
    let mut first = sizes.into_iter().find_map(|size| {
        let met = met(size);
        if met.is_none() {
            enough = size;
        }
        met
    })?;
    while first.instances - enough > (first.instances / CLOSELY).max(1) {
        let middle = enough + (first.instances - enough) / 2;
        match met(middle) {
            Some(met) => first = met,
            None => enough = middle,
        }
    }
    Some(first)
}
