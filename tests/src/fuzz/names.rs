//! Log file names: every key stays inside the layout, and belongs to one file or version.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use shared::instance::Instance;
use shared::log_file::{KeyForm, LogFile, Name, Stripes, Version};

use super::{instance, lines};

const PREFIX: &str = "archive/";
const SHA256: &str = "0123456789abcdef0123456789abcdef";
/// Most files of one listing: every two are compared.
const FILES_MAX: usize = 8;

/// Reads `data` as lines: a cluster, an instance, then of each log file `LastWritten Size Name`.
pub fn run(data: &[u8]) {
    let lines = lines(data);
    let mut lines = lines.iter();
    let mut next = || lines.next().map_or("", |line| line.as_ref());
    let instance = instance(next(), next());
    let files: Vec<LogFile> = lines
        .take(FILES_MAX)
        .filter_map(|line| file(line))
        .collect();
    for file in &files {
        name_says_what_was_read(&file.name);
        key_keeps_the_layout(file, &instance);
        sort_key_keeps_its_form(file);
    }
    let keyed: Vec<_> = files
        .iter()
        .map(|file| Keyed::new(file, &instance))
        .collect();
    for (index, one) in keyed.iter().enumerate() {
        for other in keyed.iter().skip(index + 1) {
            keys_tell_apart(one, other);
        }
    }
    stripes_agree(&files);
}

/// A line without sensible numbers is a name all the same.
fn file(line: &str) -> Option<LogFile> {
    let mut parts = line.splitn(3, ' ');
    let mut number = || parts.next()?.parse::<i64>().ok();
    let (last_written, size, name) = match (number(), number(), parts.next()) {
        (Some(last_written), Some(size), Some(name)) => (last_written, size, name),
        _ => (1_727_784_000_000, 1000, line),
    };
    let version = Version::new(last_written, size);
    let sensible = (0..10_000_000_000_000).contains(&last_written) && size >= 0;
    assert_eq!(version.is_some(), sensible, "{line:?}");
    Some(LogFile {
        name: name.to_owned(),
        version: version?,
        twins: 1,
    })
}

fn name_says_what_was_read(name: &str) {
    let read = Name::parse(name);
    let (begin, number) = match &read {
        Name::Aurora { stripe, created, n } => {
            let minute = created.strftime("%Y-%m-%d-%H-%M");
            (format!("audit/audit.log.{stripe}.{minute}."), *n)
        }
        Name::Rotated { number } => ("audit/server_audit.log.".to_owned(), *number),
        Name::Active => return assert_eq!(name, "audit/server_audit.log"),
        Name::Other => return,
    };
    let digits = name.strip_prefix(&begin);
    let same = digits.is_some_and(|digits| digits.trim_start_matches('0') == stripped(number));
    assert!(same, "{name:?} was read as {read:?}");
}

fn stripped(number: u64) -> String {
    number.to_string().trim_start_matches('0').to_owned()
}

fn key(file: &LogFile, instance: &Instance, form: KeyForm<'_>) -> Option<String> {
    file.object_key(PREFIX, instance, form, "gz").ok()
}

fn key_keeps_the_layout(file: &LogFile, instance: &Instance) {
    let path = file.name.strip_prefix("audit/");
    let named = |name: &str| plain(name) && !name.contains('/');
    let fits = named(&instance.cluster)
        && named(&instance.name)
        && path.is_some_and(|path| path.split('/').all(plain));
    let unnumbered = PREFIX.len() + instance.cluster.len() + instance.name.len() + file.name.len();
    for form in [KeyForm::Plain, KeyForm::Versioned, KeyForm::Content(SHA256)] {
        let Some(key) = key(file, instance, form) else {
            // Layout, versions and hash add less than 200 bytes.
            assert!(!fits || unnumbered > 824, "no key for {file:?}");
            continue;
        };
        assert!(fits && key.len() <= 1024, "{key:?}");
        assert!(key.split('/').all(plain), "{key:?}");
        let inside = key.strip_prefix(&format!("{PREFIX}{}/audit/", instance.cluster));
        let inside = inside.expect("a key begins with prefix and cluster");
        let (hour, rest) = inside
            .split_at_checked("2024/10/01/12/".len())
            .expect("then comes an hour");
        let hour = DateTime::strptime("%Y/%m/%d/%H/", hour);
        assert!(hour.is_ok(), "{key:?}");
        let base = rest.strip_prefix(&format!("{}/", instance.name));
        let base = base.and_then(|base| base.strip_suffix(".gz"));
        assert!(base.is_some_and(|base| !base.is_empty()), "{key:?}");
    }
}

fn plain(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && !segment.contains(char::is_control)
}

fn sort_key_keeps_its_form(file: &LogFile) {
    let key = file.sort_key();
    let parts: Vec<&str> = key.split('#').collect();
    let &["F", at, hash, size] = parts.as_slice() else {
        unreachable!("not of four parts: {key}")
    };
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(
        at.len() == 13 && hash.len() == 10 && hash.bytes().all(hex),
        "{key}"
    );
    let read = Version::new(
        at.parse().expect("13 digits"),
        size.parse().expect("a size"),
    );
    assert_eq!(read, Some(file.version), "{key}");
    assert!(key.len() <= 2 + 13 + 1 + 10 + 1 + 19, "{key}");
}

/// What becomes of a file.
struct Keyed<'a> {
    file: &'a LogFile,
    /// Whether it is one Aurora file that grows, and keeps its key.
    grows: bool,
    plain: Option<String>,
    versioned: Option<String>,
    row: String,
}

impl<'a> Keyed<'a> {
    fn new(file: &'a LogFile, instance: &Instance) -> Self {
        Self {
            file,
            grows: matches!(Name::parse(&file.name), Name::Aurora { .. }),
            plain: key(file, instance, KeyForm::Plain),
            versioned: key(file, instance, KeyForm::Versioned),
            row: file.sort_key(),
        }
    }
}

fn keys_tell_apart(one: &Keyed<'_>, other: &Keyed<'_>) {
    let (a, b) = (one.file, other.file);
    let same_version = a.version == b.version;
    let same_file = a.name == b.name || (a.renamed() && b.renamed());
    let (same_plain, same) = (one.grows || same_version, same_file && same_version);
    if let (Some(one), Some(other)) = (&one.plain, &other.plain) {
        assert_eq!(one == other, same_file && same_plain, "{a:?} {b:?} {one}");
    }
    if let (Some(one), Some(other)) = (&one.versioned, &other.versioned) {
        assert_eq!(one == other, same, "{a:?} {b:?} {one}");
    }
    assert_eq!(one.row == other.row, same, "{a:?} {b:?} {}", one.row);
    let (a, b) = (a.version.last_written, b.version.last_written);
    let ordered = a == b || (a < b) == (one.row < other.row);
    assert!(ordered, "{} {}", one.row, other.row);
}

fn stripes_agree(files: &[LogFile]) {
    let stripes = Stripes::of(files);
    let place = |file: &LogFile| match Name::parse(&file.name) {
        Name::Aurora { stripe, created, n } => Some((stripe.to_owned(), (created, n))),
        _ => None,
    };
    for file in files {
        let name = Name::parse(&file.name);
        let sealed = match (place(file), &name) {
            (Some((stripe, at)), _) => files
                .iter()
                .filter_map(place)
                .any(|(other, newer)| other == stripe && newer > at),
            (None, name) => matches!(name, Name::Rotated { .. }),
        };
        let due = |now, settle| stripes.due(file, now, settle);
        let settle = Duration::from_hours(1);
        assert_eq!(due(Timestamp::MIN, Duration::MAX), sealed, "{file:?}");
        assert_eq!(
            due(Timestamp::MAX, settle),
            name != Name::Active,
            "{file:?}"
        );
        let written = file.version.last_written;
        assert_eq!(due(written, settle), sealed, "{file:?}");
    }
}
