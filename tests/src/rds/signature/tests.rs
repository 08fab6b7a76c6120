//! The vectors that AWS publishes for Signature Version 4.

use super::canonical::canonical_path;
use super::*;

type Pairs<'a> = &'a [(&'static str, &'a str)];

/// From `aws-sig-v4-test-suite`: name, method, path, query, headers, body, signature.
const VECTORS: [(&str, &str, &str, &str, Pairs<'_>, &str, &str); 8] = [
    (
        "get-vanilla",
        "GET",
        "/",
        "",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-vanilla-query-order-encoded",
        "GET",
        "/",
        "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        &[],
        "",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "get-slashes-normalized",
        "GET",
        "//example//",
        "",
        &[],
        "",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    (
        "get-relative-relative-normalized",
        "GET",
        "/example1/example2/../..",
        "",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-header-value-trim",
        "GET",
        "/",
        "",
        &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "get-header-key-duplicate",
        "GET",
        "/",
        "",
        &[
            ("my-header1", "value2"),
            ("my-header1", "value2"),
            ("my-header1", "value1"),
        ],
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-vanilla-with-session-token",
        "GET",
        "/",
        "",
        &[(
            "x-amz-security-token",
            "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
        )],
        "",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    ),
    (
        "post-x-www-form-urlencoded-parameters",
        "POST",
        "/",
        "",
        &[
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("content-length", "13"),
            (
                "x-amz-content-sha256",
                "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            ),
        ],
        "Param1=value1",
        "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    ),
];

#[test]
fn the_published_vectors_hold() {
    let now: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
    for (name, method, path, query, extra, body, signature) in VECTORS {
        let mut headers = HeaderMap::new();
        let always = [
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        for (name, value) in always.iter().chain(extra) {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut signed: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        signed.sort_unstable();
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={}, Signature={signature}",
            signed.join(";")
        );
        let session_token = headers
            .get("x-amz-security-token")
            .map(|token| token.to_str().unwrap().to_owned());
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());

        let access = Access {
            session_token,
            region: "us-east-1".to_owned(),
            ..Access::default()
        };
        let verifier = Verifier {
            access: &access,
            token_expired: false,
            service: "service",
            authority: "example.amazonaws.com",
            now,
        };
        let request = Received {
            method,
            path,
            query,
            headers: &headers,
            body: body.as_bytes(),
        };
        if let Err(refusal) = verifier.verify(&request) {
            panic!("{name}: {refusal:?}");
        }
    }
}

#[test]
fn paths_are_encoded_twice() {
    for (sent, canonical) in [
        // double-encode-path
        (
            "/test/@connections/JBDvjfGEIAMCERw%3D",
            "/test/%40connections/JBDvjfGEIAMCERw%253D",
        ),
        // double-url-encode, shortened
        (
            "/functions/arn%3Aaws%3Alambda/invocations",
            "/functions/arn%253Aaws%253Alambda/invocations",
        ),
        (
            "/v13/x/i/audit/audit.log.0~_-",
            "/v13/x/i/audit/audit.log.0~_-",
        ),
    ] {
        assert_eq!(canonical_path(sent), canonical);
    }
}

/// The headers of a request that [`Verifier::verify`] accepts, with `Host` among them.
pub(in super::super) fn signed_headers(
    access: &Access,
    (method, path, query, body): (&str, &str, &str, &str),
    authority: &str,
    now: Timestamp,
) -> HeaderMap {
    let date = now.strftime(ISO_8601_BASIC).to_string();
    let (day, _) = date.split_once('T').unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, authority.parse().unwrap());
    headers.insert("x-amz-date", date.parse().unwrap());
    if let Some(token) = &access.session_token {
        headers.insert("x-amz-security-token", token.parse().unwrap());
    }
    let scope = Scope {
        date: day,
        region: &access.region,
        service: "rds",
    };
    let mut signed: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    signed.sort_unstable();
    let request = Received {
        method,
        path,
        query,
        headers: &headers,
        body: body.as_bytes(),
    };
    let payload = hex::encode(Sha256::digest(body));
    let canonical = canonical_request(&request, &signed, &payload);
    let signature = sign(
        &access.secret_key,
        scope,
        &string_to_sign(&date, scope, &canonical),
    );
    let header = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        access.access_key,
        signed.join(";"),
    );
    headers.insert(AUTHORIZATION, header.parse().unwrap());
    headers
}
