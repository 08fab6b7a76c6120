//! What differs from run to run, out of a text.

use regex_lite::{Captures, Regex};

use crate::world::World;

/// What is replaced in a text, and by what, in order.
#[derive(Debug, Default)]
pub struct Redactions {
    patterns: Vec<(Regex, String)>,
    clock: bool,
}

impl Redactions {
    /// Replaces this text wherever it stands.
    #[must_use]
    pub fn text(self, text: &str, by: &str) -> Self {
        self.pattern(&regex_lite::escape(text), by)
    }

    /// Replaces what a regular expression matches; `$1` is its first group.
    #[must_use]
    pub fn pattern(mut self, pattern: &str, by: &str) -> Self {
        let pattern = Regex::new(pattern).expect("a regular expression");
        self.patterns.push((pattern, by.to_owned()));
        self
    }

    /// Replaces what a world of a test has for itself: names of queues, table and bucket, and ports; and ids, and times
    /// of today. Those of [`NOON`](crate::world::NOON) are the same at each run, and stay.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let resources = &world.resources;
        let clock = Self {
            patterns: Vec::new(),
            clock: true,
        };
        clock
            .text(&resources.queue_url, "QUEUE_URL")
            .text(&resources.dead_letter_queue_url, "DEAD_LETTER_QUEUE_URL")
            .text(&resources.table, "TABLE")
            .text(&resources.bucket, "BUCKET")
            .pattern(r"(127\.0\.0\.1|localhost):\d+", "$1:PORT")
            .pattern(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID")
            .pattern(r"\b(db|cluster)-[A-Z0-9]{26}\b", "$1-ID")
    }

    /// The text without them.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pattern, by) in &self.patterns {
            text = pattern.replace_all(&text, by.as_str()).into_owned();
        }
        if self.clock {
            times_of_today(&text)
        } else {
            text
        }
    }
}

/// The simulated RDS keeps 2024; what is later is the clock's.
fn times_of_today(text: &str) -> String {
    let time =
        Regex::new(r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").expect("a regular expression");
    let by = |time: &Captures<'_>| {
        let whole = time.get(0).map_or("", |whole| whole.as_str());
        if whole.starts_with("2024-") {
            whole
        } else {
            "TIME"
        }
        .to_owned()
    };
    time.replace_all(text, by).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_patterns_and_times_of_today_are_replaced_and_fixed_times_stay() {
        let clock = Redactions {
            patterns: Vec::new(),
            clock: true,
        };
        let redactions = clock
            .text("bucket.x", "BUCKET")
            .pattern(r"took (\w)\d+", "took $1…");
        assert_eq!(
            redactions
                .apply("bucket.x bucketyx took a12 2026-11-16T17:15:15.5Z 2024-10-01T12:00:00Z"),
            "BUCKET bucketyx took a… TIME 2024-10-01T12:00:00Z"
        );
    }
}
