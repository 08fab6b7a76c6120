//! Counts of what was asked.

use super::listings::list;
use super::*;

#[tokio::test]
async fn calls_are_counted_per_instance_and_action() {
    let rds = rds_with_instance();
    rds.add_instance(instance("db-2", None));
    for name in ["audit/1", "audit/2", "audit/3"] {
        rds.put_file("db-1", name, "content", 1);
    }
    rds.configure(|behaviour| behaviour.page_size = 2);
    list(&rds).await;
    get(&rds, &format!("{DOWNLOAD}audit/1")).await;
    get(&rds, "/v13/downloadCompleteLogFile/db-2/audit/none").await;

    let of_first = Calls {
        listings: 1,
        pages: 2,
        downloads: 1,
        refused: 0,
    };
    let of_second = Calls {
        refused: 1,
        ..Calls::default()
    };
    assert_eq!(rds.calls("db-1"), of_first);
    assert_eq!(rds.calls("db-2"), of_second);
    assert_eq!(rds.calls("db-3"), Calls::default());
    let of_all = Calls {
        refused: 1,
        ..of_first
    };
    assert_eq!(rds.calls(ANY), of_all);
    let by_instance: Vec<_> = rds.calls_by_instance().into_iter().collect();
    let expected = [
        ("db-1".to_owned(), of_first),
        ("db-2".to_owned(), of_second),
    ];
    assert_eq!(by_instance, expected);
    let by_action = rds.calls_by_action();
    assert_eq!(by_action["DescribeDBLogFiles"], 2);
    assert_eq!(by_action["downloadCompleteLogFile"], 2);

    rds.forget_calls();
    assert_eq!(rds.calls(ANY), Calls::default());
    list(&rds).await;
    assert_eq!(rds.calls("db-1").listings, 1);
}
