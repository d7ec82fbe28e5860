//! Entries of the executor in an instance's stream, beside the saga's own events. The names and fields are on disk.

use chronicler_domain::{Event, GlobalPosition, Timestamp};
use serde::{Deserialize, Serialize};

use crate::definition::answer::Answer;
use crate::definition::effect::{EffectSpec, Request, Undo};
use crate::definition::payload::Payload;
use crate::definition::terms::Terms;
use crate::instance::action::Action;
use crate::instance::occupancy::Occupancy;
use crate::instance::status::Ending;
use crate::instance::stored_answer;

/// Type names of the executor's own events begin with this; a saga's must not.
pub(crate) const OWN_PREFIX: char = '$';

/// The type name of the entry that says which event was consumed.
pub(crate) const CONSUMED: &str = "$Consumed";

/// The type name of the entry that says which parts of it that were.
pub(crate) const PARTS: &str = "$Parts";

/// The type name of the entry that an instance begins with.
pub(crate) const STARTED: &str = "$Started";

/// The type name of the entry that tells a parent.
pub(crate) const REPORTED: &str = "$Reported";

/// An entry: the executor remembers this of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// It began, under this version of its definition.
    #[serde(rename = "$Started")]
    Started { saga_version: u32 },
    /// The event at this position was consumed.
    #[serde(rename = "$Consumed")]
    Consumed { position: GlobalPosition },
    /// Of the event consumed just then, which is read as `of` events, it was given these.
    #[serde(rename = "$Parts")]
    Parts { places: Vec<u32>, of: u32 },
    /// An effect was decided; its index is the number of effects before it.
    #[serde(rename = "$Decided")]
    Decided(Box<EffectSpec>),
    /// An effect was answered.
    #[serde(rename = "$Answered")]
    Answered {
        effect: u32,
        #[serde(with = "stored_answer")]
        answer: Answer,
    },
    /// Whoever was asked says that the effect was done; its own answer is not known.
    #[serde(rename = "$FoundDone")]
    FoundDone { effect: u32 },
    /// An attempt failed for reasons that are not the domain's; the next is due then.
    #[serde(rename = "$Retrying")]
    Retrying {
        action: Action,
        attempt: u32,
        next: Timestamp,
        reason: String,
    },
    /// An effect failed more often than its budget allows.
    #[serde(rename = "$Parked")]
    Parked { effect: u32, reason: String },
    /// Somebody had a parked effect or a stuck undo tried again.
    #[serde(rename = "$Unparked")]
    Unparked { action: Action, by: String },
    /// Somebody said how a parked effect or a stuck undo ended; what follows from it comes after this.
    #[serde(rename = "$Settled")]
    Settled {
        action: Action,
        by: String,
        reason: String,
    },
    /// A timer was armed, or moved.
    #[serde(rename = "$Armed")]
    Armed { key: String, due: Timestamp },
    /// A timer was disarmed.
    #[serde(rename = "$Disarmed")]
    Disarmed { key: String },
    /// A timer that came due, and still waits to be taken in, is disarmed or moved: it counts for nothing any more.
    #[serde(rename = "$Dropped")]
    Dropped { key: String },
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
    /// What governs an effect beyond the options of the application; comes after the decision.
    #[serde(rename = "$Terms")]
    Terms { effect: u32, terms: Box<Terms> },
    /// The last so many effects were decided as one: they are undone side by side.
    #[serde(rename = "$Together")]
    Together { first: u32 },
    /// No attempt is made for the time being: the service takes no requests.
    #[serde(rename = "$Held")]
    Held { action: Action, reason: String },
    /// A person should look at it; `None` when that is over.
    #[serde(rename = "$Escalated")]
    Escalated { reason: Option<String> },
    /// A person has it changed in a way that comes after this: what, about which key, who and why.
    #[serde(rename = "$Operated")]
    Operated {
        verb: String,
        about: String,
        by: String,
        reason: String,
    },
    /// Inputs wait, and no further attempt begins.
    #[serde(rename = "$Paused")]
    Paused { reason: String },
    /// They are taken up again.
    #[serde(rename = "$Resumed")]
    Resumed,
    /// What is done for an effect, or to undo it, was changed by a person.
    #[serde(rename = "$Edited")]
    Edited {
        action: Action,
        request: Box<Request>,
    },
    /// An effect is not to be done, nor taken back; what it counts as having given comes after this.
    #[serde(rename = "$Skipped")]
    Skipped { effect: u32 },
    /// The undo of an effect was given up.
    #[serde(rename = "$Abandoned")]
    Abandoned { effect: u32 },
    /// It was begun by another saga, with this.
    #[serde(rename = "$Child")]
    Child {
        parent: Parent,
        codec: u8,
        start: Vec<u8>,
    },
    /// The child of an effect was begun; its end is awaited.
    #[serde(rename = "$Begun")]
    Begun { effect: u32 },
    /// A child has ended: its parent is told.
    #[serde(rename = "$Reported")]
    Reported { parent: Parent, ending: Ending },
    /// It begins with what another instance did until then.
    #[serde(rename = "$Forked")]
    Forked { from: String, before: String },
    /// Another instance went on with what it did.
    #[serde(rename = "$ForkedTo")]
    ForkedTo { id: String },
    /// It ends so as soon as nothing is under way any more.
    #[serde(rename = "$Concluded")]
    Concluded(Ending),
    /// From here on it goes by this version of its definition.
    #[serde(rename = "$Migrated")]
    Migrated { saga_version: u32 },
    /// Several outcomes were taken in this commit, which this begins: the answers of these effects (and undos) in this
    /// order. None are named if what came were not answers.
    #[serde(rename = "$Outcomes")]
    Outcomes { answers: Vec<Action> },
    /// It continues as new, under this version of its definition: what it knew is forgotten, and what was done is done.
    #[serde(rename = "$ContinuedAsNew")]
    ContinuedAsNew { saga_version: u32 },
    /// This came before what begins it, and is kept until then.
    #[serde(rename = "$CameEarly")]
    CameEarly(StalledInput),
    /// It has begun: what came before that is taken up, in order.
    #[serde(rename = "$EarlyTaken")]
    EarlyTaken,
    /// A child has a place among those of which only so many are alive at a time, until it ends.
    #[serde(rename = "$Occupies")]
    Occupies(Occupancy),
    /// The child of an effect is not begun yet: as many are alive as may be.
    #[serde(rename = "$AwaitsRoom")]
    AwaitsRoom { effect: u32, reason: String },
    /// A signal that waited was refused in its turn: nothing is decided on it.
    #[serde(rename = "$SignalRefused")]
    SignalRefused { name: String, reason: String },
    /// The attempt before was not taken by its service, so it was not done: `counted` if it is one of those that failed,
    /// `unsent` if nothing was sent for the effect before it either.
    #[serde(rename = "$NotTaken")]
    NotTaken {
        action: Action,
        counted: bool,
        unsent: bool,
    },
}

/// Who began a child, and for which effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    /// The key of the parent's stream.
    pub(crate) stream: String,
    pub(crate) effect: u32,
    /// How many causes lie before the decision that began it.
    pub(crate) depth: u16,
}

impl Event for Entry {}

/// An input that waits for the release of its instance. The order of the variants is on disk: new ones come last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum StalledInput {
    /// The event at this position; it is read again.
    Event(GlobalPosition),
    /// What an effect was answered.
    #[serde(rename = "Outcome")]
    Answer {
        effect: u32,
        #[serde(with = "stored_answer")]
        answer: Answer,
    },
    /// A timer.
    Timer(String),
    /// The end of compensation.
    Compensated { reason: String },
    /// A signal that a person gave.
    Signal {
        name: String,
        codec: u8,
        payload: Vec<u8>,
    },
    /// The beginning of a child.
    Begin { codec: u8, start: Vec<u8> },
    /// One of the events that the event at this position is read as; it is read again.
    Part {
        position: GlobalPosition,
        place: u32,
        of: u32,
    },
    /// A timer that was disarmed or moved while it waited.
    Dropped,
    /// The same as a part, of an event whose route says that it begins the instance; `of` is 1 where it is the only one.
    Starting {
        position: GlobalPosition,
        place: u32,
        of: u32,
    },
}

impl StalledInput {
    /// A signal of this name.
    pub(crate) fn signal(name: String, payload: &Payload) -> Self {
        Self::Signal {
            name,
            codec: payload.codec().number(),
            payload: payload.bytes().to_vec(),
        }
    }

    /// The beginning of a child.
    pub(crate) fn begin(start: &Payload) -> Self {
        Self::Begin {
            codec: start.codec().number(),
            start: start.bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
