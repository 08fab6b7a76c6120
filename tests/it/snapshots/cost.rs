//! `auditferry cost`, for people and for programs; the README has another fleet.

use std::collections::BTreeMap;

use tests::programs::{self, Environment};
use tests::regenerate;

const FLEET: [&str; 9] = [
    "cost",
    "--instances",
    "3",
    "--gb-per-day",
    "0.5",
    "--region",
    "eu-central-1",
    "--retention-months",
    "84",
];

#[tokio::test]
async fn cost_as_text_and_as_json() -> anyhow::Result<()> {
    let mut texts = BTreeMap::new();
    for (file, more) in [("estimate.txt", &[][..]), ("estimate.json", &["--json"])] {
        let arguments = [&FLEET[..], more].concat();
        let ended = programs::run("auditferry", &arguments, &Environment::new()).await?;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        texts.insert(file.to_owned(), ended.stdout);
    }
    regenerate::snapshots("cost", &texts)
}
