//! The archive as Athena reads it, with DuckDB in its place: the tables and views of the template over a bucket's objects.
//!
//! `tests/athena/query.py` says what stands between the two.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::archive;
use crate::template;
use crate::venv;
use crate::world::World;

/// DuckDB.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/athena/requirements.txt");

/// Asks it.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/athena/query.py");

/// How long all queries of one test may take.
const BOUND: Duration = Duration::from_mins(3);

/// A row by its columns.
pub type Row = Value;

/// The tables and views of the template.
#[derive(Debug)]
pub struct Catalog {
    /// One for each dialect.
    pub tables: Vec<Table>,
    /// What creates the views on them.
    pub views: Vec<String>,
    bucket: String,
}

/// A table over text files, each line a row.
#[derive(Debug)]
pub struct Table {
    /// By which queries know it.
    pub name: String,
    /// Its columns, but for those of the partition, with their types.
    pub columns: Vec<(String, String)>,
    /// The columns of the partition.
    pub partition: Vec<String>,
    /// What its properties are.
    pub properties: BTreeMap<String, String>,
    /// What reads its lines, and how.
    pub serde: (String, BTreeMap<String, String>),
}

impl Catalog {
    /// Reads the template, for an archive in that bucket under that prefix, and tables that begin with that hour.
    pub fn read(bucket: &str, prefix: &str, from: &str) -> anyhow::Result<Self> {
        let parameters = [
            template::IMAGE,
            ("ExistingBucket", bucket),
            ("ArchivePrefix", prefix),
            ("QueryFrom", from),
        ];
        let deployed = template::resolve(&template::template()?, &parameters)?;
        let (mut tables, mut views) = (Vec::new(), Vec::new());
        for (name, resource) in template::members(&deployed, "Resources") {
            let context = || format!("read {name}");
            match resource.get("Type").and_then(Value::as_str) {
                Some("AWS::Glue::Table") => {
                    tables.push(Table::read(resource).with_context(context)?);
                }
                Some("AWS::Athena::NamedQuery") => {
                    let query = text(resource, "/Properties/QueryString");
                    views.push(query.with_context(context)?);
                }
                _ => {}
            }
        }
        Ok(Self {
            tables,
            views,
            bucket: bucket.to_owned(),
        })
    }

    /// Answers queries over the objects of a world's bucket. Each of `clusters` is of a table, by name, and all objects must
    /// be of them.
    pub async fn ask(
        &self,
        world: &World,
        clusters: &[(&str, &str)],
        queries: &[String],
    ) -> anyhow::Result<Vec<Vec<Row>>> {
        let folder = Folder::create()?;
        let now = Timestamp::now();
        let mut files = BTreeMap::new();
        for (nth, key) in archive::keys(&world.s3, &self.bucket)
            .await?
            .into_iter()
            .enumerate()
        {
            let object = archive::object(&world.s3, &self.bucket, &key).await?;
            let extension = key.rsplit('.').next().unwrap_or_default();
            let file = folder.0.join(format!("{nth}.{extension}"));
            fs::write(&file, object.stored)?;
            files.insert(format!("s3://{}/{key}", self.bucket), file);
        }

        let mut tables = Vec::new();
        let mut seen = 0;
        for table in &self.tables {
            let mut objects = Vec::new();
            let hours = table.hours(now)?;
            for (_, cluster) in clusters.iter().filter(|(name, _)| *name == table.name) {
                for datehour in &hours {
                    let location = table.location(cluster, datehour)?;
                    let here = files.range(location.clone()..);
                    for (path, file) in here.take_while(|(path, _)| path.starts_with(&location)) {
                        objects.push(json!({
                            "file": file, "path": path, "cluster": cluster, "datehour": datehour,
                        }));
                    }
                }
            }
            seen += objects.len();
            let columns: Vec<_> = table.columns.iter().map(|(name, _)| name).collect();
            let regex = table.serde.1.get("input.regex").context("no regex")?;
            tables.push(json!({
                "name": table.name, "columns": columns, "regex": regex, "objects": objects,
            }));
        }
        ensure!(
            seen >= files.len(),
            "{seen} of {} objects are seen",
            files.len()
        );
        run(&json!({"tables": tables, "views": self.views, "queries": queries})).await
    }
}

impl Table {
    fn read(resource: &Value) -> anyhow::Result<Self> {
        let at = |pointer: &str| format!("/Properties/TableInput{pointer}");
        let texts = |pointer: &str| {
            let map = resource.pointer(&at(pointer)).and_then(Value::as_object);
            map.with_context(|| format!("no map at {pointer}"))?
                .iter()
                .map(|(name, value)| Ok((name.clone(), text(value, "")?)))
                .collect::<anyhow::Result<BTreeMap<_, _>>>()
        };
        let columns = |pointer: &str| {
            let list = resource.pointer(&at(pointer)).and_then(Value::as_array);
            list.with_context(|| format!("no list at {pointer}"))?
                .iter()
                .map(|column| {
                    let of = |pointer| text(column, pointer);
                    Ok((of("/Name")?, of("/Type")?))
                })
                .collect::<anyhow::Result<Vec<_>>>()
        };
        let partition = columns("/PartitionKeys")?;
        Ok(Self {
            name: text(resource, &at("/Name"))?,
            columns: columns("/StorageDescriptor/Columns")?,
            partition: partition.into_iter().map(|(name, _)| name).collect(),
            properties: texts("/Parameters")?,
            serde: (
                text(
                    resource,
                    &at("/StorageDescriptor/SerdeInfo/SerializationLibrary"),
                )?,
                texts("/StorageDescriptor/SerdeInfo/Parameters")?,
            ),
        })
    }

    /// A property that it must have.
    pub fn property(&self, name: &str) -> anyhow::Result<&str> {
        let property = self.properties.get(name);
        Ok(property.with_context(|| format!("{} has no {name}", self.name))?)
    }

    /// Where it looks for the objects of a cluster and hour.
    pub fn location(&self, cluster: &str, datehour: &str) -> anyhow::Result<String> {
        let template = self.property("storage.location.template")?;
        Ok(template
            .replace("${cluster}", cluster)
            .replace("${datehour}", datehour))
    }

    /// How it spells an hour.
    pub fn datehour(&self, hour: Timestamp) -> anyhow::Result<String> {
        Ok(hour.strftime(&self.format()?).to_string())
    }

    /// Its hours, from the first to the present one.
    fn hours(&self, now: Timestamp) -> anyhow::Result<Vec<String>> {
        let range = self.property("projection.datehour.range")?;
        let (from, to) = range.split_once(',').context("a range has two ends")?;
        ensure!(to == "NOW", "the hours end at {to}");
        let mut hour = DateTime::strptime(self.format()?, from)?
            .to_zoned(TimeZone::UTC)?
            .timestamp();
        let mut hours = Vec::new();
        while hour <= now {
            hours.push(self.datehour(hour)?);
            hour += SignedDuration::from_hours(1);
        }
        Ok(hours)
    }

    /// The format of its hours, from Java's letters.
    fn format(&self) -> anyhow::Result<String> {
        let mut format = self.property("projection.datehour.format")?.to_owned();
        for (java, ours) in [("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H")] {
            format = format.replace(java, ours);
        }
        Ok(format)
    }
}

/// The text at a JSON pointer.
fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    let text = text.with_context(|| format!("no text at {pointer} in {value}"))?;
    Ok(text.to_owned())
}

async fn run(request: &Value) -> anyhow::Result<Vec<Vec<Row>>> {
    let python = tokio::task::spawn_blocking(|| venv::python(REQUIREMENTS)).await?;
    let mut child = Command::new(python.context("install DuckDB")?)
        // Deaf to PYTHONPATH and friends, and leaving no bytecode beside the script.
        .args(["-E", "-s", "-B", SCRIPT])
        // As Athena's, whose local time it is.
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("DuckDB has no stdin")?;
    // It has read all of it before it says anything.
    stdin.write_all(request.to_string().as_bytes()).await?;
    drop(stdin);
    let output = timeout(BOUND, child.wait_with_output()).await;
    let output = output.with_context(|| format!("DuckDB did not end within {BOUND:?}"))??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "DuckDB failed: {said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A folder of one's own, which ends with this value.
struct Folder(PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let name = format!(
            "auditferry-athena-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        );
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
