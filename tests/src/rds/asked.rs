//! What a request asks for.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;

use super::faults::Where;
use super::signature::Received;
use super::xml::Refusal;

const DOWNLOAD: &str = "/v13/downloadCompleteLogFile/";
const VERSION: &str = "2014-10-31";
/// Parameters of every action.
const COMMON: &[&str] = &["Action", "Version", "Marker", "MaxRecords"];

/// One request, understood or not.
#[derive(Debug)]
pub(super) struct Asked {
    /// The Query API's action, `downloadCompleteLogFile`, or the path of anything else.
    pub(super) action: String,
    pub(super) params: BTreeMap<String, String>,
    /// `None` where RDS has nothing of the kind.
    pub(super) place: Option<Where>,
}

impl Asked {
    pub(super) fn of(request: &Received<'_>) -> Self {
        let download = request
            .path
            .strip_prefix(DOWNLOAD)
            .and_then(|rest| rest.split_once('/'));
        match (request.method, download) {
            ("GET", Some((instance, file))) => Self {
                action: "downloadCompleteLogFile".to_owned(),
                params: BTreeMap::new(),
                place: Some(Where::download(decode(instance), decode_name(file))),
            },
            ("GET", None) if request.path == "/" => Self::query(request.query),
            ("POST", None) if request.path == "/" => {
                Self::query(&String::from_utf8_lossy(request.body))
            }
            _ => Self {
                action: request.path.to_owned(),
                params: BTreeMap::new(),
                place: None,
            },
        }
    }

    fn query(form: &str) -> Self {
        let params: BTreeMap<_, _> = form
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decode_form(name), decode_form(value)))
            .collect();
        let param = |name| params.get(name).cloned().unwrap_or_default();
        let action = param("Action");
        let place = match action.as_str() {
            "DescribeDBClusters" => Some(Where::Clusters),
            "DescribeDBInstances" => Some(Where::Instances),
            "DescribeDBLogFiles" => Some(Where::Listing(param("DBInstanceIdentifier"))),
            _ => None,
        };
        Self {
            action,
            params,
            place,
        }
    }

    /// Refuses what RDS has not.
    pub(super) fn unknown(&self) -> Refusal {
        let action = &self.action;
        let message = format!("Could not find operation {action} for version {VERSION}");
        Refusal::new(StatusCode::BAD_REQUEST, "InvalidAction", message)
    }

    /// Refuses another version, and parameters that the fake would otherwise ignore in silence.
    pub(super) fn check_params(&self, known: &[&str]) -> Result<(), Refusal> {
        if self.param("Version") != Some(VERSION) {
            return Err(self.unknown());
        }
        let known = [COMMON, known].concat();
        match self
            .params
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        {
            Some(name) => Err(invalid(format!("the fake RDS has no parameter {name}"))),
            None => Ok(()),
        }
    }

    /// A parameter; an empty one is none.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            let number = text.parse().ok();
            number.ok_or_else(|| invalid(format!("Invalid value {text} for {name}")))
        };
        self.param(name).map(parse).transpose()
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidParameterValue", message)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

/// A slash in a file's name arrives as it is. An encoded one stays encoded here, so that no file is found.
fn decode_name(name: &str) -> String {
    let segments: Vec<_> = name
        .split('/')
        .map(|part| decode(part).replace('/', "%2F"))
        .collect();
    segments.join("/")
}
