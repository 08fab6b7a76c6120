//! Instances that change, pause, begin and end.

use aws_sdk_rds::types::DbInstance;

use super::listings::{list, sdk};
use super::*;

async fn described(rds: &Rds, name: &str) -> DbInstance {
    let request = sdk(rds).describe_db_instances();
    let found = request.db_instance_identifier(name).send().await.unwrap();
    found.db_instances()[0].clone()
}

/// The statuses and codes that a listing and a download of `db-1` are answered with.
async fn refusals(rds: &Rds) -> [(u16, String); 2] {
    let query = "/?Version=2014-10-31&DBInstanceIdentifier=db-1&Action=DescribeDBLogFiles";
    let download = format!("{DOWNLOAD}audit/1");
    let (listing, download) = (get(rds, query).await, get(rds, &download).await);
    [listing, download].map(|answer| (answer.status, answer.error().0))
}

#[tokio::test]
async fn an_available_instance_is_not_ready_while_paused() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/1", "one", 1);
    rds.pause("db-1");
    let found = described(&rds, "db-1").await;
    assert_eq!(found.db_instance_status(), Some("available"));
    for (status, code) in refusals(&rds).await {
        assert_eq!((status, code.as_str()), (400, "DBInstanceNotReady"));
    }
    rds.resume("db-1");
    assert_eq!(list(&rds).await.0.len(), 1);

    rds.set_instance_status("db-1", "creating");
    for (status, code) in refusals(&rds).await {
        assert_eq!((status, code.as_str()), (404, "DBInstanceNotFound"));
    }
    rds.pause("db-1");
    for (status, code) in refusals(&rds).await {
        assert_eq!((status, code.as_str()), (400, "DBInstanceNotReady"));
    }
}

#[tokio::test]
async fn a_deleting_instance_still_lists_and_serves() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "audit/1", "one", 1);
    rds.set_instance_status("db-1", "deleting");
    let found = described(&rds, "db-1").await;
    assert_eq!(found.db_instance_status(), Some("deleting"));
    assert_eq!(list(&rds).await.0.len(), 1);
    assert_eq!(get(&rds, &format!("{DOWNLOAD}audit/1")).await.body, b"one");
}

#[tokio::test]
async fn instances_and_clusters_change() {
    let rds = Rds::start().unwrap();
    rds.add_cluster(NewCluster {
        id: "aurora-1".to_owned(),
        engine: "aurora-mysql".to_owned(),
        tags: vec![("Team".to_owned(), "Audit".to_owned())],
    });
    let name = "application-autoscaling-0000";
    rds.add_instance(instance(name, Some("aurora-1")));
    let before = described(&rds, name).await;
    let created = before.instance_create_time().unwrap();
    assert_eq!(created.to_millis().unwrap(), 1_600_000_000_000);
    assert_eq!(before.db_cluster_identifier(), Some("aurora-1"));
    assert_eq!(before.tag_list().len(), 1);

    rds.set_created(name, Some(1_727_784_000_123));
    rds.set_instance_tags(name, Vec::new());
    rds.set_cluster_tags("aurora-1", Vec::new());
    rds.set_engine(name, "postgres");
    rds.set_cluster(name, None);
    let after = described(&rds, name).await;
    let created = after.instance_create_time().unwrap();
    assert_eq!(created.to_millis().unwrap(), 1_727_784_000_123);
    assert_eq!(after.db_cluster_identifier(), None);
    assert_eq!(after.engine(), Some("postgres"));
    assert_eq!(after.tag_list().len(), 0);
    assert_eq!(after.dbi_resource_id(), before.dbi_resource_id());
    let clusters = sdk(&rds).describe_db_clusters().send().await.unwrap();
    assert_eq!(clusters.db_clusters()[0].tag_list().len(), 0);
    assert_eq!(clusters.db_clusters()[0].db_cluster_members().len(), 0);

    rds.set_created(name, None);
    let found = described(&rds, name).await;
    assert_eq!(found.instance_create_time(), None);
    rds.remove_cluster("aurora-1");
    let clusters = sdk(&rds).describe_db_clusters().send().await.unwrap();
    assert_eq!(clusters.db_clusters().len(), 0);
}
