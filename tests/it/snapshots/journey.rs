//! What the programs log: on a log file's way from RDS to the archive, and in trouble.

use serde_json::{Map, Value};
use tests::eventually::eventually;
use tests::programs::Ended;
use tests::rds::{Fault, Where};
use tests::regenerate::{self, Redactions};
use tests::world::by_hand::{FILE, INSTANCE, log};
use tests::world::{MINUTE, NOON, World};

const NEXT: &str = "audit/audit.log.0.2024-10-01-13-00.0";

/// What happened, and what was logged meanwhile.
#[derive(Default)]
struct Story(Vec<String>);

impl Story {
    fn tell(&mut self, what: &str, ended: &Ended) {
        let mut chapter = format!("# {what}\n");
        for line in ended.stderr.lines() {
            chapter.push_str(&entry(line));
        }
        self.0.push(chapter);
    }

    /// One chapter after the other, without what differs from run to run.
    fn of(&self, world: &World) -> String {
        // Fields of log entries: how long something took, and what had not quite ended when a signal came.
        Redactions::of(world)
            .pattern(r"\b(duration_ms|retry_in|files): .*", "$1: …")
            .apply(&self.0.join("\n"))
    }
}

/// A log entry with each field on a line of its own, so that differences can be read.
fn entry(line: &str) -> String {
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(line) else {
        return format!("{line}\n");
    };
    fields.remove("timestamp");
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => text,
        other => format!("{other:?}"),
    };
    let (level, target, message) = (take("level"), take("target"), take("message"));
    let fields = fields
        .iter()
        .map(|(name, value)| format!("    {name}: {value}"));
    let mut lines = vec![format!("{level} {target}: {message}")];
    lines.extend(fields);
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn logs_of_a_journey() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    // As many as there are cores, else.
    world.set_environment(&[("CONCURRENCY", "2")]);
    let mut story = Story::default();

    let first = log(1, 20_000);
    world.rds.put_file(INSTANCE, FILE, first, NOON + MINUTE);
    let ended = world.auditferry(&["enumerate"]).await?;
    story.tell("auditferry enumerate, when a file is due", &ended);
    story.tell("auditferry-worker, until it is idle", &world.work().await?);

    let grown = log(1, 30_000);
    world.rds.put_file(INSTANCE, FILE, grown, NOON + 2 * MINUTE);
    let ended = world.auditferry(&["enumerate"]).await?;
    story.tell("auditferry enumerate, when the file has grown", &ended);
    story.tell("auditferry-worker, until it is idle", &world.work().await?);

    let (next, cut_short) = (log(2, 10_000), Fault::Truncate { after_bytes: 5_000 });
    world.rds.put_file(INSTANCE, NEXT, next, NOON + 3 * MINUTE);
    let download = Where::download(INSTANCE, NEXT);
    world.rds.fail(download, cut_short, 1);
    let ended = world.auditferry(&["enumerate"]).await?;
    story.tell("auditferry enumerate, when another file is due", &ended);
    let what = "auditferry-worker, when the first download of it is cut short";
    story.tell(what, &world.work().await?);

    let text = [("LOG_FORMAT", "text")];
    let ended = world.auditferry_with(&["enumerate"], &text).await?;
    let what = "auditferry enumerate with LOG_FORMAT=text, when nothing is new";
    story.tell(what, &ended);
    regenerate::snapshot("journey", "logs.txt", &story.of(&world))
}

#[tokio::test]
async fn logs_of_trouble() -> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.set_environment(&[("CONCURRENCY", "2")]);
    world.expect_error("");
    let mut story = Story::default();

    world.send("{}").await?;
    let what = "auditferry-worker, when a message means nothing";
    story.tell(what, &world.work().await?);

    world.put_and_send(FILE, log(1, 20_000)).await?;
    let worker = world.start_worker(&[("S3_BUCKET", "no-such-bucket")])?;
    eventually("the worker to log an error", async || {
        let errors = worker.logged("ERROR");
        if errors.is_empty() {
            Err(worker.log())
        } else {
            Ok(())
        }
    })
    .await?;
    worker.signal("TERM").await?;
    let ended = world.finish_worker(worker).await?;
    let what = "auditferry-worker, when there is no bucket, and then SIGTERM";
    story.tell(what, &ended);
    regenerate::snapshot("trouble", "logs.txt", &story.of(&world))
}
