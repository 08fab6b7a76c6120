//! Records of audit logs: as a server means them, as it logs them, and as a view must have them.

use jiff::Timestamp;
use serde_json::json;
use tests::athena::Row;
use tests::generate::{Dialect, Generator};
use tests::world::MINUTE;

use super::CLUSTER;

/// Statements that are hard to read back, as clients sent them.
const STATEMENTS: [&str; 27] = [
    "",
    "'",
    "''",
    "\\",
    "\\\\",
    "\\'",
    "'\\",
    "\\\n",
    "\\n is no line feed, nor is \\\\n",
    "\\\\\\'\\n\\",
    "C:\\new\\table\\readme\\bin\\file",
    "SELECT 'it''s', \"b\", `c` /* d, e */ -- f",
    "a,b,,c,",
    ",0",
    "',0",
    "',0,,",
    "','",
    "'',0,SSL",
    "SELECT 1\n  FROM t\r\n\tWHERE a = 'b'\n",
    "\u{8}\u{c}\u{b}\u{1}\u{1b}\u{7f}",
    "grüße aus 東京 🧳 ﷺ e\u{301}",
    "\u{85}\u{a0}\u{2028}\u{2029}\u{feff}",
    "NULL",
    "\\N",
    "1727784000000000,instance-1,app,10.0.0.1,42,7,QUERY,shop,'SELECT 1',0",
    "20241001 12:00:00,legacy,app,10.0.0.1,42,7,QUERY,shop,'SELECT 1',0",
    "DROP TABLE \"$path\", ${cluster}",
];

/// One record.
#[derive(Debug, Clone)]
struct Record {
    stamp: String,
    serverhost: String,
    username: String,
    host: String,
    connection_id: i64,
    query_id: i64,
    operation: String,
    db: String,
    object: Object,
    retcode: String,
    /// What some servers add.
    rest: String,
}

/// What a record is about.
#[derive(Debug, Clone)]
enum Object {
    Statement(String),
    Other(String),
}

impl Object {
    fn logged(&self) -> String {
        match self {
            Self::Statement(text) => format!("'{}'", escaped(text)),
            Self::Other(text) => text.clone(),
        }
    }
}

impl Record {
    fn line(&self) -> String {
        let Self {
            stamp,
            serverhost,
            username,
            host,
            connection_id,
            query_id,
            operation,
            db,
            object,
            retcode,
            rest,
        } = self;
        let object = object.logged();
        format!(
            "{stamp},{serverhost},{username},{host},{connection_id},{query_id},{operation},{db},{object},{retcode}{rest}"
        )
    }

    /// Reads a line of a generated log, in which no field before the object has a comma, and nothing is added.
    fn read(line: &str) -> Self {
        let (line, retcode) = line.rsplit_once(',').expect(line);
        let mut fields = line.splitn(9, ',');
        let mut next = || fields.next().expect(line).to_owned();
        Self {
            stamp: next(),
            serverhost: next(),
            username: next(),
            host: next(),
            connection_id: next().parse().expect(line),
            query_id: next().parse().expect(line),
            operation: next(),
            db: next(),
            object: {
                let object = next();
                match object.strip_prefix('\'') {
                    Some(text) => {
                        Object::Statement(unescaped(text.strip_suffix('\'').expect(line)))
                    }
                    None => Object::Other(object),
                }
            },
            retcode: retcode.to_owned(),
            rest: String::new(),
        }
    }
}

/// A log file, and what its lines mean.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) dialect: Dialect,
    pub(super) instance: &'static str,
    /// Stripe, or number.
    number: u32,
    /// When it was begun or, if it is rotated, ended, in milliseconds.
    at: i64,
    pub(super) written: i64,
    pub(super) bytes: Vec<u8>,
    records: Vec<Record>,
    /// Lines that are none, and why.
    pub(super) damage: Vec<(&'static str, String)>,
}

impl Log {
    /// One that is begun at this time, and last written to an hour and a half later.
    pub(super) fn aurora(instance: &'static str, stripe: u32, began: i64) -> Self {
        Self::new(
            Dialect::Aurora,
            instance,
            stripe,
            began,
            began + 90 * MINUTE,
        )
    }

    /// One that is ended at this time.
    pub(super) fn server_audit(instance: &'static str, number: u32, ended: i64) -> Self {
        Self::new(Dialect::MariaDb, instance, number, ended, ended)
    }

    fn new(dialect: Dialect, instance: &'static str, number: u32, at: i64, written: i64) -> Self {
        Self {
            dialect,
            instance,
            number,
            at,
            written,
            bytes: Vec::new(),
            records: Vec::new(),
            damage: Vec::new(),
        }
    }

    /// Adds what services say.
    pub(super) fn generated(mut self, seed: u64, size: usize) -> Self {
        let log = Generator::new(seed, self.dialect, self.instance, self.at()).fill(size);
        for line in std::str::from_utf8(&log).expect("text").lines() {
            self.push(Record::read(line));
        }
        assert!(
            self.bytes.ends_with(&log),
            "records are logged as they were"
        );
        self
    }

    /// Adds all that makes reading hard.
    pub(super) fn nasty(mut self) -> Self {
        let long = "x'\\,\n".repeat(60_000);
        for statement in STATEMENTS.into_iter().chain([long.as_str()]) {
            let record = self.query(statement);
            if self.dialect == Dialect::MariaDb {
                self.push(Record {
                    rest: ",,".to_owned(),
                    ..record.clone()
                });
            }
            self.push(record);
        }
        for retcode in ["1064", "-1", "65535"] {
            let retcode = retcode.to_owned();
            self.push(Record {
                retcode,
                ..self.query("SELECT")
            });
        }
        self.logins().objects()
    }

    /// Adds logins of every kind, from everywhere.
    fn logins(mut self) -> Self {
        for (operation, retcode) in [
            ("CONNECT", "0"),
            ("DISCONNECT", "0"),
            ("FAILED_CONNECT", "1045"),
            ("CHANGEUSER", "0"),
        ] {
            for host in [
                "",
                "localhost",
                "10.0.0.1",
                "2001:db8::1",
                "::1",
                "host.example.com:51234",
            ] {
                for rest in ["", ",SSL", ",TCP/IP", ",SHARED_MEMORY"] {
                    if self.dialect == Dialect::Aurora && !rest.is_empty() {
                        continue;
                    }
                    let (host, rest) = (host.to_owned(), rest.to_owned());
                    self.push(Record {
                        host,
                        rest,
                        ..self.event(operation, "", retcode)
                    });
                }
            }
        }
        self
    }

    /// Adds what is about tables, and what is at the limits of each field.
    fn objects(mut self) -> Self {
        for (operation, object) in [
            ("READ", "orders"),
            ("WRITE", "orders"),
            ("CREATE", "a`b \"c\""),
            ("ALTER", "Ünïcode"),
            ("RENAME", "orders|shop.old_orders"),
            ("DROP", "o'clock"),
            ("PROXY_CONNECT", "`app`@`%`"),
            ("AUDIT_CONFIG", "server_audit_events=CONNECT,QUERY"),
            ("AUDIT_CONFIG", "server_audit_query_log_limit=1024"),
        ] {
            let retcode = if operation.contains("CON") { "0" } else { "" };
            self.push(self.event(operation, object, retcode));
            self.push(self.event(operation, object, "0"));
        }
        let nobody = Record {
            serverhost: String::new(),
            username: String::new(),
            host: String::new(),
            connection_id: -2_147_483_648,
            query_id: 0,
            db: String::new(),
            ..self.query("SELECT 1")
        };
        self.push(nobody);
        let somebody = Record {
            username: "O'Brien \"x\" \\ ü".to_owned(),
            db: "a'b".to_owned(),
            query_id: i64::MAX,
            ..self.query("SELECT 1")
        };
        self.push(somebody);
        self
    }

    /// Adds statements that change tables and rights, and some that only look so.
    pub(super) fn ddl(mut self) -> Self {
        for statement in [
            "DROP TABLE orders",
            "  \n\tcreate table t (a int)",
            "/* drop */ truncate orders",
            "/*!50003 CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @b = 1 */",
            "-- why\n# not\nGRANT ALL ON *.* TO 'app'@'%'",
            "SET PASSWORD FOR 'app' = <secret>",
            "SELECT 'DROP TABLE orders'",
            "/* DROP TABLE orders */ SELECT 1",
            "DROPS",
            "INSERT INTO log VALUES ('\nDROP TABLE orders')",
        ] {
            self.push(self.query(statement));
        }
        self
    }

    /// Adds lines that are no records.
    pub(super) fn damaged(mut self) -> Self {
        let stamp = self.stamp();
        let record = format!("{stamp},instance-1,app,10.0.0.1,42,7");
        let other = match self.dialect {
            Dialect::Aurora => "20241001 12:00:00",
            Dialect::MariaDb => "1727784000000000",
        };
        for (flaw, line) in [
            ("no record", String::new()),
            ("no record", " ".to_owned()),
            ("no record", "garbage".to_owned()),
            (
                "no record",
                format!("{other},instance-1,app,10.0.0.1,42,7,QUERY,shop,'SELECT 1',0"),
            ),
            ("no record", format!("1{record},QUERY,shop,'SELECT 1',0")),
            (
                "no record",
                format!("{stamp},instance-1,a,b,10.0.0.1,42,7,QUERY,shop,'SELECT 1',0"),
            ),
            ("no record", format!("{record},QUERY,shop,'SELECT 1")),
            ("no record", " FROM t',0".to_owned()),
            ("no record", format!("{record},QUERY,shop,'SELECT 1'")),
            (
                "no record",
                format!("{record},QUERY,shop,'SELECT 1',0,SSL,0"),
            ),
            ("no record", format!("{record},QUERY,shop,'SELECT 1',zero")),
            ("no record", format!("{record},CONNECT,shop,")),
            ("no record", record.clone()),
            ("no statement", format!("{record},QUERY,sh,op,'SELECT 1',0")),
            ("no statement", format!("{record},QUERY,shop,SELECT 1,0")),
            (
                "quote within",
                format!("{record},QUERY,shop,'SELECT 1{record},QUERY,shop,'SELECT 2',0"),
            ),
            ("quote within", format!(r"{record},QUERY,shop,'\\'',0")),
            ("no return code", format!("{record},QUERY,shop,'SELECT 1',")),
            ("no return code", format!("{record},CONNECT,shop,,")),
        ] {
            self.damage(flaw, line);
        }
        if self.dialect == Dialect::MariaDb {
            let record = record.replace(&stamp, "20241399 25:61:61");
            self.damage("no time", format!("{record},QUERY,shop,'SELECT 1',0"));
        }
        self
    }

    /// Adds half a record, without a line end.
    pub(super) fn cut(mut self) -> Self {
        let line = self.query("SELECT 1").line();
        let half = line.split(",'").next().unwrap_or_default().to_owned();
        self.damage("no record", half);
        self.bytes.pop();
        self
    }

    fn damage(&mut self, flaw: &'static str, line: String) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        self.damage.push((flaw, line));
    }

    fn push(&mut self, record: Record) {
        self.bytes.extend_from_slice(record.line().as_bytes());
        self.bytes.push(b'\n');
        self.records.push(record);
    }

    fn query(&self, statement: &str) -> Record {
        Record {
            object: Object::Statement(statement.to_owned()),
            query_id: 7,
            ..self.event("QUERY", "", "0")
        }
    }

    fn event(&self, operation: &str, object: &str, retcode: &str) -> Record {
        Record {
            stamp: self.stamp(),
            serverhost: self.instance.to_owned(),
            username: "app".to_owned(),
            host: "10.0.0.1".to_owned(),
            connection_id: 42,
            query_id: 0,
            operation: operation.to_owned(),
            db: "shop".to_owned(),
            object: Object::Other(object.to_owned()),
            retcode: retcode.to_owned(),
            rest: String::new(),
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.at).expect("a time of our own")
    }

    fn stamp(&self) -> String {
        let at = self.at();
        match self.dialect {
            Dialect::Aurora => (at.as_microsecond() + 123_999).to_string(),
            Dialect::MariaDb => at.strftime("%Y%m%d %H:%M:%S").to_string(),
        }
    }

    /// Its name in RDS's listing.
    pub(super) fn listed(&self) -> String {
        let at = self.at();
        match self.dialect {
            Dialect::Aurora => format!(
                "audit/audit.log.{}.{}.0",
                self.number,
                at.strftime("%Y-%m-%d-%H-%M")
            ),
            Dialect::MariaDb => format!("audit/server_audit.log.{}", self.number),
        }
    }

    /// Its name in the archive.
    pub(super) fn file(&self, codec: &str) -> String {
        let extension = if codec == "zstd" { "zst" } else { "gz" };
        let at = self.at();
        match self.dialect {
            Dialect::Aurora => {
                let name = self.listed().replace("audit/", "");
                format!("{name}.{extension}")
            }
            Dialect::MariaDb => format!(
                "server_audit.log.{}-{}.{extension}",
                at.strftime("%Y-%m-%dT%H-%M-%S%.3fZ"),
                self.bytes.len()
            ),
        }
    }

    /// What the view must have of its records.
    pub(super) fn rows(&self, codec: &str) -> Vec<Row> {
        let at = self.at();
        let (datehour, file) = (at.strftime("%Y/%m/%d/%H").to_string(), self.file(codec));
        let cluster = match self.dialect {
            Dialect::Aurora => CLUSTER,
            Dialect::MariaDb => self.instance,
        };
        let rows = self.records.iter().map(|record| {
            let statement = match &record.object {
                Object::Statement(text) => Some(text),
                Object::Other(_) => None,
            };
            let kind = record.rest.replace(',', "");
            json!({
                "cluster": cluster,
                "datehour": datehour,
                "instance": self.instance,
                "file": file,
                "logged_at": self.logged_at(&record.stamp),
                "serverhost": record.serverhost,
                "username": record.username,
                "host": record.host,
                "connection_id": record.connection_id,
                "query_id": record.query_id,
                "operation": record.operation,
                "db": record.db,
                "statement": statement,
                "retcode": record.retcode.parse::<i64>().ok(),
                "connection_type": Some(kind).filter(|kind| !kind.is_empty()),
                "stamp": record.stamp,
                "object": record.object.logged(),
                "flaw": null,
                "unreadable": null,
            })
        });
        rows.collect()
    }

    /// To the millisecond.
    fn logged_at(&self, stamp: &str) -> String {
        match self.dialect {
            Dialect::Aurora => {
                let micros: i64 = stamp.parse().expect("digits");
                let at = Timestamp::from_millisecond(micros / 1000).expect("a time");
                at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
            }
            Dialect::MariaDb => {
                let (date, time) = stamp.split_at(8);
                let (year, date) = date.split_at(4);
                let (month, day) = date.split_at(2);
                format!("{year}-{month}-{day}{time}.000")
            }
        }
    }
}

/// Spells a statement as the audit plugin does.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        let letter = match character {
            '\\' => '\\',
            '\'' => '\'',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            _ => {
                out.push(character);
                continue;
            }
        };
        out.extend(['\\', letter]);
    }
    out
}

/// Reads it back, one character after the other.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                quoted => quoted.expect(text),
            },
            character => character,
        });
    }
    out
}

/// Whether a statement changes tables, users or rights, by its first word.
pub(super) fn is_ddl(statement: &str) -> bool {
    let mut text = statement;
    loop {
        text = text.trim_start();
        if let Some(versioned) = text.strip_prefix("/*!") {
            text = versioned.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if let Some((_, after)) = text.strip_prefix("/*").and_then(|it| it.split_once("*/"))
        {
            text = after;
        } else if let Some((_, after)) = ["--", "#"]
            .iter()
            .find_map(|start| text.strip_prefix(start)?.split_once('\n'))
        {
            text = after;
        } else {
            break;
        }
    }
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let word = words.next().unwrap_or_default().to_ascii_lowercase();
    let next = words.next().unwrap_or_default();
    let kinds = [
        "alter", "create", "drop", "grant", "rename", "revoke", "truncate",
    ];
    kinds.contains(&word.as_str()) || (word == "set" && next.eq_ignore_ascii_case("password"))
}
