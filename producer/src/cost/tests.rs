//! What the ways of keeping the log cost.

use super::*;

fn fleet(instances: u32, gb_per_day: f64, region: &str) -> Fleet {
    Fleet {
        instances,
        gb_per_day,
        region: region.to_owned(),
        retention_months: 12,
    }
}

fn estimated(fleet: &Fleet) -> Estimate {
    estimate(fleet, &Prices::known()).unwrap()
}

/// Dollars of the first month per TB.
fn per_tb(estimate: &Estimate, name: &str) -> Range {
    let mut designs = estimate.designs.iter();
    let design = designs.find(|design| design.name.contains(name)).unwrap();
    design.per_tb
}

fn middle(range: Range) -> f64 {
    f64::midpoint(range.low, range.high)
}

/// Fleets of all sizes, everywhere.
fn fleets() -> impl Iterator<Item = Fleet> {
    let prices = Prices::known();
    let regions: Vec<String> = prices.regions().into_iter().map(str::to_owned).collect();
    regions.into_iter().flat_map(|region| {
        [1, 7, 100, 3_000, 100_000]
            .into_iter()
            .flat_map(move |instances| {
                let region = region.clone();
                [1e-3, 0.3, 2.5, 40.0, 1e3, 1e5, GB_MAX]
                    .into_iter()
                    .map(move |gb| fleet(instances, gb, &region))
            })
    })
}

#[test]
fn a_large_log_costs_what_is_known_per_tb() {
    let virginia = estimated(&fleet(100, 10_000.0, "us-east-1"));
    let ours = per_tb(&virginia, "Auditferry");
    assert!((2.5..3.5).contains(&ours.low), "{ours:?}");
    assert!((5.5..6.7).contains(&ours.high), "{ours:?}");
    let logs = per_tb(&virginia, "Firehose");
    assert!((middle(logs) - 511.0).abs() < 5.0, "{logs:?}");
    let tokyo = per_tb(
        &estimated(&fleet(100, 10_000.0, "ap-northeast-1")),
        "Firehose",
    );
    assert!((middle(tokyo) - 772.0).abs() < 5.0, "{tokyo:?}");
    let script = per_tb(&virginia, "script");
    assert!(script.low > 45.0, "NAT alone is that much: {script:?}");
}

#[test]
fn more_log_never_costs_less() {
    for fleet in fleets() {
        let less = estimated(&fleet);
        for times in [1.000_001, 1.1, 2.0, 10.0] {
            let more = estimated(&Fleet {
                gb_per_day: fleet.gb_per_day * times,
                ..fleet.clone()
            });
            for (less, more) in less.designs.iter().zip(&more.designs) {
                for (less, more) in [
                    (less.first_month, more.first_month),
                    (less.kept_month, more.kept_month),
                ] {
                    assert!(less.low <= more.low && less.high <= more.high, "{fleet:?}");
                }
            }
        }
    }
}

#[test]
fn lines_add_up_and_low_is_never_above_high() {
    for fleet in fleets() {
        let estimate = estimated(&fleet);
        assert!(estimate.designs.len() >= 3);
        for design in &estimate.designs {
            for line in design.lines.iter().chain(&design.on_top) {
                for range in [line.quantity, line.first_month, line.kept_month] {
                    assert!(0.0 <= range.low && range.low <= range.high, "{line:?}");
                    assert!(range.high.is_finite(), "{line:?}");
                }
                let product = line.quantity.high * line.unit_price;
                assert!((line.first_month.high - product).abs() <= product * 1e-9);
                let months = if line.grows { 12.0 } else { 1.0 };
                assert_eq!(line.kept_month, line.first_month.times(months));
            }
            for (total, of) in [
                (
                    design.first_month,
                    (|line| line.first_month) as fn(&Line) -> Range,
                ),
                (design.kept_month, |line| line.kept_month),
            ] {
                let low: f64 = design.lines.iter().map(|line| of(line).low).sum();
                let high: f64 = design.lines.iter().map(|line| of(line).high).sum();
                assert!((total.low - low).abs() <= low * 1e-9, "{design:?}");
                assert!((total.high - high).abs() <= high * 1e-9, "{design:?}");
            }
        }
    }
}

#[test]
fn nat_is_never_silent() {
    for design in estimated(&fleet(10, 10.0, "eu-west-1")).designs {
        let said = design.lines.iter().filter(|line| line.what.contains("NAT"));
        assert!(said.count() > 0, "{}", design.name);
        let free = design
            .lines
            .iter()
            .filter(|line| line.what.starts_with("NAT: none"));
        let free: Vec<f64> = free.map(|line| line.first_month.high).collect();
        let behind_nat = design.name.contains("behind NAT");
        assert_eq!(free, if behind_nat { vec![] } else { vec![0.0] });
    }
}

#[test]
fn what_is_kept_grows_by_the_months_and_nothing_else_does() {
    let twelve = fleet(10, 10.0, "us-west-2");
    let one = Fleet {
        retention_months: 1,
        ..twelve.clone()
    };
    for design in estimated(&one).designs {
        assert_eq!(design.first_month, design.kept_month);
    }
    for design in estimated(&twelve).designs {
        let growing = design.lines.iter().filter(|line| line.grows);
        let more: f64 = growing.map(|line| line.first_month.low * 11.0).sum();
        let grown = design.kept_month.low - design.first_month.low;
        assert!((grown - more).abs() < 1e-9 && more > 0.0, "{design:?}");
    }
}

#[test]
fn a_region_without_prices_is_refused_and_a_way_without_one_is_named() {
    let bad = estimate(&fleet(1, 1.0, "mars-1"), &Prices::known()).unwrap_err();
    assert!(
        bad.0.contains("mars-1") && bad.0.contains("us-east-1"),
        "{bad}"
    );
    let frankfurt = estimated(&fleet(1, 1.0, "eu-central-1"));
    let ways = frankfurt.designs.len() + frankfurt.not_priced.len();
    assert_eq!((ways, frankfurt.not_priced.len()), (WAYS.len(), 1));
    assert!(estimated(&fleet(1, 1.0, "us-east-1")).not_priced.is_empty());
}

#[test]
fn gigabytes_are_a_number_above_nothing_that_ends_somewhere() {
    assert_eq!(gb("0.5"), Ok(0.5));
    assert_eq!(gb("1e9"), Ok(1e9));
    for bad in [
        "", "0", "-0", "-1", "nan", "inf", "-inf", "1e10", "1e999", "many",
    ] {
        assert!(gb(bad).is_err(), "{bad}");
    }
}
