//! Listings, cut into pages.

use aws_smithy_types::base64;

use super::asked::{Asked, invalid};
use super::state::{Behaviour, EmptyPages, Filtering};
use super::xml::{Refusal, text};

/// The largest page.
pub(super) const MOST_RECORDS: usize = 100;

/// One entry of a listing, and where it stands in it.
pub(super) struct Entry {
    /// Never empty.
    pub(super) position: Vec<u8>,
    pub(super) xml: String,
    /// Whether the filters of the request let it through.
    pub(super) passes: bool,
}

impl Entry {
    pub(super) fn new(id: &str, xml: String) -> Self {
        Self {
            position: id.into(),
            xml,
            passes: true,
        }
    }
}

/// One page, as XML.
pub(super) struct Page {
    pub(super) entries: String,
    /// The marker element of the next page.
    pub(super) marker: String,
    pub(super) is_last: bool,
}

impl Page {
    pub(super) fn last_and_empty() -> Self {
        Self {
            entries: String::new(),
            marker: String::new(),
            is_last: true,
        }
    }
}

/// Where a listing goes on. It names the last entry served, so that a page skips and repeats nothing that stays.
#[derive(Default)]
struct Cursor {
    /// Empty pages before the next entry.
    empty: u8,
    after: Vec<u8>,
}

impl Cursor {
    fn decode(marker: &str) -> Result<Self, Refusal> {
        let wrong = |why: String| invalid(format!("Invalid Marker: {why}"));
        let bytes = base64::decode(marker).map_err(|error| wrong(error.to_string()))?;
        let (empty, after) = bytes
            .split_first()
            .ok_or_else(|| wrong("too short".to_owned()))?;
        Ok(Self {
            empty: *empty,
            after: after.to_vec(),
        })
    }

    fn encode(&self) -> String {
        base64::encode([&[self.empty], self.after.as_slice()].concat())
    }
}

/// Cuts out the page that a marker asks for.
pub(super) fn page(
    mut entries: Vec<Entry>,
    asked: &Asked,
    behaviour: Behaviour,
    empty_pages: EmptyPages,
) -> Result<Page, Refusal> {
    entries.sort_unstable_by(|one, other| one.position.cmp(&other.position));
    let cursor = match asked.param("Marker") {
        Some(marker) => Cursor::decode(marker)?,
        None => Cursor {
            empty: empty_pages.first,
            ..Cursor::default()
        },
    };
    if behaviour.filtering == Filtering::BeforePaging {
        entries.retain(|entry| entry.passes);
    }
    entries.retain(|entry| entry.position > cursor.after);
    let size = asked
        .number("MaxRecords")?
        .unwrap_or(MOST_RECORDS)
        .min(behaviour.page_size)
        .max(1);

    let next = if let Some(empty) = cursor.empty.checked_sub(1) {
        let ends = empty == 0 && entries.is_empty();
        entries.clear();
        (!ends).then_some(Cursor { empty, ..cursor })
    } else {
        let is_last = entries.len() <= size;
        entries.truncate(size);
        let empty = if is_last {
            empty_pages.last
        } else {
            empty_pages.between
        };
        let after = entries
            .last()
            .map_or(cursor.after, |last| last.position.clone());
        (!is_last || empty > 0).then_some(Cursor { empty, after })
    };
    let marker = match &next {
        Some(next) => text("Marker", next.encode()),
        None if behaviour.empty_last_marker => text("Marker", ""),
        None => String::new(),
    };
    let entries = entries.into_iter().filter(|entry| entry.passes);
    Ok(Page {
        entries: entries.map(|entry| entry.xml).collect(),
        marker,
        is_last: next.is_none(),
    })
}
