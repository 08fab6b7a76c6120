//! What each command shows, for people and as JSON.

use tests::regenerate::{self, Redactions};
use tests::world::by_hand::{FILE, INSTANCE, KEY, log};
use tests::world::{MINUTE, NOON, World};

const NEXT: &str = "audit/audit.log.0.2024-10-01-13-00.0";
const SINCE: [&str; 2] = ["--since", "2024-10-01"];

/// Commands, and what they have shown.
struct Session {
    world: World,
    for_people: String,
    as_json: String,
}

impl Session {
    fn new(world: World) -> Self {
        Self {
            world,
            for_people: String::new(),
            as_json: String::new(),
        }
    }

    /// Runs a command that changes nothing, for people and as JSON.
    async fn show(&mut self, words: &[&str]) -> anyhow::Result<()> {
        self.run(words).await?;
        self.run(&[words, &["--json"]].concat()).await
    }

    /// Runs a command.
    async fn run(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let ended = self.world.auditferry(words).await?;
        let code = ended.code().unwrap_or(-1);
        let shown = if words.contains(&"--json") {
            &mut self.as_json
        } else {
            &mut self.for_people
        };
        let (words, stdout) = (words.join(" "), ended.stdout);
        let text = format!("$ auditferry {words}\n{stdout}# exit status {code}\n\n");
        shown.push_str(&text);
        Ok(())
    }

    /// Holds what was shown against the snapshots of a command.
    fn end(self, command: &str) -> anyhow::Result<()> {
        // Files of 2024 grow older, and columns are as wide as what was in them.
        let redactions = Redactions::of(&self.world)
            .pattern(
                r"\b\d+ ?(years?|months?|days?|d|h)\b( \d+ ?[a-z]+\b)*",
                "AGE",
            )
            .pattern(r#"("age_[a-z]+"): \d+"#, "$1: …")
            .pattern(r"(\S) {2,}", "$1  ")
            .pattern(r"(?m) +$", "")
            .pattern("─+", "─")
            .pattern("═+", "═");
        let texts = [("text.txt", self.for_people), ("json.txt", self.as_json)]
            .map(|(file, shown)| (file.to_owned(), redactions.apply(&shown)));
        regenerate::snapshots(command, &texts.into())
    }
}

/// A world with two log files of one instance that are due, and an instance that has none.
async fn due() -> anyhow::Result<World> {
    let world = World::with_aurora().await?;
    world.add_mariadb("legacy");
    world.rds.put_file(INSTANCE, FILE, log(1, 5_000), NOON);
    let next = log(2, 3_000);
    world.rds.put_file(INSTANCE, NEXT, next, NOON + MINUTE);
    Ok(world)
}

/// The same, where both were shipped.
async fn shipped() -> anyhow::Result<World> {
    let world = due().await?;
    world.enumerate().await?;
    world.work().await?;
    Ok(world)
}

/// The same, where one could not be shipped.
async fn quarantined() -> anyhow::Result<World> {
    let world = shipped().await?;
    let row = world.version_row(NEXT).await?;
    world.rewrite_state(&row, "Quarantined").await?;
    Ok(world)
}

async fn delete_object(world: &World) -> anyhow::Result<()> {
    let request = world.s3.delete_object().bucket(&world.resources.bucket);
    request.key(KEY).send().await?;
    Ok(())
}

#[tokio::test]
async fn table_of_enumerate() -> anyhow::Result<()> {
    let mut session = Session::new(due().await?);
    session.show(&["enumerate", "--dry-run"]).await?;
    session.run(&["enumerate"]).await?;
    session.run(&["enumerate", "--json"]).await?;
    session.end("enumerate")
}

#[tokio::test]
async fn table_of_backfill() -> anyhow::Result<()> {
    let mut session = Session::new(due().await?);
    let range = ["backfill", "--from", "2024-10-01", "--to", "2024-10-01"];
    session.show(&[&range[..], &["--dry-run"]].concat()).await?;
    session.run(&range).await?;
    session.end("backfill")
}

#[tokio::test]
async fn table_of_status() -> anyhow::Result<()> {
    let mut session = Session::new(due().await?);
    session.show(&["status"]).await?;
    session.world.enumerate().await?;
    session.show(&["status"]).await?;
    session.world.work().await?;
    session.world.enumerate().await?;
    session.show(&["status"]).await?;
    let row = session.world.version_row(NEXT).await?;
    session.world.rewrite_state(&row, "Quarantined").await?;
    session.world.send_dead_letter("hello").await?;
    session.show(&["status"]).await?;
    session.end("status")
}

#[tokio::test]
async fn table_of_requeue() -> anyhow::Result<()> {
    let mut session = Session::new(quarantined().await?);
    session.show(&["requeue", "--dry-run"]).await?;
    session.world.send_dead_letter("hello").await?;
    session.show(&["requeue", "--dry-run"]).await?;
    session.run(&["requeue"]).await?;
    let rows = ["requeue", "--from", "checkpoint"];
    session.show(&[&rows[..], &["--dry-run"]].concat()).await?;
    session.run(&rows).await?;
    session.end("requeue")
}

#[tokio::test]
async fn table_of_dismiss() -> anyhow::Result<()> {
    let mut session = Session::new(quarantined().await?);
    let dismiss = ["dismiss", "--instance", INSTANCE, "--reason", "incident"];
    session
        .show(&[&dismiss[..], &["--dry-run"]].concat())
        .await?;
    session.run(&dismiss).await?;
    session.run(&dismiss).await?;
    session.end("dismiss")
}

#[tokio::test]
async fn table_of_reconcile() -> anyhow::Result<()> {
    let mut session = Session::new(shipped().await?);
    let reconcile = [&["reconcile"], &SINCE[..]].concat();
    session.run(&reconcile).await?;
    delete_object(&session.world).await?;
    let row = session.world.version_row(NEXT).await?;
    session.world.lose_row(&row).await?;
    session.show(&reconcile).await?;
    session
        .run(&[&reconcile[..], &["--repair"]].concat())
        .await?;
    session.end("reconcile")
}

#[tokio::test]
async fn table_of_verify() -> anyhow::Result<()> {
    let mut session = Session::new(shipped().await?);
    let verify = [&["verify"], &SINCE[..]].concat();
    session.show(&verify).await?;
    delete_object(&session.world).await?;
    session.show(&verify).await?;
    session.end("verify")
}
