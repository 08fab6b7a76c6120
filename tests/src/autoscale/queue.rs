//! The work queue, the producer and the table behind it, and what SQS reports of it.

use std::collections::VecDeque;

use anyhow::bail;

use super::WAKE;

/// Minutes without a call after which SQS reports nothing of a queue.
const ACTIVE: usize = 6 * 60;

/// Minutes between runs of the producer, which sends again what is unfinished for so long; then for twice as long, and so on.
const RUNS: usize = 15;
const RESEND_AFTER: usize = 30;
const RESEND_MOST: usize = 6 * 60;

/// A failed try's backoff grows from here to there, in minutes; what it is, is a matter of chance.
const BACKOFF: f64 = 2.0 / 60.0;
const BACKOFF_MAX: f64 = 15.0;

/// Minutes for which a message is hidden whose file another worker has.
const LEASE: f64 = 2.0;

/// What SQS has reported of one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reported {
    visible: Option<f64>,
    in_flight: Option<f64>,
    received: Option<f64>,
}

impl Reported {
    /// By the name that CloudWatch has for it.
    pub(super) fn get(&self, metric: &str) -> anyhow::Result<Option<f64>> {
        Ok(match metric {
            "ApproximateNumberOfMessagesVisible" => self.visible,
            "ApproximateNumberOfMessagesNotVisible" => self.in_flight,
            "NumberOfMessagesReceived" => self.received,
            other => bail!("{other} is not simulated"),
        })
    }
}

/// What a worker has received.
pub(super) enum Taken {
    /// A file to ship, and its work.
    File(usize, f64),
    /// A message of a file that is archived, or that another worker has.
    Nothing,
}

#[derive(Debug)]
struct File {
    came: usize,
    work: f64,
    done: Option<usize>,
    held: bool,
    tries: u8,
    sent: usize,
    resend_after: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    files: Vec<File>,
    /// Files of messages that wait.
    visible: VecDeque<usize>,
    /// Files of messages that are hidden, and until when.
    hidden: Vec<(f64, usize)>,
    held: usize,
    received: usize,
    used: usize,
    /// From when on SQS reports it; `None` while it takes it for idle.
    reports: Option<usize>,
    phantom: bool,
    chance: fastrand::Rng,
    pub(super) reported: Vec<Reported>,
}

impl Queue {
    pub(super) fn new(phantom: bool) -> Self {
        Self {
            files: Vec::new(),
            visible: VecDeque::new(),
            hidden: Vec::new(),
            held: 0,
            received: 0,
            used: 0,
            reports: Some(0),
            phantom,
            chance: fastrand::Rng::with_seed(1),
            reported: Vec::new(),
        }
    }

    /// The producer sends files that it has found.
    pub(super) fn arrive(&mut self, now: usize, count: usize, work: f64) {
        for _ in 0..count {
            self.files.push(File {
                came: now,
                work,
                done: None,
                held: false,
                tries: 0,
                sent: now,
                resend_after: RESEND_AFTER,
            });
            self.visible.push_back(self.files.len() - 1);
        }
        self.is_used(now);
    }

    /// A minute begins: messages become visible, and the producer may run.
    pub(super) fn tick(&mut self, now: usize) {
        let end = f64::from(u32::try_from(now).unwrap_or(u32::MAX));
        let visible = &mut self.visible;
        self.hidden.retain(|(until, file)| {
            let hidden = *until > end;
            if !hidden {
                visible.push_back(*file);
            }
            hidden
        });
        if !now.is_multiple_of(RUNS) {
            return;
        }
        let mut sent = false;
        for (id, file) in self.files.iter_mut().enumerate() {
            if file.done.is_none() && !file.held && now - file.sent >= file.resend_after {
                file.sent = now;
                file.resend_after = (2 * file.resend_after).min(RESEND_MOST);
                self.visible.push_back(id);
                sent = true;
            }
        }
        if sent {
            self.is_used(now);
        }
    }

    fn is_used(&mut self, now: usize) {
        self.used = now;
        // What was idle is reported late.
        self.reports.get_or_insert(now + WAKE);
    }

    pub(super) fn take(&mut self, now: usize) -> Option<Taken> {
        let id = self.visible.pop_front()?;
        self.received += 1;
        let file = self.files.get_mut(id)?;
        if file.held {
            let now = f64::from(u32::try_from(now).unwrap_or(u32::MAX));
            self.hidden.push((now + LEASE, id));
            return Some(Taken::Nothing);
        }
        if file.done.is_some() {
            return Some(Taken::Nothing);
        }
        file.held = true;
        self.held += 1;
        Some(Taken::File(id, file.work))
    }

    pub(super) fn complete(&mut self, id: usize, now: usize) {
        self.held -= 1;
        if let Some(file) = self.files.get_mut(id) {
            (file.held, file.done) = (false, Some(now));
        }
    }

    /// A file's message is released: after a failure with a backoff, else at once.
    pub(super) fn release(&mut self, id: usize, now: usize, failed: bool) {
        self.held -= 1;
        let Some(file) = self.files.get_mut(id) else {
            return;
        };
        file.held = false;
        if !failed {
            self.visible.push_back(id);
            return;
        }
        file.tries = file.tries.saturating_add(1).min(16);
        let most = (BACKOFF * 2_f64.powi(i32::from(file.tries))).min(BACKOFF_MAX);
        let now = f64::from(u32::try_from(now).unwrap_or(u32::MAX));
        // What fails is visible in the next minute at the earliest.
        self.hidden.push((now + most * self.chance.f64(), id));
    }

    /// A minute ends: SQS reports it, workers having polled or not. How many messages were received in it.
    pub(super) fn report(&mut self, now: usize, polled: bool) -> usize {
        let received = std::mem::take(&mut self.received);
        if polled {
            self.is_used(now);
        }
        if now - self.used >= ACTIVE {
            self.reports = None;
        }
        let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let some = |number: usize| Some(number).filter(|number| *number > 0).map(count);
        let reported = if self.reports.is_some_and(|from| from <= now) {
            Reported {
                visible: Some(count(self.visible.len())),
                in_flight: some(self.in_flight() + usize::from(self.phantom)),
                received: some(received),
            }
        } else {
            Reported::default()
        };
        self.reported.push(reported);
        received
    }

    pub(super) fn visible(&self) -> usize {
        self.visible.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.hidden.len() + self.held
    }

    /// Files that are not archived.
    pub(super) fn left(&self) -> usize {
        self.files.iter().filter(|file| file.done.is_none()).count()
    }

    /// The longest that a file has waited for its end.
    pub(super) fn longest(&self) -> usize {
        let ended = self.files.iter();
        let waits = ended.filter_map(|file| Some(file.done? - file.came));
        waits.max().unwrap_or_default()
    }
}
