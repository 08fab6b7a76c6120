//! Which instances `CLUSTERS` and `INSTANCES` mean.

use serde_json::Value;
use tests::rds::Where;
use tests::world::{MINUTE, NOON, World};

use super::{enumerate, report, says, texts};

const FILE: &str = "audit/audit.log.0.2024-10-01-12-00.0";

/// Two Aurora clusters, three standalone instances, and what has no audit log files; each with one file that is due.
async fn world() -> anyhow::Result<World> {
    let world = World::new().await?;
    let audited = [("Audit", "yes")];
    world.add_cluster("orders", "aurora-mysql", &[], &["orders-1", "orders-2"]);
    world.add_cluster("billing", "aurora-mysql", &audited, &["billing-1"]);
    world.add_cluster("geo", "aurora-postgresql", &audited, &["geo-1"]);
    world.add_instance("legacy", None, "mariadb", &[]);
    world.add_instance("shop", None, "mysql", &audited);
    world.add_instance("reports", None, "postgres", &audited);
    let instances = [
        "orders-1",
        "orders-2",
        "billing-1",
        "geo-1",
        "legacy",
        "shop",
        "reports",
    ];
    for instance in instances {
        world.rds.put_file(instance, FILE, "one line\n", NOON);
    }
    Ok(world)
}

fn found(summary: &Value) -> Vec<String> {
    let reports = summary["instances"].as_array().into_iter().flatten();
    let text = |report: &Value, field: &str| report[field].as_str().unwrap_or_default().to_owned();
    let name = |report: &Value| format!("{}/{}", text(report, "cluster"), text(report, "instance"));
    reports.map(name).collect()
}

#[tokio::test]
async fn clusters_and_instances_are_selected_by_name_by_star_and_by_tag() -> anyhow::Result<()> {
    let world = world().await?;
    for (clusters, instances, expected) in [
        ("orders", "", &["orders/orders-1", "orders/orders-2"][..]),
        (
            " Orders , billing,",
            "",
            &["billing/billing-1", "orders/orders-1", "orders/orders-2"],
        ),
        ("tag:Audit=yes", "", &["billing/billing-1"]),
        ("", "legacy", &["legacy/legacy"]),
        ("", "tag:Audit=yes", &["shop/shop"]),
        ("", "*", &["legacy/legacy", "shop/shop"]),
        // By its own name, a member is meant, too; and once, however often.
        (
            "billing",
            "billing-1,orders-2",
            &["billing/billing-1", "orders/orders-2"],
        ),
        // What is named is meant, whatever its engine.
        ("geo", "reports", &["geo/geo-1", "reports/reports"]),
    ] {
        let with = [("CLUSTERS", clusters), ("INSTANCES", instances)];
        let ended = world
            .auditferry_with(&["enumerate", "--dry-run", "--json"], &with)
            .await?;
        assert_eq!(ended.code(), Some(0), "{with:?}: {ended:?}");
        let summary = ended.json()?;
        assert_eq!(found(&summary), expected, "{with:?}");
        assert_eq!(summary["sent"], expected.len(), "{with:?}");
    }
    Ok(())
}

#[tokio::test]
async fn star_leaves_out_engines_without_such_files_and_says_which() -> anyhow::Result<()> {
    let world = world().await?;
    let summary = world.enumerate().await?;
    assert_eq!(
        found(&summary),
        [
            "billing/billing-1",
            "legacy/legacy",
            "orders/orders-1",
            "orders/orders-2",
            "shop/shop"
        ]
    );
    assert_eq!(summary["sent"], 5);
    for left_out in [
        "cluster geo (aurora-postgresql)",
        "instance reports (postgres)",
    ] {
        assert!(says(&summary, "other_engines", left_out), "{summary:#}");
    }
    for asked in ["geo-1", "reports"] {
        assert_eq!(world.rds.count(&Where::listing(asked)), 0, "{asked}");
    }
    Ok(())
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_the_closest_that_do_and_stops_nothing()
-> anyhow::Result<()> {
    let mut world = world().await?;
    world.expect_error("does not exist");
    world.expect_error("no cluster has the tag");
    let with = [
        ("CLUSTERS", "order,billing,tag:Audit=maybe"),
        ("INSTANCES", "legady"),
    ];
    let (code, summary) = enumerate(&world, &with).await?;
    assert_eq!(code, Some(1), "{summary:#}");
    assert_eq!(summary["failures"], 3);
    let problems = texts(&summary, "problems");
    let [cluster, tag, instance] = problems.as_slice() else {
        panic!("three problems: {problems:#?}")
    };
    let closest = "cluster order does not exist; the closest that do: orders";
    assert!(cluster.starts_with(closest), "{cluster}");
    assert_eq!(tag, "no cluster has the tag Audit=maybe");
    let closest = "instance legady does not exist; the closest that do: legacy";
    assert!(instance.starts_with(closest), "{instance}");
    assert_eq!(report(&summary, "billing-1")?["sent"], 1);
    world.take(1).await?;

    // People read the same.
    let ended = world.auditferry_with(&["enumerate"], &with).await?;
    assert_eq!(ended.code(), Some(1));
    for problem in problems {
        assert!(ended.stdout.contains(&problem), "{}", ended.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn a_member_is_found_by_its_name_in_any_case() -> anyhow::Result<()> {
    let world = world().await?;
    let with = [("CLUSTERS", "billing"), ("INSTANCES", "ORDERS-1,LEGACY")];
    let (code, summary) = enumerate(&world, &with).await?;
    assert_eq!(code, Some(0), "{summary:#}");
    assert_eq!(
        found(&summary),
        ["billing/billing-1", "legacy/legacy", "orders/orders-1"]
    );
    Ok(())
}

#[tokio::test]
async fn a_cluster_without_instances_is_a_problem_for_whoever_names_it() -> anyhow::Result<()> {
    let mut world = world().await?;
    let problem = "cluster empty has no instances";
    world.expect_error(problem);
    world.add_cluster("empty", "aurora-mysql", &[], &[]);
    for (clusters, code, problems) in [("*", 0, &[][..]), ("*,empty", 1, &[problem])] {
        let (ended, summary) = enumerate(&world, &[("CLUSTERS", clusters)]).await?;
        assert_eq!(ended, Some(code), "{clusters}: {summary:#}");
        assert_eq!(texts(&summary, "problems"), problems, "{clusters}");
        assert_eq!(found(&summary).len(), 5, "{clusters}: {summary:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_account_without_instances_is_a_problem() -> anyhow::Result<()> {
    let mut world = World::new().await?;
    world.expect_error("select no instance at all");
    let (code, summary) = enumerate(&world, &[]).await?;
    assert_eq!(code, Some(1));
    assert_eq!(
        texts(&summary, "problems"),
        ["CLUSTERS and INSTANCES select no instance at all"]
    );
    Ok(())
}

#[tokio::test]
async fn selecting_nothing_is_refused_before_anything_is_asked() -> anyhow::Result<()> {
    let world = world().await?;
    for (clusters, instances) in [("", ""), (" , ", ""), ("tag:Audit", "*")] {
        let with = [("CLUSTERS", clusters), ("INSTANCES", instances)];
        let ended = world.auditferry_with(&["enumerate"], &with).await?;
        assert_eq!(ended.code(), Some(64), "{with:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{with:?}: {ended:?}");
        let named = ended.stderr.to_uppercase();
        assert!(named.contains("CLUSTERS"), "{with:?}: {ended:?}");
    }
    assert_eq!(world.rds.requests(), []);
    Ok(())
}

#[tokio::test]
async fn every_request_to_rds_brings_the_session_token() -> anyhow::Result<()> {
    let mut world = World::new().await?;
    world.expect_error("DescribeDBClusters");
    world.add_aurora("orders", &["orders-1"]);
    world.rds.put_file("orders-1", FILE, "x\n", NOON + MINUTE);
    world.enumerate().await?;
    let requests = world.rds.requests();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    for request in &requests {
        assert!(
            request.had_session_token && request.status == 200,
            "{request:#?}"
        );
    }

    // The fake would have noticed.
    let ended = world
        .auditferry_with(&["enumerate"], &[("AWS_SESSION_TOKEN", "")])
        .await?;
    assert_eq!(ended.code(), Some(1));
    assert_eq!(ended.logged("ERROR").len(), 1, "{ended:?}");
    Ok(())
}
