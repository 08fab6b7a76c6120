//! What the demo has to ship: two Aurora clusters and a MariaDB instance, a morning's audit logs each.

use bytes::Bytes;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use shared::instance::Instance;
use shared::log_file::{KeyForm, LogFile, Version};
use tests::generate::{Dialect, Generator};
use tests::rds::Rds;
use tests::world::World;

/// The standalone instance.
pub(crate) const LEGACY: &str = "legacy";

/// The clusters and their members.
const CLUSTERS: [(&str, [&str; 3]); 2] = [
    ("orders", ["orders-1", "orders-2", "orders-3"]),
    ("billing", ["billing-1", "billing-2", "billing-3"]),
];

/// Files that an Aurora instance writes at the same time.
const STRIPES: u8 = 4;

/// The largest file, as large as Aurora lets one become before it begins the next.
const LARGE: usize = 100_000_000;

/// One log file that must be in the archive, and what must be in it.
pub(crate) struct Expected {
    pub(crate) instance: String,
    pub(crate) key: String,
    pub(crate) content: Bytes,
}

/// The demo's databases.
pub(crate) struct Fleet {
    rds: Rds,
    now: Timestamp,
    growing: Generator,
}

impl Fleet {
    /// Makes all instances and writes their logs, the last of them two hours ago.
    pub(crate) fn create(world: &World) -> Self {
        let rds = world.rds.clone();
        let now = Timestamp::now();
        for (cluster, instances) in CLUSTERS {
            world.add_aurora(cluster, &instances);
        }
        world.add_mariadb(LEGACY);
        let start = ago(now, 5);
        let growing = Generator::new(99, Dialect::Aurora, "orders-2", start);
        let mut fleet = Self { rds, now, growing };
        fleet.write_aurora();
        fleet.write_mariadb();
        fleet
    }

    fn write_aurora(&mut self) {
        for (seed, instance) in (0_u64..).zip(CLUSTERS.iter().flat_map(|(_, instances)| instances))
        {
            let mut log = Generator::new(seed, Dialect::Aurora, instance, ago(self.now, 5));
            for stripe in 0..STRIPES {
                for (n, hours) in [(0, 4), (1, 3)] {
                    let name = aurora_name(stripe, ago(self.now, 5), n);
                    let size = 100_000 * (1 + usize::from(stripe)) * if hours == 4 { 7 } else { 3 };
                    let content = match (*instance, stripe, n) {
                        ("orders-1", 0, 0) => log.fill(LARGE),
                        ("orders-2", 1, 1) => self.growing.fill(size),
                        ("billing-3", 3, 1) => Vec::new(),
                        _ => log.fill(size),
                    };
                    self.rds.put_file(
                        instance,
                        &name,
                        content,
                        ago(self.now, hours).as_millisecond(),
                    );
                }
            }
        }
    }

    /// Four rotated files and the active one; they are all renamed right after they are listed first.
    fn write_mariadb(&self) {
        let mut log = Generator::new(7, Dialect::MariaDb, LEGACY, ago(self.now, 5));
        for (number, minutes) in [(4, 240), (3, 220), (2, 200), (1, 180)] {
            let written = whole_seconds(self.now - SignedDuration::from_mins(minutes));
            self.rds.put_file(
                LEGACY,
                &format!("audit/server_audit.log.{number}"),
                log.fill(1_000_000),
                written,
            );
        }
        let written = whole_seconds(self.now - SignedDuration::from_mins(170));
        self.rds
            .put_file(LEGACY, "audit/server_audit.log", log.fill(400_000), written);
        self.rds.rotate_after_listing(
            LEGACY,
            1,
            whole_seconds(self.now - SignedDuration::from_mins(160)),
        );
    }

    /// A file that was shipped goes on growing, as Aurora's do for up to a day; and is quiet again since two hours ago.
    pub(crate) fn grow(&mut self) {
        let more = self.growing.fill(250_000);
        let name = aurora_name(1, ago(self.now, 5), 1);
        self.rds
            .grow_file("orders-2", &name, &more, ago(self.now, 2).as_millisecond());
    }

    /// The names of all instances, cluster by cluster.
    pub(crate) fn instances() -> impl Iterator<Item = (&'static str, &'static str)> {
        let members = CLUSTERS
            .into_iter()
            .flat_map(|(cluster, instances)| instances.map(|instance| (cluster, instance)));
        members.chain([(LEGACY, LEGACY)])
    }

    /// All that must be in the archive now: what RDS has, but the active file and the empty one.
    pub(crate) fn expected(&self) -> anyhow::Result<Vec<Expected>> {
        let mut all = Vec::new();
        for (cluster, name) in Self::instances() {
            let instance = Instance {
                resource_id: String::new(),
                name: name.to_owned(),
                cluster: cluster.to_owned(),
                account: String::new(),
                region: String::new(),
            };
            for (file, last_written, content) in self.rds.files(name) {
                if content.is_empty() || file == "audit/server_audit.log" {
                    continue;
                }
                let version = Version::new(last_written, i64::try_from(content.len())?);
                let version = version.ok_or_else(|| anyhow::anyhow!("{file}: no version"))?;
                let key = LogFile {
                    name: file,
                    version,
                    twins: 1,
                }
                .object_key("", &instance, KeyForm::Plain, "gz")?;
                all.push(Expected {
                    instance: name.to_owned(),
                    key,
                    content,
                });
            }
        }
        Ok(all)
    }
}

fn ago(now: Timestamp, hours: i64) -> Timestamp {
    now - SignedDuration::from_hours(hours)
}

/// MariaDB on RDS gives no fractions of a second.
fn whole_seconds(time: Timestamp) -> i64 {
    time.as_second() * 1000
}

fn aurora_name(stripe: u8, created: Timestamp, n: u32) -> String {
    let minute = created
        .to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d-%H-%M")
        .to_string();
    format!("audit/audit.log.{stripe}.{minute}.{n}")
}
