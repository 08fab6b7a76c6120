//! What must hold for any input at all: each target takes bytes, and panics if they break a promise.
//!
//! The integration tests run them on the corpus in `tests/corpus` and on seeded mutations of it; `fuzz/` at the top of the
//! repository runs them under libFuzzer, guided by coverage.

// Names that RDS lists, and the keys that are made of them.
pub mod names;

// Bodies that the queue holds.
pub mod messages;

// Answers of RDS to DescribeDBLogFiles.
pub mod listing;

// What the archive says of an object.
pub mod metadata;

use std::borrow::Cow;

use shared::instance::Instance;

/// An instance of this name.
fn instance(cluster: &str, name: &str) -> Instance {
    Instance {
        resource_id: "db-ABC".to_owned(),
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-central-1".to_owned(),
    }
}

/// The lines of `data`, as text.
fn lines(data: &[u8]) -> Vec<Cow<'_, str>> {
    data.split(|byte| *byte == b'\n')
        .map(String::from_utf8_lossy)
        .collect()
}
