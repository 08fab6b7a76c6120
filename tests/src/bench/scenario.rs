//! What is played: so many files of one size, shipped by the worker with some settings, or by the baseline.

use worker::compress::Codec;

use super::files::{Files, LOG};

/// Levels at which CPU time counts for more than storage does.
pub fn fast_level(codec: Codec) -> i32 {
    match codec {
        Codec::Gzip => 5,
        Codec::Zstd => 1,
    }
}

/// A fleet's files, and how they are shipped.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// A short name that stays.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// What is shipped.
    pub files: Files,
    /// By whom.
    pub shipper: Shipper,
}

/// Who ships the files.
#[derive(Debug, Clone, Copy)]
pub enum Shipper {
    /// `auditferry-worker`.
    Worker(Settings),
    /// A script such as people have today.
    Baseline {
        /// Whether it keeps a record of each file in DynamoDB.
        record: bool,
    },
}

/// Settings of the worker that differ between scenarios.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `COMPRESSION`.
    pub codec: Codec,
    /// `COMPRESSION_LEVEL`.
    pub level: i32,
    /// `CONCURRENCY`.
    pub concurrency: usize,
    /// Seconds of `LEASE`.
    pub lease: u32,
    /// Whether RDS and S3 are reached over TLS.
    pub tls: bool,
}

impl Settings {
    /// At its default level, no TLS, and a lease that no scenario outlasts.
    pub fn of(codec: Codec) -> Self {
        Self {
            codec,
            level: Codec::DEFAULT_LEVEL,
            concurrency: 1,
            lease: 120,
            tls: false,
        }
    }
}

/// How large everything is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Log files of 100 MB where there are many.
    pub many: u64,
    /// Bytes of the one large file.
    pub stream: u64,
    /// Files of 20 KB.
    pub small: u64,
    /// Files of 20 KB that the baseline ships.
    pub small_of_baseline: u64,
}

impl Scale {
    /// As the figures are published.
    pub const WHOLE: Self = Self {
        many: 16,
        stream: 4_000_000_000,
        small: 20_000,
        small_of_baseline: 1_000,
    };
    /// To see whether all of it works.
    pub const QUICK: Self = Self {
        many: 4,
        stream: 500_000_000,
        small: 2_000,
        small_of_baseline: 200,
    };
}

/// Every scenario, in the order of the table.
pub fn all(scale: Scale) -> Vec<Scenario> {
    let one = Files {
        count: 1,
        size: LOG as u64,
    };
    let many = Files {
        count: scale.many,
        ..one
    };
    let stream = Files {
        count: 1,
        size: scale.stream,
    };
    let small = |count| Files {
        count,
        size: 20_000,
    };
    let mut all = vec![
        baseline("one", one, false),
        baseline("small", small(scale.small_of_baseline), true),
    ];
    for codec in Codec::ALL {
        let default = Settings::of(codec);
        let at_once = |concurrency| Settings {
            concurrency,
            ..default
        };
        all.push(worker("one", one, default));
        for concurrency in [1, 4, 16] {
            all.push(worker(
                &format!("many-{concurrency}"),
                many,
                at_once(concurrency),
            ));
        }
        all.push(worker("stream", stream, default));
        all.push(worker("small", small(scale.small), at_once(16)));
        let heartbeats = Settings {
            lease: 3,
            ..at_once(16)
        };
        all.push(worker("heartbeats", many, heartbeats));
    }
    for codec in Codec::ALL {
        let fast = Settings {
            level: fast_level(codec),
            ..Settings::of(codec)
        };
        let over_tls = Settings {
            concurrency: 4,
            tls: true,
            ..fast
        };
        all.push(worker("fast-one", one, fast));
        all.push(worker(
            "fast-one-tls",
            one,
            Settings {
                concurrency: 1,
                ..over_tls
            },
        ));
        all.push(worker("fast-many-tls", many, over_tls));
    }
    all
}

fn baseline(id: &str, files: Files, record: bool) -> Scenario {
    let with = if record {
        ", with a record of each"
    } else {
        ""
    };
    Scenario {
        id: format!("baseline-{id}"),
        title: format!("Python, {}{with}", many(files)),
        files,
        shipper: Shipper::Baseline { record },
    }
}

fn worker(id: &str, files: Files, settings: Settings) -> Scenario {
    let Settings {
        codec,
        level,
        concurrency,
        lease,
        tls,
    } = settings;
    let at_a_time = if files.count > 1 {
        format!(", {concurrency} at a time")
    } else {
        String::new()
    };
    let over_tls = if tls { ", TLS" } else { "" };
    let leased = if lease == Settings::of(codec).lease {
        String::new()
    } else {
        format!(", lease of {lease} s")
    };
    let (name, many) = (name(codec), many(files));
    Scenario {
        id: format!("{name}-{id}"),
        title: format!("{name} {level}, {many}{at_a_time}{over_tls}{leased}"),
        files,
        shipper: Shipper::Worker(settings),
    }
}

/// As `COMPRESSION` has it.
pub fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Gzip => "gzip",
        Codec::Zstd => "zstd",
    }
}

/// `16 × 100 MB`.
fn many(files: Files) -> String {
    let (size, unit) = match files.size {
        size @ 1_000_000_000.. => (size / 100_000_000, "GB"),
        size @ 1_000_000.. => (size / 100_000, "MB"),
        size => (size / 100, "KB"),
    };
    let size = if size % 10 == 0 {
        (size / 10).to_string()
    } else {
        format!("{}.{}", size / 10, size % 10)
    };
    format!("{} × {size} {unit}", files.count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_titles_tell_scenarios_apart() {
        let all = all(Scale::WHOLE);
        let ids: BTreeSet<_> = all.iter().map(|scenario| &scenario.id).collect();
        let titles: BTreeSet<_> = all.iter().map(|scenario| &scenario.title).collect();
        assert_eq!((ids.len(), titles.len()), (all.len(), all.len()));
    }

    #[test]
    fn titles_say_what_is_shipped() {
        let of = |count, size| many(Files { count, size });
        assert_eq!(of(16, 100_000_000), "16 × 100 MB");
        assert_eq!(of(1, 4_000_000_000), "1 × 4 GB");
        assert_eq!(of(1, 1_500_000_000), "1 × 1.5 GB");
        assert_eq!(of(20_000, 20_000), "20000 × 20 KB");
    }
}
