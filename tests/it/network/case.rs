//! One fault before one service: what meets it, and what must be true in the end.

use tests::invariants::{Expected, Fate};
use tests::programs::Ended;
use tests::proof;
use tests::proxy::{Answer, Calls, Fault, Injection, Proxy, Service};
use tests::world::by_hand::{CLUSTER, FILE, INSTANCE, log, noise};
use tests::world::{MINUTE, NOON, World};

/// As often as an SDK client tries one request.
const TRIES: u32 = 4;

/// Two parts, stored: the first is of 5 MiB.
pub(super) const LARGE: usize = 9 << 20;

/// An instance whose log files are renamed, so that workers list them.
const RENAMING: &str = "maria";

/// How often the producer's schedule may come round until a run goes well.
const RUNS: usize = 10;

/// What a worker says of an upload that it cannot abort.
const LEFT_TO_S3: &str = "stay until the bucket's lifecycle rule";

/// What a worker asks for where it cannot know whether its upload has taken effect.
pub(super) const HEAD: &str = "HeadObject";

/// What producer and worker certainly ask for, even if all goes well.
pub(super) fn operations(service: Service) -> &'static [&'static str] {
    match service {
        Service::Sqs => &[
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "ReceiveMessage",
            "SendMessageBatch",
        ],
        Service::DynamoDb => &["Query", "UpdateItem"],
        Service::S3 => &[
            "CompleteMultipartUpload",
            "CreateMultipartUpload",
            "PutObject",
            "UploadPart",
        ],
        Service::Rds => &[
            "DescribeDBClusters",
            "DescribeDBInstances",
            "DescribeDBLogFiles",
            "downloadCompleteLogFile",
        ],
    }
}

/// What meets a fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent {
    /// All calls.
    Throughout,
    /// Every other call of each operation for a while, so that most go well when they are tried again.
    OnAndOff,
    /// The first calls of each operation, and more of them than the SDK has patience for.
    Storm,
    /// The first call of one operation.
    Once(&'static str),
}

/// One fault before one service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) service: Service,
    pub(super) fault: Fault,
    pub(super) extent: Extent,
}

impl Case {
    /// Runs producer and worker over a small world of its own. Holds that nothing is lost and nothing doubled.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut world = World::with_aurora().await?;
        let proxy = world.behind_proxy(self.service)?;
        let mut expected = self.put_files(&world)?;
        // A run of the producer that fails says so, and the next one makes up for it.
        for operation in operations(self.service) {
            world.expect_error(&format!("{operation}: "));
        }
        let fault = self.meets_producer(&proxy);
        enumerate_until_it_goes_well(&world).await?;
        drop(fault);

        if let Extent::Once(HEAD) = self.extent {
            proxy.answer("PutObject", Answer::Lost, TRIES);
        }
        let fault = self.meets_worker(&proxy);
        let with = [
            ("CONCURRENCY", self.concurrency()),
            // No version may use up its attempts.
            ("MAX_ATTEMPTS", "100"),
            ("LEASE", self.lease()),
            ("DOWNLOAD_IDLE_TIMEOUT", "2s"),
            ("COMPRESSION_LEVEL", "1"),
        ];
        let worked = world.work_with(&with).await?;
        drop(fault);
        assert_eq!(worked.logged("ERROR"), [""; 0], "{self:?}");
        self.was_met(&proxy);
        expected.unfinished_uploads = self.unfinished_uploads(&proxy, &worked);
        expected.hold(&world).await?;
        assert_eq!(world.objects().await?.len(), expected.due.len(), "{self:?}");
        assert_eq!(world.dead_letters().await?, (0, 0), "{self:?}");
        let again = world.enumerate().await?;
        assert_eq!((&again["sent"], &again["resent"]), (&0.into(), &0.into()));
        proof::add(
            "network",
            "worlds with one kind of fault before one service",
            1,
        )?;
        let faults: u32 = proxy.faults().values().sum();
        proof::add("network", "faults injected", faults.into())
    }

    /// Three small log files; instead of one a large one for S3, which has operations of its own for it.
    fn put_files(self, world: &World) -> anyhow::Result<Expected> {
        let first = match (self.service, self.extent) {
            (Service::S3, Extent::Throughout | Extent::OnAndOff | Extent::Storm) => noise(1, LARGE),
            (Service::S3, Extent::Once(_))
            | (Service::Sqs | Service::DynamoDb | Service::Rds, _) => log(1, 5000),
        };
        world.add_mariadb(RENAMING);
        let mut expected = Expected::default();
        for (instance, cluster, name, content) in [
            (INSTANCE, CLUSTER, FILE, first),
            (INSTANCE, CLUSTER, "audit/neighbour", log(2, 5000)),
            (RENAMING, RENAMING, "audit/server_audit.log.1", log(3, 5000)),
        ] {
            world
                .rds
                .put_file(instance, name, content.clone(), NOON + MINUTE);
            let version = world.version_of(instance, cluster, name)?;
            expected.add(version, content, &[Fate::Archived]);
        }
        Ok(expected)
    }

    /// Several instances and rows at a time.
    fn meets_producer(self, proxy: &Proxy) -> Injection {
        self.meets(proxy, 3 * TRIES)
    }

    fn meets_worker(self, proxy: &Proxy) -> Injection {
        self.meets(proxy, TRIES + 1)
    }

    fn meets(self, proxy: &Proxy, storm: u32) -> Injection {
        let (operation, calls) = match (self.extent, self.service) {
            (Extent::Throughout, _) => (None, Calls::All),
            (Extent::OnAndOff, _) => (None, Calls::EveryOther(5)),
            // The SDK tries RDS twice as often, at ever longer intervals: enough is enough.
            (Extent::Storm, Service::Rds) => (None, Calls::First(3)),
            (Extent::Storm, _) => (None, Calls::First(storm)),
            (Extent::Once(operation), _) => (Some(operation), Calls::First(1)),
        };
        proxy.inject(self.fault, operation, calls)
    }

    /// Files in flight at a time: in a storm a single one, or none would feel the whole of it.
    fn concurrency(self) -> &'static str {
        match self.extent {
            Extent::Storm => "1",
            Extent::Throughout | Extent::OnAndOff | Extent::Once(_) => "3",
        }
    }

    /// What was left to its lease comes back soon. Only while queue and table can be reached is nothing left to it.
    fn lease(self) -> &'static str {
        match self.service {
            Service::Sqs | Service::DynamoDb => "4s",
            Service::S3 | Service::Rds => "30s",
        }
    }

    /// Holds that everything that was meant to has met the fault.
    fn was_met(self, proxy: &Proxy) {
        let meant = match &self.extent {
            Extent::Once(operation) => std::slice::from_ref(operation),
            Extent::Throughout | Extent::OnAndOff | Extent::Storm => operations(self.service),
        };
        let faults = proxy.faults();
        let met = meant.iter().all(|each| faults.contains_key(*each));
        assert!(met, "{self:?}: {faults:?}");
    }

    /// An upload whose very name was lost with the answer is nobody's, and one that cannot be aborted in a storm is said to
    /// stay. There may be no others.
    fn unfinished_uploads(self, proxy: &Proxy, worked: &Ended) -> usize {
        let nameless = match proxy.faults().get("CreateMultipartUpload") {
            Some(times) if self.fault.loses_the_answer() => *times as usize,
            _ => 0,
        };
        let warnings = worked.logged("WARN").into_iter();
        nameless + warnings.filter(|line| line.contains(LEFT_TO_S3)).count()
    }
}

async fn enumerate_until_it_goes_well(world: &World) -> anyhow::Result<()> {
    for _run in 0..RUNS {
        if world.auditferry(&["enumerate"]).await?.code() == Some(0) {
            return Ok(());
        }
    }
    anyhow::bail!("{RUNS} runs of the producer have failed")
}
