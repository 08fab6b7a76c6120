//! How much of it there was.

use std::collections::BTreeMap;

/// What happened in one world, or in several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Actions played.
    pub actions: u64,
    /// Rounds of producer, operator and worker until nothing was left to do.
    pub rounds: u64,
    /// Faults, by service and kind: requests that met one on the wire, and what RDS was told to refuse or break.
    pub faults: BTreeMap<String, u64>,
    /// Programs started, by kind.
    pub programs: BTreeMap<String, u64>,
    /// Programs killed.
    pub kills: u64,
    /// Programs that were stopped and went on.
    pub zombies: u64,
    /// Versions that RDS listed at some time or other.
    pub versions: u64,
    /// Versions that are archived, with every byte compared.
    pub archived: u64,
    /// Versions that were lost since RDS deleted them unread, or were given up by an operator.
    pub gone: u64,
}

impl Tally {
    /// All faults.
    pub fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        self.actions += other.actions;
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.zombies += other.zombies;
        self.versions += other.versions;
        self.archived += other.archived;
        self.gone += other.gone;
        for (all, more) in [
            (&mut self.faults, &other.faults),
            (&mut self.programs, &other.programs),
        ] {
            for (kind, count) in more {
                count_more(all, kind, *count);
            }
        }
    }

    pub(super) fn fault(&mut self, kind: &str, times: u64) {
        if times > 0 {
            count_more(&mut self.faults, kind, times);
        }
    }

    pub(super) fn program(&mut self, kind: &str) {
        count_more(&mut self.programs, kind, 1);
    }
}

fn count_more(counts: &mut BTreeMap<String, u64>, kind: &str, more: u64) {
    *counts.entry(kind.to_owned()).or_default() += more;
}
