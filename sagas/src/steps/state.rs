//! What an instance of a step saga remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chronicler_domain::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::saga::StepSaga;

/// What steps gave, encoded, by their ids: codec and payload.
pub(crate) type Outputs = BTreeMap<String, (u8, Vec<u8>)>;

/// What an instance of a step saga remembers. The names and fields are on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StepEvent<T> {
    /// It began.
    Begun {
        /// With this.
        start: T,
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
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Event for StepEvent<T> {}

/// What an instance of a step saga knows.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct StepState<S: StepSaga> {
    pub(super) start: Option<Arc<S::Start>>,
    pub(super) fingerprint: u64,
    pub(super) steps: Vec<String>,
    pub(super) outputs: Outputs,
    pub(super) skipped: BTreeSet<String>,
    /// The answers to the several commands of the step that is under way, once there are any.
    pub(super) spread: Vec<Option<(u8, Vec<u8>)>>,
    /// What steps were told that wait for it, by their ids.
    pub(super) signals: Outputs,
    /// Why it is to be compensated if the pivot is rejected, although nobody could cancel it any more.
    pub(super) cancel_refused: Option<String>,
}

impl<S: StepSaga> StepState<S> {
    /// What it began with; `None` before it began.
    pub fn start(&self) -> Option<&S::Start> {
        self.start.as_deref()
    }

    /// Whether a step is done.
    pub fn is_done(&self, step: &str) -> bool {
        self.outputs.contains_key(step)
    }

    /// Whether a step was skipped.
    pub fn is_skipped(&self, step: &str) -> bool {
        self.skipped.contains(step)
    }

    pub(super) fn apply(&mut self, event: &StepEvent<S::Start>)
    where
        S::Start: Clone,
    {
        match event {
            StepEvent::Begun {
                start,
                fingerprint,
                steps,
            } => {
                self.start = Some(Arc::new(start.clone()));
                self.fingerprint = *fingerprint;
                self.steps.clone_from(steps);
            }
            StepEvent::Spread { count, .. } => self.spread = vec![None; *count as usize],
            StepEvent::Heard {
                item, codec, reply, ..
            } => {
                if let Some(place) = self.spread.get_mut(*item as usize) {
                    *place = Some((*codec, reply.clone()));
                }
            }
            StepEvent::Did {
                step,
                codec,
                output,
            } => {
                self.outputs.insert(step.clone(), (*codec, output.clone()));
                self.spread.clear();
            }
            StepEvent::Skipped { step } => {
                self.skipped.insert(step.clone());
            }
            StepEvent::Signalled { step, codec, said } => {
                let first = self.signals.entry(step.clone());
                first.or_insert_with(|| (*codec, said.clone()));
            }
            StepEvent::CancelRefused { reason } => self.cancel_refused = Some(reason.clone()),
        }
    }
}

impl<S: StepSaga> Default for StepState<S> {
    fn default() -> Self {
        Self {
            start: None,
            fingerprint: 0,
            steps: Vec::new(),
            outputs: Outputs::new(),
            skipped: BTreeSet::new(),
            spread: Vec::new(),
            signals: Outputs::new(),
            cancel_refused: None,
        }
    }
}

impl<S: StepSaga> Clone for StepState<S> {
    fn clone(&self) -> Self {
        Self {
            start: self.start.clone(),
            fingerprint: self.fingerprint,
            steps: self.steps.clone(),
            outputs: self.outputs.clone(),
            skipped: self.skipped.clone(),
            spread: self.spread.clone(),
            signals: self.signals.clone(),
            cancel_refused: self.cancel_refused.clone(),
        }
    }
}
