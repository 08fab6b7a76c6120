//! The handle's methods for log files.

use std::time::Duration;

use bytes::Bytes;

use super::inventory::{LogFile, Rotation};
use super::{FOREVER, Rds};

impl Rds {
    /// Adds a log file, or replaces it.
    pub fn put_file(
        &self,
        instance: &str,
        name: &str,
        content: impl Into<Bytes>,
        last_written_ms: i64,
    ) {
        let file = LogFile {
            content: content.into(),
            last_written_ms,
            ..LogFile::default()
        };
        self.state()
            .inventory
            .instance(instance)
            .files
            .insert(name.to_owned(), file);
    }

    /// Appends to a log file.
    pub fn grow_file(&self, instance: &str, name: &str, more: &[u8], last_written_ms: i64) {
        self.with_file(instance, name, |file| file.grow(more, last_written_ms));
    }

    /// Renames a log file, replacing any of that name.
    pub fn rename_file(&self, instance: &str, name: &str, new_name: &str) {
        let mut state = self.state();
        let files = &mut state.inventory.instance(instance).files;
        let file = files.remove(name).expect("the instance has the log file");
        files.insert(new_name.to_owned(), file);
    }

    /// Deletes a log file, however young, as RDS does when local storage runs short.
    pub fn remove_file(&self, instance: &str, name: &str) {
        let removed = self.state().inventory.instance(instance).files.remove(name);
        removed.expect("the instance has the log file");
    }

    /// Deletes several log files at once: no listing sees only some of them gone.
    pub fn remove_files(&self, instance: &str, names: &[&str]) {
        let mut state = self.state();
        let files = &mut state.inventory.instance(instance).files;
        for name in names {
            files.remove(*name).expect("the instance has the log file");
        }
    }

    /// Hides a log file until [`Rds::show_file`]: listings omit it, and its download answers `DBLogFileNotFoundFault`.
    ///
    /// It is still there: it can grow, and a rotation renames it, so that it reappears under another number.
    pub fn hide_file(&self, instance: &str, name: &str) {
        self.hide_file_for(instance, name, FOREVER);
    }

    /// Hides a log file like [`Rds::hide_file`], until `listings` listings of the instance have ended without it.
    ///
    /// A listing ends with its last page; those that are refused do not count.
    pub fn hide_file_for(&self, instance: &str, name: &str, listings: u32) {
        self.with_file(instance, name, |file| file.hidden_for = listings);
    }

    /// Ends [`Rds::hide_file`]. `name` is the file's present name.
    pub fn show_file(&self, instance: &str, name: &str) {
        self.with_file(instance, name, |file| file.hidden_for = 0);
    }

    /// Lists this size for a log file, however it grows; `None` lists the size that is served.
    pub fn set_listed_size(&self, instance: &str, name: &str, size: Option<u64>) {
        self.with_file(instance, name, |file| file.listed_size = size);
    }

    /// Lists a log file `by` bytes longer than it is served (shorter if negative), however it grows; 0 ends that.
    ///
    /// Bodies end cleanly where the content ends. [`Rds::set_listed_size`] takes precedence.
    pub fn skew_listed_size(&self, instance: &str, name: &str, by: i64) {
        self.with_file(instance, name, |file| file.listed_skew = by);
    }

    /// Sets how [`Rds::rotate`] numbers an instance's files, and how many it keeps.
    pub fn set_rotation(&self, instance: &str, rotation: Rotation) {
        self.state().inventory.instance(instance).rotation = rotation;
    }

    /// Rotates `audit/server_audit.log` as MariaDB does, and starts an empty one.
    ///
    /// The active file becomes `.1`, the others move up, and the oldest is deleted. Renamed files keep their content
    /// and `LastWritten`; `last_written_ms` is that of the empty one. Panics for an instance that keeps no rotated
    /// files (`history: 0`), since the plugin never rotates there.
    pub fn rotate(&self, instance: &str, last_written_ms: i64) {
        self.state()
            .inventory
            .instance(instance)
            .rotate(last_written_ms);
    }

    /// Moves `LastWritten` of all log files, and `InstanceCreateTime` of all instances, into the past.
    ///
    /// A file that a program has listed before is another version afterwards.
    pub fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("less than the age of the universe");
        for instance in &mut self.state().inventory.instances {
            instance.created_ms = instance.created_ms.map(|created| created - by);
            for file in instance.files.values_mut() {
                file.last_written_ms -= by;
            }
        }
    }

    /// Deletes log files last written more than `keep` before `now_ms`, and returns their instances and names.
    ///
    /// Aurora keeps audit logs for 24 h. An active `audit/server_audit.log` is never deleted.
    pub fn expire_files(&self, keep: Duration, now_ms: i64) -> Vec<(String, String)> {
        let keep = i64::try_from(keep.as_millis()).expect("less than the age of the universe");
        let mut expired = Vec::new();
        for instance in &mut self.state().inventory.instances {
            for name in instance.expire(now_ms.saturating_sub(keep)) {
                expired.push((instance.name.clone(), name));
            }
        }
        expired
    }

    /// All log files of an instance by name, with `LastWritten` (ms) and content. Includes hidden ones.
    pub fn files(&self, instance: &str) -> Vec<(String, i64, Bytes)> {
        let mut state = self.state();
        let files = state.inventory.instance(instance).files.iter();
        files
            .map(|(name, file)| (name.clone(), file.last_written_ms, file.content.clone()))
            .collect()
    }

    fn with_file(&self, instance: &str, name: &str, change: impl FnOnce(&mut LogFile)) {
        change(self.state().inventory.instance(instance).file(name));
    }
}
