//! What Athena makes of the archive, as far as DuckDB can tell: the tables, views and questions that are shipped.

// Records as servers mean them, as they are logged, and as a view must have them.
mod records;

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;
use shared::instance::Instance;
use shared::log_file::{KeyForm, LogFile, Version};
use tests::athena::{Catalog, Row};
use tests::generate::Dialect;
use tests::world::{MINUTE, NOON, World, minutes_ago};

use self::records::{Log, is_ddl};

const QUESTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/athena");

/// As the questions have it.
const CLUSTER: &str = "my-rds-cluster";
const STANDALONE: &str = "legacy";
const FROM: &str = "2024/10/01/00";

/// Table, view and cluster of each dialect.
const AURORA: (&str, &str, &str) = ("aurora_log", "aurora", CLUSTER);
const SERVER_AUDIT: (&str, &str, &str) = ("server_audit_log", "server_audit", STANDALONE);

const CLUSTERS: [(&str, &str); 2] = [("aurora_log", CLUSTER), ("server_audit_log", STANDALONE)];

#[tokio::test]
async fn every_record_of_a_gzip_archive_comes_back_field_by_field() -> anyhow::Result<()> {
    every_record_comes_back("gzip", "").await
}

#[tokio::test]
async fn every_record_of_a_zstd_archive_comes_back_field_by_field() -> anyhow::Result<()> {
    every_record_comes_back("zstd", "audit logs/").await
}

async fn every_record_comes_back(codec: &str, prefix: &str) -> anyhow::Result<()> {
    let logs = [
        Log::aurora("instance-1", 0, NOON)
            .nasty()
            .generated(1, 300_000),
        // Its first record is of the hour of its name, and most are not.
        Log::aurora("instance-2", 13, NOON + 119 * MINUTE).generated(2, 300_000),
        Log::server_audit(STANDALONE, 1, NOON + 90 * MINUTE).nasty(),
        Log::server_audit(STANDALONE, 2, NOON + 10 * MINUTE).generated(3, 300_000),
    ];
    let world = shipped(&logs, codec, prefix).await?;
    let catalog = Catalog::read(&world.resources.bucket, prefix, FROM)?;
    let queries = [AURORA, SERVER_AUDIT]
        .map(|(_, view, cluster)| format!("SELECT * FROM {view} WHERE cluster = '{cluster}'"));
    let answers = catalog.ask(&world, &CLUSTERS, &queries).await?;

    for (dialect, answer) in [Dialect::Aurora, Dialect::MariaDb].into_iter().zip(answers) {
        let of_dialect = || logs.iter().filter(move |log| log.dialect == dialect);
        let lines = of_dialect().map(|log| log.bytes.split(|byte| *byte == b'\n').count() - 1);
        assert_eq!(answer.len(), lines.sum::<usize>(), "a row for each line");
        same(answer, of_dialect().flat_map(|log| log.rows(codec)));
    }
    Ok(())
}

#[tokio::test]
async fn the_check_finds_what_is_no_record_and_nothing_else() -> anyhow::Result<()> {
    let logs = [
        Log::aurora("instance-1", 0, NOON)
            .nasty()
            .damaged()
            .generated(4, 100_000)
            .cut(),
        Log::aurora("instance-2", 1, NOON)
            .nasty()
            .generated(5, 100_000),
        Log::server_audit(STANDALONE, 1, NOON + MINUTE)
            .damaged()
            .generated(6, 100_000)
            .cut(),
        Log::server_audit(STANDALONE, 2, NOON).nasty(),
    ];
    let world = shipped(&logs, "gzip", "").await?;
    let catalog = Catalog::read(&world.resources.bucket, "", FROM)?;
    // The last one is asked of the table of the other dialect.
    let mut clusters = CLUSTERS.to_vec();
    clusters.push((AURORA.0, STANDALONE));
    let queries = [
        question("check", AURORA.1, AURORA.2)?,
        question("check", SERVER_AUDIT.1, SERVER_AUDIT.2)?,
        question("check", AURORA.1, STANDALONE)?,
    ];
    let answers = catalog.ask(&world, &clusters, &queries).await?;

    let of = |dialect: Dialect| logs.iter().filter(move |log| log.dialect == dialect);
    let damage = |dialect| {
        let mut found = BTreeMap::new();
        for log in of(dialect) {
            for (flaw, _) in &log.damage {
                *found
                    .entry((*flaw, log.instance, log.file("gzip")))
                    .or_insert(0) += 1;
            }
        }
        found
    };
    let all: BTreeMap<_, _> = of(Dialect::MariaDb)
        .map(|log| {
            let lines = log.bytes.split(|byte| *byte == b'\n');
            let lines = lines.count() - usize::from(log.bytes.ends_with(b"\n"));
            // The one that is damaged is of the dialect of the table that it is asked of.
            let foreign = log
                .damage
                .iter()
                .filter(|(_, line)| line.starts_with("1727784"));
            (
                ("no record", log.instance, log.file("gzip")),
                lines - foreign.count(),
            )
        })
        .collect();
    let expected = [damage(Dialect::Aurora), damage(Dialect::MariaDb), all];
    for (answer, expected) in answers.into_iter().zip(expected) {
        let found: BTreeMap<_, _> = answer
            .iter()
            .map(|row| {
                let file = text(row, "file").to_owned();
                let key = (text(row, "flaw"), text(row, "instance"), file);
                (
                    key,
                    usize::try_from(row["lines"].as_u64().unwrap()).unwrap(),
                )
            })
            .collect();
        assert_eq!(found, expected);
    }
    Ok(())
}

#[tokio::test]
async fn the_questions_are_answered() -> anyhow::Result<()> {
    let began = minutes_ago(180);
    let logs = [
        Log::aurora("instance-1", 0, NOON)
            .nasty()
            .generated(7, 400_000),
        Log::aurora("instance-2", 0, NOON + MINUTE).generated(8, 400_000),
        Log::aurora("instance-2", 1, began)
            .ddl()
            .generated(9, 2_000_000),
        Log::server_audit(STANDALONE, 2, NOON + MINUTE)
            .nasty()
            .generated(10, 400_000),
        Log::server_audit(STANDALONE, 1, began)
            .ddl()
            .generated(11, 2_000_000),
    ];
    let world = shipped(&logs, "gzip", "").await?;
    let catalog = Catalog::read(&world.resources.bucket, "", FROM)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(QUESTIONS)? {
        let name = entry?.file_name().into_string().unwrap();
        names.push(name.strip_suffix(".sql").context("no SQL")?.to_owned());
    }
    names.sort();
    assert_eq!(
        names,
        ["check", "connections", "ddl", "failed_logins", "statements"]
    );
    let mut queries = Vec::new();
    for (_, view, cluster) in [AURORA, SERVER_AUDIT] {
        for name in &names {
            queries.push(question(name, view, cluster)?);
        }
    }
    let answers = catalog.ask(&world, &CLUSTERS, &queries).await?;

    for (dialect, answers) in [Dialect::Aurora, Dialect::MariaDb]
        .into_iter()
        .zip(answers.chunks(names.len()))
    {
        let of_dialect = logs.iter().filter(|log| log.dialect == dialect);
        let rows: Vec<Row> = of_dialect.flat_map(|log| log.rows("gzip")).collect();
        let recent: Vec<&Row> = rows
            .iter()
            .filter(|row| text(row, "logged_at") > "2025")
            .collect();
        let expected = [
            Vec::new(),
            connections(&recent),
            ddl(&recent),
            failed_logins(&recent),
            statements(&rows),
        ];
        let counts = expected.each_ref().map(Vec::len);
        assert!(
            counts
                .iter()
                .zip([0, 10, 10, 5, 100])
                .all(|(count, least)| *count >= least),
            "{counts:?} are too few"
        );
        for (answer, expected) in answers.iter().zip(expected) {
            same(answer.clone(), expected);
        }
    }
    Ok(())
}

fn connections(rows: &[&Row]) -> Vec<Row> {
    let logins = rows
        .iter()
        .filter(|row| row["operation"] == "CONNECT" && row["retcode"] == 0);
    grouped(logins, &["username", "host", "db"], "connections")
}

fn failed_logins(rows: &[&Row]) -> Vec<Row> {
    let kinds = ["CONNECT", "FAILED_CONNECT", "PROXY_CONNECT"];
    let logins = rows
        .iter()
        .filter(|row| kinds.contains(&text(row, "operation")) && row["retcode"] != 0);
    grouped(logins, &["username", "host", "retcode"], "failures")
}

/// How many there are of the same, and when the first and the last of them was logged.
fn grouped<'r>(rows: impl Iterator<Item = &'r &'r Row>, by: &[&str], count: &str) -> Vec<Row> {
    let mut groups: BTreeMap<String, (Row, Vec<&str>)> = BTreeMap::new();
    for row in rows {
        let key = picked(row, by);
        let group = groups.entry(key.to_string()).or_insert((key, Vec::new()));
        group.1.push(text(row, "logged_at"));
    }
    let groups = groups.into_values().map(|(mut row, mut times)| {
        times.sort_unstable();
        row[count] = times.len().into();
        row["first_seen"] = times.first().copied().into();
        row["last_seen"] = times.last().copied().into();
        row
    });
    groups.collect()
}

fn ddl(rows: &[&Row]) -> Vec<Row> {
    let tables = ["ALTER", "CREATE", "DROP", "RENAME"];
    let changes = rows
        .iter()
        .filter(|row| tables.contains(&text(row, "operation")) || is_ddl(text(row, "statement")));
    let changes = changes.map(|row| {
        let mut change = picked(
            row,
            &[
                "logged_at",
                "instance",
                "username",
                "host",
                "db",
                "operation",
                "retcode",
            ],
        );
        let what = [&row["statement"], &row["object"]];
        change["what"] = what.into_iter().find(|it| !it.is_null()).cloned().into();
        change
    });
    changes.collect()
}

fn statements(rows: &[Row]) -> Vec<Row> {
    let said = rows.iter().filter(|row| {
        row["username"] == "shop_app"
            && row["operation"] == "QUERY"
            && ("2024-10-01 12".."2024-10-01 14").contains(&text(row, "logged_at"))
    });
    let columns = [
        "logged_at",
        "instance",
        "host",
        "connection_id",
        "query_id",
        "db",
        "statement",
        "retcode",
    ];
    said.map(|row| picked(row, &columns)).collect()
}

#[test]
fn a_table_looks_for_objects_where_workers_put_them() -> anyhow::Result<()> {
    let hour = |text: &str| text.parse::<Timestamp>();
    // Of the first family by its name, of the others by its last write: 2024-02-29T23:59:59.999Z.
    let written = Version::new(1_709_251_199_999, 1_000_123).unwrap();
    let files = [
        (
            "audit/audit.log.0.2024-10-01-12-00.0",
            "2024-10-01T12:00:00Z",
            "",
        ),
        (
            "audit/audit.log.13.2023-12-31-23-59.12345",
            "2023-12-31T23:00:00Z",
            "",
        ),
        (
            "audit/audit.log.3.2024-01-01-00-00.7",
            "2024-01-01T00:00:00Z",
            "",
        ),
        (
            "audit/server_audit.log.1",
            "2024-02-29T23:00:00Z",
            "server_audit.log",
        ),
        (
            "audit/server_audit.log.07",
            "2024-02-29T23:00:00Z",
            "server_audit.log",
        ),
        ("audit/another.log", "2024-02-29T23:00:00Z", "another.log"),
    ];
    for prefix in ["", "logs/", "a/b/audit/"] {
        for table in Catalog::read("archive", prefix, FROM)?.tables {
            for (cluster, instance) in [(CLUSTER, "instance-1"), (STANDALONE, STANDALONE)] {
                let of = Instance {
                    resource_id: "db-ABC".to_owned(),
                    name: instance.to_owned(),
                    cluster: cluster.to_owned(),
                    account: "123456789012".to_owned(),
                    region: "eu-central-1".to_owned(),
                };
                for ((name, at, base), extension) in
                    files.iter().flat_map(|file| [(file, "gz"), (file, "zst")])
                {
                    let file = LogFile {
                        name: (*name).to_owned(),
                        version: written,
                        twins: 1,
                    };
                    let key = file.object_key(prefix, &of, KeyForm::Plain, extension)?;
                    let location = table.location(cluster, &table.datehour(hour(at)?)?)?;
                    let within = match *base {
                        "" => name.trim_start_matches("audit/").to_owned(),
                        base => format!("{base}.2024-02-29T23-59-59.999Z-1000123"),
                    };
                    assert_eq!(
                        format!("s3://archive/{key}"),
                        format!("{location}{instance}/{within}.{extension}")
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_tables_differ_in_the_time_alone() -> anyhow::Result<()> {
    let catalog = Catalog::read("archive", "logs/", "2026/01/01/00")?;
    let [aurora, server_audit] = &catalog.tables[..] else {
        panic!("{:?}", catalog.tables)
    };
    assert_eq!(
        (aurora.name.as_str(), server_audit.name.as_str()),
        (AURORA.0, SERVER_AUDIT.0)
    );
    assert_eq!(aurora.properties, server_audit.properties);
    assert_eq!(aurora.columns, server_audit.columns);
    assert_eq!(aurora.partition, server_audit.partition);
    assert!(aurora.columns.iter().all(|(_, kind)| kind == "string"));
    let (reader, how) = &aurora.serde;
    assert_eq!(reader, "org.apache.hadoop.hive.serde2.RegexSerDe");
    let times = [r"(\d{16})", r"(\d{8} \d\d:\d\d:\d\d)"];
    let other = how["input.regex"].replace(times[0], times[1]);
    assert_eq!(other, server_audit.serde.1["input.regex"]);

    assert_eq!(aurora.partition, ["cluster", "datehour"]);
    for (property, value) in [
        ("projection.enabled", "true"),
        ("projection.cluster.type", "injected"),
        ("projection.datehour.type", "date"),
        ("projection.datehour.format", "yyyy/MM/dd/HH"),
        ("projection.datehour.range", "2026/01/01/00,NOW"),
        ("projection.datehour.interval", "1"),
        ("projection.datehour.interval.unit", "HOURS"),
        (
            "storage.location.template",
            "s3://archive/logs/${cluster}/audit/${datehour}/",
        ),
    ] {
        assert_eq!(aurora.property(property)?, value);
    }

    let [aurora, server_audit] = &catalog.views[..] else {
        panic!("{:?}", catalog.views)
    };
    let rest = |view: &str| {
        let lines = view
            .lines()
            .filter(|line| !line.ends_with(" AS logged_at,"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        rest(aurora).replace("aurora", "server_audit"),
        rest(server_audit)
    );
    Ok(())
}

/// A world in which a worker has shipped these logs.
async fn shipped(logs: &[Log], codec: &str, prefix: &str) -> anyhow::Result<World> {
    let mut world = World::new().await?;
    world.set_environment(&[("S3_PREFIX", prefix)]);
    world.add_aurora(CLUSTER, &["instance-1", "instance-2"]);
    world.add_mariadb(STANDALONE);
    for log in logs {
        world
            .rds
            .put_file(log.instance, &log.listed(), log.bytes.clone(), log.written);
    }
    let summary = world.enumerate().await?;
    assert_eq!(summary["sent"], logs.len(), "{summary}");
    world.work_with(&[("COMPRESSION", codec)]).await?;
    Ok(world)
}

/// A question as it is shipped, of that view and cluster.
fn question(name: &str, view: &str, cluster: &str) -> anyhow::Result<String> {
    let path = format!("{QUESTIONS}/{name}.sql");
    let sql = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    assert!(
        sql.starts_with("-- ") && sql.matches("\nFROM aurora\n").count() == 1,
        "{path}"
    );
    let sql = sql.replace("\nFROM aurora\n", &format!("\nFROM {view}\n"));
    Ok(sql.replace(&format!("'{CLUSTER}'"), &format!("'{cluster}'")))
}

/// A text of a row; "" if it is NULL.
fn text<'r>(row: &'r Row, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_default()
}

/// These columns of a row.
fn picked(row: &Row, columns: &[&str]) -> Row {
    let columns = columns
        .iter()
        .map(|name| ((*name).to_owned(), row[*name].clone()));
    Value::Object(columns.collect())
}

/// Both have the same rows, in whatever order.
fn same(found: impl IntoIterator<Item = Row>, expected: impl IntoIterator<Item = Row>) {
    let sorted = |rows: Vec<Row>| {
        let mut rows: Vec<_> = rows.iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    let (found, expected) = (
        sorted(found.into_iter().collect()),
        sorted(expected.into_iter().collect()),
    );
    // The first that differs, as far as it can be read.
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            found == expected,
            "{found:.2000}\nand not\n{expected:.2000}"
        );
    }
    assert_eq!(found.len(), expected.len());
}
