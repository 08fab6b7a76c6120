//! Signatures that do not hold, and errors as the SDK sees them.

use aws_sdk_rds::error::ProvideErrorMetadata as _;

use super::listings::sdk;
use super::*;

/// What the server says to a GET of `path`, signed for `signed_path` with `access`.
async fn refusal(rds: &Rds, access: &Access, signed_path: &str, path: &str) -> (String, String) {
    let authority = rds.shared.address.to_string();
    let headers = signed_headers(
        access,
        ("GET", signed_path, "", ""),
        &authority,
        Timestamp::now(),
    );
    let answer = send(rds, path, headers).await;
    assert_eq!(answer.status, 403);
    answer.error()
}

#[tokio::test]
async fn a_wrong_secret_or_another_path_does_not_match() {
    let rds = rds_with_instance();
    let path = &format!("{DOWNLOAD}audit/a%20b");
    let wrong = Access {
        secret_key: "wrong".to_owned(),
        ..rds.access()
    };
    let (code, message) = refusal(&rds, &wrong, path, path).await;
    assert_eq!(code, "SignatureDoesNotMatch");
    assert!(
        message.contains("audit/a%2520b"),
        "the canonical path: {message}"
    );

    let (code, _) = refusal(&rds, &rds.access(), path, &format!("{DOWNLOAD}audit/other")).await;
    assert_eq!(code, "SignatureDoesNotMatch");

    let decoded = &format!("{DOWNLOAD}audit/a b");
    let (code, _) = refusal(&rds, &rds.access(), decoded, path).await;
    assert_eq!(code, "SignatureDoesNotMatch", "signed as encoded only once");
}

#[tokio::test]
async fn a_wrong_key_or_token_is_invalid() {
    let rds = rds_with_instance();
    let unknown = Access {
        access_key: "AKIDOTHER".to_owned(),
        ..rds.access()
    };
    let tokenless = Access {
        session_token: None,
        ..rds.access()
    };
    let other = Access {
        session_token: Some("other".to_owned()),
        ..rds.access()
    };
    for access in [unknown, tokenless, other] {
        let (code, _) = refusal(&rds, &access, "/", "/").await;
        assert_eq!(code, "InvalidClientTokenId", "{access:?}");
    }
    let accepted = Access {
        session_token: None,
        ..rds.access()
    };
    rds.set_access(accepted.clone());
    let unasked = Access {
        session_token: Some("unasked".to_owned()),
        ..accepted
    };
    assert_eq!(
        refusal(&rds, &unasked, "/", "/").await.0,
        "InvalidClientTokenId"
    );
}

#[tokio::test]
async fn a_scope_elsewhere_does_not_match() {
    let rds = rds_with_instance();
    let access = Access {
        region: "us-west-2".to_owned(),
        ..rds.access()
    };
    let (code, message) = refusal(&rds, &access, "/", "/").await;
    assert_eq!(code, "SignatureDoesNotMatch");
    assert!(
        message.contains("valid region, not &#x27;us-west-2&#x27;"),
        "{message}"
    );
}

#[tokio::test]
async fn host_and_amz_headers_must_be_signed() {
    let rds = rds_with_instance();
    let authority = rds.shared.address.to_string();
    let sign = |authority: &str| {
        signed_headers(
            &rds.access(),
            ("GET", "/", "", ""),
            authority,
            Timestamp::now(),
        )
    };
    let mut unsigned_header = sign(&authority);
    unsigned_header.insert("x-amz-more", "unsigned".parse().unwrap());
    let mut wrong_payload = sign(&authority);
    wrong_payload.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    for headers in [sign("127.0.0.1"), unsigned_header, wrong_payload] {
        let (code, message) = send(&rds, "/", headers).await.error();
        assert_eq!(code, "SignatureDoesNotMatch", "{message}");
    }
    let (code, _) = send(&rds, "/", HeaderMap::new()).await.error();
    assert_eq!(code, "MissingAuthenticationToken");
}

#[tokio::test]
async fn a_skewed_clock_is_refused_and_told() {
    let rds = rds_with_instance();
    rds.put_file("db-1", "f", "content", 0);
    let path = &format!("{DOWNLOAD}f");
    for (skew, expected) in [
        (20, "Signature expired: "),
        (-20, "Signature not yet current: "),
    ] {
        rds.set_clock(SignedDuration::from_mins(skew));
        let answer = get(&rds, path).await;
        let (code, message) = answer.error();
        assert_eq!(
            (answer.status, code.as_str()),
            (403, "SignatureDoesNotMatch")
        );
        assert!(message.starts_with(expected), "{message}");

        // The server's date is enough to be right the next time.
        let date = answer.headers["date"].to_str().unwrap();
        let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
        let authority = rds.shared.address.to_string();
        let headers = signed_headers(&rds.access(), ("GET", path, "", ""), &authority, date);
        assert_eq!(send(&rds, path, headers).await.status, 200);
    }
    rds.set_clock(SignedDuration::from_mins(14));
    assert_eq!(get(&rds, path).await.status, 200);
}

#[tokio::test]
async fn a_token_expires_until_there_are_new_credentials() {
    let rds = rds_with_instance();
    rds.expire_token();
    let (code, _) = refusal(&rds, &rds.access(), "/", "/").await;
    assert_eq!(code, "ExpiredToken");
    rds.set_access(Access {
        session_token: Some("renewed".to_owned()),
        ..rds.access()
    });
    assert_eq!(get(&rds, "/nowhere").await.error().0, "InvalidAction");
}

#[tokio::test]
async fn the_sdk_understands_the_errors() {
    let rds = rds_with_instance();
    let error = sdk(&rds)
        .describe_db_log_files()
        .db_instance_identifier("none")
        .send()
        .await;
    assert!(
        error
            .unwrap_err()
            .into_service_error()
            .is_db_instance_not_found_fault()
    );

    rds.set_instance_status("db-1", "paused");
    let error = sdk(&rds)
        .describe_db_log_files()
        .db_instance_identifier("db-1")
        .send()
        .await;
    assert!(
        error
            .unwrap_err()
            .into_service_error()
            .is_db_instance_not_ready_fault()
    );

    let error = sdk(&rds)
        .describe_db_clusters()
        .db_cluster_identifier("none")
        .send()
        .await;
    assert!(
        error
            .unwrap_err()
            .into_service_error()
            .is_db_cluster_not_found_fault()
    );

    rds.fail(Where::Instances, Fault::Throttle, 1);
    let error = sdk(&rds).describe_db_instances().send().await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Some("Throttling"), Some("Rate exceeded"))
    );

    let wrong = Access {
        secret_key: "wrong".to_owned(),
        ..rds.access()
    };
    let client = sdk(&rds);
    rds.set_access(wrong);
    let error = client.describe_db_instances().send().await.unwrap_err();
    assert_eq!(error.code(), Some("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn what_the_fake_has_not_is_said() {
    let rds = rds_with_instance();
    let describe = sdk(&rds).describe_db_instances();
    let filter = aws_sdk_rds::types::Filter::builder()
        .name("engine")
        .values("mariadb")
        .build();
    let error = describe.clone().filters(filter).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"));
    let error = describe.max_records(19).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"));
    let error = sdk(&rds).describe_events().send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidAction"));

    let query = "/?Version=2014-10-31&DBInstanceIdentifier=db-1&Action=DescribeDBLogFiles";
    let answer = get(&rds, query).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/xml");
}
