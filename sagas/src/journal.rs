//! What an instance's stream holds beside the saga's own events. The names and fields are on disk.

use chronicler_domain::{Event, GlobalPosition, Timestamp};
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::effect::{EffectSpec, Undo};
use crate::status::Ending;

/// Type names of the executor's own events begin with this; a saga's must not.
pub(crate) const OWN_PREFIX: char = '$';

/// What the executor remembers of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// It began, under this version of its definition.
    #[serde(rename = "$Started")]
    Started { saga_version: u32 },
    /// The event at this position was consumed.
    #[serde(rename = "$Consumed")]
    Consumed { position: GlobalPosition },
    /// An effect was decided; its index is the number of effects before it.
    #[serde(rename = "$Decided")]
    Decided(Box<EffectSpec>),
    /// An effect was answered.
    #[serde(rename = "$Answered")]
    Answered { effect: u32, answer: Answer },
    /// An attempt failed for reasons that are not the domain's; the next is due then.
    #[serde(rename = "$Retrying")]
    Retrying {
        effect: u32,
        is_undo: bool,
        attempt: u32,
        next: Timestamp,
        reason: String,
    },
    /// An effect failed more often than its budget allows.
    #[serde(rename = "$Parked")]
    Parked { effect: u32, reason: String },
    /// Somebody had a parked effect or a stuck undo tried again.
    #[serde(rename = "$Unparked")]
    Unparked {
        effect: u32,
        is_undo: bool,
        by: String,
    },
    /// Somebody said how a parked effect or a stuck undo ended; what follows from it stands behind this.
    #[serde(rename = "$Settled")]
    Settled {
        effect: u32,
        is_undo: bool,
        by: String,
        reason: String,
    },
    /// A timer was armed, or moved.
    #[serde(rename = "$Armed")]
    Armed { key: String, due: Timestamp },
    /// A timer was disarmed.
    #[serde(rename = "$Disarmed")]
    Disarmed { key: String },
    /// A timer came due.
    #[serde(rename = "$Fired")]
    Fired { key: String },
    /// How an effect is taken back was decided again, with its outcome known.
    #[serde(rename = "$UndoDecided")]
    UndoDecided { effect: u32, undo: Box<Undo> },
    /// The outcome of this effect decides whether it can still be undone.
    #[serde(rename = "$Pivoting")]
    Pivoting { effect: u32 },
    /// From here on it only goes forward.
    #[serde(rename = "$Pivoted")]
    Pivoted,
    /// Its undos are to be run.
    #[serde(rename = "$Compensating")]
    Compensating { reason: String, by: Option<String> },
    /// An undo was done.
    #[serde(rename = "$Undone")]
    Undone { effect: u32 },
    /// An undo failed for good: `rejected` for the domain's reasons, else for the machinery's.
    #[serde(rename = "$UndoStuck")]
    UndoStuck {
        effect: u32,
        reason: String,
        rejected: bool,
    },
    /// All undos were run, and the saga was told.
    #[serde(rename = "$Closing")]
    Closing,
    /// Its own code failed on this input. Inputs wait from here on.
    #[serde(rename = "$Quarantined")]
    Quarantined { reason: String },
    /// An input waits for the release.
    #[serde(rename = "$Stalled")]
    Stalled(StalledInput),
    /// Somebody released it.
    #[serde(rename = "$Released")]
    Released { by: String },
    /// The first input that waited is taken up.
    #[serde(rename = "$Unstalled")]
    Unstalled,
    /// It is over.
    #[serde(rename = "$Ended")]
    Ended(Ending),
}

impl Event for Entry {}

/// An input that waits for the release of its instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum StalledInput {
    /// The event at this position; it is read again.
    Event(GlobalPosition),
    /// The outcome of an effect.
    Outcome { effect: u32, answer: Answer },
    /// A timer.
    Timer(String),
    /// The end of compensation.
    Compensated { reason: String },
}
