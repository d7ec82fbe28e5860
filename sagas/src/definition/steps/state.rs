//! The events and the state of an instance of a step saga.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chronicler_domain::{Event, Upcasters};
use chronicler_store::codec::encode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::beginning::Beginning;
use super::effect_key::{EffectKey, Place};
use super::encoding::GIVEN;
use super::given_up::{Cause, GivenUp};
use super::outputs::{Lists, Outputs, Replies};

/// An event of an instance of a step saga. The names and fields are on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "T: DeserializeOwned"))]
pub enum StepEvent<T> {
    /// It began.
    Begun {
        /// With this.
        start: Beginning<T>,
        /// Under a definition of this fingerprint.
        fingerprint: u64,
        /// The steps of the definition, in order.
        steps: Vec<String>,
    },
    /// A step of several commands was begun.
    Spread {
        /// Its id.
        step: String,
        /// How many commands it has.
        count: u32,
    },
    /// One of several commands of a step was answered.
    Heard {
        /// The step's id.
        step: String,
        /// Which command.
        item: u32,
        /// How the reply is encoded.
        codec: u8,
        /// The reply.
        reply: Vec<u8>,
    },
    /// A step is done.
    Did {
        /// Its id.
        step: String,
        /// How its output is encoded.
        codec: u8,
        /// What it gave.
        output: Vec<u8>,
    },
    /// The condition of a step did not hold.
    Skipped {
        /// Its id.
        step: String,
    },
    /// A step that waits for it, now or later, was told something.
    Signalled {
        /// The step's id.
        step: String,
        /// How it is encoded.
        codec: u8,
        /// What it was told.
        said: Vec<u8>,
    },
    /// It was to be cancelled, and could not be any more.
    CancelRefused {
        /// What was said.
        reason: String,
    },
    /// A step on a branch was begun.
    Entered {
        /// Its id.
        step: String,
    },
    /// A step, or one of its several commands, was refused, and is made in another way.
    Again {
        /// The step's id.
        step: String,
        /// Which of several.
        item: Option<u32>,
        /// How many ways were refused.
        tried: u32,
    },
    /// A person is to look at a step that takes long.
    Escalated {
        /// Its id.
        step: String,
    },
    /// A service was asked what became of a call.
    Probed {
        /// The key of the call's effect.
        key: String,
    },
    /// A call was refused while it is asked what became of it.
    Refused {
        /// The key of its effect.
        key: String,
        /// How the reason is encoded.
        codec: u8,
        /// Why.
        rejection: Vec<u8>,
    },
    /// It cannot be carried through: everything is undone from here on.
    GaveUp {
        /// The step that did not go; empty when nobody's step is to blame.
        step: String,
        /// Which of several.
        item: Option<u32>,
        /// How.
        cause: Cause,
        /// The rejection with its codec, if it was one.
        rejection: Option<(u8, Vec<u8>)>,
        /// In words.
        reason: String,
    },
    /// It goes by another definition from here on.
    Migrated {
        /// The fingerprint of that definition.
        fingerprint: u64,
        /// The steps of the definition, in order.
        steps: Vec<String>,
        /// What the steps gave that are done under it, with their codecs.
        outputs: BTreeMap<String, (u8, Vec<u8>)>,
        /// The steps that count as skipped.
        skipped: BTreeSet<String>,
    },
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Event for StepEvent<T> {
    const VERSIONS: &'static [(&'static str, u32)] = &[("Begun", 2)];

    fn upcasters() -> Upcasters {
        Upcasters::new().step("Begun", 1, |old: FirstBegun<T>| {
            let start = encode(GIVEN, &old.start).unwrap_or_default();
            SecondBegun {
                start: (GIVEN.id().number(), start.to_vec()),
                fingerprint: old.fingerprint,
                steps: old.steps,
            }
        })
    }
}

/// The event of a beginning before it was written by name.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct FirstBegun<T> {
    start: T,
    fingerprint: u64,
    steps: Vec<String>,
}

#[derive(Serialize)]
struct SecondBegun {
    start: (u8, Vec<u8>),
    fingerprint: u64,
    steps: Vec<String>,
}

/// What an instance of a step saga knows that began with a `T`. A copy of it costs little, however much that is: a decision is tried on one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "T: DeserializeOwned"))]
pub struct StepState<T> {
    pub(super) start: Option<Beginning<T>>,
    pub(super) fingerprint: u64,
    pub(super) steps: Arc<[String]>,
    pub(super) outputs: Outputs,
    pub(super) skipped: BTreeSet<String>,
    /// The answers to the several commands of the steps that are under way, by the steps' ids.
    pub(super) spread: BTreeMap<String, Replies>,
    /// The steps on branches that were begun.
    pub(super) entered: BTreeSet<String>,
    /// How many ways were refused, by the keys of the first ones' effects.
    pub(super) again: rpds::RedBlackTreeMapSync<String, u32>,
    /// The steps that a person was to look at, and that are not done yet.
    pub(super) escalated: BTreeSet<String>,
    /// The keys of the calls of which a service was asked what became of them.
    pub(super) probed: BTreeSet<String>,
    /// Why calls were refused while it is asked what became of them, by their keys.
    pub(super) refused: BTreeMap<String, (u8, Vec<u8>)>,
    /// What steps were told that wait for it, by their ids.
    pub(super) signals: Outputs,
    /// Why it could not be carried through.
    pub(super) given_up: Option<GivenUp>,
    /// Why it is to be compensated if the pivot is rejected, although nobody could cancel it any more.
    pub(super) cancel_refused: Option<String>,
    /// The commands of steps of several, as they were asked for once.
    #[serde(skip)]
    pub(super) lists: Lists,
}

impl<T> StepState<T> {
    /// What it began with; `None` before it began, and if this release cannot read it: see
    /// [`beginning`](Self::beginning).
    pub fn start(&self) -> Option<&T> {
        self.start.as_ref()?.read().ok()
    }

    /// What it began with, as it was written; `None` before it began.
    pub fn beginning(&self) -> Option<&Beginning<T>> {
        self.start.as_ref()
    }

    /// Whether a step is done.
    pub fn is_done(&self, step: &str) -> bool {
        self.outputs.contains_key(step)
    }

    /// Whether a step was skipped.
    pub fn is_skipped(&self, step: &str) -> bool {
        self.skipped.contains(step)
    }

    /// Whether a step is neither done nor skipped.
    pub(super) fn is_ahead(&self, step: &str) -> bool {
        !self.is_done(step) && !self.is_skipped(step)
    }

    /// Which of its ways a step is at, or one of its several commands.
    pub(super) fn place_of(&self, step: &str, item: Option<usize>) -> Place {
        let tried = self.again.get(&first_way(step, item));
        Place {
            item,
            tried: tried.copied().unwrap_or_default(),
        }
    }

    pub(super) fn apply(&mut self, event: &StepEvent<T>) {
        match event {
            StepEvent::Begun {
                start,
                fingerprint,
                steps,
            } => {
                self.start = Some(start.clone());
                self.fingerprint = *fingerprint;
                self.steps = steps.as_slice().into();
            }
            StepEvent::Spread { step, count } => {
                self.spread.insert(step.clone(), Replies::none_of(*count));
            }
            StepEvent::Heard {
                step,
                item,
                codec,
                reply,
            } => {
                if let Some(replies) = self.spread.get_mut(step) {
                    replies.heard(*item, *codec, reply);
                }
            }
            StepEvent::Did {
                step,
                codec,
                output,
            } => {
                self.outputs.insert(step.clone(), *codec, output.clone());
                self.spread.remove(step);
                self.lists.drop_of(step);
                self.entered.remove(step);
                self.escalated.remove(step);
            }
            StepEvent::Skipped { step } => {
                self.skipped.insert(step.clone());
            }
            StepEvent::Signalled { step, codec, said } => {
                if !self.signals.contains_key(step) {
                    self.signals.insert(step.clone(), *codec, said.clone());
                }
            }
            StepEvent::CancelRefused { reason } => self.cancel_refused = Some(reason.clone()),
            StepEvent::Entered { step } => {
                self.entered.insert(step.clone());
            }
            StepEvent::Again { step, item, tried } => {
                let first = first_way(step, item.map(|item| item as usize));
                self.again.insert_mut(first, *tried);
            }
            StepEvent::Escalated { step } => {
                self.escalated.insert(step.clone());
            }
            StepEvent::Probed { key } => {
                self.probed.insert(key.clone());
            }
            StepEvent::Refused {
                key,
                codec,
                rejection,
            } => {
                self.refused
                    .insert(key.clone(), (*codec, rejection.clone()));
            }
            StepEvent::GaveUp { .. } => self.give_up(event),
            StepEvent::Migrated { .. } => self.migrate(event),
        }
    }

    /// The first reason counts.
    fn give_up(&mut self, event: &StepEvent<T>) {
        let StepEvent::GaveUp {
            step,
            item,
            cause,
            rejection,
            reason,
        } = event
        else {
            return;
        };
        self.lists.clear();
        self.given_up.get_or_insert_with(|| GivenUp {
            step: step.clone(),
            item: item.map(|item| item as usize),
            cause: *cause,
            rejection: rejection.clone(),
            reason: reason.clone(),
        });
    }

    fn migrate(&mut self, event: &StepEvent<T>) {
        let StepEvent::Migrated {
            fingerprint,
            steps,
            outputs,
            skipped,
        } = event
        else {
            return;
        };
        self.fingerprint = *fingerprint;
        self.steps = steps.as_slice().into();
        self.outputs = outputs.clone().into();
        self.lists.clear();
        self.skipped.clone_from(skipped);
        self.entered.clear();
        self.escalated.clear();
    }
}

/// The key of the first effect of a step, or of one of its several.
fn first_way(step: &str, item: Option<usize>) -> String {
    let place = Place { item, tried: 0 };
    let key = EffectKey {
        step,
        place,
        is_probe: false,
    };
    key.written()
}

impl<T> Default for StepState<T> {
    fn default() -> Self {
        Self {
            start: None,
            fingerprint: 0,
            steps: Arc::default(),
            outputs: Outputs::default(),
            skipped: BTreeSet::new(),
            spread: BTreeMap::new(),
            entered: BTreeSet::new(),
            again: rpds::RedBlackTreeMapSync::new_sync(),
            escalated: BTreeSet::new(),
            probed: BTreeSet::new(),
            refused: BTreeMap::new(),
            signals: Outputs::default(),
            given_up: None,
            cancel_refused: None,
            lists: Lists::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::SchemaVersion;
    use chronicler_store::codec::{CodecId, Decoded, EventDecoder, decode};

    use super::*;

    /// C3: by their numbers, as releases before `Beginning` wrote them.
    #[test]
    fn c3_what_an_earlier_release_journaled_by_number_is_read_as_that() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        enum Start {
            Express { cents: u64 },
            Normal { cents: u64 },
        }
        // Normal { cents: 5 }, fingerprint 9, and one step.
        let bytes = [1, 5, 9, 1, 4, b's', b'h', b'i', b'p'];
        let decoder = EventDecoder::<StepEvent<Start>>::new();
        let first = SchemaVersion::FIRST;
        let read = decoder.decode_parts(CodecId::BINCODE, "Begun", first, &bytes);
        let Ok(Decoded::One(StepEvent::Begun {
            start,
            fingerprint: 9,
            steps,
        })) = read
        else {
            panic!("it is read as something else: {read:?}");
        };
        assert_eq!(start.read(), Ok(&Start::Normal { cents: 5 }));
        assert_eq!(steps, ["ship"]);
        let command: Start = decode(CodecId::BINCODE, &[0, 7]).unwrap();
        assert_eq!(command, Start::Express { cents: 7 });
    }
}
