//! Clusters, instances and log files, as the SDK reads them.

use aws_sdk_rds::config::retry::RetryConfig;
use aws_sdk_rds::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_rds::types::DescribeDbLogFilesDetails;

use super::*;

/// A client that does not retry.
pub(super) fn sdk(rds: &Rds) -> aws_sdk_rds::Client {
    let Access {
        access_key,
        secret_key,
        session_token,
        region,
        ..
    } = rds.access();
    let config = aws_sdk_rds::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(Credentials::new(
            access_key,
            secret_key,
            session_token,
            None,
            "test",
        ))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(rds.url());
    aws_sdk_rds::Client::from_conf(config.build())
}

/// All log files by name, and the number of pages they came on.
pub(super) async fn list(rds: &Rds) -> (Vec<DescribeDbLogFilesDetails>, usize) {
    let (mut found, mut marker, mut pages) = (Vec::new(), None, 0);
    loop {
        let list = sdk(rds)
            .describe_db_log_files()
            .db_instance_identifier("db-1");
        let page = list.set_marker(marker).send().await.unwrap();
        found.extend_from_slice(page.describe_db_log_files());
        pages += 1;
        marker = page.marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            found.sort_by(|one, other| one.log_file_name.cmp(&other.log_file_name));
            return (found, pages);
        }
    }
}

/// The names, sizes and `LastWritten` that a listing shows.
pub(super) async fn listed(rds: &Rds) -> Vec<(String, i64, i64)> {
    let (found, _) = list(rds).await;
    let file = |file: DescribeDbLogFilesDetails| {
        (
            file.log_file_name.unwrap(),
            file.size.unwrap(),
            file.last_written.unwrap(),
        )
    };
    found.into_iter().map(file).collect()
}

#[tokio::test]
async fn clusters_and_instances_are_described() {
    let rds = Rds::start().unwrap();
    for id in ["aurora-1", "aurora-2"] {
        let tags = vec![("Stage".to_owned(), "\"prod\" 'eu'\n".to_owned())];
        rds.add_cluster(NewCluster {
            id: id.to_owned(),
            engine: "aurora-mysql".to_owned(),
            tags,
        });
    }
    let writer = rds.add_instance(instance("writer", Some("aurora-1")));
    let reader = rds.add_instance(instance("reader", Some("aurora-1")));
    assert!(writer.starts_with("db-") && writer.len() == 29, "{writer}");
    assert_ne!(writer, reader);

    let found = sdk(&rds).describe_db_clusters().send().await.unwrap();
    assert!(found.marker().is_none());
    let [cluster, _] = found.db_clusters() else {
        panic!("two clusters: {found:?}")
    };
    assert_eq!(
        cluster.db_cluster_arn(),
        Some("arn:aws:rds:eu-central-1:123456789012:cluster:aurora-1")
    );
    assert_eq!(cluster.status(), Some("available"));
    assert_eq!(cluster.tag_list()[0].value(), Some("\"prod\" 'eu'\n"));
    let members = cluster.db_cluster_members().iter();
    let members: Vec<_> = members
        .map(|member| {
            (
                member.db_instance_identifier().unwrap(),
                member.is_cluster_writer(),
            )
        })
        .collect();
    assert_eq!(members, [("writer", Some(true)), ("reader", Some(false))]);

    let found = sdk(&rds)
        .describe_db_instances()
        .db_instance_identifier("reader")
        .send()
        .await;
    let [found] = found.unwrap().db_instances.unwrap().try_into().unwrap();
    assert_eq!(found.dbi_resource_id(), Some(reader.as_str()));
    assert_eq!(found.db_cluster_identifier(), Some("aurora-1"));
    assert_eq!(found.tag_list()[0].value(), Some("Audit & <Co>"));

    rds.remove_instance("reader");
    let again = rds.add_instance(instance("reader", Some("aurora-1")));
    assert_ne!(again, reader, "a name is used again, a resource id is not");
}

#[tokio::test]
async fn log_files_come_in_pages() {
    let rds = rds_with_instance();
    let names: Vec<_> = (0..7)
        .map(|n| format!("audit/<&>\"'\t\u{1b} {n}"))
        .collect();
    for (name, size) in names.iter().zip(0..) {
        rds.put_file("db-1", name, vec![b'x'; size], 1_700_000_000_123);
    }
    for empty_last_marker in [false, true] {
        for (page_size, expected_pages) in [(100, 1), (7, 1), (3, 3), (1, 7)] {
            rds.configure(|behaviour| {
                *behaviour = Behaviour {
                    page_size,
                    empty_last_marker,
                    ..*behaviour
                };
            });
            let (found, pages) = list(&rds).await;
            assert_eq!(pages, expected_pages);
            let found_names: Vec<_> = found
                .iter()
                .map(|file| file.log_file_name().unwrap())
                .collect();
            assert_eq!(found_names, names);
            assert_eq!(
                (found[3].size(), found[3].last_written()),
                (Some(3), Some(1_700_000_000_123))
            );
        }
    }
    let page = sdk(&rds)
        .describe_db_log_files()
        .db_instance_identifier("db-1");
    let page = page.max_records(2).send().await.unwrap();
    assert_eq!(page.describe_db_log_files().len(), 1);
}

#[tokio::test]
async fn log_files_are_filtered() {
    let rds = rds_with_instance();
    for (name, last_written_ms) in [
        ("audit/1", 1),
        ("audit/2", 2),
        ("audit/3", 3),
        ("error/3", 3),
    ] {
        rds.put_file("db-1", name, "1234", last_written_ms);
    }
    rds.set_listed_size("db-1", "audit/3", Some(9));
    let list = sdk(&rds)
        .describe_db_log_files()
        .db_instance_identifier("db-1");
    let some = list
        .clone()
        .filename_contains("audit/")
        .file_last_written(2)
        .send()
        .await
        .unwrap();
    assert_eq!(some.describe_db_log_files().len(), 2);
    let large = list.file_size(4).send().await.unwrap();
    let [large] = large.describe_db_log_files() else {
        panic!("one file: {large:?}")
    };
    assert_eq!(
        (large.log_file_name(), large.size()),
        (Some("audit/3"), Some(9))
    );
}

#[tokio::test]
async fn a_listing_is_empty_when_told_so() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/1", "", 1);
    rds.fail(Where::listing(ANY), Fault::EmptyListing, 2);
    assert_eq!(list(&rds).await.0, []);
    assert_eq!(list(&rds).await.0, []);
    assert_eq!(list(&rds).await.0.len(), 1);
    assert_eq!(rds.count(&Where::listing("db-1")), 3);
    assert_eq!(rds.count(&Where::Clusters), 0);
}

#[tokio::test]
async fn rotation_renames_behind_the_clients_back() {
    let rds = rds_with_instance();
    rds.set_rotation(
        "db-1",
        Rotation {
            history: 2,
            digits: 2,
        },
    );
    rds.put_file("db-1", "audit/server_audit.log", "active", 3);
    rds.put_file("db-1", "audit/server_audit.log.01", "rotated", 2);
    rds.put_file("db-1", "audit/server_audit.log.02", "old", 1);
    rds.rotate_after_listing("db-1", 2, 4);
    rds.rotate_after_download("db-1", 1, 5);

    let names = |(found, _): (Vec<DescribeDbLogFilesDetails>, _)| -> Vec<_> {
        found
            .into_iter()
            .map(|file| (file.log_file_name.unwrap(), file.last_written.unwrap()))
            .collect()
    };
    let before = names(list(&rds).await);
    assert_eq!(
        before,
        names(list(&rds).await),
        "the answer was made before the rotation"
    );
    let files = rds.files("db-1");
    let expected = [
        ("audit/server_audit.log".to_owned(), 4, Bytes::new()),
        (
            "audit/server_audit.log.01".to_owned(),
            3,
            Bytes::from("active"),
        ),
        (
            "audit/server_audit.log.02".to_owned(),
            2,
            Bytes::from("rotated"),
        ),
    ];
    assert_eq!(files, expected);

    let path = format!("{DOWNLOAD}audit/server_audit.log.02");
    assert_eq!(get(&rds, &path).await.body, b"rotated");
    assert_eq!(get(&rds, &path).await.body, b"active");
}

#[tokio::test]
async fn requests_are_recorded() {
    let rds = rds_with_instance();
    list(&rds).await;
    get(&rds, &format!("{DOWNLOAD}audit/none")).await;
    let [listing, download] = rds.requests().try_into().unwrap();
    assert_eq!(listing.action, "DescribeDBLogFiles");
    assert_eq!(listing.params["DBInstanceIdentifier"], "db-1");
    assert_eq!(
        (listing.status, listing.code, listing.had_session_token),
        (200, None, true)
    );
    assert_eq!(download.place, Some(Where::download("db-1", "audit/none")));
    assert_eq!(
        (download.status, download.code.as_deref()),
        (404, Some("DBLogFileNotFoundFault"))
    );
}
