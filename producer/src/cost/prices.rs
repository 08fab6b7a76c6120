//! What AWS charges, by region: the price file, read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The price file. To bring it up to date, look at the pages that it names, and set its date.
const FILE: &str = include_str!("prices.json");

/// What AWS charges for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// Log data taken in by CloudWatch Logs, uncompressed.
    LogIngestion,
    /// Log data kept in a log group, compressed.
    LogStorage,
    /// Data put into a Firehose stream.
    Firehose,
    /// A NAT gateway.
    NatHour,
    /// Data through a NAT gateway, in either direction.
    NatGb,
    /// A public IPv4 address.
    PublicIpv4,
    /// A vCPU of a Fargate task, on arm64.
    FargateVcpu,
    /// Memory of a Fargate task, on arm64.
    FargateGb,
    /// A Lambda function on arm64, by memory and time.
    LambdaArm,
    /// The same on x86-64.
    LambdaX86,
    /// S3 Standard.
    S3Storage,
    /// PUTs, and requests of multipart uploads.
    S3Put,
    /// HEADs.
    S3Head,
    /// SQS, standard queue.
    QueueRequest,
    /// DynamoDB on demand, writes of up to 1 KB.
    TableWrite,
    /// DynamoDB on demand, reads of up to 4 KB.
    TableRead,
    /// A DynamoDB table's size.
    TableStorage,
    /// The same again, for recovery to a point in time.
    TableRecovery,
}

/// What one charge costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Price {
    /// Of what it is.
    pub unit: String,
    /// The page of AWS that says so.
    pub source: String,
    /// Dollars, by region.
    pub usd: BTreeMap<String, f64>,
}

/// The price file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prices {
    /// What kind of prices these are.
    pub header: String,
    /// Up to when they were looked up, year, month and day.
    pub as_of: String,
    /// Each of them.
    pub prices: BTreeMap<Charge, Price>,
}

impl Prices {
    /// Those that this program brings along.
    pub fn known() -> Self {
        serde_json::from_str(FILE).expect("a test reads the same file")
    }

    /// What a charge costs in a region; `None` if that is not known.
    pub fn of(&self, charge: Charge, region: &str) -> Option<(&Price, f64)> {
        let price = self.prices.get(&charge)?;
        Some((price, *price.usd.get(region)?))
    }

    /// Regions in which everything is known that Auditferry itself needs.
    pub fn regions(&self) -> Vec<&str> {
        let storage = self.prices.get(&Charge::S3Storage);
        storage.map_or_else(Vec::new, |price| {
            price.usd.keys().map(String::as_str).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_is_dated_sourced_and_positive() {
        let prices = Prices::known();
        assert!(prices.as_of.parse::<jiff::civil::Date>().is_ok());
        assert!(prices.header.contains("List prices") && prices.header.contains("check"));
        for (charge, price) in &prices.prices {
            let page = price.source.strip_prefix("https://aws.amazon.com/");
            assert!(
                page.is_some_and(|page| page.contains("/pricing/")),
                "{charge:?}: {}",
                price.source
            );
            for (region, usd) in &price.usd {
                assert!(*usd > 0.0 && *usd < 1.0, "{charge:?} in {region}: {usd}");
            }
        }
    }

    #[test]
    fn only_firehose_may_be_unknown_in_a_region() {
        let prices = Prices::known();
        let regions = prices.regions();
        assert!(regions.len() >= 5, "{regions:?}");
        for (charge, price) in &prices.prices {
            let known: Vec<&str> = price.usd.keys().map(String::as_str).collect();
            if *charge != Charge::Firehose {
                assert_eq!(known, regions, "{charge:?}");
            }
        }
        assert!(prices.of(Charge::Firehose, "us-east-1").is_some());
    }
}
