//! The handle's methods for what happens behind the client's back: between two answers, and during a download.

use super::Rds;
use super::faults::{ANY, Rest, Where};

impl Rds {
    /// Runs `hook` once, after the `nth` good answer to `at` from now on has been made, and before it is sent.
    pub fn after(&self, at: Where, nth: u32, hook: impl FnOnce(&Self) + Send + 'static) {
        self.state().schedule.after(at, nth, Box::new(hook));
    }

    /// Rotates `instance` behind the `nth` page of its listing from now on.
    pub fn rotate_after_listing(&self, instance: &str, nth: u32, last_written_ms: i64) {
        let rotated = instance.to_owned();
        self.after(Where::listing(instance), nth, move |rds| {
            rds.rotate(&rotated, last_written_ms);
        });
    }

    /// Rotates `instance` behind the `nth` download from it from now on, which still serves the old content.
    pub fn rotate_after_download(&self, instance: &str, nth: u32, last_written_ms: i64) {
        let rotated = instance.to_owned();
        let at = Where::download(instance, ANY);
        self.after(at, nth, move |rds| rds.rotate(&rotated, last_written_ms));
    }

    /// Appends `more` to a log file behind the `nth` page of its instance's listing from now on.
    pub fn grow_after_listing(
        &self,
        instance: &str,
        nth: u32,
        name: &str,
        more: impl Into<Vec<u8>>,
        last_written_ms: i64,
    ) {
        let (grown, name, more) = (instance.to_owned(), name.to_owned(), more.into());
        self.after(Where::listing(instance), nth, move |rds| {
            rds.grow_file(&grown, &name, &more, last_written_ms);
        });
    }

    /// Runs `hook` once, after the first `after_bytes` of the body of the next whole download of a log file.
    ///
    /// `rest` says what the body continues with. A download that a fault breaks is not whole, and leaves the hook for
    /// the next one. With `content_length`, the length is announced before: a body that grows is cut there, and one
    /// that shrinks breaks off.
    pub fn during_download(
        &self,
        instance: &str,
        name: &str,
        after_bytes: usize,
        rest: Rest,
        hook: impl FnOnce(&Self) + Send + 'static,
    ) {
        let at = Where::download(instance, name);
        let mut state = self.state();
        state.schedule.during(at, after_bytes, rest, Box::new(hook));
    }

    /// Rotates `instance` during the next download of a log file, after its first `after_bytes`.
    pub fn rotate_during_download(
        &self,
        instance: &str,
        name: &str,
        after_bytes: usize,
        rest: Rest,
        last_written_ms: i64,
    ) {
        let rotated = instance.to_owned();
        self.during_download(instance, name, after_bytes, rest, move |rds| {
            rds.rotate(&rotated, last_written_ms);
        });
    }

    /// Appends `more` to a log file during its next download, after its first `after_bytes`; the body has it, too.
    pub fn grow_during_download(
        &self,
        instance: &str,
        name: &str,
        after_bytes: usize,
        more: impl Into<Vec<u8>>,
        last_written_ms: i64,
    ) {
        let (grown, file, more) = (instance.to_owned(), name.to_owned(), more.into());
        self.during_download(instance, name, after_bytes, Rest::Current, move |rds| {
            rds.grow_file(&grown, &file, &more, last_written_ms);
        });
    }
}
