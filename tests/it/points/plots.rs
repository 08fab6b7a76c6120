//! Worlds in which programs meet the durable steps.

use anyhow::ensure;
use shared::message::Message;
use tests::invariants::{Expected, Fate};
use tests::rds::{ANY, FOREVER, Fault, Where};
use tests::world::by_hand::{FILE, INSTANCE, KEY, log, noise};
use tests::world::{MINUTE, NOON, World, minutes_ago};

/// What is going on in a world when a program starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plot {
    /// Two versions are due, and nobody knows of them.
    Due,
    /// A version is queued, and its message is lost.
    Stale,
    /// A version is complete, and the watermark does not know it.
    Finished,
    /// A version is queued.
    Queued,
    /// A version is queued that will replace an earlier one.
    Grown,
    /// A version is queued that goes up in parts.
    Large,
    /// The same; downloads end in the midst of the second part.
    LargeCutShort,
    /// A version is queued; downloads are silent after a while.
    Stalled,
    /// A version is queued; downloads are refused.
    Refused,
    /// A version is queued that another worker has, which is dead.
    Held,
    /// A version is complete, and a second message of it is queued.
    Duplicate,
    /// A version is queued; its downloads fail, and the first failure makes it a dead letter.
    Failing,
    /// A version is queued, and RDS has lost it.
    Lost,
    /// A message that nobody can read is queued.
    Unreadable,
    /// A version is a dead letter, and RDS is mended.
    DeadLetter,
    /// A version is complete, and somebody has deleted its object.
    Deleted,
    /// A version is complete, and its row is lost.
    Forgotten,
    /// A dead letter is one that nobody can read.
    UnreadableLetter,
}

/// A body that no program reads.
const UNREADABLE: &str = "hello";

impl Plot {
    /// Makes the world, and says what must become of it.
    pub(super) async fn stage(self) -> anyhow::Result<(World, Expected)> {
        let mut world = World::with_aurora().await?;
        for error in self.errors() {
            world.expect_error(error);
        }
        let mut expected = Expected::default();
        if matches!(self, Self::Unreadable | Self::UnreadableLetter) {
            expected.unreadable.push(UNREADABLE.to_owned());
            match self {
                Self::Unreadable => world.send(UNREADABLE).await?,
                _ => world.send_dead_letter(UNREADABLE).await?,
            }
            return Ok((world, expected));
        }

        let content = if self.large() {
            // Nothing is gained by compressing it on its way.
            world.rds.configure(|behaviour| behaviour.gzip = false);
            noise(1, 9 << 20)
        } else {
            log(1, 3000)
        };
        world
            .rds
            .put_file(INSTANCE, FILE, content.clone(), NOON + MINUTE);
        let version = world.version(FILE)?;
        expected.add(version.clone(), content.clone(), &[Fate::Archived]);
        if self == Self::Due {
            let name = FILE.replace("log.0", "log.1");
            let content = log(2, 2000);
            world
                .rds
                .put_file(INSTANCE, &name, content.clone(), NOON + 2 * MINUTE);
            expected.add(world.version(&name)?, content, &[Fate::Archived]);
            return Ok((world, expected));
        }
        world.enumerate().await?;

        self.begin(&world, &version, &mut expected).await?;
        Ok((world, expected))
    }

    /// Brings a world with one queued version to where the program meets it.
    async fn begin(
        self,
        world: &World,
        version: &Message,
        expected: &mut Expected,
    ) -> anyhow::Result<()> {
        let downloads = || Where::download(ANY, ANY);
        match self {
            Self::Stale => {
                world.take(1).await?;
                let an_hour_ago = minutes_ago(60).to_string();
                world
                    .rewrite_row(version, &[("queued_at", &an_hour_ago)])
                    .await?;
            }
            Self::Finished => {
                world.work_with(self.settings()).await?;
            }
            Self::Grown => {
                world.work_with(self.settings()).await?;
                grow(world, expected, 2)?;
                world.enumerate().await?;
            }
            Self::LargeCutShort => {
                let after_bytes = (8 << 20) + (1 << 19);
                world
                    .rds
                    .fail(downloads(), Fault::Truncate { after_bytes }, FOREVER);
            }
            Self::Stalled => {
                world
                    .rds
                    .fail(downloads(), Fault::Stall { after_bytes: 1000 }, FOREVER);
            }
            Self::Refused => world.rds.fail(downloads(), refusal(503), FOREVER),
            Self::Held => {
                let in_an_hour = minutes_ago(-60).to_string();
                let leased = [
                    ("state", "Leased"),
                    ("owner", "another worker"),
                    ("lease_until", &in_an_hour),
                    ("generation", "1"),
                    ("attempts", "1"),
                ];
                world.rewrite_row(version, &leased).await?;
            }
            Self::Duplicate => {
                world.work_with(self.settings()).await?;
                world.send_version(FILE).await?;
            }
            Self::Failing => world.rds.fail(downloads(), refusal(500), FOREVER),
            Self::Lost => {
                world.rds.remove_file(INSTANCE, FILE);
                // A listing that is not empty, of a file that is not due.
                let now = minutes_ago(0);
                world.rds.put_file(INSTANCE, "audit/neighbour", "x\n", now);
            }
            Self::Deleted => {
                world.work_with(self.settings()).await?;
                let bucket = &world.resources.bucket;
                let head = world
                    .s3
                    .head_object()
                    .bucket(bucket)
                    .key(KEY)
                    .send()
                    .await?;
                let delete = world.s3.delete_object().bucket(bucket).key(KEY);
                let delete = delete.set_version_id(head.version_id);
                delete.send().await?;
            }
            Self::Forgotten => {
                world.work_with(self.settings()).await?;
                world.lose_row(&world.version_row(FILE).await?).await?;
            }
            Self::DeadLetter => {
                world.rds.fail(downloads(), refusal(500), FOREVER);
                world.work_with(&[("MAX_ATTEMPTS", "1")]).await?;
                world.rds.clear_faults();
                ensure!(world.dead_letters().await? == (1, 0), "no dead letter");
            }
            Self::Due | Self::Queued | Self::Large | Self::Unreadable | Self::UnreadableLetter => {}
        }
        Ok(())
    }

    /// Lines of errors that it brings.
    fn errors(self) -> &'static [&'static str] {
        match self {
            Self::Failing | Self::DeadLetter | Self::Unreadable => &["dead letter"],
            Self::Lost => &["gone, evidence is lost"],
            _ => &[],
        }
    }

    /// Settings of workers.
    pub(super) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Failing => &[("LEASE", "3s"), ("MAX_ATTEMPTS", "1")],
            // On a busy machine a short lease may be lost before so much is done.
            Self::Large | Self::LargeCutShort => &[
                ("LEASE", "10s"),
                ("COMPRESSION_LEVEL", "1"),
                ("MAX_ATTEMPTS", "100"),
            ],
            _ => &[("LEASE", "3s")],
        }
    }

    /// Whether it goes up in parts.
    pub(super) fn large(self) -> bool {
        matches!(self, Self::Large | Self::LargeCutShort)
    }

    /// With which an operator's command ends when it is run again.
    pub(super) fn exit_code(self) -> i32 {
        i32::from(self == Self::UnreadableLetter)
    }

    /// Now that the process has met its point: what was there only to get it so far is over.
    pub(super) async fn met(self, world: &World) -> anyhow::Result<()> {
        match self {
            Self::Held => {
                // The other worker's hour is over.
                let ended = [("lease_until", "1000")];
                world.rewrite_row(&world.version(FILE)?, &ended).await?;
                world.come_back(&world.resources.queue_url).await?;
            }
            Self::LargeCutShort | Self::Refused => world.rds.clear_faults(),
            Self::Stalled => {
                world.rds.clear_faults();
                world.rds.release_stalls();
            }
            _ => {}
        }
        Ok(())
    }

    /// While somebody sleeps, files grow.
    pub(super) fn move_on(self, world: &World, expected: &mut Expected) -> anyhow::Result<()> {
        match self {
            // What nobody has sent yet would never be: the listing has only the later version.
            Self::Due | Self::Lost | Self::Unreadable | Self::UnreadableLetter => Ok(()),
            _ => grow(world, expected, 3),
        }
    }
}

/// Lets the file grow: a version more.
fn grow(world: &World, expected: &mut Expected, minute: i64) -> anyhow::Result<()> {
    let more = log(minute.unsigned_abs(), 500);
    world
        .rds
        .grow_file(INSTANCE, FILE, &more, NOON + minute * MINUTE);
    let files = world.rds.files(INSTANCE).into_iter();
    let contents = files.filter(|(name, ..)| name == FILE);
    for (.., content) in contents {
        expected.add(world.version(FILE)?, content, &[Fate::Archived]);
    }
    Ok(())
}

fn refusal(status: u16) -> Fault {
    Fault::Status {
        status,
        code: "InternalFailure".to_owned(),
        message: "the reason why".to_owned(),
    }
}
