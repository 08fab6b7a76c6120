//! What becomes of a request when it takes effect, and whether a rule is broken by that.

use shared::checkpoint::State;

use super::table::{self, Row, Write};
use super::worker::{self, Worker};
use super::{Answer, FOREIGN, On, Operator, Protocol, Request, System, With, Wrong, index};

impl System {
    /// Lets a request take effect; `None` if the bounds leave no room for it now.
    pub(super) fn land(&mut self, protocol: &Protocol, request: Request) -> Option<Answer> {
        let mut wrong = None;
        let mut broken = |rule, broken: bool| {
            if broken {
                wrong = Some(rule);
            }
        };
        let answer = match request {
            Request::Write(version, write) => {
                let before = self.row(version);
                let (mut after, applied) = table::write(protocol.variant, before, write);
                if let Some(row) = &mut after {
                    row.attempts = row.attempts.min(protocol.bounds.attempts());
                }
                let complete =
                    |row: Option<Row>| row.is_some_and(|row| row.state == State::Complete);
                broken(Wrong::CompleteUndone, complete(before) && !complete(after));
                if let Write::Gone { in_vain, .. } = write {
                    broken(Wrong::NotGone, applied && (!self.lost || in_vain));
                }
                self.rows[index(version)] = after;
                after.map_or(Answer::Refused, |row| Answer::Row { applied, row })
            }
            Request::Mark(version) => {
                let before = self.watermark;
                self.watermark = table::mark(protocol.variant, before, version);
                broken(Wrong::WatermarkBack, self.watermark < before);
                broken(Wrong::WatermarkPassed, !self.evidence(self.watermark));
                Answer::Done
            }
            Request::Put { version, on } => {
                let holds = match on {
                    On::Absent => self.object == 0,
                    On::Is(object) => self.object == object,
                    On::Anything => true,
                };
                if holds {
                    let ours = self.object != FOREIGN;
                    broken(Wrong::CommittedTwice, ours && self.object == version);
                    broken(Wrong::CommittedOlder, ours && self.object > version);
                    self.object = version;
                }
                if holds { Answer::Done } else { Answer::Refused }
            }
            Request::Send(version) => {
                let slot = (0..protocol.bounds.messages).find(|slot| self.free(version, *slot))?;
                let copied = self.letters(version) > 0;
                let messages = &mut self.queue[index(version)];
                messages.present |= 1 << slot;
                messages.copied |= u8::from(copied) << slot;
                Answer::Done
            }
            Request::SendDead(version) => {
                // A third one beside two would make no difference, unless both are about to be deleted.
                let free = (0..2).find(|slot| self.free_letter(version, *slot));
                match free {
                    Some(slot) => self.dead[index(version)] |= 1 << slot,
                    None if self.letters(version) > 0 => {}
                    None => return None,
                }
                let messages = &mut self.queue[index(version)];
                messages.copied = messages.present;
                Answer::Done
            }
            Request::Delete(version, slot) => {
                let finished = self.finished(version);
                let messages = &mut self.queue[index(version)];
                let (present, copied) = (messages.present >> slot & 1, messages.copied >> slot & 1);
                broken(
                    Wrong::MessageForgotten,
                    present == 1 && copied == 0 && !finished,
                );
                messages.present &= !(1 << slot);
                messages.copied &= !(1 << slot);
                Answer::Done
            }
            Request::DeleteDead(version, slot) => {
                let letters = &mut self.dead[index(version)];
                let there = *letters >> slot & 1 == 1;
                *letters &= !(1 << slot);
                let elsewhere = *letters > 0 || self.queue[index(version)].present > 0;
                // Where SQS loses messages, the one that was sent for it may have gone already.
                let forgotten =
                    !elsewhere && !self.finished(version) && !protocol.bounds.with(With::Losses);
                broken(Wrong::LetterForgotten, there && forgotten);
                Answer::Done
            }
        };
        self.wrong = self.wrong.or(wrong);
        Some(answer)
    }

    /// Whether all up to a version is in the archive, or recorded as gone; a version is the beginning of every later one.
    fn evidence(&self, watermark: u8) -> bool {
        (1..=watermark).all(|version| self.kept(version, watermark))
    }

    /// Whether a version is in the archive, or it or a later one of these is recorded as gone.
    pub(super) fn kept(&self, version: u8, watermark: u8) -> bool {
        let gone = |row: Option<Row>| row.is_some_and(|row| row.state == State::Gone);
        worker::stored(version, self.object)
            || (version..=watermark).any(|later| gone(self.row(later)))
    }

    /// Whether a new message may take a slot: nobody knows it any more.
    fn free(&self, version: u8, slot: u8) -> bool {
        let present = self.queue[index(version)].present >> slot & 1 == 1;
        let held = |worker: &Worker| worker.version == version && worker.slot == slot;
        let astray = self.astray == Some(Request::Delete(version, slot));
        !present && !astray && !self.workers.iter().any(held)
    }

    /// Whether a new dead letter may take a slot.
    fn free_letter(&self, version: u8, slot: u8) -> bool {
        let astray = self.astray == Some(Request::DeleteDead(version, slot));
        self.dead[index(version)] >> slot & 1 == 0 && !astray && !self.operator.holds(version, slot)
    }

    /// Dead letters of a version, without one for which a message is being sent, or whose deletion is under way.
    fn letters(&self, version: u8) -> u32 {
        let spent = |slot: &u8| {
            let deleted = self.astray == Some(Request::DeleteDead(version, *slot));
            deleted
                || self.operator.holds(version, *slot)
                    && !matches!(self.operator, Operator::Reset(..))
        };
        let spent = (0..2)
            .filter(spent)
            .fold(0_u8, |bits, slot| bits | 1 << slot);
        (self.dead[index(version)] & !spent).count_ones()
    }
}
