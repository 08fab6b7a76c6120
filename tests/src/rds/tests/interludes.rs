//! What happens between a listing and a download, and in the middle of a body.

use super::downloads::{content, serving};
use super::listings::listed;
use super::*;

const FILE: &str = "audit/audit.log.0";
const ACTIVE: &str = "audit/server_audit.log";

#[tokio::test]
async fn a_file_grows_between_its_listing_and_its_download() {
    let (rds, path) = serving(&Bytes::from("1\n"));
    rds.grow_after_listing("db-1", 1, FILE, "2\n", 2);
    assert_eq!(listed(&rds).await, [(FILE.to_owned(), 2, 1)]);
    assert_eq!(get(&rds, &path).await.body, b"1\n2\n");
    assert_eq!(listed(&rds).await, [(FILE.to_owned(), 4, 2)]);
}

#[tokio::test]
async fn a_file_grows_while_its_body_is_served() {
    let (rds, path) = serving(&content());
    rds.grow_during_download("db-1", FILE, 100_000, "more", 2);
    let grown = [content(), Bytes::from("more")].concat();
    let answer = get(&rds, &path).await;
    assert!(answer.body == grown, "{} bytes", answer.body.len());
    assert_eq!(answer.broken, None);
    assert_eq!(get(&rds, &path).await.body.len(), 200_004);

    rds.configure(|behaviour| behaviour.content_length = true);
    rds.grow_during_download("db-1", FILE, 100_000, "more", 3);
    let answer = get(&rds, &path).await;
    assert_eq!((answer.body.len(), answer.broken), (200_004, None));
    assert_eq!(get(&rds, &path).await.body.len(), 200_008);
}

#[tokio::test]
async fn a_rotation_during_a_download_continues_with_the_old_or_the_new_file() {
    for (rest, expected) in [
        (Rest::Original, content()),
        (Rest::Current, content().slice(..100_000)),
    ] {
        let rds = rds_with_instance();
        rds.put_file("db-1", ACTIVE, content(), 1);
        rds.rotate_during_download("db-1", ACTIVE, 100_000, rest, 2);
        let answer = get(&rds, &format!("{DOWNLOAD}{ACTIVE}")).await;
        assert!(answer.body == expected, "{} bytes", answer.body.len());
        assert_eq!(answer.broken, None);
        let rotated = format!("{ACTIVE}.1");
        assert_eq!(
            listed(&rds).await,
            [(ACTIVE.to_owned(), 0, 2), (rotated, 200_000, 1)]
        );
    }
}

#[tokio::test]
async fn a_broken_download_leaves_its_interlude_for_the_next() {
    let (rds, path) = serving(&content());
    let cut = Fault::Truncate { after_bytes: 9 };
    rds.fail(Where::download(ANY, ANY), cut, 1);
    rds.during_download("db-1", FILE, 10, Rest::Current, |rds| {
        rds.remove_file("db-1", FILE);
    });
    assert_eq!(get(&rds, &path).await.body.len(), 9);
    let answer = get(&rds, &path).await;
    assert_eq!((answer.status, answer.body.len()), (200, 10));
    assert_eq!(get(&rds, &path).await.status, 404);
}
