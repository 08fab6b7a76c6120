//! What a log costs, for people.

use std::collections::BTreeSet;

use comfy_table::{Cell, ContentArrangement, Table, presets};

use super::{Design, Estimate, Line, Range};
use crate::show::right;

/// Characters of a line of the assumptions, and of the notes.
const WIDTH: u16 = 116;

/// The ways to keep the log, one below the other; then each of them, line by line; then what it all rests on.
pub(crate) fn estimate(estimate: &Estimate) -> String {
    let months = estimate.retention_months;
    let mut parts = vec![
        format!(
            "{}, {} GB of audit log a day, kept for {}, in {}",
            count(f64::from(estimate.instances), "instance"),
            figure(estimate.gb_per_day),
            count(f64::from(months), "month"),
            estimate.region,
        ),
        wrapped(&format!(
            "Dollars a month, from where everything that is assumed below is cheap to where it is dear. Prices as of {}. {}",
            estimate.prices_as_of, estimate.prices,
        )),
        overview(estimate),
    ];
    for way in &estimate.not_priced {
        parts.push(format!(
            "{way}: not priced, for a price of it is not known in {}",
            estimate.region
        ));
    }
    for design in &estimate.designs {
        parts.push(lines(design, months));
    }
    parts.push(assumptions(estimate));
    let not_counted = estimate.not_counted.join("; ");
    parts.push(wrapped(&format!("Not counted: {not_counted}.")));
    let each = estimate.designs.iter().flat_map(|design| &design.lines);
    let sources: BTreeSet<&str> = each.map(|line| line.source.as_str()).collect();
    let sources: Vec<&str> = sources.into_iter().collect();
    parts.push(format!("Prices are from\n  {}", sources.join("\n  ")));
    parts.join("\n\n") + "\n"
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let (first, others) = header.split_first().expect("there is a header");
    let first = std::iter::once(Cell::new(first));
    table.set_header(first.chain(others.iter().map(right)));
    table
}

fn overview(estimate: &Estimate) -> String {
    let kept = format!("month {}", estimate.retention_months);
    let mut rows = table(&["", "month 1", &kept, "month 1, per TB"]);
    for design in &estimate.designs {
        rows.add_row([
            Cell::new(design.name),
            right(range(design.first_month)),
            right(range(design.kept_month)),
            right(range(design.per_tb)),
        ]);
    }
    rows.trim_fmt()
}

fn lines(design: &Design, months: u16) -> String {
    let kept = format!("month {months}");
    let mut rows = table(&[design.name, "quantity", "", "$ for one", "month 1", &kept]);
    let row = |line: &Line| {
        [
            Cell::new(line.what),
            right(range(line.quantity)),
            Cell::new(&line.unit),
            right(line.unit_price),
            right(range(line.first_month)),
            right(range(line.kept_month)),
        ]
    };
    for line in &design.lines {
        rows.add_row(row(line));
    }
    rows.add_row([
        Cell::new("all of it"),
        Cell::new(""),
        Cell::new(""),
        Cell::new(""),
        right(range(design.first_month)),
        right(range(design.kept_month)),
    ]);
    for line in &design.on_top {
        let mut cells = row(line);
        cells[0] = Cell::new(format!("on top: {}", line.what));
        rows.add_row(cells);
    }
    let mut text = rows.trim_fmt();
    if !design.notes.is_empty() {
        text.push_str("\n ");
        text.push_str(&design.notes.join(" "));
    }
    text
}

fn assumptions(estimate: &Estimate) -> String {
    let mut rows = Table::new();
    rows.load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(["Assumed", "cheap – dear", ""]);
    for assumed in &estimate.assumptions {
        let (cheap, dear) = (figure(assumed.cheap), figure(assumed.dear));
        let value = if cheap == dear {
            cheap
        } else {
            format!("{cheap} – {dear}")
        };
        rows.add_row([
            Cell::new(assumed.what),
            right(value),
            Cell::new(assumed.why),
        ]);
    }
    rows.trim_fmt()
}

/// From low to high; one figure where both read the same.
pub(crate) fn range(range: Range) -> String {
    let (low, high) = (figure(range.low), figure(range.high));
    if low == high {
        low
    } else {
        format!("{low} – {high}")
    }
}

/// Three digits or more, thousands apart, and nothing finer than a cent.
fn figure(value: f64) -> String {
    let decimals = match value {
        0.0 => 0,
        ..0.005 => return "<0.01".to_owned(),
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut apart = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    match rest.trim_end_matches('0') {
        "" => apart,
        rest => format!("{apart}.{rest}"),
    }
}

fn count(number: f64, what: &str) -> String {
    let plural = if number > 1.0 { "s" } else { "" };
    format!("{} {what}{plural}", figure(number))
}

fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= usize::from(WIDTH) {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_thousands_apart() {
        for (value, text) in [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.0149, "0.01"),
            (0.5, "0.5"),
            (9.99, "9.99"),
            (9.999, "10"),
            (12.34, "12.3"),
            (99.99, "100"),
            (1234.5, "1,234"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(figure(value), text, "{value}");
        }
    }

    #[test]
    fn a_range_that_reads_the_same_at_both_ends_is_one_figure() {
        let (low, high) = (1.001, 1.004);
        assert_eq!(range(Range { low, high }), "1");
        assert_eq!(range(Range { low, high: 2.0 }), "1 – 2");
    }
}
