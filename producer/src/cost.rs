//! What a fleet's audit log costs a month: with Auditferry, with CloudWatch Logs, and with the usual script.
//!
//! All of it is quantities times list prices (`cost/prices.json`), computed without asking anybody. Quantities follow from the
//! fleet and from what is [assumed](assumptions). Where an assumption is soft, it has two values: one with which all is
//! cheap, and one with which all is dear. Both are worked out in full, so that every figure is a range.

mod assumed;
mod prices;
pub(crate) mod show;

#[cfg(test)]
mod tests;

use serde::Serialize;
use shared::config::BadSetting;

use assumed::{
    Assumed, CHEAP, CPU_PER_FILE, DAYS, DEAR, FILES_PER_VCPU, HOURS, LAMBDA_SECONDS,
    LISTINGS_AT_A_TIME, OBJECT_GB, POLLS, PRODUCER_GB, ROTATION_GB, RUNS, SCRIPT_GB, TASK_GB,
    WAIT_PER_FILE,
};
pub use assumed::{
    Assumption, PART_BYTES, READ_UNIT_BYTES, ROW_BYTES, ROWS_READ, WRITES_PER_FILE,
    WRITES_PER_LISTING, assumptions,
};
pub use prices::{Charge, Price, Prices};

/// The fleet, and where it is.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Fleet {
    /// Instances whose audit log is kept
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub instances: u32,
    /// What all of them write in a day, in GB (10⁹ bytes, not compressed)
    #[arg(long, value_name = "GB", value_parser = gb)]
    pub gb_per_day: f64,
    /// The AWS region whose list prices apply
    #[arg(long, value_name = "REGION")]
    pub region: String,
    /// Months that the log is kept
    #[arg(long, value_name = "MONTHS", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1200))]
    pub retention_months: u16,
}

/// More than anybody writes in a day; beyond it, floating-point numbers end somewhere.
const GB_MAX: f64 = 1e9;

fn gb(text: &str) -> Result<f64, String> {
    let gb: Option<f64> = text.parse().ok();
    gb.filter(|gb| *gb > 0.0 && *gb <= GB_MAX)
        .ok_or_else(|| format!("write a number above 0, and at most {GB_MAX}"))
}

/// From where all is cheap to where all is dear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Range {
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

impl Range {
    fn spanning(a: f64, b: f64) -> Self {
        Self {
            low: a.min(b),
            high: a.max(b),
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            low: self.low * factor,
            high: self.high * factor,
        }
    }

    fn sum(ranges: impl Iterator<Item = Self>) -> Self {
        ranges.fold(Self::default(), |sum, range| Self {
            low: sum.low + range.low,
            high: sum.high + range.high,
        })
    }
}

/// One thing that is paid for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What it is, and what it comes from.
    pub what: &'static str,
    /// How much of it in the first month.
    pub quantity: Range,
    /// Of what.
    pub unit: String,
    /// Dollars for one.
    pub unit_price: f64,
    /// The page of AWS with this price.
    pub source: String,
    /// Whether it is kept, and so grows month by month.
    pub grows: bool,
    /// Dollars in the first month.
    pub first_month: Range,
    /// Dollars in a month once as much is kept as ever will be.
    pub kept_month: Range,
}

/// One way to keep the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Design {
    /// Its name.
    pub name: &'static str,
    /// Everything that is paid for.
    pub lines: Vec<Line>,
    /// Dollars in the first month: the sum of the lines.
    pub first_month: Range,
    /// Dollars in a month once all months are kept: the sum of the lines.
    pub kept_month: Range,
    /// Dollars of the first month per TB (10¹² bytes) of log.
    pub per_tb: Range,
    /// What comes on top if the network is another; in no sum.
    pub on_top: Vec<Line>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// What a fleet's log costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Instances.
    pub instances: u32,
    /// What they write in a day, in GB.
    pub gb_per_day: f64,
    /// The region.
    pub region: String,
    /// Months that the log is kept.
    pub retention_months: u16,
    /// What kind of prices these are.
    pub prices: String,
    /// Up to when they were looked up.
    pub prices_as_of: String,
    /// Each way to keep the log.
    pub designs: Vec<Design>,
    /// Ways to keep the log for which a price of this region is not known.
    pub not_priced: Vec<&'static str>,
    /// What the figures rest on.
    pub assumptions: Vec<Assumption>,
    /// What is left out.
    pub not_counted: &'static [&'static str],
}

/// What is left out of every design, being small or the same for all.
const NOT_COUNTED: [&str; 5] = [
    "RDS itself, and what auditing costs the databases",
    "what reading the log costs: Athena, Logs Insights, GET, transfer out of the region",
    "requests to Lambda and EventBridge, container images, KMS, alarms, a trail of S3's data events",
    "transfer between availability zones",
    "free tiers, volume tiers, savings plans, Fargate Spot",
];

/// So much of something.
struct Item {
    what: &'static str,
    charge: Charge,
    quantity: f64,
    grows: bool,
}

/// What is paid for anew each month.
fn each_month(what: &'static str, charge: Charge, quantity: f64) -> Item {
    Item {
        what,
        charge,
        quantity,
        grows: false,
    }
}

/// What is kept: so much more with each month.
fn kept(what: &'static str, charge: Charge, quantity: f64) -> Item {
    Item {
        what,
        charge,
        quantity,
        grows: true,
    }
}

/// What the fleet writes, with one set of assumptions.
struct Log {
    instances: f64,
    /// GB a month, as written,
    gb: f64,
    /// and compressed.
    stored_gb: f64,
    /// Files of a day,
    files_a_day: f64,
    /// and of a month.
    files: f64,
}

impl Log {
    fn new(fleet: &Fleet, assumed: &Assumed) -> Self {
        let instances = f64::from(fleet.instances);
        let files_a_day = instances * assumed.files_per_instance + fleet.gb_per_day / ROTATION_GB;
        let gb = fleet.gb_per_day * DAYS;
        Self {
            instances,
            gb,
            stored_gb: gb / assumed.ratio,
            files_a_day,
            files: files_a_day * DAYS,
        }
    }

    /// Requests of all uploads, if files are of one size.
    fn puts(&self) -> f64 {
        let parts = self.stored_gb * 1e9 / self.files / PART_BYTES;
        let each = if parts <= 1.0 {
            1.0
        } else {
            2.0 + parts.ceil()
        };
        self.files * each
    }

    /// Read units of the producer's query for one instance: the first page, or the rows of two hours.
    fn read_units(&self) -> f64 {
        let rows = (self.files_a_day / self.instances / 12.0).max(ROWS_READ);
        (rows * ROW_BYTES / READ_UNIT_BYTES).ceil()
    }

    /// Hours that tasks of one vCPU run.
    fn task_hours(&self, assumed: &Assumed) -> f64 {
        let cpu = self.gb * assumed.cpu_per_gb + self.files * CPU_PER_FILE;
        let held_up = (self.files * WAIT_PER_FILE + cpu) / FILES_PER_VCPU;
        let work = cpu.max(held_up) / 3600.0 / assumed.busy;
        work.max(assumed.task_hours_a_day * DAYS)
    }

    /// Log of the programs themselves, in GB.
    fn own_log(&self, assumed: &Assumed) -> f64 {
        self.files * assumed.own_log_kb_per_file / 1e6
    }

    /// GB through NAT: downloads, and uploads as far as they go there.
    fn through_nat(&self, assumed: &Assumed) -> f64 {
        self.gb + self.stored_gb * assumed.nat_uploads
    }

    /// Seconds that the script needs for one run, and those of a month.
    fn script_seconds(&self, assumed: &Assumed) -> (f64, f64) {
        let run = self.instances * assumed.listing
            + self.files_a_day * assumed.script_seconds_per_head
            + self.gb / DAYS / assumed.script_runs * assumed.script_seconds_per_gb;
        (run, run * assumed.script_runs * DAYS)
    }
}

fn auditferry(log: &Log, assumed: &Assumed) -> Vec<Item> {
    let listings = log.instances * RUNS * DAYS;
    let run = (1.0 + log.instances * assumed.listing / LISTINGS_AT_A_TIME).min(LAMBDA_SECONDS);
    let tasks = log.task_hours(assumed);
    let writes = log.files * WRITES_PER_FILE + listings * WRITES_PER_LISTING;
    let requests = log.files * assumed.sqs_per_file + tasks * POLLS;
    vec![
        kept("archive in S3 Standard", Charge::S3Storage, log.stored_gb),
        each_month("uploads to S3", Charge::S3Put, log.puts() / 1e3),
        each_month("workers' vCPUs", Charge::FargateVcpu, tasks),
        each_month("workers' memory", Charge::FargateGb, tasks * TASK_GB),
        each_month("workers' public addresses", Charge::PublicIpv4, tasks),
        each_month(
            "producer's runs",
            Charge::LambdaArm,
            run * RUNS * DAYS * PRODUCER_GB,
        ),
        each_month("queue", Charge::QueueRequest, requests / 1e6),
        each_month("table, writes", Charge::TableWrite, writes / 1e6),
        each_month(
            "table, reads",
            Charge::TableRead,
            listings * log.read_units() / 1e6,
        ),
        kept(
            "table, rows",
            Charge::TableStorage,
            log.files * ROW_BYTES / 1e9,
        ),
        kept(
            "table, recovery",
            Charge::TableRecovery,
            log.files * ROW_BYTES / 1e9,
        ),
        each_month("own log", Charge::LogIngestion, log.own_log(assumed)),
        // Said even though it is nothing: elsewhere it is the largest line.
        each_month("NAT: none, in public subnets", Charge::NatGb, 0.0),
    ]
}

fn nat(log: &Log, assumed: &Assumed) -> Vec<Item> {
    vec![
        each_month(
            "NAT gateways",
            Charge::NatHour,
            HOURS * assumed.nat_gateways,
        ),
        each_month("data through NAT", Charge::NatGb, log.through_nat(assumed)),
    ]
}

fn log_group(log: &Log, _assumed: &Assumed) -> Vec<Item> {
    vec![
        each_month("ingestion, from RDS", Charge::LogIngestion, log.gb),
        kept("log group", Charge::LogStorage, log.stored_gb),
        each_month("NAT: none", Charge::NatGb, 0.0),
    ]
}

fn firehose(log: &Log, assumed: &Assumed) -> Vec<Item> {
    let records = log.stored_gb * assumed.firehose_rounding;
    let objects = assumed.firehose_objects_a_day * DAYS + log.stored_gb / OBJECT_GB;
    vec![
        each_month("ingestion, from RDS", Charge::LogIngestion, log.gb),
        each_month(
            "log group, for a day",
            Charge::LogStorage,
            log.stored_gb / DAYS,
        ),
        each_month("Firehose, from a subscription", Charge::Firehose, records),
        each_month("Firehose's objects in S3", Charge::S3Put, objects / 1e3),
        kept("archive in S3 Standard", Charge::S3Storage, log.stored_gb),
        each_month("NAT: none", Charge::NatGb, 0.0),
    ]
}

fn script(log: &Log, assumed: &Assumed) -> Vec<Item> {
    let (_, seconds) = log.script_seconds(assumed);
    let heads = log.files_a_day * assumed.script_runs * DAYS;
    let mut items = vec![
        kept("archive in S3 Standard", Charge::S3Storage, log.stored_gb),
        each_month("uploads to S3", Charge::S3Put, log.files / 1e3),
        each_month("HeadObject, per file and run", Charge::S3Head, heads / 1e3),
        each_month("Lambda", Charge::LambdaX86, seconds * SCRIPT_GB),
        each_month("own log", Charge::LogIngestion, log.own_log(assumed)),
    ];
    items.extend(nat(log, assumed));
    items
}

/// Quantities of a design, with one set of assumptions.
type Quantities = fn(&Log, &Assumed) -> Vec<Item>;

/// A way to keep the log.
struct Way {
    name: &'static str,
    quantities: Quantities,
    /// What comes on top of it in another network.
    on_top: Option<Quantities>,
    notes: fn(&Fleet) -> Vec<String>,
}

const WAYS: [Way; 4] = [
    Way {
        name: "Auditferry",
        quantities: auditferry,
        on_top: Some(nat),
        notes: |_fleet| {
            vec![
                "In private subnets behind NAT, what is on top is added, and public addresses are saved."
                    .to_owned(),
            ]
        },
    },
    Way {
        name: "CloudWatch Logs, kept there",
        quantities: log_group,
        on_top: None,
        notes: |_fleet| Vec::new(),
    },
    Way {
        name: "CloudWatch Logs, then Firehose to S3",
        quantities: firehose,
        on_top: None,
        notes: |_fleet| Vec::new(),
    },
    Way {
        name: "The usual script, in a VPC behind NAT",
        quantities: script,
        on_top: None,
        notes: |fleet| {
            let [cheap, dear] =
                [CHEAP, DEAR].map(|assumed| Log::new(fleet, &assumed).script_seconds(&assumed).0);
            let run = Range::spanning(cheap, dear);
            let mut notes = vec![
                "Outside a VPC there is no NAT.".to_owned(),
                format!("A run takes {} s.", show::range(run)),
            ];
            if run.high > LAMBDA_SECONDS {
                notes.push(format!(
                    "Lambda ends it after {LAMBDA_SECONDS} s: where it takes longer, one function is not enough."
                ));
            }
            notes
        },
    },
];

/// What a fleet's log costs. `Err` if prices of its region are not known.
pub fn estimate(fleet: &Fleet, prices: &Prices) -> Result<Estimate, BadSetting> {
    let regions = prices.regions();
    if !regions.contains(&fleet.region.as_str()) {
        return Err(BadSetting(format!(
            "--region {}: its prices are not known; those of {} are",
            fleet.region,
            regions.join(", ")
        )));
    }
    let mut designs = Vec::new();
    let mut not_priced = Vec::new();
    for way in WAYS {
        let Some(lines) = priced(fleet, prices, way.quantities) else {
            not_priced.push(way.name);
            continue;
        };
        let first_month = Range::sum(lines.iter().map(|line| line.first_month));
        designs.push(Design {
            name: way.name,
            kept_month: Range::sum(lines.iter().map(|line| line.kept_month)),
            per_tb: first_month.times(1000.0 / (fleet.gb_per_day * DAYS)),
            first_month,
            lines,
            on_top: way
                .on_top
                .and_then(|on_top| priced(fleet, prices, on_top))
                .unwrap_or_default(),
            notes: (way.notes)(fleet),
        });
    }
    Ok(Estimate {
        instances: fleet.instances,
        gb_per_day: fleet.gb_per_day,
        region: fleet.region.clone(),
        retention_months: fleet.retention_months,
        prices: prices.header.clone(),
        prices_as_of: prices.as_of.clone(),
        designs,
        not_priced,
        assumptions: assumptions(),
        not_counted: &NOT_COUNTED,
    })
}

/// Quantities of both sets of assumptions, times prices; `None` if one of these is not known.
fn priced(fleet: &Fleet, prices: &Prices, quantities: Quantities) -> Option<Vec<Line>> {
    let [cheap, dear] =
        [CHEAP, DEAR].map(|assumed| quantities(&Log::new(fleet, &assumed), &assumed));
    let months = f64::from(fleet.retention_months);
    cheap
        .into_iter()
        .zip(dear)
        .map(|(cheap, dear)| {
            let (price, usd) = prices.of(cheap.charge, &fleet.region)?;
            let quantity = Range::spanning(cheap.quantity, dear.quantity);
            let first_month = quantity.times(usd);
            Some(Line {
                what: cheap.what,
                quantity,
                unit: price.unit.clone(),
                unit_price: usd,
                source: price.source.clone(),
                grows: cheap.grows,
                first_month,
                kept_month: first_month.times(if cheap.grows { months } else { 1.0 }),
            })
        })
        .collect()
}
