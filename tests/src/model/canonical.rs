//! Which states are one: those that differ in nothing that the protocol can see.

use shared::checkpoint::State;

use super::table::Write;
use super::worker::At;
use super::{Messages, Protocol, Request, System, index};

impl System {
    /// An owner that nobody knows yet.
    pub(super) fn new_owner(&self) -> u8 {
        let astray = self.astray.and_then(Request::held).map(|held| held.owner);
        let rows = self.rows.iter().flatten().map(|row| row.owner);
        let known = rows
            .chain(self.workers.iter().map(|worker| worker.held.owner))
            .chain(astray);
        let known = known.fold(0_u32, |bits, owner| bits | 1 << owner);
        (1..u8::MAX)
            .find(|owner| known >> owner & 1 == 0)
            .expect("there are few")
    }

    /// Makes one state of those that differ only in names: workers, owners, generations (of which only the order counts),
    /// slots; and in what nobody will ask for again.
    pub(super) fn canonical(mut self, protocol: &Protocol) -> Self {
        for worker in &mut self.workers {
            worker.forget(protocol.variant);
        }
        if protocol.bounds.workers > 1 && self.workers[0] > self.workers[1] {
            self.workers.swap(0, 1);
        }
        for row in self.rows.iter_mut().flatten() {
            match row.state {
                State::Complete | State::Gone => (row.generation, row.attempts) = (0, 0),
                State::Queued | State::Leased | State::Quarantined => {}
            }
        }
        self.rename_claims();
        for version in 1..=protocol.bounds.versions {
            self.sort_slots(version);
        }
        self
    }

    fn rename_claims(&mut self) {
        let mut owners = [0_u8; 16];
        let mut next = 1;
        let mut rename = |owner: &mut u8| {
            if *owner > 0 {
                let new = &mut owners[usize::from(*owner)];
                if *new == 0 {
                    *new = next;
                    next += 1;
                }
                *owner = *new;
            }
        };
        for row in self.rows.iter_mut().flatten() {
            rename(&mut row.owner);
        }
        for worker in &mut self.workers {
            rename(&mut worker.held.owner);
        }
        if let Some(held) = self.astray.as_mut().and_then(Request::held_mut) {
            rename(&mut held.owner);
        }
        for version in 1..=self.latest {
            let mut known = 0_u32;
            self.generations(version, |generation| known |= 1 << *generation);
            self.generations(version, |generation| {
                let below = known & ((1 << *generation) - 1);
                *generation = u8::try_from(below.count_ones()).unwrap_or_default();
            });
        }
    }

    /// Shows every generation of a version.
    fn generations(&mut self, version: u8, mut show: impl FnMut(&mut u8)) {
        if let Some(row) = &mut self.rows[index(version)] {
            show(&mut row.generation);
        }
        for worker in self
            .workers
            .iter_mut()
            .filter(|worker| worker.version == version)
        {
            if !matches!(worker.at, At::Claim | At::Complete | At::Delete) {
                show(&mut worker.held.generation);
            }
        }
        if let Some(request) = &mut self.astray
            && request.version() == version
            && !matches!(request, Request::Write(_, Write::Claim { .. }))
            && let Some(held) = request.held_mut()
        {
            show(&mut held.generation);
        }
    }

    fn sort_slots(&mut self, version: u8) {
        let astray = self.astray;
        let known = |slot: u8| {
            let Messages { present, copied } = self.queue[index(version)];
            let held = self
                .workers
                .map(|worker| worker.version == version && worker.slot == slot);
            let deletes = astray == Some(Request::Delete(version, slot));
            (present >> slot & 1, copied >> slot & 1, held, deletes)
        };
        let swap = |bits: u8| bits >> 1 & 1 | (bits & 1) << 1;
        let letter = |slot: u8| {
            let there = self.dead[index(version)] >> slot & 1;
            (
                there,
                self.operator.holds(version, slot),
                astray == Some(Request::DeleteDead(version, slot)),
            )
        };
        let (messages_stay, letters_stay) = (known(0) >= known(1), letter(0) >= letter(1));
        if !letters_stay {
            self.dead[index(version)] = swap(self.dead[index(version)]);
            self.operator.swap(version);
            if let Some(Request::DeleteDead(of, slot)) = &mut self.astray
                && *of == version
            {
                *slot ^= 1;
            }
        }
        if messages_stay {
            return;
        }
        let messages = &mut self.queue[index(version)];
        (messages.present, messages.copied) = (swap(messages.present), swap(messages.copied));
        for worker in self
            .workers
            .iter_mut()
            .filter(|worker| worker.version == version)
        {
            worker.slot ^= 1;
        }
        if let Some(Request::Delete(of, slot)) = &mut self.astray
            && *of == version
        {
            *slot ^= 1;
        }
    }
}
