//! What is aimed at, and whether it is reached.

use std::collections::BTreeMap;

use super::figures::{Figures, name};

/// The producer's figures, by this name.
pub const PRODUCER: &str = "producer";
/// Those of a cold start.
pub const COLD_START: &str = "cold-start";

/// Medians by scenario.
pub type Medians = BTreeMap<String, Figures>;

/// Something that is aimed at.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What.
    pub what: &'static str,
    /// How far it shall reach.
    pub bound: Bound,
    /// `None` if it was not played.
    pub measured: Option<f64>,
}

/// How far a figure shall reach.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// So much, or more.
    AtLeast(f64),
    /// So much, or less.
    AtMost(f64),
    /// Less than so much.
    Below(f64),
}

impl Target {
    /// Whether it is reached; `None` if it was not played.
    pub fn met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
            Bound::Below(bound) => measured < bound,
        })
    }
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy)]
enum Measured {
    /// A scenario's own.
    Of(&'static str, &'static str),
    /// A scenario's, as a part of another's.
    Ratio(&'static str, &'static str, &'static str),
    /// What each file that is in flight besides the first one adds to a scenario's, compared with another.
    PerFurther(&'static str, &'static str, &'static str),
}

/// Every target.
#[rustfmt::skip] // A table.
const ALL: [(&str, Bound, Measured); 32] = {
    use Bound::{AtLeast, AtMost, Below};
    use Measured::{Of, PerFurther, Ratio};
    use name::{
        CERTIFICATE_FILES, COLD_START_MS, CPU_MS_PER_FILE, CPU_OUTSIDE_PER_GB, CPU_PER_GB, DYNAMODB_PER_FILE, LATEST_RENEWAL,
        LISTINGS_PER_INSTANCE, OF_BOTO3, OF_FLOOR, PEAK_RSS_MIB, QUERIES_PER_INSTANCE, RDS_PER_FILE, S3_PER_FILE, SQS_PER_FILE,
        STORED_BYTES, WRITES_PER_INSTANCE,
    };
    [
        ("gzip: throughput on all cores, of the floor", AtLeast(0.95), Of("gzip-many-4", OF_FLOOR)),
        ("gzip fast, TLS: throughput on all cores, of the floor", AtLeast(0.88), Of("gzip-fast-many-tls", OF_FLOOR)),
        ("zstd fast, TLS: throughput on all cores, of the floor", AtLeast(0.88), Of("zstd-fast-many-tls", OF_FLOOR)),
        ("gzip: stored, of the baseline's", AtMost(1.0), Ratio("gzip-one", "baseline-one", STORED_BYTES)),
        ("gzip: CPU, of the baseline's", AtMost(0.6), Ratio("gzip-one", "baseline-one", CPU_PER_GB)),
        ("gzip fast: stored, of the baseline's", AtMost(1.08), Ratio("gzip-fast-one", "baseline-one", STORED_BYTES)),
        ("gzip fast: CPU, of the baseline's", AtMost(0.25), Ratio("gzip-fast-one", "baseline-one", CPU_PER_GB)),
        ("zstd: stored, of the baseline's", AtMost(0.88), Ratio("zstd-one", "baseline-one", STORED_BYTES)),
        ("zstd: CPU, of the baseline's", AtMost(0.6), Ratio("zstd-one", "baseline-one", CPU_PER_GB)),
        ("zstd fast: stored, of the baseline's", AtMost(1.15), Ratio("zstd-fast-one", "baseline-one", STORED_BYTES)),
        ("zstd fast: CPU, of the baseline's", AtMost(0.1), Ratio("zstd-fast-one", "baseline-one", CPU_PER_GB)),
        ("gzip: CPU s per GB outside the compressor", AtMost(1.0), Of("gzip-one", CPU_OUTSIDE_PER_GB)),
        ("zstd: CPU s per GB outside the compressor", AtMost(1.0), Of("zstd-one", CPU_OUTSIDE_PER_GB)),
        ("gzip: peak RSS in MiB, one file", AtMost(24.0), Of("gzip-one", PEAK_RSS_MIB)),
        ("gzip: peak RSS in MiB, one large file", AtMost(24.0), Of("gzip-stream", PEAK_RSS_MIB)),
        ("gzip: peak RSS in MiB, per further file in flight", AtMost(5.5), PerFurther("gzip-many-16", "gzip-one", PEAK_RSS_MIB)),
        ("gzip: peak RSS in MiB, all files in flight", AtMost(100.0), Of("gzip-many-16", PEAK_RSS_MIB)),
        ("small files: CPU ms per file", AtMost(0.7), Of("gzip-small", CPU_MS_PER_FILE)),
        ("small files: CPU, of the baseline's", AtMost(1.0 / 12.0), Ratio("gzip-small", "baseline-small", CPU_MS_PER_FILE)),
        ("small files: requests to SQS per file", AtMost(0.4), Of("gzip-small", SQS_PER_FILE)),
        ("small files: requests to DynamoDB per file", AtMost(2.0), Of("gzip-small", DYNAMODB_PER_FILE)),
        ("small files: requests to S3 per file", AtMost(1.0), Of("gzip-small", S3_PER_FILE)),
        ("small files: requests to RDS per file", AtMost(1.0), Of("gzip-small", RDS_PER_FILE)),
        ("gzip: latest renewal, as a part of the lease", Below(0.5), Of("gzip-heartbeats", LATEST_RENEWAL)),
        ("zstd: latest renewal, as a part of the lease", Below(0.5), Of("zstd-heartbeats", LATEST_RENEWAL)),
        ("producer, nothing new: queries per instance", AtMost(1.0), Of(PRODUCER, QUERIES_PER_INSTANCE)),
        ("producer, nothing new: listings per instance", AtMost(1.0), Of(PRODUCER, LISTINGS_PER_INSTANCE)),
        ("producer, nothing new: writes per instance", AtMost(1.0), Of(PRODUCER, WRITES_PER_INSTANCE)),
        ("producer, nothing new: peak RSS in MiB", AtMost(64.0), Of(PRODUCER, PEAK_RSS_MIB)),
        ("cold start: CPU ms to the first answer", AtMost(8.0), Of(COLD_START, COLD_START_MS)),
        ("cold start: CPU, of boto3's", AtMost(1.0 / 50.0), Of(COLD_START, OF_BOTO3)),
        ("cold start: certificate files opened", AtMost(2.0), Of(COLD_START, CERTIFICATE_FILES)),
    ]
};

/// Every target, beside what was measured with so many files where there are many.
pub fn all(medians: &Medians, many: f64) -> Vec<Target> {
    let get = |id: &str, name: &str| medians.get(id)?.get(name).copied();
    let measured = |measured| match measured {
        Measured::Of(id, name) => get(id, name),
        Measured::Ratio(id, other, name) => Some(get(id, name)? / get(other, name)?),
        Measured::PerFurther(id, one, name) => {
            Some((get(id, name)? - get(one, name)?) / (many - 1.0))
        }
    };
    let targets = ALL.map(|(what, bound, source)| Target {
        what,
        bound,
        measured: measured(source),
    });
    targets.into()
}

#[cfg(test)]
mod tests {
    use super::super::scenario::{self, Scale};
    use super::*;

    #[test]
    fn what_was_not_played_is_neither_met_nor_missed() {
        assert!(
            all(&Medians::new(), 16.0)
                .iter()
                .all(|target| target.met().is_none())
        );
    }

    #[test]
    fn every_target_is_of_scenarios_that_there_are() {
        let scenarios = scenario::all(Scale::WHOLE);
        let known = |id| {
            [PRODUCER, COLD_START].contains(&id)
                || scenarios.iter().any(|scenario| scenario.id == id)
        };
        for (what, _, measured) in ALL {
            let (Measured::Of(id, _) | Measured::Ratio(id, ..) | Measured::PerFurther(id, ..)) =
                measured;
            assert!(known(id), "{what}");
            if let Measured::Ratio(_, other, _) | Measured::PerFurther(_, other, _) = measured {
                assert!(known(other), "{what}");
            }
        }
    }

    #[test]
    fn bounds_hold_where_they_are_reached() {
        let figures = |name, value| Figures::from([(name, value)]);
        let medians = Medians::from([
            ("gzip-many-4".to_owned(), figures(name::OF_FLOOR, 0.95)),
            (
                "gzip-heartbeats".to_owned(),
                figures(name::LATEST_RENEWAL, 0.5),
            ),
            ("gzip-one".to_owned(), figures(name::PEAK_RSS_MIB, 20.0)),
            (
                "gzip-many-16".to_owned(),
                figures(name::PEAK_RSS_MIB, 110.0),
            ),
        ]);
        let all = all(&medians, 16.0);
        let met = |what: &str| {
            all.iter()
                .find(|target| target.what.contains(what))
                .unwrap()
        };
        assert_eq!(met("gzip: throughput").met(), Some(true));
        assert_eq!(met("gzip: latest").met(), Some(false));
        assert_eq!(met("per further file").measured, Some(6.0));
        assert_eq!(met("all files in flight").met(), Some(false));
    }
}
