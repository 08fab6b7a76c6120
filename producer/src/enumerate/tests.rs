use aws_sdk_rds::types::DbClusterMember;

use super::*;

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

fn cluster(name: &str, engine: &str, members: &[&str], tags: &[Tag]) -> DbCluster {
    let members = members.iter().map(|member| {
        DbClusterMember::builder()
            .db_instance_identifier(*member)
            .build()
    });
    DbCluster::builder()
        .db_cluster_identifier(name)
        .engine(engine)
        .set_db_cluster_members(Some(members.collect()))
        .set_tag_list(Some(tags.to_vec()))
        .build()
}

fn instance(name: &str, cluster: Option<&str>, engine: &str, tags: &[Tag]) -> DbInstance {
    DbInstance::builder()
        .db_instance_identifier(name)
        .dbi_resource_id(format!("db-{name}"))
        .db_instance_arn(format!("arn:aws:rds:eu-west-1:123456789012:db:{name}"))
        .db_instance_status("available")
        .set_db_cluster_identifier(cluster.map(str::to_owned))
        .engine(engine)
        .set_tag_list(Some(tags.to_vec()))
        .build()
}

fn fleet(clusters: &str, instances: &str) -> Fleet {
    let prod = tag("env", "prod");
    let all_clusters = [
        cluster(
            "orders",
            "aurora-mysql",
            &["orders-1", "orders-2"],
            std::slice::from_ref(&prod),
        ),
        cluster("billing", "aurora-mysql", &["billing-1"], &[]),
        cluster(
            "graph",
            "neptune",
            &["graph-1"],
            std::slice::from_ref(&prod),
        ),
        cluster("half-made", "aurora-mysql", &["ghost"], &[]),
    ];
    let all_instances = vec![
        instance("orders-1", Some("orders"), "aurora-mysql", &[]),
        instance("orders-2", None, "aurora-mysql", &[]), // one answer is older than the other
        instance("orders-3", Some("orders"), "aurora-mysql", &[]),
        instance("billing-1", Some("billing"), "aurora-mysql", &[]),
        instance("graph-1", Some("graph"), "neptune", &[]),
        instance("legacy", None, "mariadb", std::slice::from_ref(&prod)),
        instance("reports", None, "postgres", &[]),
    ];
    select(
        &all_clusters,
        &all_instances,
        &clusters.parse().unwrap(),
        &instances.parse().unwrap(),
        "us-east-1",
    )
}

fn names(fleet: &Fleet) -> Vec<String> {
    fleet
        .found
        .iter()
        .map(|one| format!("{}/{}", one.instance.cluster, one.instance.name))
        .collect()
}

#[test]
fn selections_mean_what_they_say() {
    for (clusters, instances, expected) in [
        (
            "orders",
            "",
            &["orders/orders-1", "orders/orders-2", "orders/orders-3"][..],
        ),
        (
            "ORDERS, billing",
            "",
            &[
                "billing/billing-1",
                "orders/orders-1",
                "orders/orders-2",
                "orders/orders-3",
            ],
        ),
        (
            "tag:env=prod",
            "",
            &["orders/orders-1", "orders/orders-2", "orders/orders-3"],
        ),
        ("graph", "", &["graph/graph-1"]), // named, so meant, whatever its engine
        ("", "legacy", &["legacy/legacy"]),
        ("", "tag:env=prod", &["legacy/legacy"]),
        (
            "billing,billing",
            "legacy,tag:env=prod",
            &["billing/billing-1", "legacy/legacy"],
        ),
        ("", "billing-1", &["billing/billing-1"]), // a member by its own name
    ] {
        let fleet = fleet(clusters, instances);
        assert_eq!(names(&fleet), expected, "{clusters} {instances}");
        assert_eq!(fleet.problems, [""; 0], "{clusters} {instances}");
    }
    let everything = fleet("*", "*");
    assert_eq!(
        names(&everything),
        [
            "billing/billing-1",
            "legacy/legacy",
            "orders/orders-1",
            "orders/orders-2",
            "orders/orders-3"
        ]
    );
    assert_eq!(
        everything.other_engines,
        [
            "cluster graph (neptune)",
            "instance graph-1 (neptune)",
            "instance reports (postgres)"
        ]
    );
}

#[test]
fn account_and_region_come_from_the_arn() {
    let found = fleet("", "legacy").found.remove(0);
    assert_eq!(
        (
            found.instance.account.as_str(),
            found.instance.region.as_str()
        ),
        ("123456789012", "eu-west-1")
    );
}

#[test]
fn what_is_selected_in_vain_is_a_problem_and_stops_nothing() {
    let fleet = fleet("ordres,half-made,billing,tag:env=dev", "legcy");
    assert_eq!(names(&fleet), ["billing/billing-1"]);
    assert_eq!(
        fleet.problems,
        [
            "cluster ordres does not exist; the closest that do: orders, graph, billing",
            "no cluster has the tag env=dev",
            "cluster half-made has a member ghost that DescribeDBInstances does not know",
            "instance legcy does not exist; the closest that do: legacy, reports, billing-1",
        ]
    );
}

#[test]
fn an_empty_world_is_a_problem() {
    let fleet = select(
        &[],
        &[],
        &"*".parse().unwrap(),
        &Selection::default(),
        "us-east-1",
    );
    assert_eq!(
        fleet.problems,
        ["CLUSTERS and INSTANCES select no instance at all"]
    );
    let fleet = select(
        &[],
        &[],
        &"a".parse().unwrap(),
        &Selection::default(),
        "us-east-1",
    );
    assert_eq!(
        fleet.problems,
        ["cluster a does not exist, nor does any other cluster"]
    );
}

#[test]
fn a_selection_by_no_tag_is_refused() {
    assert!(
        "tag:env"
            .parse::<Selection>()
            .unwrap_err()
            .contains("tag:Key=Value")
    );
    assert!("tag:=x".parse::<Selection>().is_err());
    assert_eq!(" , ,".parse::<Selection>(), Ok(Selection::default()));
}
