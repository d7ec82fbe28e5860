//! What the stream of one instance says, read as docs/FORMAT.md has it.

use chronicler::domain::GlobalPosition;
use chronicler::prelude::*;
use chronicler::sagas::{EffectSpec, Ending, Request, Undo};
use chronicler::store::EventRef;
use chronicler::store::codec::{CodecId, EventDecoder, PayloadCodec, decode};
use serde::{Deserialize, Serialize};

use super::desk::Asked;
use super::thing::{Act, ThingCommand};
use super::wild::WildEvent;

/// How an effect was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done { codec: u8, payload: Vec<u8> },
    Rejected { codec: u8, payload: Vec<u8> },
    Unknown { reason: String },
}

/// What of a journal matters here.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Entry {
    #[serde(rename = "$Started")]
    Started { saga_version: u32 },
    #[serde(rename = "$Consumed")]
    Consumed { position: GlobalPosition },
    #[serde(rename = "$Decided")]
    Decided(Box<EffectSpec>),
    #[serde(rename = "$UndoDecided")]
    UndoDecided { effect: u32, undo: Box<Undo> },
    #[serde(rename = "$Answered")]
    Answered { effect: u32, answer: Answer },
    #[serde(rename = "$Settled")]
    Settled {
        effect: u32,
        is_undo: bool,
        by: String,
        reason: String,
    },
    #[serde(rename = "$Skipped")]
    Skipped { effect: u32 },
    #[serde(rename = "$ContinuedAsNew")]
    ContinuedAsNew { saga_version: u32 },
    #[serde(rename = "$Concluded")]
    Concluded(Ending),
    #[serde(rename = "$Ended")]
    Ended(Ending),
}

impl Event for Entry {}

const READ: [&str; 10] = [
    "$Started",
    "$Consumed",
    "$Decided",
    "$UndoDecided",
    "$Answered",
    "$Settled",
    "$Skipped",
    "$ContinuedAsNew",
    "$Concluded",
    "$Ended",
];

/// One effect of an instance.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    pub(crate) key: String,
    /// What it does, unless that is a child or a question.
    pub(crate) act: Option<Act>,
    pub(crate) answer: Option<Answer>,
    /// A person said how it ended.
    pub(crate) is_a_persons: bool,
    pub(crate) is_skipped: bool,
    /// It was settled when the instance continued as new.
    pub(crate) is_for_good: bool,
}

/// What the stream of one instance says.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) started_at: Option<u64>,
    /// The positions of the events that it consumed, in that order.
    pub(crate) consumed: Vec<u64>,
    /// What a reactive saga itself wrote down of the inputs that it took.
    pub(crate) took: Vec<String>,
    pub(crate) effects: Vec<Effect>,
    /// What is done to take something back, where that is an act, too.
    pub(crate) undos: Vec<Act>,
    /// It has decided how it ends, and waits for what is under way.
    pub(crate) is_concluded: bool,
    pub(crate) endings: Vec<Ending>,
}

impl Journal {
    pub(crate) fn read(&mut self, event: &EventRef<'_>) {
        let name = event.event_type();
        if READ.contains(&name) {
            for entry in EventDecoder::<Entry>::new().decode(event).unwrap() {
                self.entry(entry, event.position());
            }
        } else if name == "Took" {
            for event in EventDecoder::<WildEvent>::new().decode(event).unwrap() {
                if let WildEvent::Took { what, .. } = event {
                    self.took.push(what);
                }
            }
        }
    }

    fn entry(&mut self, entry: Entry, position: GlobalPosition) {
        match entry {
            Entry::Started { .. } => self.started_at = Some(position.get()),
            Entry::Consumed { position } => self.consumed.push(position.get()),
            Entry::Decided(spec) => {
                self.undos.extend(spec.undo.iter().filter_map(undone_by));
                self.effects.push(Effect {
                    act: act_of(&spec.request),
                    key: spec.key,
                    ..Effect::default()
                });
            }
            Entry::UndoDecided { undo, .. } => self.undos.extend(undone_by(&undo)),
            Entry::Answered { effect, answer } => self.effect(effect).answer = Some(answer),
            Entry::Settled { effect, .. } => self.effect(effect).is_a_persons = true,
            Entry::Skipped { effect } => self.effect(effect).is_skipped = true,
            Entry::ContinuedAsNew { .. } => {
                for effect in &mut self.effects {
                    effect.is_for_good |= effect.answer.is_some();
                }
            }
            Entry::Concluded(_) => self.is_concluded = true,
            Entry::Ended(ending) => self.endings.push(ending),
        }
    }

    fn effect(&mut self, index: u32) -> &mut Effect {
        &mut self.effects[index as usize]
    }
}

fn undone_by(undo: &Undo) -> Option<Act> {
    act_of(&undo.if_done)
}

/// What a request does; nothing if it is a child or a question.
pub(crate) fn act_of(request: &Request) -> Option<Act> {
    match request {
        Request::Command {
            category,
            codec,
            command,
            ..
        } if category == "thing" => match decode(CodecId::new(*codec), command).unwrap() {
            ThingCommand::Do(act) => Some(act),
            _ => None,
        },
        Request::Command { codec, command, .. } => {
            Some(decode(CodecId::new(*codec), command).unwrap())
        }
        Request::Call { request, .. } => {
            match decode(PayloadCodec::default().id(), request).unwrap() {
                Asked::Do(act) => Some(act),
                _ => None,
            }
        }
        _ => None,
    }
}
