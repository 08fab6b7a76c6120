//! The worker: claim → download → upload by compare-and-swap → complete → delete the message; or what goes wrong.

use shared::archive::Archived;
use shared::aws::CallError;
use shared::checkpoint::State;
use shared::log_file::Beside;
use worker::failure::{Disposition, ShipError};

use super::table::{self, Held, Verdict, Write};
use super::variants::Variant;
use super::{Answer, Bounds, FOREIGN, On, Protocol, Request, System, With};

/// A worker, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Worker {
    /// What it does next.
    pub(super) at: At,
    /// Of which version it has the message; 0 if it is idle.
    pub(super) version: u8,
    /// Which of the version's messages that is.
    pub(super) slot: u8,
    /// Whether the archive had something as new already when it was claimed.
    pub(super) in_vain: bool,
    /// Its claim; before it has one, only the owner to be.
    pub(super) held: Held,
}

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) enum At {
    #[default]
    Idle,
    Claim,
    Fetch,
    Put {
        on: On,
        again: bool,
    },
    /// Only where the ETag comes from another read.
    Tag,
    AskArchive,
    RecordGone,
    Complete,
    Delete,
    Release {
        counted: bool,
    },
    SendDead,
    Quarantine,
}

/// What a worker sees of RDS or the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Saw {
    /// RDS: all bytes.
    Bytes,
    /// RDS: a failure; or that it has no file which it yet lists.
    Failure,
    /// RDS: no such file, and a listing without any.
    EmptyListing,
    /// RDS: no such file, and a listing without it.
    Unlisted,
    /// The archive: what it has.
    Object,
}

impl Worker {
    /// What it may see next.
    pub(super) fn sees(&self, system: &System, bounds: &Bounds) -> Vec<Saw> {
        match self.at {
            At::Fetch => [
                (Saw::Bytes, !system.lost),
                (Saw::Failure, bounds.with(With::Failures)),
                (Saw::EmptyListing, bounds.with(With::Lies)),
                (Saw::Unlisted, system.lost),
            ]
            .into_iter()
            .filter_map(|(saw, may)| may.then_some(saw))
            .collect(),
            At::AskArchive | At::Tag => vec![Saw::Object],
            _ => Vec::new(),
        }
    }

    /// What it asks of the world next.
    pub(super) fn request(&self, late: bool) -> Option<Request> {
        let Self {
            version,
            slot,
            in_vain,
            held,
            ..
        } = *self;
        let write = |write| Some(Request::Write(version, write));
        match self.at {
            At::Idle | At::Fetch | At::Tag | At::AskArchive => None,
            At::Claim => write(Write::Claim { held, late }),
            At::Put { on, .. } => Some(Request::Put { version, on }),
            At::RecordGone => write(Write::Gone { held, in_vain }),
            At::Complete => write(Write::Complete),
            At::Delete => Some(Request::Delete(version, slot)),
            At::Release { counted } => write(Write::Release { held, counted }),
            At::SendDead => Some(Request::SendDead(version)),
            At::Quarantine => write(Write::Quarantine(held)),
        }
    }

    /// Goes on from what it has seen.
    pub(super) fn saw(mut self, protocol: &Protocol, system: &System, saw: Saw) -> Self {
        let believed = protocol.variant == Variant::EmptyListingBelieved;
        self.at = match (self.at, saw) {
            (_, Saw::Bytes) if protocol.variant == Variant::CompleteUnproved => At::Complete,
            (_, Saw::Bytes) if protocol.variant == Variant::PutUnconditional => At::Put {
                on: On::Anything,
                again: true,
            },
            (_, Saw::Bytes) => At::Put {
                on: On::Absent,
                again: false,
            },
            (_, Saw::Failure) => self.fail(protocol, &failed()),
            (_, Saw::EmptyListing) if !believed => {
                self.fail(protocol, &ShipError::Missing(String::new()))
            }
            (_, Saw::EmptyListing | Saw::Unlisted)
                if protocol.variant == Variant::ArchiveNotAsked =>
            {
                At::RecordGone
            }
            (_, Saw::EmptyListing | Saw::Unlisted) => At::AskArchive,
            (At::Tag, Saw::Object) => At::Put {
                on: tag(system.object),
                again: true,
            },
            (_, Saw::Object) => match beside(self.version, system.object) {
                Some(Beside::Same | Beside::Superseded) => At::Complete,
                Some(Beside::Grown | Beside::Apart) | None => {
                    self.fail(protocol, &ShipError::Gone(String::new()))
                }
            },
        };
        self
    }

    /// Goes on from an answer.
    pub(super) fn answered(mut self, protocol: &Protocol, system: &System, answer: Answer) -> Self {
        let variant = protocol.variant;
        let loser = match variant {
            Variant::LoserDeletes => At::Delete,
            _ => At::Idle,
        };
        let settled = matches!(answer, Answer::Row { applied: true, .. });
        self.at = match (self.at, answer) {
            (At::Claim, Answer::Row { applied, row }) => {
                match table::claimed(self.held.owner, row) {
                    Verdict::Ours(_) if !applied && variant == Variant::OwnerNotRecognised => {
                        At::Idle
                    }
                    Verdict::Ours(held) => {
                        self.held = held;
                        self.in_vain = stored(self.version, system.object);
                        if u32::from(held.attempts) > protocol.bounds.most() {
                            let attempts = held.attempts.into();
                            self.fail(protocol, &ShipError::Exhausted { attempts })
                        } else {
                            At::Fetch
                        }
                    }
                    Verdict::Settled => {
                        self.held = Held::default();
                        At::Delete
                    }
                    Verdict::Theirs => At::Idle,
                }
            }
            (At::Put { .. }, Answer::Done) if variant == Variant::DeletedFirst => At::Delete,
            (At::Put { .. }, Answer::Done) => At::Complete,
            (At::Put { again, .. }, Answer::Refused) => {
                self.compare(protocol, system, again, false)
            }
            (At::Quarantine, _) if settled && variant == Variant::QuarantinedFirst => At::SendDead,
            (At::Quarantine, _) if variant == Variant::DeletedBeforeDeadLetter => At::Idle,
            (At::RecordGone | At::Quarantine, _) if settled => At::Delete,
            (At::RecordGone | At::Quarantine, _) => loser,
            (At::Complete, _) if variant == Variant::DeletedFirst => At::Idle,
            (At::Complete, _) => At::Delete,
            (At::Delete, _) if variant == Variant::DeletedFirst && self.held.owner > 0 => {
                At::Complete
            }
            (At::Delete, _)
                if variant == Variant::DeletedBeforeDeadLetter && self.held.owner > 0 =>
            {
                At::SendDead
            }
            (At::SendDead, _) if variant == Variant::QuarantinedFirst => At::Delete,
            (At::SendDead, _) => At::Quarantine,
            (_, _) => At::Idle,
        };
        self
    }

    /// An upload's answer is lost, and whether it took effect is not known: it looks, and compares.
    pub(super) fn unclear(mut self, protocol: &Protocol, system: &System, again: bool) -> Self {
        self.at = self.compare(protocol, system, again, true);
        self
    }

    /// Goes on after the HEAD that follows a refused or unclear upload. The model does both in one step: what would happen
    /// between them could only make the object newer, and the upload would be refused then as well.
    fn compare(&self, protocol: &Protocol, system: &System, again: bool, unclear: bool) -> At {
        let proves_all = protocol.variant == Variant::AnyObjectProves && system.object > 0;
        match beside(self.version, system.object) {
            _ if proves_all => At::Complete,
            Some(Beside::Same | Beside::Superseded) => At::Complete,
            _ if unclear => self.fail(protocol, &failed()),
            _ if again => self.fail(protocol, &ShipError::Raced(String::new())),
            _ if protocol.variant == Variant::EtagOfAnotherRead => At::Tag,
            Some(Beside::Grown | Beside::Apart) | None => At::Put {
                on: tag(system.object),
                again: true,
            },
        }
    }

    /// What production does about a failure.
    pub(super) fn fail(&self, protocol: &Protocol, error: &ShipError) -> At {
        match error.disposition(self.held.attempts.into(), protocol.bounds.most(), 0.0) {
            Disposition::Release { counted, .. } => At::Release { counted },
            Disposition::Halt { .. } => At::Release { counted: false },
            Disposition::Quarantine => match protocol.variant {
                Variant::QuarantinedFirst => At::Quarantine,
                Variant::DeletedBeforeDeadLetter => At::Delete,
                _ => At::SendDead,
            },
            Disposition::Gone => At::RecordGone,
            Disposition::Forget => At::Idle,
        }
    }

    /// Whether it works under its claim, and would be stopped if that were lost.
    pub(super) fn working(&self) -> bool {
        matches!(
            self.at,
            At::Fetch | At::Put { .. } | At::Tag | At::AskArchive
        )
    }

    /// Whether its claim is not the row's any more.
    pub(super) fn fenced(&self, system: &System) -> bool {
        let row = system.row(self.version);
        !row.is_some_and(|row| row.state == State::Leased && row.owner == self.held.owner)
    }

    /// Forgets what it will never use again, so that states which differ in nothing else are one.
    pub(super) fn forget(&mut self, variant: Variant) {
        let needs_claim = matches!(
            variant,
            Variant::DeletedFirst | Variant::DeletedBeforeDeadLetter
        );
        match self.at {
            At::Idle => *self = Self::default(),
            At::Claim => {
                self.held = Held {
                    owner: self.held.owner,
                    ..Held::default()
                }
            }
            At::Complete | At::Delete if !needs_claim => {
                (self.held, self.in_vain) = (Held::default(), false);
            }
            _ => {}
        }
    }
}

/// Whether the archive has something as new.
pub(super) fn stored(version: u8, object: u8) -> bool {
    object != FOREIGN && object >= version
}

/// How a version stands to the object, as production compares them; `None`: it may be written.
fn beside(version: u8, object: u8) -> Option<Beside> {
    if object == 0 {
        return None;
    }
    let archived = Archived {
        etag: String::new(),
        version: (object != FOREIGN).then(|| table::version(object)),
        resource_id: None,
    };
    table::with_instance(|instance| archived.beside(instance, table::version(version)))
}

/// The condition under which what is there may be replaced.
fn tag(object: u8) -> On {
    if object == 0 {
        On::Absent
    } else {
        On::Is(object)
    }
}

/// A call that may go better the next time.
fn failed() -> ShipError {
    ShipError::Call(CallError::from_parts(
        "Test",
        503,
        Some("SlowDown".to_owned()),
        "",
    ))
}
