//! The benchmark: its servers do as the real ones do, and count right. Nothing here is about time.

use bytes::Bytes;
use tests::bench::figures::name;
use tests::bench::files::Files;
use tests::bench::floor;
use tests::bench::play::play;
use tests::bench::scenario::{Scenario, Settings, Shipper};
use tests::stack::Stack;
use tests::world::by_hand;
use worker::compress::Codec;

fn scenario(files: Files, shipper: Shipper) -> Scenario {
    Scenario {
        id: String::new(),
        title: String::new(),
        files,
        shipper,
    }
}

#[tokio::test]
async fn worker_and_baseline_ship_every_file_and_every_request_is_counted() -> anyhow::Result<()> {
    let stack = Stack::shared().await?;
    // Two parts each, since noise does not shrink.
    let log = Bytes::from(by_hand::noise(1, 10_000_000));
    let (large, small) = (
        Files {
            count: 3,
            size: 9_000_000,
        },
        Files {
            count: 5,
            size: 20_000,
        },
    );
    let settings = Settings {
        level: 1,
        concurrency: 2,
        tls: true,
        ..Settings::of(Codec::Gzip)
    };
    let floor = floor::measure(&log, large, (settings.codec, settings.level), 1)?;
    let by_worker = scenario(large, Shipper::Worker(settings));
    let by_script = scenario(small, Shipper::Baseline { record: true });
    let (worker, script) = tokio::join!(
        Box::pin(play(&by_worker, stack, &log, Some(floor))),
        Box::pin(play(&by_script, stack, &log, None)),
    );
    let (worker, script) = (worker?, script?);

    assert_eq!(worker.objects.len(), 3);
    for (operation, calls) in [
        ("downloadCompleteLogFile", 3),
        ("CreateMultipartUpload", 3),
        ("UploadPart", 6),
        ("CompleteMultipartUpload", 3),
        ("UpdateItem", 6),
    ] {
        let operations = &worker.operations;
        assert_eq!(operations.get(operation), Some(&calls), "{operations:?}");
    }
    let deletes = worker.operations["DeleteMessageBatch"];
    assert!((1..=3).contains(&deletes), "{deletes}");
    assert!(worker.figures[name::CPU_PER_GB] > 0.0);
    let text = |name| format!("{:.2}", worker.figures[name]);
    assert_eq!(text(name::S3_PER_FILE), "4.00");
    assert_eq!(text(name::DYNAMODB_PER_FILE), "2.00");

    assert_eq!(script.objects.len(), 5);
    for operation in [
        "downloadCompleteLogFile",
        "HeadObject",
        "PutObject",
        "PutItem",
    ] {
        let operations = &script.operations;
        assert_eq!(operations.get(operation), Some(&5), "{operations:?}");
    }
    Ok(())
}
