//! What an instance's stream holds beside the saga's own events. The names and fields are on disk.

use chronicler_domain::{Event, GlobalPosition, Timestamp};
use serde::{Deserialize, Serialize};

use crate::definition::answer::Answer;
use crate::definition::effect::{EffectSpec, Request, Undo};
use crate::definition::payload::Payload;
use crate::definition::terms::Terms;
use crate::instance::action::Action;
use crate::instance::status::Ending;
use crate::instance::stored_answer;

/// Type names of the executor's own events begin with this; a saga's must not.
pub(crate) const OWN_PREFIX: char = '$';

/// The type name of the entry that says which event was consumed.
pub(crate) const CONSUMED: &str = "$Consumed";

/// The type name of the entry that tells a parent.
pub(crate) const REPORTED: &str = "$Reported";

/// The type name of the entry that ends an instance.
pub(crate) const ENDED: &str = "$Ended";

/// What the executor remembers of an instance.
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
    /// Somebody said how a parked effect or a stuck undo ended; what follows from it stands behind this.
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
    /// What governs an effect beyond the options of the application; stands behind the decision.
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
    /// A person has it changed in a way that stands behind this: what, about which key, who and why.
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
    /// An effect is not to be done, nor taken back; what it counts as having given stands behind this.
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
    /// The outcome of an effect.
    Outcome {
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
mod tests {
    use std::time::Duration;

    use chronicler_store::codec::{PayloadCodec, encode_event};
    use chronicler_store::hex;

    use super::*;
    use crate::definition::terms::{Orphan, Tries};

    /// One of each shape that is on disk, in the order of `docs/FORMAT.md`.
    fn samples() -> Vec<Entry> {
        let command = Request::Command {
            category: "a".to_owned(),
            id: "b".to_owned(),
            codec: 1,
            command: vec![7],
        };
        let call = Request::Call {
            service: "s".to_owned(),
            request: vec![8],
        };
        let start = Request::Start {
            saga: "c".to_owned(),
            id: "d".to_owned(),
            codec: 1,
            start: vec![9],
        };
        let parent = || Parent {
            stream: "p".to_owned(),
            effect: 3,
            depth: 2,
        };
        let spec = |request: Request, undo: Option<Undo>| {
            let key = "k".to_owned();
            Entry::Decided(Box::new(EffectSpec { key, request, undo }))
        };
        let reason = || "r".to_owned();
        let terms = Terms {
            tries: Some(Tries::times(3)),
            undo_tries: None,
            patience: Some(Duration::from_millis(5)),
            resource: Some(("t".to_owned(), 2)),
            branch: vec![(4, 1)],
            orphan: Orphan::Abandon,
        };
        let undo = Undo {
            if_done: call.clone(),
            if_unknown: Some(call.clone()),
        };
        vec![
            Entry::Started { saga_version: 1 },
            spec(command.clone(), None),
            spec(call, Some(undo)),
            spec(start, None),
            spec(Request::Nothing, None),
            Entry::Answered {
                effect: 1,
                answer: Answer::Unknown(reason()),
            },
            Entry::Ended(Ending::Abandoned {
                reason: reason(),
                left: vec!["k".to_owned()],
            }),
            Entry::Terms {
                effect: 1,
                terms: Box::new(terms),
            },
            Entry::Held {
                action: Action::undo_of(1),
                reason: reason(),
            },
            Entry::Operated {
                verb: "v".to_owned(),
                about: "k".to_owned(),
                by: "b".to_owned(),
                reason: reason(),
            },
            Entry::Edited {
                action: Action::of(1),
                request: Box::new(command),
            },
            Entry::Child {
                parent: parent(),
                codec: 1,
                start: vec![9],
            },
            Entry::Reported {
                parent: parent(),
                ending: Ending::Completed,
            },
            Entry::Parts {
                places: vec![1],
                of: 2,
            },
            Entry::FoundDone { effect: 1 },
            Entry::Dropped { key: reason() },
            Entry::Stalled(StalledInput::Event(GlobalPosition::new(7))),
            Entry::Stalled(StalledInput::Timer(reason())),
            Entry::Stalled(StalledInput::Compensated { reason: reason() }),
            Entry::Stalled(StalledInput::Begin {
                codec: 1,
                start: vec![9],
            }),
            Entry::Stalled(StalledInput::Part {
                position: GlobalPosition::new(7),
                place: 1,
                of: 2,
            }),
            Entry::Stalled(StalledInput::Dropped),
            Entry::Outcomes {
                answers: vec![Action::of(1), Action::undo_of(2)],
            },
            Entry::ContinuedAsNew { saga_version: 3 },
        ]
    }

    #[test]
    fn the_bytes_on_disk_are_what_they_were() {
        let written = samples().into_iter().map(|entry| {
            let event = encode_event(PayloadCodec::default(), &entry).unwrap();
            format!("{} {}", event.event_type, hex::encode(&event.payload))
        });
        let written: Vec<_> = written.collect();
        let before = [
            "$Started 01",
            "$Decided 016b000161016201010700",
            "$Decided 016b0101730108010101730108010101730108",
            "$Decided 016b030163016401010900",
            "$Decided 016b0200",
            "$Answered 01020172",
            "$Ended 04017201016b",
            "$Terms 01010300fc00e1f5051e00000100fc404b4c000101740201040102",
            "$Held 01010172",
            "$Operated 0176016b01620172",
            "$Edited 01000001610162010107",
            "$Child 01700302010109",
            "$Reported 0170030200",
            "$Parts 010102",
            "$FoundDone 01",
            "$Dropped 0172",
            "$Stalled 0007",
            "$Stalled 020172",
            "$Stalled 030172",
            "$Stalled 05010109",
            "$Stalled 06070102",
            "$Stalled 07",
            "$Outcomes 0201000201",
            "$ContinuedAsNew 03",
        ];
        assert_eq!(written, before);
    }
}
