//! Realistic audit logs, seeded: one seed is one log, in whatever pieces it is asked for.
//!
//! The traffic of a made-up company: services with a database, a pool of connections and ORM
//! statements each. Few users, hosts and statements are common and most are rare, and the literals
//! differ: so a log shrinks as well as real ones do, and a benchmark on it means something.

use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;
use jiff::Timestamp;

/// How many connections are open at a time.
const OPEN_CONNECTIONS: usize = 60;
/// The last record of [`Generator::exactly`] is shorter than this without its padding.
const CLOSING_RECORD: usize = 256;
/// The company is the same for every seed, as its statements decide how well a log compresses:
/// this one's Aurora logs do so 9.4:1 with `gzip -9`.
const COMPANY: u64 = 15;

/// Which server writes the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Aurora MySQL: epoch microseconds; gaps in the query ids, as other stripes hold the rest.
    Aurora,
    /// RDS for MySQL and MariaDB: `20241001 12:00:00`; every query id.
    MariaDb,
}

/// Writes the audit log of one busy instance, without end.
#[derive(Debug, Clone)]
pub struct Generator {
    rng: Rng,
    dialect: Dialect,
    server: String,
    clock: Clock,
    services: Zipf<Arc<Service>>,
    open: Vec<Connection>,
    /// Whose turn it is, by its place among `open`.
    turn: usize,
    /// The id that most statements of this turn are about.
    subject: u64,
    connections: u64,
    queries: u64,
    /// The second record of an event that has two.
    follow_up: Vec<u8>,
}

impl Generator {
    /// Begins the log of `server` at `start`, not before 1970.
    ///
    /// Aurora logs the instance's name as its server, RDS the host's.
    pub fn new(seed: u64, dialect: Dialect, server: &str, start: Timestamp) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut generator = Self {
            connections: rng.u64(100_000..900_000),
            queries: rng.u64(10_000_000..90_000_000),
            rng,
            dialect,
            server: server.to_owned(),
            clock: Clock::new(start),
            services: company(dialect),
            open: Vec::new(),
            turn: 0,
            subject: 1,
            follow_up: Vec::new(),
        };
        while generator.open.len() < OPEN_CONNECTIONS {
            let connection = generator.connection();
            generator.open.push(connection);
        }
        generator
    }

    /// Continues the log by whole records, until `at_least` bytes are there.
    pub fn fill(&mut self, at_least: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(at_least + at_least / 64 + 1024);
        while out.len() < at_least {
            self.record(&mut out);
        }
        out
    }

    /// Continues the log by exactly `size` bytes, the last of them a line end.
    ///
    /// The last record is padded. A size too small for any record gives a piece of one.
    pub fn exactly(&mut self, size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + CLOSING_RECORD);
        let mut whole = 0;
        while out.len() + CLOSING_RECORD <= size {
            whole = out.len();
            self.record(&mut out);
        }
        if out.len() != size {
            out.truncate(whole);
            self.closing_record(size, &mut out);
        }
        out
    }

    /// Continues the log by `count` records.
    pub fn lines(&mut self, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..count {
            self.record(&mut out);
        }
        out
    }

    /// Appends the next record to `out`, line end included.
    pub fn record(&mut self, out: &mut Vec<u8>) {
        if !self.follow_up.is_empty() {
            out.append(&mut self.follow_up);
            return;
        }
        self.clock.advance(&mut self.rng);
        match self.rng.u16(..1000) {
            _ if self.open.len() < OPEN_CONNECTIONS => self.connect(out),
            0 => self.refuse(out),
            1..=3 => self.disconnect(out),
            _ => self.query(out),
        }
    }

    /// The time of the last record.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn connection(&mut self) -> Connection {
        self.connections += self.rng.u64(1..4);
        let service = self.services.pick(&mut self.rng);
        let host = service.hosts.pick(&mut self.rng);
        let (server, user, id) = (&self.server, service.user, self.connections);
        Connection {
            who: format!(",{server},{user},{host},{id},").into(),
            service: Arc::clone(service),
        }
    }

    fn connect(&mut self, out: &mut Vec<u8>) {
        let connection = self.connection();
        self.clock.stamp(self.dialect, out);
        connection.event("CONNECT", "0", out);
        self.open.push(connection);
    }

    fn disconnect(&mut self, out: &mut Vec<u8>) {
        let connection = self.open.swap_remove(self.rng.usize(..self.open.len()));
        self.clock.stamp(self.dialect, out);
        connection.event("DISCONNECT", "0", out);
    }

    /// Writes the two records of a wrong password.
    fn refuse(&mut self, out: &mut Vec<u8>) {
        let connection = self.connection();
        self.clock.stamp(self.dialect, out);
        connection.event("FAILED_CONNECT", "1045", out);
        self.clock.micros += 19;
        self.clock.stamp(self.dialect, &mut self.follow_up);
        connection.event("DISCONNECT", "0", &mut self.follow_up);
    }

    fn query(&mut self, out: &mut Vec<u8>) {
        // A request is several statements of one connection, mostly about one thing.
        if self.rng.u8(..8) == 0 {
            self.turn = self.rng.usize(..self.open.len());
            self.subject = some_id(&mut self.rng);
        }
        self.queries += match self.dialect {
            Dialect::Aurora => self.rng.u64(1..6),
            Dialect::MariaDb => 1,
        };
        let connection = self.open.get(self.turn).or(self.open.first());
        let Connection { who, service } = connection.expect("queries come from a full house");
        let rare = self.rng.u16(..1000) < 2;
        let statements = if rare { &service.rare } else { &service.usual };
        let statement = statements.pick(&mut self.rng);

        let start = out.len();
        self.clock.stamp(self.dialect, out);
        out.extend_from_slice(who);
        digits(self.queries, 1, out);
        let line = if let Some((operation, table)) = statement.changes {
            // A changed table has a record of its own, before that of the statement.
            self.follow_up.extend_from_slice(out.split_at(start).1);
            fields(&[operation, service.database, table, "\n"], out);
            &mut self.follow_up
        } else {
            out
        };
        fields(&["QUERY", service.database, "'"], line);
        statement.write(&self.clock, self.subject, &mut self.rng, line);
        line.extend_from_slice(match self.rng.u16(..1000) {
            0..3 => b"',1062\n",
            3 => b"',1213\n",
            _ => b"',0\n",
        });
    }

    fn closing_record(&mut self, size: usize, out: &mut Vec<u8>) {
        const TAIL: &[u8] = b" */',0\n";
        self.clock.stamp(self.dialect, out);
        fields(&[&self.server, "rdsadmin", "localhost", "7", ""], out);
        digits(self.queries, 1, out);
        fields(&["QUERY", "", "'SELECT 1 /* "], out);
        out.resize(size.saturating_sub(TAIL.len()).max(out.len()), b'-');
        out.extend_from_slice(TAIL);
        if out.len() > size {
            out.truncate(size.saturating_sub(1));
            out.resize(size, b'\n');
        }
    }
}

/// One session of a service's user on one of its hosts.
#[derive(Debug, Clone)]
struct Connection {
    /// The fields from the server's name to the connection id, between their commas.
    who: Vec<u8>,
    service: Arc<Service>,
}

impl Connection {
    /// Appends what follows the time in a record about the connection itself.
    fn event(&self, operation: &str, code: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.who);
        out.push(b'0');
        fields(&[operation, self.service.database, "", code], out);
        out.push(b'\n');
    }
}

/// The time, and its spellings: made once a second, as that is slow in an unoptimised jiff.
#[derive(Debug, Clone)]
struct Clock {
    micros: u64,
    second: u64,
    /// `20241001 12:00:00`
    log: String,
    /// `2024-10-01 12:00:00`
    sql: String,
}

impl Clock {
    fn new(start: Timestamp) -> Self {
        let micros = u64::try_from(start.as_microsecond()).unwrap_or_default();
        let mut clock = Self {
            micros,
            second: 0,
            log: String::new(),
            sql: String::new(),
        };
        clock.spell();
        clock
    }

    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.micros).expect("it began as a timestamp");
        Timestamp::from_microsecond(micros).expect("no log reaches the year 10000")
    }

    /// Passes in bursts and lulls: a gap of about 20 µs is as likely as one of 200 or 2000.
    fn advance(&mut self, rng: &mut Rng) {
        self.micros += log_uniform(4..13, rng);
        if self.micros / 1_000_000 != self.second {
            self.spell();
        }
    }

    fn spell(&mut self) {
        self.second = self.micros / 1_000_000;
        self.log = self.now().strftime("%Y%m%d %H:%M:%S").to_string();
        self.sql = self.now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    }

    fn stamp(&self, dialect: Dialect, out: &mut Vec<u8>) {
        match dialect {
            Dialect::Aurora => digits(self.micros, 16, out),
            Dialect::MariaDb => out.extend_from_slice(self.log.as_bytes()),
        }
    }
}

/// Things of which the first are common and the last are rare.
#[derive(Debug, Clone)]
struct Zipf<T> {
    items: Vec<T>,
    ends: Vec<u32>,
}

impl<T> Zipf<T> {
    fn new(items: Vec<T>) -> Self {
        let ends = (1..).zip(&items).scan(0, |end, (rank, _)| {
            *end += 1_000_000 / rank;
            Some(*end)
        });
        let ends = ends.collect();
        Self { items, ends }
    }

    fn pick(&self, rng: &mut Rng) -> &T {
        let at = rng.u32(..self.ends.last().copied().unwrap_or(1));
        let rank = self.ends.partition_point(|end| *end <= at);
        self.items.get(rank).expect("nothing is made of no items")
    }
}

/// Who uses the instance, from where, and what it says.
#[derive(Debug)]
struct Service {
    user: &'static str,
    database: &'static str,
    hosts: Zipf<String>,
    usual: Zipf<Statement>,
    rare: Zipf<Statement>,
}

/// A statement as an ORM makes it: fixed text between changing literals.
#[derive(Debug)]
struct Statement {
    /// Operation and table, where the statement changes a table itself.
    changes: Option<(&'static str, &'static str)>,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    /// Escaped already.
    Text(String),
    Literal(Literal),
}

#[derive(Debug, Clone, Copy)]
enum Literal {
    Id,
    Ids,
    Number,
    Flag,
    Word,
    Name,
    Email,
    Moment,
    Uuid,
    Prose,
}

impl Statement {
    /// Reads a template of [`USUAL`] or [`RARE`].
    fn new(template: &str, table: &'static str, columns: &[&str]) -> Self {
        let first = columns.first().copied().unwrap_or("id");
        let list = |before: &str, after: &str| {
            let columns = columns
                .iter()
                .map(|column| format!("{before}{column}{after}"));
            columns.collect::<Vec<_>>().join(", ")
        };
        let row = format!("({{{}}})", columns.join("}, {"));
        let template = template.replace("{row}", &row);
        let template = template.replace("{rows}", &vec![row; BULK_ROWS].join(", "));

        let mut pieces = Vec::new();
        for part in template.split_inclusive(['{', '}']) {
            pieces.push(match part.strip_suffix('}') {
                None => Piece::Text(escaped(part.trim_end_matches('{'))),
                Some("table") => Piece::Text(table.to_owned()),
                Some("first") => Piece::Text(first.to_owned()),
                Some("columns") => Piece::Text(list("", "")),
                Some("`columns`") => Piece::Text(list("`", "`")),
                Some("t1_0.columns") => Piece::Text(list("t1_0.", "")),
                Some("`table`.columns") => Piece::Text(list(&format!("`{table}`.`"), "`")),
                Some("=first") => Piece::Literal(Literal::of(first)),
                Some(column) => Piece::Literal(Literal::of(column)),
            });
        }
        let changes = ["ALTER", "CREATE"]
            .into_iter()
            .find(|it| template.starts_with(it));
        Self {
            changes: changes.map(|operation| (operation, table)),
            pieces,
        }
    }

    fn write(&self, clock: &Clock, subject: u64, rng: &mut Rng, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Literal(literal) => literal.write(clock, subject, rng, out),
            }
        }
    }
}

impl Literal {
    /// What a column of this name holds.
    fn of(column: &str) -> Self {
        match column {
            "id" => Self::Id,
            "ids" => Self::Ids,
            "name" | "title" | "city" => Self::Name,
            "email" => Self::Email,
            "uuid" => Self::Uuid,
            "notes" | "description" => Self::Prose,
            "status" | "kind" | "currency" | "locale" | "source" => Self::Word,
            _ if column.ends_with("_at") => Self::Moment,
            _ if column.ends_with("_id") => Self::Id,
            _ if column.starts_with("is_") => Self::Flag,
            _ => Self::Number,
        }
    }

    fn write(self, clock: &Clock, subject: u64, rng: &mut Rng, out: &mut Vec<u8>) {
        let bare = matches!(self, Self::Id | Self::Ids | Self::Number | Self::Flag);
        let quote: &[u8] = if bare { b"" } else { br"\'" };
        out.extend_from_slice(quote);
        match self {
            Self::Id if rng.bool() => digits(subject, 1, out),
            Self::Id => digits(some_id(rng), 1, out),
            Self::Ids => {
                digits(subject, 1, out);
                for _ in 0..rng.u8(..12) {
                    out.extend_from_slice(b", ");
                    digits(some_id(rng), 1, out);
                }
            }
            Self::Number => digits(log_uniform(0..13, rng), 1, out),
            Self::Flag => out.push(b'0' + rng.u8(..2)),
            Self::Word => out.extend_from_slice(one_of(&WORDS, rng).as_bytes()),
            Self::Name => out.extend_from_slice(one_of(&NAMES, rng).as_bytes()),
            Self::Email => {
                out.extend_from_slice(one_of(&LOGINS, rng).as_bytes());
                digits(rng.u64(..10_000), 1, out);
                out.extend_from_slice(b"@example.com");
            }
            Self::Moment => {
                out.extend_from_slice(clock.sql.as_bytes());
                out.push(b'.');
                digits(clock.micros % 1_000_000, 6, out);
            }
            Self::Uuid => {
                for length in [8, 4, 4, 4, 12] {
                    out.extend((0..length).map(|_| one_of(b"0123456789abcdef", rng)));
                    out.push(b'-');
                }
                out.pop();
            }
            Self::Prose => {
                for _ in 0..rng.u8(2..9) {
                    out.extend_from_slice(one_of(&PHRASES, rng).as_bytes());
                }
            }
        }
        out.extend_from_slice(quote);
    }
}

fn one_of<T: Copy, const N: usize>(items: &[T; N], rng: &mut Rng) -> T {
    *rng.choice(items).expect("no list here is empty")
}

/// One digit is as likely as six: there are few accounts and many orders.
fn some_id(rng: &mut Rng) -> u64 {
    log_uniform(3..20, rng)
}

/// Draws the number of binary digits, then the digits.
fn log_uniform(orders: Range<u32>, rng: &mut Rng) -> u64 {
    let order = 1 << rng.u32(orders);
    rng.u64(order..2 * order)
}

/// Appends each field with a `,` before it.
fn fields(fields: &[&str], out: &mut Vec<u8>) {
    for field in fields {
        out.push(b',');
        out.extend_from_slice(field.as_bytes());
    }
}

/// Appends `number` in at least `width` digits.
fn digits(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    while number > 0 || out.len() < start + width {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
    }
    out.split_at_mut(start).1.reverse();
}

/// Spells a piece of a statement as the audit plugin does.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('\'', r"\'")
        .replace('\n', r"\n")
        .replace('\t', r"\t")
}

/// Makes up the services, from the commonest to the rarest.
fn company(dialect: Dialect) -> Zipf<Arc<Service>> {
    let mut rng = Rng::with_seed(COMPANY);
    let mut services = Vec::new();
    for (user, database, tables) in SERVICES {
        let (mut usual, mut rare) = (Vec::new(), Vec::new());
        for table in tables.split(' ') {
            let mut columns: Vec<_> = COLUMNS.split(' ').collect();
            rng.shuffle(&mut columns);
            columns.truncate(rng.usize(5..columns.len()));
            usual.extend(USUAL.map(|template| Statement::new(template, table, &columns)));
            rare.extend(RARE.map(|template| Statement::new(template, table, &columns)));
        }
        rng.shuffle(&mut usual);
        rng.shuffle(&mut rare);
        for (nth, text) in AROUND.into_iter().enumerate() {
            usual.insert(nth * 4 + 1, Statement::new(text, "", &[]));
        }
        services.push(Service {
            user,
            database,
            hosts: hosts(&mut rng),
            usual: Zipf::new(usual),
            rare: Zipf::new(rare),
        });
    }
    let mut monitoring = MONITORING.to_vec();
    monitoring.retain(|text| dialect == Dialect::Aurora || !text.contains("aurora"));
    let monitoring = || monitoring.iter().map(|text| Statement::new(text, "", &[]));
    services.push(Service {
        user: "rdsadmin",
        database: "",
        hosts: Zipf::new(vec!["localhost".to_owned()]),
        usual: Zipf::new(monitoring().collect()),
        rare: Zipf::new(monitoring().collect()),
    });
    Zipf::new(services.into_iter().map(Arc::new).collect())
}

fn hosts(rng: &mut Rng) -> Zipf<String> {
    let mut host = || format!("10.0.{}.{}", rng.u8(..8), rng.u8(4..));
    Zipf::new((0..12).map(|_| host()).collect())
}

/// User, database, tables; from the commonest to the rarest.
const SERVICES: [(&str, &str, &str); 6] = [
    ("shop_app", "shop", "orders order_items carts coupons"),
    ("billing", "billing", "invoices payments refunds"),
    ("identity", "users", "users sessions api_keys"),
    ("stock_rw", "stock", "movements parcels locations"),
    ("crm_web", "crm", "contacts companies deals notes"),
    ("metabase", "stats", "events page_views totals"),
];

/// A table has some of these.
const COLUMNS: &str = "account_id amount_cents city created_at currency customer_id deleted_at \
    description email expires_at is_active is_default kind locale lock_version name notes owner_id \
    parent_id position quantity retries score shipped_at source status title total_cents \
    updated_at uuid";

/// What ORMs of several makes ask of a table.
///
/// In braces: the table, its columns, its first column and (`=first`) the literal of that; a `row`
/// or many `rows` of literals; or a column whose literal stands there.
const USUAL: [&str; 12] = [
    "select t1_0.id, {t1_0.columns} from {table} t1_0 where t1_0.id={id}",
    "select {t1_0.columns} from {table} t1_0 left join accounts a1_0 on a1_0.id=t1_0.account_id where t1_0.parent_id={id} order by t1_0.id for update",
    "SELECT {`table`.columns} FROM `{table}` WHERE `{table}`.`account_id` = {id} ORDER BY `{table}`.`id` ASC LIMIT 50 OFFSET {quantity} /*controller='{table}',action='index'*/",
    "SELECT `{table}`.`id`, {`table`.columns} FROM `{table}` INNER JOIN `memberships` ON (`{table}`.`account_id` = `memberships`.`account_id`) WHERE (`memberships`.`user_id` = {id} AND `{table}`.`{first}` = {=first}) ORDER BY `{table}`.`created_at` DESC LIMIT 25",
    "SELECT `{table}`.* FROM `{table}` WHERE `{table}`.`id` = {id} LIMIT 1 /*controller='{table}',action='show'*/",
    "SELECT `{table}`.* FROM `{table}` WHERE `{table}`.`id` IN ({ids}) /*controller='{table}',action='index'*/",
    "SELECT COUNT(*) FROM `{table}` WHERE `{table}`.`account_id` = {id} AND `{table}`.`{first}` = {=first} /*controller='{table}',action='index'*/",
    r"SELECT `id`, {`columns`} FROM `{table}` WHERE `name` LIKE '%50\%%' OR `notes` REGEXP '^[A-Z]:\\\\' LIMIT {quantity}",
    "WITH recent AS (\n\tSELECT account_id, COUNT(*) AS n, SUM(CASE WHEN {first} = {=first} THEN 1 ELSE 0 END) AS hits\n\tFROM {table}\n\tWHERE created_at >= {created_at}\n\tGROUP BY account_id\n)\nSELECT a.name, r.n, r.hits\nFROM recent r JOIN accounts a ON a.id = r.account_id\nORDER BY r.n DESC\nLIMIT {quantity}",
    "INSERT INTO `{table}` ({`columns`}) VALUES {row}",
    "UPDATE `{table}` SET `{table}`.`{first}` = {=first}, `{table}`.`updated_at` = {updated_at} WHERE `{table}`.`id` = {id} /*controller='{table}',action='update'*/",
    "DELETE FROM `{table}` WHERE `{table}`.`id` = {id} AND `{table}`.`account_id` = {account_id} /*controller='{table}',action='destroy'*/",
];

/// Imports and deployments: long statements, and changed tables.
const RARE: [&str; 3] = [
    "insert into {table} ({columns}) values {rows}",
    "ALTER TABLE `{table}` ADD COLUMN `is_archived_{quantity}` tinyint(1) NOT NULL DEFAULT '0'",
    "CREATE TABLE `{table}_{quantity}` LIKE `{table}`",
];
/// What `{rows}` stands for.
const BULK_ROWS: usize = 40;

/// What pools and ORMs say before and after statements.
const AROUND: [&str; 6] = [
    "COMMIT",
    "BEGIN",
    "SET autocommit=1",
    "SELECT 1",
    "SET  @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),  @@SESSION.wait_timeout = 2147483",
    "ROLLBACK",
];

/// What AWS itself asks.
const MONITORING: [&str; 4] = [
    "SELECT 1",
    "SELECT @@aurora_version",
    "SELECT COUNT(*) FROM information_schema.processlist WHERE command <> 'Sleep'",
    "SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Uptime'",
];

// Literals stand here as in the log: SQL's escapes escaped once more by the audit plugin.

const WORDS: [&str; 10] = [
    "active", "pending", "paid", "shipped", "EUR", "USD", "GBP", "de-DE", "en-GB", "web",
];

const NAMES: [&str; 10] = [
    "Anna",
    r"O\\\'Brien, Sam",
    "Björk",
    "Smith & Sons, Ltd.",
    "København",
    "Miller",
    "東京",
    "Blue mug, 300 ml",
    r#"12\\" plate"#,
    "Travel set 🧳",
];

const LOGINS: [&str; 6] = ["a.jones", "chris", "dmitri", "info", "m.lopez", "ops"];

const PHRASES: [&str; 8] = [
    "called twice, no answer. ",
    "customer asked for a refund, see the ticket; ",
    r"file was at C:\\\\Users\\\\Public\\\\report.csv ",
    r"leave it at the neighbour\\\'s door, please! ",
    r"first line\\nsecond line ",
    "grüße aus München ",
    r#"{\\"retries\\":3,\\"queue\\":\\"default\\"} "#,
    "to be checked by finance, ",
];

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn generator(seed: u64, dialect: Dialect) -> Generator {
        let start = "2024-10-01T12:00:00.000000Z".parse().unwrap();
        Generator::new(seed, dialect, "instance-1", start)
    }

    #[test]
    fn one_seed_is_one_log_in_whatever_pieces() {
        for dialect in [Dialect::Aurora, Dialect::MariaDb] {
            let whole = generator(7, dialect).fill(500_000);
            let mut again = generator(7, dialect);
            let mut pieces = again.lines(100);
            while pieces.len() < whole.len() {
                pieces.extend(again.fill(1));
            }
            assert!(whole == pieces);
            assert!(whole != generator(8, dialect).fill(500_000));
        }
    }

    /// Fields 0 to 7 (time to database), object and return code.
    fn parsed(line: &str) -> (Vec<&str>, &str, &str) {
        let mut fields: Vec<_> = line.splitn(9, ',').collect();
        let (object, code) = fields.pop().unwrap().rsplit_once(',').expect(line);
        assert_eq!(fields.len(), 8, "{line}");
        (fields, object, code)
    }

    fn every_line_is_a_record(dialect: Dialect, time_shape: &str) {
        let log = String::from_utf8(generator(7, dialect).fill(3_000_000)).unwrap();
        assert!(log.ends_with('\n'));
        let (mut last_time, mut last_query) = ("", 0);
        for line in log.lines() {
            let (fields, object, code) = parsed(line);
            assert_eq!(
                fields[0].replace(|c: char| c.is_ascii_digit(), "0"),
                time_shape
            );
            assert!(fields[0] >= last_time, "{line}");
            last_time = fields[0];
            assert_eq!(fields[1], "instance-1");
            assert!(!fields[2].is_empty() && !fields[3].is_empty(), "{line}");
            fields[4].parse::<u64>().expect(line);
            let query = fields[5].parse::<u64>().expect(line);
            match fields[6] {
                "CONNECT" | "DISCONNECT" => assert_eq!((query, object, code), (0, "", "0")),
                "FAILED_CONNECT" => assert_eq!((query, object, code), (0, "", "1045")),
                "CREATE" | "ALTER" => assert!(!object.is_empty() && code.is_empty(), "{line}"),
                "QUERY" => {
                    assert!(query > last_query, "{line}");
                    last_query = query;
                    code.parse::<u16>().expect(line);
                    let text = object
                        .strip_prefix('\'')
                        .and_then(|it| it.strip_suffix('\''));
                    let text = text.expect(line).replace(r"\\", "").replace(r"\'", "");
                    assert!(
                        !text.contains(|c: char| c == '\'' || c.is_control()),
                        "{line}"
                    );
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn every_line_is_a_record_of_aurora() {
        every_line_is_a_record(Dialect::Aurora, "0000000000000000");
    }

    #[test]
    fn every_line_is_a_record_of_mariadb() {
        every_line_is_a_record(Dialect::MariaDb, "00000000 00:00:00");
    }

    #[test]
    fn has_all_that_makes_parsing_hard() {
        let log = String::from_utf8(generator(7, Dialect::Aurora).fill(8_000_000)).unwrap();
        let operations = ["CONNECT", "DISCONNECT", "FAILED_CONNECT", "CREATE", "ALTER"];
        for operation in operations {
            assert!(log.contains(&format!(",{operation},")), "{operation}");
        }
        let escapes = [
            r"\'paid\'",
            r"O\\\'Brien, Sam",
            r"C:\\\\Users",
            r"(\n\tSELECT",
        ];
        for text in escapes.into_iter().chain(["København", "🧳", "',1062\n"]) {
            assert!(log.contains(text), "{text}");
        }
        assert!(log.lines().any(|line| line.len() > 10_000));
    }

    #[test]
    fn exact_sizes_are_exact() {
        let mut generator = generator(7, Dialect::MariaDb);
        for size in [0, 1, 40, 90, 255, 256, 257, 400, 1_000, 65_536, 1_000_003] {
            let log = String::from_utf8(generator.exactly(size)).unwrap();
            assert_eq!(log.len(), size);
            assert!(log.is_empty() || log.ends_with('\n'));
            if size >= CLOSING_RECORD {
                log.lines()
                    .for_each(|line| assert_eq!(parsed(line).0.len(), 8));
            }
        }
    }

    #[test]
    fn shrinks_like_real_logs() {
        let bounds = [
            (Dialect::Aurora, 850..=1050),
            (Dialect::MariaDb, 950..=1200),
        ];
        for (seed, (dialect, percent)) in (1..).zip(bounds) {
            let log = generator(seed, dialect).fill(8_000_000);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&log).unwrap();
            let shrunk = 100 * log.len() / gzip.finish().unwrap().len();
            assert!(
                percent.contains(&shrunk),
                "{dialect:?}: {shrunk} % of what gzip leaves"
            );
        }
    }
}
