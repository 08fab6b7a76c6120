//! The little XML that the Query protocol answers with, and other shapes of errors.

use std::fmt::{Display, Write as _};

use axum::http::StatusCode;
use serde_json::json;

use super::state::ErrorBody;

const NAMESPACE: &str = "http://rds.amazonaws.com/doc/2014-10-31/";

/// `<name>inner</name>`, where `inner` is XML already.
pub(crate) fn element(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// `<name>value</name>`, where `value` is text to be escaped.
pub(crate) fn text(name: &str, value: impl Display) -> String {
    element(name, &escape(&value.to_string()))
}

/// The answer to `action`.
pub(crate) fn response(action: &str, result: &str, request_id: &str) -> String {
    let result = element(&format!("{action}Result"), result);
    let metadata = element("ResponseMetadata", &text("RequestId", request_id));
    format!("<{action}Response xmlns=\"{NAMESPACE}\">{result}{metadata}</{action}Response>")
}

/// Escapes markup, and all whitespace and control characters that a parser would otherwise change.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' | '\0'..='\x1f' | '\x7f' => {
                write!(escaped, "&#x{:X};", u32::from(character)).expect("a String takes it");
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// An error answer of the Query protocol.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// The media type and the body.
    pub(super) fn body(&self, shape: ErrorBody, request_id: &str) -> (&'static str, String) {
        let Self { code, message, .. } = self;
        let json = match shape {
            ErrorBody::Xml => return ("text/xml", self.xml(request_id)),
            ErrorBody::JsonType => json!({"__type": code, "message": message}),
            ErrorBody::JsonShape => {
                json!({"__type": format!("com.amazonaws.rds#{code}"), "message": message})
            }
            ErrorBody::JsonError => json!({"Error": {"Code": code, "Message": message}}),
        };
        ("application/json", json.to_string())
    }

    fn xml(&self, request_id: &str) -> String {
        let blame = if self.status.is_server_error() {
            "Receiver"
        } else {
            "Sender"
        };
        let error = [
            text("Type", blame),
            text("Code", &self.code),
            text("Message", &self.message),
        ]
        .concat();
        let body = [element("Error", &error), text("RequestId", request_id)].concat();
        format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{body}</ErrorResponse>")
    }
}
