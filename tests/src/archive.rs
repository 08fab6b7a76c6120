//! What the archive holds, read back by means of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use anyhow::Context;

/// One object.
#[derive(Debug, Clone)]
pub struct Object {
    /// As stored.
    pub stored: Vec<u8>,
    /// Decompressed.
    pub raw: Vec<u8>,
    /// Its entity tag.
    pub etag: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its content encoding, which must be none.
    pub content_encoding: Option<String>,
}

/// Every key of a bucket, in order.
pub async fn keys(s3: &aws_sdk_s3::Client, bucket: &str) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut pages = s3.list_objects_v2().bucket(bucket).into_paginator().send();
    while let Some(page) = pages.next().await {
        keys.extend(
            page?
                .contents
                .unwrap_or_default()
                .into_iter()
                .filter_map(|object| object.key),
        );
    }
    keys.sort();
    Ok(keys)
}

/// One object, decompressed according to the end of its key.
pub async fn object(s3: &aws_sdk_s3::Client, bucket: &str, key: &str) -> anyhow::Result<Object> {
    let got = s3
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .with_context(|| format!("get {key}"))?;
    let metadata = got
        .metadata()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let etag = got.e_tag.clone().unwrap_or_default();
    let (content_type, content_encoding) = (got.content_type.clone(), got.content_encoding.clone());
    #[expect(clippy::disallowed_methods, reason = "a test compares whole objects")]
    let stored = got.body.collect().await?.to_vec();
    let raw = decompress(key, &stored)?;
    Ok(Object {
        stored,
        raw,
        etag,
        metadata,
        content_type,
        content_encoding,
    })
}

/// Every object of a bucket by key.
pub async fn objects(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
) -> anyhow::Result<BTreeMap<String, Object>> {
    let mut objects = BTreeMap::new();
    for key in keys(s3, bucket).await? {
        let object = object(s3, bucket, &key).await?;
        objects.insert(key, object);
    }
    Ok(objects)
}

fn decompress(key: &str, stored: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut raw = Vec::new();
    match key.rsplit('.').next() {
        Some("gz") => flate2::read::MultiGzDecoder::new(stored)
            .read_to_end(&mut raw)
            .with_context(|| format!("gunzip {key}"))?,
        Some("zst") => zstd::Decoder::new(stored)?
            .read_to_end(&mut raw)
            .with_context(|| format!("unzstd {key}"))?,
        _ => raw.write(stored)?,
    };
    Ok(raw)
}

/// The folders and files of keys as a tree, for people.
pub fn tree(keys: &[String]) -> String {
    let mut lines = Vec::new();
    branch(
        &mut lines,
        "",
        &keys
            .iter()
            .map(|key| key.split('/').collect())
            .collect::<Vec<Vec<&str>>>(),
    );
    lines.join("\n")
}

fn branch(lines: &mut Vec<String>, indent: &str, paths: &[Vec<&str>]) {
    let mut below: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    for path in paths {
        if let Some((first, rest)) = path.split_first() {
            let rests = below.entry(first).or_default();
            if !rest.is_empty() {
                rests.push(rest.to_vec());
            }
        }
    }
    let last = below.len().saturating_sub(1);
    for (position, (mut name, mut rests)) in below
        .into_iter()
        .map(|(name, rests)| (name.to_owned(), rests))
        .enumerate()
    {
        // A folder with a single entry stands on that entry's line.
        while let Some(only) = only_child(&rests) {
            name = format!("{name}/{only}");
            rests = rests
                .into_iter()
                .filter(|rest| rest.len() > 1)
                .map(|rest| rest.into_iter().skip(1).collect())
                .collect();
        }
        let (knot, under) = if position == last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        lines.push(format!("{indent}{knot}{name}"));
        branch(lines, &format!("{indent}{under}"), &rests);
    }
}

fn only_child(rests: &[Vec<&str>]) -> Option<String> {
    let first = *rests.first()?.first()?;
    rests
        .iter()
        .all(|rest| rest.first() == Some(&first))
        .then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_joins_what_has_one_entry() {
        let keys = ["a/b/c/1", "a/b/c/2", "a/b/d/e/3", "f/4"].map(str::to_owned);
        assert_eq!(
            tree(&keys),
            "├── a/b\n│   ├── c\n│   │   ├── 1\n│   │   └── 2\n│   └── d/e/3\n└── f/4"
        );
    }
}
