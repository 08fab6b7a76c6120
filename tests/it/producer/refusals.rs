//! SQS answers 200, and has not taken every message of a batch.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tests::world::by_hand::INSTANCE;
use tests::world::{NOON, World};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{enumerate, report, texts};

/// An SQS that takes a message of such a log file at such a try, and not before.
struct Reluctant {
    file: &'static str,
    takes_at: usize,
    /// The log files of every batch, in order.
    batches: Mutex<Vec<Vec<String>>>,
}

impl Reluctant {
    /// Starts it on a free port; the value for `AWS_ENDPOINT_URL_SQS`, and what ends it when it is dropped.
    async fn start(self: &Arc<Self>) -> anyhow::Result<(String, JoinSet<()>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = Router::new()
            .route("/", post(send_message_batch))
            .with_state(Arc::clone(self));
        let mut server = JoinSet::new();
        server.spawn(async {
            let served = axum::serve(listener, routes).await;
            served.expect("it ends only when it is dropped");
        });
        Ok((url, server))
    }

    fn batches(&self) -> Vec<Vec<String>> {
        let batches = self.batches.lock();
        batches.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it takes a message of this log file, this time.
    fn takes(&self, file: &str) -> bool {
        let tries = self.batches().into_iter().flatten();
        file != self.file || tries.filter(|tried| tried == file).count() >= self.takes_at
    }
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
async fn send_message_batch(
    State(sqs): State<Arc<Reluctant>>,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    let action = headers.get("x-amz-target").cloned();
    let action = action.expect("the SDK speaks JSON");
    assert_eq!(action, "AmazonSQS.SendMessageBatch");
    let request: Value = serde_json::from_str(&body).expect("JSON");
    let field = |entry: &Value, name: &str| {
        let text = entry.get(name).and_then(Value::as_str);
        text.expect("Id and MessageBody are there").to_owned()
    };
    let entries = request.get("Entries").and_then(Value::as_array);
    let entries: Vec<(String, String)> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let message: Value =
                serde_json::from_str(&field(entry, "MessageBody")).expect("our message is JSON");
            (field(entry, "Id"), field(&message, "file"))
        })
        .collect();
    let files = entries.iter().map(|(_, file)| file.clone()).collect();
    sqs.batches
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(files);

    let (taken, left): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, file)| sqs.takes(file));
    let taken = taken.into_iter().map(
        |(id, _)| json!({"Id": id, "MessageId": format!("message-{id}"), "MD5OfMessageBody": "0"}),
    );
    let left = left.into_iter().map(
        |(id, _)| json!({"Id": id, "SenderFault": false, "Code": "InternalError", "Message": "later"}),
    );
    let answer = json!({
        "Successful": taken.collect::<Vec<_>>(),
        "Failed": left.collect::<Vec<_>>(),
    });
    let json = [("content-type", "application/x-amz-json-1.0")];
    (json, answer.to_string())
}

#[tokio::test]
async fn messages_go_out_in_tens_and_one_that_is_not_taken_is_sent_again() -> anyhow::Result<()> {
    let world = World::with_aurora().await?;
    let names: Vec<_> = (0..25).map(|n| format!("audit/{n:02}")).collect();
    for name in &names {
        world.rds.put_file(INSTANCE, name, "x\n", NOON);
    }
    let sqs = Arc::new(Reluctant {
        file: "audit/07",
        takes_at: 3,
        batches: Mutex::default(),
    });
    let (url, _server) = sqs.start().await?;
    let (code, summary) = enumerate(&world, &[("AWS_ENDPOINT_URL_SQS", &url)]).await?;
    assert_eq!((code, &summary["sent"]), (Some(0), &json!(25)));

    let mut batches = sqs.batches();
    let again = ["audit/07".to_owned()];
    let repeats = batches.extract_if(.., |batch| *batch == again);
    assert_eq!(repeats.count(), 2);
    let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let mut sent: Vec<_> = batches.into_iter().flatten().collect();
    sent.sort();
    assert_eq!(sent, names);
    assert_eq!(world.all_versions().await?.len(), 25);
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_never_taken_is_not_recorded_and_fails_its_instance_alone()
-> anyhow::Result<()> {
    let mut world = World::with_aurora().await?;
    world.expect_error("failed to enumerate instance-1: SQS did not take 1 messages");
    world.add_mariadb("legacy");
    for name in ["audit/a", "audit/b", "audit/c"] {
        world.rds.put_file(INSTANCE, name, "x\n", NOON);
    }
    world.rds.put_file("legacy", "audit/d", "x\n", NOON);
    let sqs = Arc::new(Reluctant {
        file: "audit/b",
        takes_at: usize::MAX,
        batches: Mutex::default(),
    });
    let (url, _server) = sqs.start().await?;
    let (code, summary) = enumerate(&world, &[("AWS_ENDPOINT_URL_SQS", &url)]).await?;
    assert_eq!((code, &summary["failures"]), (Some(1), &json!(1)));
    assert_eq!(report(&summary, INSTANCE)?["sent"], 2);
    let error = "SQS did not take 1 messages";
    assert_eq!(report(&summary, INSTANCE)?["error"], error);
    assert_eq!(report(&summary, "legacy")?["sent"], 1);
    assert_eq!(world.versions("audit/b").await?, []);
    assert_eq!(world.all_versions().await?.len(), 3);

    // The next run sends it.
    let summary = world.enumerate().await?;
    assert_eq!(summary["sent"], 1);
    assert_eq!(texts(&summary, "problems"), [""; 0]);
    assert_eq!(world.take_bodies(1).await?[0]["file"], "audit/b");
    Ok(())
}
