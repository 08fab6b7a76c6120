//! The figures of a scenario, and what follows from them, for people or as JSON.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::figures::{Figures, First, Line, figures, first_limit};
use super::fleet::DAY;
use super::{Scenario, limits, prices, producer, requests};

/// Plays a scenario, and says what it comes to.
pub fn report(scenario: &Scenario, as_json: bool) -> String {
    let figures = figures(scenario);
    let first = first_limit(scenario);
    let follows = Follows::of(scenario, &figures);
    if as_json {
        return format!(
            "{:#}",
            to_json(scenario, &figures, first.as_ref(), &follows)
        );
    }
    let mut text = String::new();
    writeln!(text, "{}\n", said_of(scenario, &figures)).expect("a String takes everything");
    writeln!(text, "{}\n", table(&figures.lines)).expect("a String takes everything");
    let cost = figures.lines.iter().filter_map(|line| line.cost).sum();
    writeln!(text, "All of it costs ${} a month.", count(cost)).expect("a String takes everything");
    writeln!(text, "{}", said_first(first.as_ref())).expect("a String takes everything");
    for line in follows.said(scenario, &figures) {
        writeln!(text, "- {line}").expect("a String takes everything");
    }
    text
}

fn said_of(scenario: &Scenario, figures: &Figures) -> String {
    let files = figures.total(|day| day.rows as f64);
    format!(
        "{} instances in {}, {} GB in {} files a day; the producer runs every {}.\n\
         Rates and limits are those of one account and region; costs are all, but for RDS itself and the network.",
        count(scenario.instances as f64),
        pairs(scenario.regions),
        count(scenario.gb_per_day),
        count(files),
        minutes(scenario.schedule.as_secs_f64()),
    )
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "resource",
        "average",
        "peak",
        "asked for",
        "limit",
        "headroom",
        "$ a month",
        "at",
    ]);
    for line in lines {
        let or_none = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), count);
        let headroom = line.headroom();
        table.add_row([
            line.resource.to_owned(),
            count(line.average),
            count(line.peak),
            count(line.asked_for),
            or_none(line.limit),
            headroom.map_or_else(|| "–".to_owned(), |times| format!("{}×", count(times))),
            or_none(line.cost),
            line.price.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn said_first(first: Option<&First>) -> String {
    let Some(First { line, instances }) = first else {
        return "No limit is met by any fleet up to a million instances.".to_owned();
    };
    format!(
        "First limit, as the fleet grows: {}, of which {} are allowed, at {} instances. With this fleet:",
        line.resource,
        count(line.limit.unwrap_or_default()),
        count(*instances as f64)
    )
}

/// What follows for the fleet.
struct Follows {
    /// What a run lists of the largest region before its time is over.
    listed_per_run: f64,
    /// Instances that were not listed for a day, files lost so, and age of the oldest file.
    unseen: u64,
    lost_files: u64,
    oldest_hours: f64,
    /// Producers per region, were only Lambda's time a limit.
    shards: Option<u64>,
    /// RDS API requests per second that would be enough,
    rds_rate: f64,
    /// and with the downloads, should AWS count them.
    rds_rate_with_downloads: f64,
    /// Pairs of account and region that would be enough.
    regions: u64,
    /// Most workers of a region at a time, and the part of their time in which they computed.
    tasks: f64,
    computing: f64,
}

impl Follows {
    fn of(scenario: &Scenario, figures: &Figures) -> Self {
        let rds_rate = producer::requests_asked_for(scenario, figures.instances);
        let downloads = figures.worst(|day| day.rows as f64) / DAY;
        let lost = |figures: &Figures| figures.total(|day| day.lost_files as f64) as u64;
        let vcpus = figures.total(|day| day.total(|minute| minute.tasks));
        Self {
            listed_per_run: figures.worst(|day| day.listings as f64 / day.runs.max(1) as f64),
            unseen: figures.total(|day| day.unseen as f64) as u64,
            lost_files: lost(figures),
            oldest_hours: figures.worst(|day| day.oldest) / 3600.0,
            shards: producer::shards_needed(scenario, figures.instances),
            rds_rate,
            rds_rate_with_downloads: rds_rate + downloads,
            regions: (rds_rate / scenario.rds_rate * scenario.regions as f64).ceil() as u64,
            tasks: figures.worst(|day| day.peak(|minute| minute.tasks) * 60.0),
            computing: figures.total(|day| day.total(|minute| minute.busy_vcpus))
                / (vcpus * scenario.task_vcpus).max(f64::MIN_POSITIVE),
        }
    }

    /// Dollars per month for the queries of all instances at all runs.
    fn query_cost(scenario: &Scenario, units: f64) -> f64 {
        let runs = prices::DAYS * DAY / scenario.schedule.as_secs_f64();
        scenario.instances as f64 * runs * units * prices::TABLE_READ
    }

    fn said(&self, scenario: &Scenario, figures: &Figures) -> Vec<String> {
        let instances = figures.instances as f64;
        let mut said = vec![format!(
            "A run that lists all {} instances of a region takes {}; Lambda ends it after {}, with {} listed ({:.1} %).",
            count(instances),
            minutes(figures.run_seconds),
            minutes(limits::LAMBDA_SECONDS),
            count(self.listed_per_run),
            100.0 * self.listed_per_run / instances,
        )];
        said.push(format!(
            "The oldest file that is not archived is up to {:.1} h old. In a day, {} instances are listed again only when \
             RDS has deleted files, {} in all.",
            self.oldest_hours,
            count(self.unseen as f64),
            count(self.lost_files as f64),
        ));
        let shards = self.shards.map_or_else(
            || "no number of producers would do, since each reads everything first".to_owned(),
            |shards| format!("{shards} producers with disjoint selections would do"),
        );
        said.push(format!(
            "For Lambda's time alone {shards}. But they share one RDS API limit, and each asks for {} pages of its own.",
            count(requests::described_pages(figures.instances) as f64)
        ));
        said.push(format!(
            "Each instance at each run takes {} RDS API requests/s, or {}; if downloads counted, which AWS does not say, \
             {} requests/s.",
            count(self.rds_rate),
            pairs(self.regions),
            count(self.rds_rate_with_downloads),
        ));
        said.push(format!(
            "A run reads the register of instances whole: {} pages, {} read units; and {} read units of each instance's rows: \
             ${} a month, with every instance at every run.",
            producer::register_pages(figures.instances),
            count(figures.register_units),
            count(figures.query_units),
            count(Self::query_cost(scenario, figures.query_units)),
        ));
        said.push(format!(
            "At the peak {} workers of {} vCPU. They compute for {:.0} % of the time and wait for answers otherwise, with {} \
             files at a time on each vCPU.",
            count(self.tasks),
            scenario.task_vcpus,
            100.0 * self.computing,
            scenario.files_per_vcpu,
        ));
        said
    }
}

fn to_json(
    scenario: &Scenario,
    figures: &Figures,
    first: Option<&First>,
    follows: &Follows,
) -> Value {
    let line = |line: &Line| {
        json!({
            "resource": line.resource,
            "average": line.average,
            "peak": line.peak,
            "asked_for": line.asked_for,
            "limit": line.limit,
            "headroom": line.headroom(),
            "dollars_a_month": line.cost,
            "price": line.price,
        })
    };
    json!({
        "instances": scenario.instances,
        "gb_per_day": scenario.gb_per_day,
        "regions": scenario.regions,
        "shards": scenario.shards,
        "schedule_s": scenario.schedule.as_secs(),
        "seed": scenario.seed,
        "files_per_day": figures.total(|day| day.rows as f64),
        "lines": figures.lines.iter().map(line).collect::<Vec<_>>(),
        "dollars_a_month": figures.lines.iter().filter_map(|line| line.cost).sum::<f64>(),
        "first_limit": first.map(|first| json!({
            "resource": first.line.resource,
            "limit": first.line.limit,
            "instances": first.instances,
        })),
        "run_of_all_s": figures.run_seconds,
        "listed_per_run": follows.listed_per_run,
        "unseen_for_a_day": follows.unseen,
        "lost_files": follows.lost_files,
        "oldest_h": follows.oldest_hours,
        "shards_for_lambdas_time": follows.shards,
        "rds_requests_per_s_that_suffice": follows.rds_rate,
        "with_downloads": follows.rds_rate_with_downloads,
        "regions_that_suffice": follows.regions,
        "workers_at_the_peak": follows.tasks,
        "part_of_time_that_workers_compute": follows.computing,
        "register_pages": producer::register_pages(figures.instances),
        "register_read_units": figures.register_units,
        "query_read_units": figures.query_units,
    })
}

/// Three digits, and thousands apart.
fn count(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 3) as usize;
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let mut apart = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    if rest.is_empty() {
        apart
    } else {
        format!("{apart}.{rest}")
    }
}

fn pairs(regions: u64) -> String {
    match regions {
        1 => "one account and region".to_owned(),
        more => format!("{} pairs of account and region", count(more as f64)),
    }
}

fn minutes(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}
