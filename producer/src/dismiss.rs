//! Gives up what nobody can bring back: recorded as Gone, with the operator's reason, so that it is no longer waited for.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;
use shared::aws::CallError;
use shared::checkpoint::{Checkpoints, Entry, Presence, Row, State};
use tracing::warn;

/// What to give up, and why.
#[derive(Debug, Clone, clap::Args)]
pub struct Request {
    /// Of these instances: names or resource ids, comma-separated
    #[arg(long, value_name = "INSTANCE", value_delimiter = ',', required = true)]
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

/// Dismisses what is asked for, oldest first.
pub async fn dismiss(
    checkpoints: &Checkpoints,
    request: &Request,
) -> Result<Vec<Dismissal>, CallError> {
    let (mut rows, mut vanished) = (Vec::new(), HashSet::new());
    let see = |entry| match entry {
        Ok(Entry::Row(row)) if row.message.instance.is_one_of(&request.instance) => rows.push(row),
        Ok(Entry::Instance(instance)) if instance.presence == Presence::Vanished => {
            vanished.insert(instance.resource_id);
        }
        Ok(Entry::Row(_) | Entry::Mark(_) | Entry::Instance(_)) => {}
        Err(malformed) => warn!("passed over: {malformed}"),
    };
    checkpoints.each(see).await?;
    rows.retain(|row| {
        asked_for(
            request,
            row,
            vanished.contains(&row.message.instance.resource_id),
        )
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
