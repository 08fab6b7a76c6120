//! What is signed, and the signing of it.

use std::fmt;

use axum::http::HeaderValue;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode,
};
use sha2::{Digest as _, Sha256};

use super::Received;

/// The only algorithm there is.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// All that is percent-encoded in a name, a value or one segment of a path.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a signing key is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// As `20150830`.
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/aws4_request",
            self.date, self.region, self.service
        )
    }
}

pub(super) fn canonical_request(
    request: &Received<'_>,
    signed_headers: &[&str],
    payload: &str,
) -> String {
    let header = |name: &&str| {
        let values = request.headers.get_all(*name).iter();
        let values: Vec<_> = values.map(canonical_value).collect();
        format!("{name}:{}", values.join(","))
    };
    let headers: Vec<_> = signed_headers.iter().map(header).collect();
    [
        request.method,
        &canonical_path(request.path),
        &canonical_query(request.query),
        &headers.join("\n"),
        "",
        &signed_headers.join(";"),
        payload,
    ]
    .join("\n")
}

/// Resolves dots and doubled slashes, then percent-encodes what the wire has already encoded once.
///
/// The second time is the rule of every service but S3.
pub(super) fn canonical_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(utf8_percent_encode(segment, RESERVED).to_string()),
        }
    }
    let is_folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    if is_folder && !segments.is_empty() {
        segments.push(String::new());
    }
    format!("/{}", segments.join("/"))
}

/// Sorts by encoded name, then by encoded value.
fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&decoded, RESERVED).to_string()
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Trims, and makes one space of many.
fn canonical_value(value: &HeaderValue) -> String {
    let value = String::from_utf8_lossy(value.as_bytes());
    let words: Vec<_> = value.split_ascii_whitespace().collect();
    words.join(" ")
}

pub(super) fn string_to_sign(date: &str, scope: Scope<'_>, canonical: &str) -> String {
    let hash = hex::encode(Sha256::digest(canonical));
    format!("{ALGORITHM}\n{date}\n{scope}\n{hash}")
}

pub(super) fn sign(secret: &str, scope: Scope<'_>, to_sign: &str) -> String {
    let key = format!("AWS4{secret}").into_bytes();
    let key = [scope.date, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(key, |key, part| hmac(&key, part));
    hex::encode(hmac(&key, to_sign))
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
