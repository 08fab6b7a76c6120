//! Pages that the filters empty, and what the filters let through.

use super::listings::sdk;
use super::*;

/// The names on each page of a listing with these filters.
async fn pages(rds: &Rds, contains: Option<&str>, since: Option<i64>) -> Vec<Vec<String>> {
    let (mut pages, mut marker) = (Vec::new(), None);
    loop {
        let request = sdk(rds).describe_db_log_files();
        let request = request
            .db_instance_identifier("db-1")
            .set_filename_contains(contains.map(str::to_owned))
            .set_file_last_written(since);
        let page = request.set_marker(marker).send().await.unwrap();
        let names = page.describe_db_log_files().iter();
        pages.push(
            names
                .map(|file| file.log_file_name().unwrap().to_owned())
                .collect(),
        );
        marker = page.marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn filters_empty_pages_that_were_cut_before() {
    let rds = rds_with_instance();
    for (name, last_written_ms) in [("a", 5), ("b", 1), ("c", 2), ("d", 4), ("e", 3)] {
        rds.put_file("db-1", name, "content", last_written_ms);
    }
    rds.configure(|behaviour| {
        behaviour.page_size = 1;
        behaviour.order = Order::Name;
    });
    assert_eq!(pages(&rds, None, Some(4)).await, [["a"], ["d"]]);

    let empty = || [""; 0].as_slice();
    rds.configure(|behaviour| behaviour.filtering = Filtering::AfterPaging);
    assert_eq!(
        pages(&rds, None, Some(4)).await,
        [&["a"], empty(), empty(), &["d"], empty()]
    );
    rds.configure(|behaviour| behaviour.order = Order::OldestFirst);
    assert_eq!(
        pages(&rds, None, Some(4)).await,
        [empty(), empty(), empty(), &["d"], &["a"]]
    );
    rds.configure(|behaviour| {
        behaviour.page_size = 2;
        behaviour.order = Order::NewestFirst;
    });
    assert_eq!(
        pages(&rds, None, Some(4)).await,
        [["a", "d"].as_slice(), empty(), empty()]
    );
    assert_eq!(
        pages(&rds, Some("c"), None).await,
        [empty(), &["c"], empty()]
    );
}

#[tokio::test]
async fn empty_pages_are_added_where_told() {
    let rds = rds_with_instance();
    rds.configure(|behaviour| {
        behaviour.page_size = 1;
        behaviour.order = Order::Name;
    });
    let with = |first, between, last| {
        rds.configure(|behaviour| {
            behaviour.empty_pages = EmptyPages {
                first,
                between,
                last,
            };
        });
    };
    with(2, 0, 0);
    assert_eq!(pages(&rds, None, None).await, [[""; 0]; 2], "no files yet");

    rds.put_file("db-1", "a", "content", 1);
    rds.put_file("db-1", "b", "content", 1);
    let empty = || [""; 0].as_slice();
    let cases: [(_, &[&[&str]]); 5] = [
        ((0, 0, 0), &[&["a"], &["b"]]),
        ((2, 0, 0), &[empty(), empty(), &["a"], &["b"]]),
        ((0, 1, 0), &[&["a"], empty(), &["b"]]),
        ((0, 0, 2), &[&["a"], &["b"], empty(), empty()]),
        ((1, 1, 1), &[empty(), &["a"], empty(), &["b"], empty()]),
    ];
    for ((first, between, last), expected) in cases {
        with(first, between, last);
        assert_eq!(pages(&rds, None, None).await, expected);
    }
    assert_eq!(rds.calls("db-1").listings, 6);
    let instances = sdk(&rds).describe_db_instances().send().await.unwrap();
    assert_eq!(instances.db_instances().len(), 1, "only of log files");
}

#[tokio::test]
async fn file_last_written_is_inclusive_or_not_to_the_second_or_not() {
    let rds = rds_with_instance();
    for (name, last_written_ms) in [
        ("1: second before", 999),
        ("2: same second", 1000),
        ("3: same millisecond", 1500),
        ("4: same second", 1999),
        ("5: second after", 2000),
    ] {
        rds.put_file("db-1", name, "content", last_written_ms);
    }
    for (written_since, expected) in [
        (WrittenSince::Inclusive, 3),
        (WrittenSince::Exclusive, 2),
        (WrittenSince::InclusiveSecond, 4),
        (WrittenSince::ExclusiveSecond, 1),
    ] {
        rds.configure(|behaviour| behaviour.written_since = written_since);
        let found = pages(&rds, None, Some(1500)).await.concat();
        assert_eq!(found.len(), expected, "{written_since:?}: {found:?}");
    }
}
