use proptest::prelude::*;

use super::*;

fn file(name: &str, last_written_ms: i64, size: i64) -> LogFile {
    LogFile {
        name: name.to_owned(),
        version: Version::new(last_written_ms, size).unwrap(),
        twins: 1,
    }
}

fn instance(cluster: &str, name: &str) -> Instance {
    Instance {
        resource_id: "db-ABC".to_owned(),
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-central-1".to_owned(),
    }
}

/// 2024-10-01T12:00:00Z
const NOON: i64 = 1_727_784_000_000;
const HOUR: i64 = 3_600_000;

#[test]
fn names_are_read() {
    let aurora = |stripe, created: &str, n| Name::Aurora {
        stripe,
        created: created.parse().unwrap(),
        n,
    };
    for (name, read) in [
        (
            "audit/audit.log.0.2024-10-01-12-00.0",
            aurora("0", "2024-10-01T12:00", 0),
        ),
        (
            "audit/audit.log.13.2024-10-01-12-00.12345",
            aurora("13", "2024-10-01T12:00", 12345),
        ),
        (
            "audit/audit.log.3.2024-02-29-23-59.7",
            aurora("3", "2024-02-29T23:59", 7),
        ),
        ("audit/server_audit.log", Name::Active),
        ("audit/server_audit.log.1", Name::Rotated { number: 1 }),
        ("audit/server_audit.log.01", Name::Rotated { number: 1 }),
        ("audit/server_audit.log.123", Name::Rotated { number: 123 }),
        ("audit/server_audit.log.", Name::Other),
        ("audit/server_audit.log.1x", Name::Other),
        ("audit/server_audit.log.+1", Name::Other),
        ("audit/server_audit.logs", Name::Other),
        ("audit/audit.log.0.2023-02-29-12-00.0", Name::Other), // no such day
        ("audit/audit.log.0.2024-10-01-12-60.0", Name::Other),
        ("audit/audit.log.0.2024-10-1-12-00.0", Name::Other),
        ("audit/audit.log.0.-024-10-01-12-00.0", Name::Other),
        ("audit/audit.log..2024-10-01-12-00.0", Name::Other),
        ("audit/audit.log.0.2024-10-01-12-00", Name::Other),
        ("audit/audit.log.0.2024-10-01-12-00.", Name::Other),
        ("audit/audit.log.0.2024-10-01-12-00.0.gz", Name::Other),
        (
            "audit/audit.log.0.2024-10-01-12-00.99999999999999999999",
            Name::Other,
        ),
        ("audit/deeper/audit.log.0.2024-10-01-12-00.0", Name::Other),
        ("audit/", Name::Other),
        ("", Name::Other),
        ("audit/größe.log", Name::Other),
    ] {
        assert_eq!(Name::parse(name), read, "{name}");
    }
}

#[test]
fn a_file_is_due_when_sealed_or_quiet() {
    let settle = Duration::from_hours(1);
    let listing = [
        file("audit/audit.log.0.2024-10-01-11-00.0", NOON, 10), // sealed by .1
        file("audit/audit.log.0.2024-10-01-11-00.1", NOON, 10), // sealed by 12-00.0
        file("audit/audit.log.0.2024-10-01-12-00.0", NOON, 10), // newest of stripe 0
        file("audit/audit.log.1.2024-10-01-09-00.0", NOON - HOUR, 10), // newest of stripe 1, quiet
        file("audit/audit.log.2.2024-10-01-09-00.9", NOON - HOUR + 1, 10), // sealed by .10: numbers, not text
        file("audit/audit.log.2.2024-10-01-09-00.10", NOON - HOUR + 1, 10), // newest of stripe 2, not quiet
        file("audit/server_audit.log", NOON - 9 * HOUR, 10),                // active: never
        file("audit/server_audit.log.1", NOON, 10),
        file("audit/new_kind.log", NOON - HOUR, 10),
        file("audit/new_kind.log.2", NOON, 10),
        file("audit/from_the_future.log", NOON + HOUR, 10),
    ];
    let stripes = Stripes::of(&listing);
    let now = Timestamp::from_millisecond(NOON).unwrap();
    let due: Vec<bool> = listing
        .iter()
        .map(|file| stripes.due(file, now, settle))
        .collect();
    assert_eq!(
        due,
        [
            true, true, false, true, true, false, false, true, true, false, false
        ]
    );
}

#[test]
fn object_keys_keep_the_layout() {
    let plain = |file: LogFile| {
        file.object_key(
            "",
            &instance("my-rds-cluster", "instance-1"),
            KeyForm::Plain,
            "gz",
        )
        .unwrap()
    };
    for (file, key) in [
        (
            file("audit/audit.log.0.2024-10-01-12-00.0", NOON + 30 * HOUR, 5),
            "my-rds-cluster/audit/2024/10/01/12/instance-1/audit.log.0.2024-10-01-12-00.0.gz",
        ),
        (
            file("audit/server_audit.log.1", NOON, 1_000_123),
            "my-rds-cluster/audit/2024/10/01/12/instance-1/server_audit.log.2024-10-01T12-00-00.000Z-1000123.gz",
        ),
        (
            file("audit/server_audit.log.07", NOON + 1, 1_000_123),
            "my-rds-cluster/audit/2024/10/01/12/instance-1/server_audit.log.2024-10-01T12-00-00.001Z-1000123.gz",
        ),
        (
            file("audit/sub/new_kind.log", NOON, 7),
            "my-rds-cluster/audit/2024/10/01/12/instance-1/sub/new_kind.log.2024-10-01T12-00-00.000Z-7.gz",
        ),
    ] {
        assert_eq!(plain(file), key);
    }
    let aurora = file("audit/audit.log.0.2024-10-01-12-00.0", NOON + HOUR, 5);
    assert_eq!(
        aurora
            .object_key("logs/", &instance("c", "i"), KeyForm::Versioned, "zst")
            .unwrap(),
        "logs/c/audit/2024/10/01/12/i/audit.log.0.2024-10-01-12-00.0.2024-10-01T13-00-00.000Z-5.zst"
    );
    let rotated = file("audit/server_audit.log.2", NOON, 9);
    assert_eq!(
        rotated
            .object_key(
                "",
                &instance("c", "i"),
                KeyForm::Content("0123456789abcdef"),
                "gz"
            )
            .unwrap(),
        "c/audit/2024/10/01/12/i/server_audit.log.2024-10-01T12-00-00.000Z-9-0123456789.gz"
    );
}

#[test]
fn names_that_could_leave_the_layout_are_rejected() {
    let key = |cluster, name, file_name: &str| {
        file(file_name, NOON, 1)
            .object_key("p/", &instance(cluster, name), KeyForm::Plain, "gz")
            .unwrap_err()
            .to_string()
    };
    let long = format!("audit/{}", "x".repeat(1024));
    for (error, why) in [
        (key("c", "i", "audit/../secret"), "a segment of dots"),
        (key("c", "i", "audit/a/./b"), "a segment of dots"),
        (key("c", "i", "audit/a//b"), "an empty segment"),
        (key("c", "i", "audit/"), "an empty segment"),
        (key("c", "i", "audit/a\nb"), "a control character"),
        (key("c", "i", "error/mysql-error.log"), "not under audit/"),
        (key("c", "i", &long), "1024 bytes"),
        (key("..", "i", "audit/x"), "cluster name"),
        (key("a/b", "i", "audit/x"), "a slash"),
        (key("c", "", "audit/x"), "instance name"),
    ] {
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn sort_keys_follow_time_and_forget_the_names_of_renamed_files() {
    let of = |name, at, size| file(name, at, size).sort_key();
    assert_eq!(
        of("audit/server_audit.log.1", NOON, 5),
        of("audit/server_audit.log.2", NOON, 5)
    );
    assert_ne!(
        of("audit/server_audit.log.1", NOON, 5),
        of("audit/server_audit.log.1", NOON, 6)
    );
    assert_ne!(of("audit/a", NOON, 5), of("audit/b", NOON, 5));
    assert!(of("audit/a", 999, 5) < of("audit/b", 1000, 5));
    let mut twins = file("audit/server_audit.log.1", NOON, 5);
    twins.twins = 2;
    assert_ne!(twins.sort_key(), of("audit/server_audit.log.1", NOON, 5));
    assert_eq!(
        of("audit/audit.log.0.2024-10-01-12-00.0", NOON, 5),
        "F#1727784000000#00f8d4daf4#5"
    );
}

#[test]
fn a_version_stands_beside_the_archived_one() {
    let version = |at, size| Version::new(at, size).unwrap();
    for (ours, archived, beside) in [
        ((2, 20), (2, 20), Beside::Same),
        ((3, 20), (2, 20), Beside::Same),
        ((1, 20), (2, 20), Beside::Same),
        ((3, 30), (2, 20), Beside::Grown),
        ((2, 30), (2, 20), Beside::Grown),
        ((1, 10), (2, 20), Beside::Superseded),
        ((2, 10), (2, 20), Beside::Superseded),
        ((3, 10), (2, 20), Beside::Apart),
        ((1, 30), (2, 20), Beside::Apart),
    ] {
        assert_eq!(
            version(ours.0, ours.1).beside(version(archived.0, archived.1)),
            beside,
            "{ours:?} {archived:?}"
        );
    }
}

#[test]
fn numbers_that_make_no_sense_are_no_version() {
    for (last_written_ms, size) in [
        (-1, 1),
        (1, -1),
        (10_000_000_000_000, 1),
        (i64::MAX, i64::MAX),
    ] {
        assert_eq!(Version::new(last_written_ms, size), None);
    }
}

/// Names near enough to the real ones to reach every branch, and arbitrary ones.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "audit/audit\\.log\\.[0-9]{1,2}\\.202[0-9]-[01][0-9]-[0-3][0-9]-[012][0-9]-[0-5][0-9]\\.[0-9]{1,6}",
        "audit/server_audit\\.log(\\.[0-9]{1,3})?",
        "audit/[a-z.]{1,4}(/[a-z.0-9]{0,3}){0,2}",
        "audit/server_audit\\.log\\.2024-10-01T12-00-00\\.000Z-[0-9]{1,2}",
        ".*",
        "audit/.*",
    ]
}

fn files() -> impl Strategy<Value = LogFile> {
    // Few times and sizes, so that pairs collide often.
    (names(), NOON..NOON + 3, 0..3_i64).prop_map(|(name, at, size)| file(&name, at, size))
}

#[test]
fn a_key_may_be_as_long_as_s3_takes_and_no_longer() {
    let key = |length: usize| {
        let file = file(&format!("audit/{}", "x".repeat(length)), NOON, 1);
        file.object_key("", &instance("c", "i"), KeyForm::Plain, "gz")
    };
    let longest = (1..1024).rev().find_map(|length| key(length).ok());
    assert_eq!(longest.map(|key| key.len()), Some(1024));
}

proptest! {
    #[test]
    fn the_file_of_a_key_is_found_again(file in files(), x in "[ab]") {
        let instance = instance("c", &x);
        for form in [KeyForm::Plain, KeyForm::Versioned] {
            let Ok(key) = file.object_key("p/", &instance, form, "gz") else { continue };
            let found = LogFile::of_key(&key, "p/", &instance, file.version);
            let same = |found: &LogFile| {
                found.sort_key() == file.sort_key() || {
                    // Of names that end like a version, another may have the key just as well.
                    let again = [KeyForm::Plain, KeyForm::Versioned];
                    again.iter().any(|form| found.object_key("p/", &instance, *form, "gz").as_ref() == Ok(&key))
                }
            };
            prop_assert!(found.as_ref().is_some_and(same), "{} {:?}", key, found);
            let other = Version::new(NOON + 10, 10).unwrap();
            let aurora = matches!(Name::parse(&file.name), Name::Aurora { .. });
            let of_other = LogFile::of_key(&key, "p/", &instance, other);
            prop_assert!(aurora || of_other.is_none(), "{} {:?}", key, of_other);
        }
    }

    #[test]
    fn no_name_panics_and_every_key_stays_inside_the_prefix(
        file in files(), cluster in "\\PC{0,8}|\\.\\.|[a-z]+", name in "\\PC{0,8}|[a-z/]+",
    ) {
        file.sort_key();
        Stripes::of(std::slice::from_ref(&file)).due(&file, Timestamp::UNIX_EPOCH, Duration::ZERO);
        if let Ok(key) = file.object_key("archive/", &instance(&cluster, &name), KeyForm::Plain, "gz") {
            let inside = format!("archive/{cluster}/audit/");
            prop_assert!(key.starts_with(&inside), "{key}");
            prop_assert!(key.split('/').all(|segment| !segment.is_empty() && segment != ".." && segment != "."), "{key}");
            prop_assert!(!key.contains(char::is_control));
        }
    }

    #[test]
    fn distinct_files_never_share_a_key(a in files(), b in files(), x in "[ab]", y in "[ab]") {
        let key = |file: &LogFile, name: &str| file.object_key("", &instance("c", name), KeyForm::Plain, "gz");
        if let (Ok(key_a), Ok(key_b)) = (key(&a, &x), key(&b, &y)) {
            // What the archive calls one file: an Aurora name; a version of the renamed family; a version of any other name.
            let identity = |file: &LogFile| match Name::parse(&file.name) {
                Name::Aurora { .. } => (file.name.clone(), None),
                Name::Active | Name::Rotated { .. } => ("server_audit".to_owned(), Some(file.version)),
                Name::Other => (file.name.clone(), Some(file.version)),
            };
            prop_assert_eq!(key_a == key_b, x == y && identity(&a) == identity(&b), "{} {}", key_a, key_b);
        }
    }

    #[test]
    fn two_rotated_files_of_one_second_have_two_keys(a in 0..1000_i64, b in 0..1000_i64, m in 1..5_u32, n in 1..5_u32) {
        prop_assume!(a != b);
        let key = |size, number| {
            let rotated = file(&format!("audit/server_audit.log.{number}"), NOON, size);
            (rotated.object_key("", &instance("c", "i"), KeyForm::Plain, "gz").unwrap(), rotated.sort_key())
        };
        prop_assert_ne!(key(a, m).0, key(b, n).0);
        prop_assert_ne!(key(a, m).1, key(b, n).1);
    }
}
