//! A dead letter that is left comes back when it was hidden for long enough, before others that were never seen.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{count, file, quarantined};

/// An SQS that answers receives with what a test has prepared, and all else with success.
#[derive(Default)]
struct Scripted {
    receives: Mutex<VecDeque<Vec<(String, String)>>>,
    /// What was asked for: the action, and the receipt of it if it is about one.
    asked: Mutex<Vec<(String, String)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    /// Starts it on a free port; the value for `AWS_ENDPOINT_URL_SQS`, and what ends it when it is dropped.
    async fn start(self: &Arc<Self>) -> anyhow::Result<(String, JoinSet<()>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = Router::new()
            .route("/", post(answer))
            .with_state(Arc::clone(self));
        let mut server = JoinSet::new();
        server.spawn(async {
            let served = axum::serve(listener, routes).await;
            served.expect("it ends only when it is dropped");
        });
        Ok((url, server))
    }

    /// The receipts that an action was asked for with.
    fn receipts(&self, action: &str) -> Vec<String> {
        let asked = lock(&self.asked);
        let of_action = asked.iter().filter(|(asked, _)| asked == action);
        let mut receipts: Vec<_> = of_action.map(|(_, receipt)| receipt.clone()).collect();
        receipts.sort_unstable();
        receipts
    }
}

async fn answer(
    State(sqs): State<Arc<Scripted>>,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    let action = headers
        .get("x-amz-target")
        .and_then(|name| name.to_str().ok());
    let action = action.unwrap_or_default().replace("AmazonSQS.", "");
    let request: Value = serde_json::from_str(&body).expect("the SDK speaks JSON");
    let receipt = request["ReceiptHandle"].as_str().unwrap_or_default();
    lock(&sqs.asked).push((action.clone(), receipt.to_owned()));
    let answer = match action.as_str() {
        "GetQueueAttributes" => json!({"Attributes": {
            "ApproximateNumberOfMessages": "1",
            "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
        }}),
        "ReceiveMessage" => {
            let letters = lock(&sqs.receives).pop_front().unwrap_or_default();
            let letters = letters.into_iter().map(|(receipt, body)| {
                let id = receipt.split('@').next().unwrap_or_default();
                json!({"MessageId": id, "ReceiptHandle": receipt, "Body": body})
            });
            json!({"Messages": letters.collect::<Vec<_>>()})
        }
        "SendMessageBatch" => json!({
            "Successful": [{"Id": "0", "MessageId": "0", "MD5OfMessageBody": "0"}],
            "Failed": [],
        }),
        _ => json!({}),
    };
    let json = [("content-type", "application/x-amz-json-1.0")];
    (json, answer.to_string())
}

#[tokio::test]
async fn letters_that_come_back_hide_no_letter_behind_them() -> anyhow::Result<()> {
    let world = quarantined(1).await?;
    let wanted = world.version(&file(0))?.to_wire();
    let unreadable = |round: u32| -> Vec<(String, String)> {
        let letter = |n: u32| (format!("{n}@{round}"), "hello".to_owned());
        (0..10).map(letter).collect()
    };
    let sqs = Arc::new(Scripted::default());
    lock(&sqs.receives).extend([
        unreadable(1),
        unreadable(2),
        vec![("wanted@1".to_owned(), wanted)],
    ]);
    let (url, _server) = sqs.start().await?;
    let ended = world
        .auditferry_with(&["requeue", "--json"], &[("AWS_ENDPOINT_URL_SQS", &url)])
        .await?;
    let letters = ended.json()?;
    let counts = (count(&letters, "requeued"), count(&letters, "left"));
    assert_eq!((ended.code(), counts), (Some(1), (1, 10)), "{letters:#}");
    assert_eq!(world.version_row(&file(0)).await?["state"], "Queued");
    assert_eq!(sqs.receipts("DeleteMessage"), ["wanted@1"]);
    // Each is given back once, by the receipt that is good.
    let last: Vec<_> = unreadable(2).into_iter().map(|(last, _)| last).collect();
    assert_eq!(sqs.receipts("ChangeMessageVisibility"), last);
    Ok(())
}

#[tokio::test]
async fn letters_that_keep_coming_back_are_no_reason_to_go_on_for_ever() -> anyhow::Result<()> {
    let world = quarantined(0).await?;
    let sqs = Arc::new(Scripted::default());
    let always = |round: u32| vec![(format!("a@{round}"), "hello".to_owned())];
    lock(&sqs.receives).extend((1..1000).map(always));
    let (url, _server) = sqs.start().await?;
    let ended = world
        .auditferry_with(&["requeue", "--json"], &[("AWS_ENDPOINT_URL_SQS", &url)])
        .await?;
    let letters = ended.json()?;
    assert_eq!((ended.code(), count(&letters, "left")), (Some(1), 1));
    Ok(())
}
