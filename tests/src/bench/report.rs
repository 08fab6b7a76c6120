//! Two tables for people, and a file with every figure.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::cold_start::ColdStart;
use super::figures::{Figures, histogram, medians, name};
use super::play::Run;
use super::producer::Idle;
use super::scenario::{Scenario, Shipper};
use super::targets::{Bound, Medians, Target};

/// Columns of figures: heading, name and places after the point.
const COLUMNS: [(&str, &str, usize); 12] = [
    ("MB/s", name::MB_PER_S, 1),
    ("of floor", name::OF_FLOOR, 2),
    ("CPU s/GB", name::CPU_PER_GB, 2),
    ("outside", name::CPU_OUTSIDE_PER_GB, 2),
    ("CPU ms/file", name::CPU_MS_PER_FILE, 2),
    ("RSS MiB", name::PEAK_RSS_MIB, 1),
    ("ratio", name::RATIO, 2),
    ("SQS", name::SQS_PER_FILE, 2),
    ("DynamoDB", name::DYNAMODB_PER_FILE, 2),
    ("S3", name::S3_PER_FILE, 2),
    ("RDS", name::RDS_PER_FILE, 2),
    ("renewal", name::LATEST_RENEWAL, 2),
];

/// A scenario, and all of its runs.
#[derive(Debug)]
pub struct Played {
    /// Which.
    pub scenario: Scenario,
    /// Those that went well.
    pub runs: Vec<Run>,
}

impl Played {
    /// Adds a run; `Some` says what is wrong with it.
    pub fn add(&mut self, run: Run) -> Option<String> {
        let first = self.runs.first();
        let same = first.is_none_or(|first| first.objects == run.objects);
        self.runs.push(run);
        // Python's gzip writes the time into its headers.
        let must = matches!(self.scenario.shipper, Shipper::Worker(_));
        (must && !same).then(|| {
            let title = &self.scenario.title;
            format!(
                "{title}: run {} has stored other bytes than the first",
                self.runs.len()
            )
        })
    }

    /// The median of each figure.
    pub fn medians(&self) -> Figures {
        medians(self.runs.iter().map(|run| &run.figures))
    }
}

/// What is measured once, and is no scenario.
#[derive(Debug, Default)]
pub struct Others {
    /// A run of the producer.
    pub producer: Option<Idle>,
    /// Starts of the Lambda.
    pub cold_start: Option<ColdStart>,
}

/// One row per scenario: medians.
pub fn scenarios(played: &[Played]) -> String {
    let headings = COLUMNS.map(|(heading, ..)| heading);
    let mut table = table(["scenario"].into_iter().chain(headings));
    for played in played.iter().filter(|played| !played.runs.is_empty()) {
        let medians = played.medians();
        let figures = COLUMNS.map(|(_, name, places)| figure(medians.get(name), places));
        table.add_row(
            [Cell::new(&played.scenario.title)]
                .into_iter()
                .chain(figures),
        );
    }
    table.to_string()
}

/// One row per target that was played.
pub fn targets(targets: &[Target]) -> String {
    let mut table = table(["target", "measured", "bound", "met"]);
    for target in targets {
        let Some(met) = target.met() else {
            continue;
        };
        let bound = match target.bound {
            Bound::AtLeast(bound) => format!("≥ {bound:.2}"),
            Bound::AtMost(bound) => format!("≤ {bound:.2}"),
            Bound::Below(bound) => format!("< {bound:.2}"),
        };
        let met = if met { "yes" } else { "no" };
        table.add_row([
            Cell::new(target.what),
            figure(target.measured.as_ref(), 2),
            right(&bound),
            Cell::new(met),
        ]);
    }
    table.to_string()
}

/// When claims were renewed, in all runs of a scenario.
pub fn renewals(played: &Played) -> Option<String> {
    let parts: Vec<f64> = played
        .runs
        .iter()
        .flat_map(|run| run.renewals.clone())
        .collect();
    if parts.is_empty() {
        return None;
    }
    let mut table = table([played.scenario.title.as_str(), "renewals"]);
    for (bound, count) in histogram(&parts) {
        table.add_row([
            Cell::new(format!("{bound} of the lease")),
            right(&count.to_string()),
        ]);
    }
    Some(table.to_string())
}

/// Everything: each run, the medians, the targets, and on what they were measured.
pub fn file(
    played: &[Played],
    medians: &Medians,
    others: &Others,
    targets: &[Target],
    cores: usize,
) -> Value {
    let scenarios = played.iter().map(|played| {
        let Scenario {
            id, title, files, ..
        } = &played.scenario;
        let runs = played.runs.iter().map(|run| {
            json!({"figures": run.figures, "operations": run.operations, "renewals": run.renewals})
        });
        json!({
            "id": id,
            "title": title,
            "files": files.count,
            "file_bytes": files.size,
            "medians": medians.get(id),
            "runs": runs.collect::<Vec<_>>(),
        })
    });
    let targets = targets.iter().map(|target| {
        let (bound, value) = match target.bound {
            Bound::AtLeast(value) => ("at_least", value),
            Bound::AtMost(value) => ("at_most", value),
            Bound::Below(value) => ("below", value),
        };
        json!({"what": target.what, bound: value, "measured": target.measured, "met": target.met()})
    });
    json!({
        "cores": cores,
        "cpu": cpu_model(),
        "producer": others.producer,
        "cold_start": others.cold_start,
        "scenarios": scenarios.collect::<Vec<_>>(),
        "targets": targets.collect::<Vec<_>>(),
    })
}

/// As the kernel calls it.
pub fn cpu_model() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn table<'h>(headings: impl IntoIterator<Item = &'h str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(headings);
    table
}

fn figure(figure: Option<&f64>, places: usize) -> Cell {
    right(
        &figure
            .map(|figure| format!("{figure:.places$}"))
            .unwrap_or_default(),
    )
}

fn right(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::scenario::{Scale, all};
    use super::*;

    fn played(mb_per_s: &[f64]) -> Played {
        let run = |mb_per_s: &f64| Run {
            figures: Figures::from([(name::MB_PER_S, *mb_per_s), (name::SQS_PER_FILE, 0.251)]),
            operations: BTreeMap::new(),
            objects: BTreeMap::new(),
            renewals: vec![0.34],
        };
        Played {
            scenario: all(Scale::WHOLE).remove(2),
            runs: mb_per_s.iter().map(run).collect(),
        }
    }

    #[test]
    fn a_row_has_the_medians_and_gaps_where_nothing_was_measured() {
        let table = scenarios(&[played(&[50.0, 90.0, 60.04]), played(&[])]);
        let rows: Vec<&str> = table.lines().filter(|line| line.contains("MB")).collect();
        let [heading, row] = rows[..] else {
            panic!("{table}");
        };
        assert!(heading.contains("of floor"), "{table}");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let filled: Vec<&str> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(filled, ["gzip 8, 1 × 100 MB", "60.0", "0.25"], "{table}");
    }

    #[test]
    fn targets_that_were_not_played_are_left_out() {
        let target = |what, bound, measured| Target {
            what,
            bound,
            measured,
        };
        let table = targets(&[
            target("rate", Bound::AtLeast(0.95), Some(0.961)),
            target("memory", Bound::AtMost(24.0), Some(25.0)),
            target("other", Bound::Below(1.0), None),
        ]);
        assert!(
            table.lines().any(|line| line.contains("0.96")
                && line.contains("≥ 0.95")
                && line.contains("yes")),
            "{table}"
        );
        assert!(
            table
                .lines()
                .any(|line| line.contains("memory") && line.contains("no")),
            "{table}"
        );
        assert!(!table.contains("other"), "{table}");
    }

    #[test]
    fn renewals_are_counted_over_all_runs() {
        let table = renewals(&played(&[1.0, 2.0])).unwrap();
        assert!(
            table
                .lines()
                .any(|line| line.contains("0.34 to 0.36 of the lease") && line.contains('2')),
            "{table}"
        );
        assert!(renewals(&played(&[])).is_none());
    }
}
