//! Gives up what nobody can bring back: recorded as Gone, with the operator's reason, so that it is no longer waited for.

use std::collections::{BTreeSet, HashSet};

use anyhow::ensure;
use jiff::Timestamp;
use serde::Serialize;
use shared::checkpoint::{Checkpoints, Entry, Presence, Row, State};
use tracing::warn;

/// What to give up, and why.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// Of these instances: names or resource ids, comma-separated
    #[arg(long, value_name = "INSTANCE", value_delimiter = ',', required = true, value_parser = crate::cli::instance)]
    pub instance: Vec<String>,
    /// Only log files with this name
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,
    /// Why; recorded with each version
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub reason: String,
    /// Also what is still queued, of instances that RDS still has
    #[arg(long)]
    pub unfinished: bool,
    /// Only say what would be dismissed
    #[arg(long)]
    pub dry_run: bool,
}

fn said(reason: &str) -> Result<String, String> {
    let reason = reason.trim();
    (!reason.is_empty())
        .then(|| reason.to_owned())
        .ok_or_else(|| "say why: an auditor will ask".to_owned())
}

/// What became of one version.
#[derive(Debug, Serialize)]
pub struct Dismissal {
    /// The instance's name.
    pub instance: String,
    /// Its identity.
    pub resource_id: String,
    /// The log file's name.
    pub file: String,
    /// When it was last written to.
    pub last_written: String,
    /// Bytes.
    pub size: u64,
    /// Where it stood.
    pub state: State,
    /// Whether it is given up now, or with `dry_run`, would be; if not, somebody is at work on it, or was meanwhile.
    pub dismissed: bool,
}

/// Dismisses what is asked for, oldest first. `Err` also where an instance is not known, or a name is that of several.
pub async fn dismiss(
    checkpoints: &Checkpoints,
    request: &Request,
) -> anyhow::Result<Vec<Dismissal>> {
    let mut meant = Meant::new(&request.instance);
    let (mut rows, mut vanished) = (Vec::new(), HashSet::new());
    let see = |entry| match entry {
        Ok(Entry::Row(row)) => {
            let instance = &row.message.instance;
            meant.see(&instance.name, &instance.resource_id);
            if row.state != State::Complete {
                rows.push(row);
            }
        }
        Ok(Entry::Mark(mark)) => meant.see(&mark.instance, &mark.resource_id),
        Ok(Entry::Instance(instance)) => {
            meant.see(&instance.name, &instance.resource_id);
            if instance.presence == Presence::Vanished {
                vanished.insert(instance.resource_id);
            }
        }
        Err(malformed) => warn!("passed over: {malformed}"),
    };
    checkpoints.each(see).await?;
    let meant = meant.resource_ids()?;
    rows.retain(|row| {
        let id = &row.message.instance.resource_id;
        meant.contains(id) && asked_for(request, row, vanished.contains(id))
    });
    rows.sort_by_key(|row| row.message.file.version);
    let mut dismissals = Vec::new();
    for row in rows {
        let dismissed = if request.dry_run {
            let in_work = row.state == State::Leased && row.lease_until >= Some(Timestamp::now());
            !in_work
        } else {
            checkpoints
                .dismiss(&row.message, row.generation, &request.reason)
                .await?
        };
        let (instance, file) = (row.message.instance, row.message.file);
        dismissals.push(Dismissal {
            instance: instance.name,
            resource_id: instance.resource_id,
            file: file.name,
            last_written: file.version.last_written.to_string(),
            size: file.version.size,
            state: row.state,
            dismissed,
        });
    }
    Ok(dismissals)
}

/// Which instances are meant. Names are used again, and instances renamed; what is given up must be of one alone.
struct Meant<'a>(Vec<(&'a str, BTreeSet<String>)>);

impl<'a> Meant<'a> {
    fn new(words: &'a [String]) -> Self {
        let none_yet = |word: &'a String| (word.as_str(), BTreeSet::new());
        Self(words.iter().map(none_yet).collect())
    }

    /// The table has an instance, which has or once had this name.
    fn see(&mut self, name: &str, resource_id: &str) {
        for (word, ids) in &mut self.0 {
            if name.eq_ignore_ascii_case(word) || resource_id == *word {
                ids.insert(resource_id.to_owned());
            }
        }
    }

    fn resource_ids(self) -> anyhow::Result<HashSet<String>> {
        for (word, ids) in &self.0 {
            ensure!(!ids.is_empty(), "the table knows no instance {word}");
            let all: Vec<&str> = ids.iter().map(String::as_str).collect();
            ensure!(
                all.len() == 1,
                "{word} is the name of several instances: say which by its resource id, {}",
                all.join(" or ")
            );
        }
        Ok(self.0.into_iter().flat_map(|(_, ids)| ids).collect())
    }
}

fn asked_for(request: &Request, row: &Row, vanished: bool) -> bool {
    let named = request
        .file
        .as_ref()
        .is_none_or(|name| *name == row.message.file.name);
    named
        && match row.state {
            State::Quarantined => true,
            State::Gone => row.dismissed_at.is_none(),
            State::Queued | State::Leased => vanished || request.unfinished,
            State::Complete => false,
        }
}
