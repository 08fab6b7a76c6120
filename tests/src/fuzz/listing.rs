//! Answers of RDS to `DescribeDBLogFiles`, as far as the SDK can read them: a listing ends, and hides no entry.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_rds::config::retry::RetryConfig;
use aws_sdk_rds::config::timeout::TimeoutConfig;
use aws_sdk_rds::types::DescribeDbLogFilesDetails;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use shared::aws::CallError;
use shared::listing::{self, Listing};
use shared::log_file::{Name, Version};

use crate::rds::xml::{element, response, text};

/// Between two pages, as in print.
const FORM_FEED: u8 = 0x0C;
/// Spreads lengths over places.
const PRIME: usize = 7919;
/// Longest name that is sent for its own sake.
const NAME_MAX: usize = 200;

/// Reads `data` as pages, and then as a log file's name.
///
/// Pages stand between form feeds; a page may begin with a line that has its HTTP status. RDS repeats the last one.
pub fn run(data: &[u8]) {
    let pages: Vec<Page> = data
        .split(|byte| *byte == FORM_FEED)
        .map(Page::read)
        .collect();
    RDS.with(|rds| {
        let (listed, asked) = rds.list(pages.clone());
        // Where two pages have files that look alike, it is all listed again, and the last listing counts.
        let turns = asked.iter().enumerate();
        let firsts = turns.filter_map(|(turn, request)| (!has_marker(request)).then_some(turn));
        let firsts: Vec<usize> = firsts.collect();
        assert!(firsts.len() <= 3 && firsts.first() == Some(&0), "{asked:?}");
        assert!(asked.len() <= pages.len() + 1 + 4, "{asked:?}");
        let last = firsts.last().copied().unwrap_or_default();
        let distinct: HashSet<_> = asked.iter().skip(last).collect();
        assert_eq!(distinct.len(), asked.len() - last, "asked twice: {asked:?}");
        let answered: Vec<_> = (last..asked.len())
            .filter_map(|turn| pages.get(turn).or(pages.last()))
            .map(|page| rds.page(page.clone()))
            .collect();
        match listed {
            Ok(listing) => has_every_entry(&listing, &answered),
            Err(error) => {
                let refused = answered.iter().any(Option::is_none);
                let circle = error.to_string().contains("circle") && asked.len() - last > 1;
                assert!(refused || circle, "{error}");
            }
        }
        if let Some(page) = pages.first() {
            is_read_whole(rds, page, data.len());
        }
        any_name_arrives(rds, data);
    });
}

/// Whether a request asks for a page after the first.
fn has_marker(request: &[u8]) -> bool {
    String::from_utf8_lossy(request).contains("&Marker=")
}

/// Lists what RDS answers with this one page.
pub fn list(page: &[u8]) -> Result<Listing, CallError> {
    RDS.with(|rds| rds.list(vec![Page::read(page)]).0)
}

#[derive(Debug, Clone)]
struct Page {
    status: u16,
    body: Vec<u8>,
}

impl Page {
    fn read(data: &[u8]) -> Self {
        let status = data.get(..4).and_then(|line| {
            let digits = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
            digits
                .parse()
                .ok()
                .filter(|status| (200..600).contains(status))
        });
        Self {
            status: status.unwrap_or(200),
            body: data
                .get(if status.is_some() { 4 } else { 0 }..)
                .unwrap_or_default()
                .to_vec(),
        }
    }
}

fn has_every_entry(listing: &Listing, answered: &[Option<Vec<DescribeDbLogFilesDetails>>]) {
    let pages: Vec<_> = answered
        .iter()
        .map(|page| {
            page.as_ref()
                .expect("a page that cannot be read is no listing")
        })
        .collect();
    assert_eq!(listing.empty_page, pages.iter().any(|page| page.is_empty()));
    let (mut files, mut unreadable) = (listing.files.iter(), listing.unreadable.iter());
    for entry in pages.into_iter().flatten() {
        let name = entry.log_file_name().unwrap_or_default();
        if !name.starts_with("audit/") {
            continue;
        }
        let numbers = entry.last_written().zip(entry.size());
        if let Some(version) = numbers.and_then(|(at, size)| Version::new(at, size)) {
            let file = files.next().expect("every version is a file");
            assert_eq!((file.name.as_str(), file.version), (name, version));
            let rotated = |name: &str| matches!(Name::parse(name), Name::Rotated { .. });
            let carrying = listing.carrying(version).len();
            let twins = if rotated(name) { carrying } else { 1 };
            assert_eq!(usize::try_from(file.twins), Ok(twins), "{file:?}");
            assert!(
                listing.has(file) || Name::parse(name) == Name::Active,
                "{file:?}"
            );
        } else {
            let said = unreadable.next().expect("every other entry is reported");
            assert!(said.starts_with(name), "{said}");
        }
    }
    assert!(files.next().is_none() && unreadable.next().is_none());
}

/// Cut anywhere, here `at`, a page is no listing.
fn is_read_whole(rds: &Rds, page: &Page, at: usize) {
    let mut page = page.clone();
    page.body.truncate(page.body.trim_ascii_end().len());
    // What comes after the last element is no loss.
    let mut rest = page.body.windows(2).skip(2);
    let comments = rest.any(|two| matches!(two, [b'<', b'!' | b'?']));
    if !comments && rds.page(page.clone()).is_some() {
        page.body
            .truncate(at.wrapping_mul(PRIME) % page.body.len().max(1));
        assert!(rds.page(page.clone()).is_none(), "read half: {page:?}");
    }
}

fn any_name_arrives(rds: &Rds, data: &[u8]) {
    let name: String = String::from_utf8_lossy(data)
        .chars()
        .take(NAME_MAX)
        .collect();
    let name = format!("audit/{name}");
    let fields = [
        text("LogFileName", &name),
        text("LastWritten", 1),
        text("Size", 2),
    ];
    let entry = element("DescribeDBLogFilesDetails", &fields.concat());
    let body = response(
        "DescribeDBLogFiles",
        &element("DescribeDBLogFiles", &entry),
        "id",
    );
    let (listed, _) = rds.list(vec![Page {
        status: 200,
        body: body.into_bytes(),
    }]);
    let files = listed.expect("a listing").files;
    assert!(files.iter().map(|file| &file.name).eq([&name]), "{files:?}");
}

thread_local! {
    static RDS: Rds = Rds::new();
}

/// The product's RDS client, on answers that never were on a wire.
struct Rds {
    runtime: tokio::runtime::Runtime,
    client: aws_sdk_rds::Client,
    answers: Answers,
}

impl Rds {
    fn new() -> Self {
        let answers = Answers::default();
        let connector = SharedHttpConnector::new(answers.clone());
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "fuzz");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let config = shared::aws::rds(&config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled());
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime without sockets"),
            client: aws_sdk_rds::Client::from_conf(config.build()),
            answers,
        }
    }

    /// What comes of these pages, and what was asked for.
    fn list(&self, pages: Vec<Page>) -> (Result<Listing, CallError>, Vec<Vec<u8>>) {
        *self.answers.lock() = Conversation {
            pages,
            asked: Vec::new(),
        };
        let listed = self
            .runtime
            .block_on(listing::list(&self.client, "db-1", None));
        (listed, std::mem::take(&mut self.answers.lock().asked))
    }

    /// The entries of one page; `None` if it cannot be read.
    fn page(&self, page: Page) -> Option<Vec<DescribeDbLogFilesDetails>> {
        *self.answers.lock() = Conversation {
            pages: vec![page],
            asked: Vec::new(),
        };
        let call = self
            .client
            .describe_db_log_files()
            .db_instance_identifier("db-1");
        let page = self.runtime.block_on(call.send()).ok()?;
        Some(page.describe_db_log_files.unwrap_or_default())
    }
}

#[derive(Debug, Default)]
struct Conversation {
    pages: Vec<Page>,
    asked: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Default)]
struct Answers(Arc<Mutex<Conversation>>);

impl Answers {
    /// A target that failed leaves nothing that the next one does not replace.
    fn lock(&self) -> MutexGuard<'_, Conversation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpConnector for Answers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut conversation = self.lock();
        let page = conversation.pages.get(conversation.asked.len());
        let page = page
            .or(conversation.pages.last())
            .expect("at least one page")
            .clone();
        let asked = request.body().bytes().unwrap_or_default().to_vec();
        conversation.asked.push(asked);
        let status = page.status.try_into().expect("a status of three digits");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(page.body))))
    }
}
