//! What runs took, in figures by name, and the medians of several.

use std::collections::BTreeMap;

/// Figures by name: those of [`name`].
pub type Figures = BTreeMap<&'static str, f64>;

/// The names, as they are in the file.
pub mod name {
    /// Raw log per second, from the first download to the last object.
    pub const MB_PER_S: &str = "raw_mb_per_s";
    /// That, as a part of what the compressor alone reaches.
    pub const OF_FLOOR: &str = "part_of_floor";
    /// What the compressor alone reaches on as many cores.
    pub const FLOOR_MB_PER_S: &str = "floor_mb_per_s";
    /// User and system time of the process per 10⁹ bytes of raw log.
    pub const CPU_PER_GB: &str = "cpu_s_per_gb";
    /// The system time in it.
    pub const SYSTEM_PER_GB: &str = "system_s_per_gb";
    /// What the compressor alone takes.
    pub const FLOOR_CPU_PER_GB: &str = "floor_cpu_s_per_gb";
    /// What is left without that.
    pub const CPU_OUTSIDE_PER_GB: &str = "cpu_outside_compressor_s_per_gb";
    /// User and system time of the process per file.
    pub const CPU_MS_PER_FILE: &str = "cpu_ms_per_file";
    /// The most memory that was resident.
    pub const PEAK_RSS_MIB: &str = "peak_rss_mib";
    /// Bytes of all objects.
    pub const STORED_BYTES: &str = "stored_bytes";
    /// Raw bytes for each of those.
    pub const RATIO: &str = "ratio";
    /// Requests per file, until the last message was deleted.
    pub const SQS_PER_FILE: &str = "sqs_requests_per_file";
    /// Requests per file.
    pub const DYNAMODB_PER_FILE: &str = "dynamodb_requests_per_file";
    /// Requests per file.
    pub const S3_PER_FILE: &str = "s3_requests_per_file";
    /// Requests per file.
    pub const RDS_PER_FILE: &str = "rds_requests_per_file";
    /// The longest time between two renewals of a claim, as a part of the lease.
    pub const LATEST_RENEWAL: &str = "latest_renewal";
    /// CPU time from exec to the first answer of AWS.
    pub const COLD_START_MS: &str = "cold_start_cpu_ms";
    /// That, as a part of what boto3 takes for the same call.
    pub const OF_BOTO3: &str = "part_of_boto3";
    /// Files of certificates that are opened until then.
    pub const CERTIFICATE_FILES: &str = "certificate_files";
    /// Of the producer, for each instance.
    pub const QUERIES_PER_INSTANCE: &str = "queries_per_instance";
    /// Of the producer, for each instance.
    pub const LISTINGS_PER_INSTANCE: &str = "listings_per_instance";
    /// Of the producer, for each instance.
    pub const WRITES_PER_INSTANCE: &str = "writes_per_instance";
}

/// The median of each figure that any run has; of renewals, the latest.
pub fn medians<'f>(runs: impl IntoIterator<Item = &'f Figures>) -> Figures {
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, value) in runs.into_iter().flatten() {
        values.entry(name).or_default().push(*value);
    }
    values
        .into_iter()
        .filter_map(|(name, values)| {
            let value = if name == name::LATEST_RENEWAL {
                values.into_iter().reduce(f64::max)
            } else {
                median(values)
            };
            Some((name, value?))
        })
        .collect()
}

/// The middle one; of an even number, the mean of the two in the middle. `None` of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// A count, to reckon with.
#[expect(clippy::cast_precision_loss, reason = "nothing here is near 2^52")]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// How many renewals came after which part of their lease: they are due at a third, and must come before a half.
pub fn histogram(parts: &[f64]) -> Vec<(&'static str, usize)> {
    let bounds = [
        ("below 0.34", 0.34),
        ("0.34 to 0.36", 0.36),
        ("0.36 to 0.38", 0.38),
        ("0.38 to 0.40", 0.40),
        ("0.40 to 0.45", 0.45),
        ("0.45 to 0.50", 0.50),
        ("0.50 and above", f64::INFINITY),
    ];
    let mut from = 0.0;
    let counted = bounds.map(|(name, to)| {
        let count = parts
            .iter()
            .filter(|part| (from..to).contains(*part))
            .count();
        from = to;
        (name, count)
    });
    counted.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_in_whatever_order() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let runs = [
            Figures::from([("a", 1.0), ("b", 5.0)]),
            Figures::from([("a", 3.0), ("b", 4.0)]),
            Figures::from([("a", 2.0)]),
        ];
        assert_eq!(medians(&runs), Figures::from([("a", 2.0), ("b", 4.5)]));
    }

    #[test]
    fn a_histogram_has_room_for_everything() {
        let parts = [0.0, 0.333, 0.34, 0.499, 0.5, 7.0];
        let counts: Vec<_> = histogram(&parts)
            .into_iter()
            .map(|(_, count)| count)
            .collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 1, 2]);
    }
}
