//! The protocol, and what is left of it when one rule, or half of one, is dropped.

use shared::checkpoint::transition::Transition;
use shared::step::Step;

/// A protocol that breaks one rule of the faithful one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// As it is built.
    Faithful,
    /// The producer records first, then sends.
    RecordedFirst,
    /// The producer never sends again what is Queued.
    QueuedNotResent,
    /// The producer never sends again what is Leased.
    LeasedNotResent,
    /// The producer works on the listing alone, not on listing and rows.
    ListingAlone,
    /// The watermark passes Quarantined.
    QuarantinedPassed,
    /// The watermark moves back.
    WatermarkMovesBack,
    /// A claim does not count the attempt.
    AttemptNotCounted,
    /// A claim takes what another has.
    LeaseIgnored,
    /// A claim that is refused in its own favour is taken for lost.
    OwnerNotRecognised,
    /// Quarantined is recorded without the claim's generation.
    QuarantineUnfenced,
    /// Gone is recorded without the claim's generation.
    GoneUnfenced,
    /// A row is given back without the claim's generation.
    ReleaseUnfenced,
    /// Complete is recorded before S3 has confirmed.
    CompleteUnproved,
    /// The message is deleted before Complete is recorded.
    DeletedFirst,
    /// The message is deleted before its copy is in the dead-letter queue.
    DeletedBeforeDeadLetter,
    /// Quarantined is recorded before the copy is in the dead-letter queue.
    QuarantinedFirst,
    /// Requeue leaves the attempts as they are.
    AttemptsKept,
    /// Requeue leaves the generation as it is.
    GenerationKept,
    /// Requeue deletes the dead letter before it sends.
    LetterDeletedFirst,
    /// Requeue deletes the dead letter of a version that a worker has, and may be about to quarantine.
    LeasedPutBack,
    /// A worker that has lost its claim deletes the message.
    LoserDeletes,
    /// Uploads overwrite: the claim is proof enough.
    PutUnconditional,
    /// The ETag to replace comes from another read than the version that was compared.
    EtagOfAnotherRead,
    /// An object that is there proves that the version is stored.
    AnyObjectProves,
    /// An empty listing is believed.
    EmptyListingBelieved,
    /// Gone is recorded without asking the archive.
    ArchiveNotAsked,
}

impl Variant {
    /// Production's write, or what the variant makes of it.
    pub fn transition(self, mut write: Transition) -> Transition {
        let replace = |from: &str, to: &str| {
            assert!(write.update.contains(from), "{} {from}", write.update);
            write.update.replace(from, to)
        };
        match (self, write.step) {
            (Self::AttemptNotCounted, Step::Claim) => {
                write.update = replace("(#attempts, :zero) + :one", "(#attempts, :zero) + :zero");
            }
            (Self::AttemptsKept, Step::Requeue) => {
                write.update = replace("#attempts = :zero, ", "");
            }
            (Self::GenerationKept, Step::Requeue) => {
                write.update = replace("#generation = #generation + :one, ", "");
            }
            (Self::LeaseIgnored, Step::Claim) => {
                write.condition = Some("attribute_not_exists(#pk) OR #state IN (:queued, :leased)");
            }
            (Self::QuarantineUnfenced, Step::Quarantine)
            | (Self::GoneUnfenced, Step::Gone)
            | (Self::ReleaseUnfenced, Step::Release)
            | (Self::WatermarkMovesBack, Step::RecordEnumerated) => write.condition = None,
            _ => {}
        }
        write
    }
}
