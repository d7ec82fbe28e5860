//! Faults of a saga's own code, or of its decision. Their words are journaled when the instance is quarantined.

use chronicler_store::codec::CodecError;

use crate::instance::entry::OWN_PREFIX;

/// A fault of a saga's own code, or of its decision on an input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("its code panicked on {input}: {panic}")]
    Panicked { input: String, panic: String },
    /// When it was only asked what it would do.
    #[error("{panic}")]
    WouldPanic { panic: String },
    #[error("evolve panicked on what was decided on {input}: {panic}")]
    EvolvePanicked { input: String, panic: String },
    /// Over an event that was recorded before.
    #[error("evolve panicked: {panic}")]
    FoldPanicked { panic: String },
    #[error("on {input}: {mistake}")]
    Mistaken { input: String, mistake: String },
    #[error("told that it is cancelled, it wants to do more than to take note")]
    MoreThanNote,
    #[error(
        "on {input}, which came after compensation had begun, it wants to do more than to undo it"
    )]
    MoreThanUndo { input: String },
    #[error("on {input} it wants to {wanted}")]
    AgainstTheRules { input: String, wanted: String },
    #[error("event type {name:?} begins with {prefix:?}", prefix = OWN_PREFIX)]
    OwnPrefix { name: String },
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("an answer waits for effect {effect}, of which nothing is known any more")]
    Forgotten { effect: u32 },
    /// The log does not take what it decided, or what waits cannot be read.
    #[error("{reason}")]
    NotWritten { reason: String },
}
