//! Log files that flicker, lie about their size, rotate, age and expire.

use std::time::Duration;

use super::listings::{listed, sdk};
use super::*;

const ACTIVE: &str = "audit/server_audit.log";

/// What a listing shows, without sizes and times.
async fn names(rds: &Rds) -> Vec<String> {
    let listed = listed(rds).await;
    listed.into_iter().map(|(name, ..)| name).collect()
}

async fn download(rds: &Rds, name: &str) -> Answer {
    get(rds, &format!("{DOWNLOAD}{name}")).await
}

#[tokio::test]
async fn a_hidden_file_is_neither_listed_nor_served_until_shown() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/1", "one", 1);
    rds.put_file("db-1", "audit/2", "two", 2);
    rds.hide_file("db-1", "audit/1");
    for _ in 0..3 {
        assert_eq!(names(&rds).await, ["audit/2"]);
    }
    let answer = download(&rds, "audit/1").await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (404, "DBLogFileNotFoundFault")
    );
    rds.grow_file("db-1", "audit/1", "!".as_bytes(), 3);
    rds.show_file("db-1", "audit/1");
    assert_eq!(names(&rds).await, ["audit/1", "audit/2"]);
    assert_eq!(download(&rds, "audit/1").await.body, b"one!");
}

#[tokio::test]
async fn a_file_hidden_for_two_listings_reappears_when_the_second_ends() {
    let rds = rds_with_instance();
    for name in ["audit/1", "audit/2", "audit/3"] {
        rds.put_file("db-1", name, name, 1);
    }
    rds.configure(|behaviour| {
        behaviour.page_size = 1;
        behaviour.order = Order::Name;
    });
    rds.hide_file_for("db-1", "audit/3", 2);
    rds.fail(Where::listing(ANY), Fault::internal_error(), 1);
    let refused = sdk(&rds).describe_db_log_files();
    let refused = refused.db_instance_identifier("db-1").send().await;
    refused.expect_err("a refused listing is none");
    for _ in 0..2 {
        assert_eq!(download(&rds, "audit/3").await.status, 404);
        assert_eq!(names(&rds).await, ["audit/1", "audit/2"]);
    }
    assert_eq!(download(&rds, "audit/3").await.status, 200);
    assert_eq!(names(&rds).await, ["audit/1", "audit/2", "audit/3"]);
}

#[tokio::test]
async fn a_hidden_file_reappears_under_another_number() {
    let rds = rds_with_instance();
    rds.put_file("db-1", ACTIVE, "active", 2);
    rds.put_file("db-1", "audit/server_audit.log.1", "rotated", 1);
    rds.hide_file_for("db-1", "audit/server_audit.log.1", 1);
    rds.rotate("db-1", 3);
    assert_eq!(names(&rds).await, [ACTIVE, "audit/server_audit.log.1"]);
    let found = listed(&rds).await;
    assert_eq!(found[2], ("audit/server_audit.log.2".to_owned(), 7, 1));
    rds.rename_file(
        "db-1",
        "audit/server_audit.log.2",
        "audit/server_audit.log.9",
    );
    let found = listed(&rds).await;
    assert_eq!(found[2], ("audit/server_audit.log.9".to_owned(), 7, 1));
}

#[tokio::test]
async fn a_listed_size_is_skewed_both_ways_and_follows_growth() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/1", vec![b'x'; 1000], 1);
    let size = async || {
        let [(_, size, _)] = listed(&rds).await.try_into().unwrap();
        (size, download(&rds, "audit/1").await.body.len())
    };
    rds.skew_listed_size("db-1", "audit/1", 241);
    assert_eq!(size().await, (1241, 1000));
    rds.grow_file("db-1", "audit/1", b"more", 2);
    assert_eq!(size().await, (1245, 1004));
    rds.skew_listed_size("db-1", "audit/1", -1000);
    assert_eq!(size().await, (4, 1004));
    rds.set_listed_size("db-1", "audit/1", Some(7));
    assert_eq!(size().await, (7, 1004));
    rds.set_listed_size("db-1", "audit/1", None);
    rds.skew_listed_size("db-1", "audit/1", 0);
    assert_eq!(size().await, (1004, 1004));
    let answer = download(&rds, "audit/1").await;
    assert_eq!(answer.broken, None, "the body ends cleanly");
}

#[tokio::test]
async fn a_lone_active_file_grows_and_rotates_beyond_the_history() {
    let rds = rds_with_instance();
    let (history, digits) = (2, 2);
    rds.set_rotation("db-1", Rotation { history, digits });
    rds.put_file("db-1", ACTIVE, "1", 1);
    rds.grow_file("db-1", ACTIVE, b"1", 2);
    for (round, files) in [(1, 1), (2, 2), (3, 3)] {
        assert_eq!(listed(&rds).await.len(), files);
        rds.rotate("db-1", round * 10);
        rds.grow_file("db-1", ACTIVE, b"more", round * 10 + 1);
    }
    let expected = [
        (ACTIVE.to_owned(), 4, 31),
        ("audit/server_audit.log.01".to_owned(), 4, 21),
        ("audit/server_audit.log.02".to_owned(), 4, 11),
    ];
    assert_eq!(listed(&rds).await, expected);
}

#[test]
#[should_panic(expected = "db-1 never rotates")]
fn an_instance_without_history_never_rotates() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let rds = rds_with_instance();
    let (history, digits) = (0, 1);
    rds.set_rotation("db-1", Rotation { history, digits });
    rds.rotate("db-1", 1);
}

#[tokio::test]
async fn young_files_are_deleted_early() {
    let rds = rds_with_instance();
    for name in ["audit/1", "audit/2", "audit/3"] {
        rds.put_file("db-1", name, name, 1);
    }
    rds.remove_files("db-1", &["audit/1", "audit/3"]);
    assert_eq!(names(&rds).await, ["audit/2"]);
}

#[tokio::test]
async fn days_pass_for_all_files_and_instances() {
    let rds = rds_with_instance();
    rds.add_instance(instance("db-2", None));
    let day = Duration::from_hours(24);
    let noon = 1_727_784_000_000;
    rds.set_created("db-1", Some(noon));
    rds.put_file("db-1", "audit/1", "one", noon);
    rds.put_file("db-2", "audit/2", "two", noon + 1);
    rds.age(day);
    assert_eq!(rds.files("db-1")[0].1, noon - 86_400_000);
    assert_eq!(rds.files("db-2")[0].1, noon - 86_399_999);
    let found = sdk(&rds)
        .describe_db_instances()
        .db_instance_identifier("db-1")
        .send()
        .await
        .unwrap();
    let created = found.db_instances()[0].instance_create_time().unwrap();
    assert_eq!(created.to_millis().unwrap(), noon - 86_400_000);

    rds.put_file("db-1", ACTIVE, "active", 0);
    assert_eq!(
        rds.expire_files(day, noon),
        [],
        "24 h is not more than 24 h"
    );
    let expired = rds.expire_files(day, noon + 1);
    assert_eq!(expired, [("db-1".to_owned(), "audit/1".to_owned())]);
    assert_eq!(names(&rds).await, [ACTIVE]);
}
