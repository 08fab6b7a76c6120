//! Checks AWS Signature Version 4.
//!
//! Written from the specification and sharing no code with `aws-sigv4`, so that a mistake there, or in the way
//! production code uses it, shows here.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use self::canonical::{ALGORITHM, Scope, canonical_request, sign, string_to_sign};
use super::Access;
use super::xml::Refusal;

// What is signed, and the signing of it.
mod canonical;
#[cfg(test)]
pub(super) mod tests;

const ISO_8601_BASIC: &str = "%Y%m%dT%H%M%SZ";
const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// A request as it came, as far as a signature covers it: path and query still percent-encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl<'a> Received<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whose signature is accepted, where, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verifier<'a> {
    pub(super) access: &'a Access,
    pub(super) token_expired: bool,
    pub(super) service: &'a str,
    /// What `Host` must say, with the port.
    pub(super) authority: &'a str,
    pub(super) now: Timestamp,
}

impl Verifier<'_> {
    /// Refuses a request as AWS does, for the first reason found.
    pub(super) fn verify(&self, request: &Received<'_>) -> Result<(), Refusal> {
        let authorization = Authorization::of(request.headers)?;
        self.check_identity(request, &authorization)?;
        self.check_scope(authorization.scope)?;
        let date = self.check_date(request, authorization.scope)?;
        self.check_headers(request.headers, &authorization.signed_headers)?;

        let payload = hex::encode(Sha256::digest(request.body));
        if let Some(claimed) = request.header("x-amz-content-sha256")
            && claimed != payload
        {
            return Err(mismatch(format!(
                "x-amz-content-sha256 is '{claimed}', but the body's SHA-256 is '{payload}'"
            )));
        }

        let canonical = canonical_request(request, &authorization.signed_headers, &payload);
        let to_sign = string_to_sign(date, authorization.scope, &canonical);
        let signature = sign(&self.access.secret_key, authorization.scope, &to_sign);
        if signature == authorization.signature {
            return Ok(());
        }
        Err(mismatch(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.\n\n\
             The Canonical String for this request should have been\n'{canonical}'\n\n\
             The String-to-Sign should have been\n'{to_sign}'"
        )))
    }

    /// Key and token, where either is wrong, are one error to AWS.
    fn check_identity(
        &self,
        request: &Received<'_>,
        authorization: &Authorization<'_>,
    ) -> Result<(), Refusal> {
        let token = request.headers.get("x-amz-security-token");
        let token = token.map(HeaderValue::as_bytes);
        let expected = self.access.session_token.as_deref().map(str::as_bytes);
        if authorization.access_key != self.access.access_key || token != expected {
            return Err(forbidden(
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ));
        }
        if self.token_expired {
            return Err(forbidden(
                "ExpiredToken",
                "The security token included in the request is expired",
            ));
        }
        Ok(())
    }

    fn check_scope(&self, scope: Scope<'_>) -> Result<(), Refusal> {
        let Scope {
            region, service, ..
        } = scope;
        if region != self.access.region {
            return Err(mismatch(format!(
                "Credential should be scoped to a valid region, not '{region}'. "
            )));
        }
        if service != self.service {
            let expected = self.service;
            return Err(mismatch(format!(
                "Credential should be scoped to correct service: '{expected}'. "
            )));
        }
        Ok(())
    }

    /// Returns `x-amz-date` if it is near enough, and on the day of `scope`.
    fn check_date<'a>(&self, request: &Received<'a>, scope: Scope<'_>) -> Result<&'a str, Refusal> {
        let date = request
            .header("x-amz-date")
            .ok_or_else(|| incomplete("Authorization header requires existence of 'X-Amz-Date'"))?;
        let signed_at = DateTime::strptime(ISO_8601_BASIC, date)
            .and_then(|time| time.to_zoned(TimeZone::UTC))
            .map_err(|error| incomplete(format!("Date '{date}' is not ISO 8601 basic: {error}")))?
            .timestamp();
        let basic = |time: Timestamp| time.strftime(ISO_8601_BASIC).to_string();
        let now = basic(self.now);
        let (earliest, latest) = (self.now - TOLERANCE, self.now + TOLERANCE);
        if signed_at < earliest {
            let earliest = basic(earliest);
            return Err(mismatch(format!(
                "Signature expired: {date} is now earlier than {earliest} ({now} - 15 min.)"
            )));
        }
        if signed_at > latest {
            let latest = basic(latest);
            return Err(mismatch(format!(
                "Signature not yet current: {date} is still later than {latest} ({now} + 15 min.)"
            )));
        }
        if date.split('T').next() != Some(scope.date) {
            let day = scope.date;
            return Err(mismatch(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{day}' != '{date}'"
            )));
        }
        Ok(date)
    }

    /// `Host` must name this server; it and all `x-amz-` headers must be signed, and all that is signed be there.
    fn check_headers(&self, headers: &HeaderMap, signed: &[&str]) -> Result<(), Refusal> {
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        if host != Some(self.authority.as_bytes()) {
            let expected = self.authority;
            return Err(mismatch(format!("Host is not '{expected}'")));
        }
        let must_be_signed = |name: &&str| *name == "host" || name.starts_with("x-amz-");
        let mut names = headers
            .keys()
            .map(HeaderName::as_str)
            .filter(must_be_signed);
        if let Some(name) = names.find(|name| !signed.contains(name)) {
            return Err(mismatch(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
        if let Some(name) = signed.iter().find(|name| !headers.contains_key(**name)) {
            return Err(mismatch(format!("'{name}' is signed, but was not sent")));
        }
        Ok(())
    }
}

/// The `Authorization` header, taken apart.
#[derive(Debug)]
struct Authorization<'a> {
    access_key: &'a str,
    scope: Scope<'a>,
    /// Sorted, as the specification has them.
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let header = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some(fields) = header.and_then(|header| header.strip_prefix(ALGORITHM)) else {
            return Err(forbidden(
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ));
        };
        let field = |name: &str| {
            let mut fields = fields
                .split(',')
                .filter_map(|field| field.trim().split_once('='));
            let missing = || format!("Authorization header requires '{name}' parameter.");
            let found = fields.find(|(known, _)| *known == name);
            found
                .map(|(_, value)| value)
                .ok_or_else(|| incomplete(missing()))
        };
        let credential = field("Credential")?;
        let &[access_key, date, region, service, "aws4_request"] =
            credential.split('/').collect::<Vec<_>>().as_slice()
        else {
            return Err(incomplete(format!(
                "Credential must be keyid/date/region/service/aws4_request, got '{credential}'"
            )));
        };
        let mut signed_headers: Vec<_> = field("SignedHeaders")?.split(';').collect();
        signed_headers.sort_unstable();
        let signature = field("Signature")?;
        let scope = Scope {
            date,
            region,
            service,
        };
        Ok(Self {
            access_key,
            scope,
            signed_headers,
            signature,
        })
    }
}

fn forbidden(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, code, message)
}

fn mismatch(message: impl Into<String>) -> Refusal {
    forbidden("SignatureDoesNotMatch", message)
}

fn incomplete(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "IncompleteSignature", message)
}
