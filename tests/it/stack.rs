//! Holds the local stack to what AWS does, in everything that the product relies on.
//!
//! Real clients, no product code. A newer emulator that fails here would let wrong products pass everywhere else.

// What the checkpoint table rests on.
mod dynamodb;
// What files in many parts rest on.
mod multipart;
// What the archive rests on.
mod s3;
// What the queues rest on.
mod sqs;

use std::fmt::Debug;

use aws_credential_types::Credentials;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tests::stack::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, Stack};

#[tokio::test]
async fn nothing_passes_that_is_signed_with_other_credentials() -> anyhow::Result<()> {
    let stack = Stack::shared().await?;
    let token = || Some(SESSION_TOKEN.to_owned());
    for (key, secret, token, expected) in [
        (
            ACCESS_KEY,
            "another secret",
            token(),
            "SignatureDoesNotMatch",
        ),
        (
            "AKIAANOTHEREXAMPLE",
            SECRET_KEY,
            token(),
            "InvalidClientTokenId",
        ),
        (
            ACCESS_KEY,
            SECRET_KEY,
            Some("another token".to_owned()),
            "InvalidClientTokenId",
        ),
        (ACCESS_KEY, SECRET_KEY, None, "InvalidClientTokenId"),
    ] {
        let config = stack.sdk_config_with(Credentials::new(key, secret, token, None, "test"));
        let s3 = refusal(aws_sdk_s3::Client::new(&config).list_buckets().send().await);
        let sqs = refusal(aws_sdk_sqs::Client::new(&config).list_queues().send().await);
        let dynamodb = refusal(
            aws_sdk_dynamodb::Client::new(&config)
                .list_tables()
                .send()
                .await,
        );
        for refusal in [s3, sqs, dynamodb] {
            assert_eq!(refusal, (403, expected.to_owned()));
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_stacks_share_nothing_and_end_when_dropped() -> anyhow::Result<()> {
    let start = || tokio::task::spawn_blocking(Stack::start);
    let (one, other) = tokio::try_join!(start(), start())?;
    let (one, other) = (one?, other?);
    aws_sdk_sqs::Client::new(&one.sdk_config())
        .create_queue()
        .queue_name("mine")
        .send()
        .await?;
    let theirs = aws_sdk_sqs::Client::new(&other.sdk_config());
    assert_eq!(theirs.list_queues().send().await?.queue_urls(), [""; 0]);

    let address = other.endpoint.trim_start_matches("http://").to_owned();
    tokio::task::spawn_blocking(|| drop(other)).await?;
    let refused = tokio::net::TcpStream::connect(address)
        .await
        .expect_err("the port is closed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    Ok(())
}

/// Status and code of what must have been refused.
fn refusal<T: Debug, E: ProvideErrorMetadata>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (u16, String) {
    let error = result.map_err(Box::new).expect_err("this must be refused");
    let status = error
        .raw_response()
        .map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}
