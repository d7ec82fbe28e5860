//! A step saga as the executor knows it: one decision for each input.

use std::fmt::{self, Debug};

use chronicler_store::codec::{PayloadCodec, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::Define;
use super::course::Course;
use super::definition::Definition;
use super::key::StepKey;
use super::list::Nil;
use super::phase::Compensable;
use super::state::{StepEvent, StepState};
use crate::answer::Outcome;
use crate::next::Next;
use crate::routes::Routes;
use crate::saga::{Input, Saga, SagaContext};

/// A process as a list of steps. [`Steps`] makes a saga of it.
pub trait StepSaga: Send + Sync + 'static {
    /// The stable name of the process in the log. 1 to 90 bytes.
    const NAME: &'static str;
    /// The version of its definition; journaled with each instance.
    const VERSION: u32 = 1;

    /// What an instance begins with, and every step can see.
    type Start: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Says which events concern which instances.
    fn routes(on: &mut Routes<Steps<Self>>)
    where
        Self: Sized;

    /// What an instance begins with, from the event that starts it. `None` quarantines the instance: the event was
    /// routed to it, and nothing says what to do.
    fn begin(event: &Input) -> Option<Self::Start>;

    /// What an event says that is routed to an instance that has begun.
    fn heard(event: &Input, start: &Self::Start) -> Heard {
        let _ = (event, start);
        Heard::Nothing
    }

    /// Writes the steps.
    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self>
    where
        Self: Sized;
}

/// What an event says to an instance that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// Nothing that matters.
    Nothing,
    /// What a step waits for; made by [`signal`](Self::signal).
    Signal(Signal),
    /// It is to be undone. Past the pivot, or while it is under way, that is noted and refused; if the pivot is then
    /// rejected, it is undone all the same.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// What a step is told that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub(super) step: &'static str,
    pub(super) said: Result<Vec<u8>, String>,
}

impl Heard {
    /// Tells the step of this key what it waits for, now or when the saga gets there. Only the first counts.
    pub fn signal<K: StepKey>(_: K, said: &K::Output) -> Self {
        let said = encode(PayloadCodec::default(), said);
        Self::Signal(Signal {
            step: K::ID,
            said: said
                .map(|said| said.to_vec())
                .map_err(|error| error.to_string()),
        })
    }
}

/// A saga made of steps: what is registered with an application.
pub struct Steps<S: StepSaga> {
    definition: Definition<S>,
}

impl<S: StepSaga> Steps<S> {
    /// The saga of this definition.
    pub fn of() -> Self {
        Self {
            definition: S::define(Define::begin()),
        }
    }

    /// The definition.
    pub fn definition(&self) -> &Definition<S> {
        &self.definition
    }
}

impl<S: StepSaga> Default for Steps<S> {
    fn default() -> Self {
        Self::of()
    }
}

impl<S: StepSaga> Debug for Steps<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(S::NAME).field(&self.definition).finish()
    }
}

impl<S: StepSaga> Saga for Steps<S> {
    const NAME: &'static str = S::NAME;
    const VERSION: u32 = S::VERSION;

    type State = StepState<S>;
    type Event = StepEvent<S::Start>;

    fn routes(on: &mut Routes<Self>) {
        S::routes(on);
    }

    fn problems(&self) -> Vec<String> {
        self.definition.problems()
    }

    fn on(&self, state: &StepState<S>, input: &Input, context: &SagaContext) -> Next<Self> {
        let course = Course {
            definition: &self.definition,
            context,
            state: state.clone(),
            next: Next::stay(),
        };
        match (&state.start, input) {
            (None, Input::Event(_)) => match S::begin(input) {
                Some(start) => course.begin(start),
                None => course.mistaken("an event was routed here that begins nothing".to_owned()),
            },
            // What is said to a saga that is being compensated changes nothing.
            (_, Input::Compensated { .. }) | (None, _) => course.next,
            _ if state.fingerprint != self.definition.fingerprint => course.changed(),
            (Some(start), Input::Event(_)) => match S::heard(input, start) {
                Heard::Nothing => course.next,
                Heard::Signal(signal) => course.told(signal),
                Heard::Cancel { reason } => course.cancel(reason),
            },
            (_, Input::Outcome(outcome)) => course.answered(outcome),
            (_, Input::Timer(key)) => course.late(key),
        }
    }

    fn on_late(
        &self,
        state: &StepState<S>,
        outcome: &Outcome,
        context: &SagaContext,
    ) -> Next<Self> {
        let course = Course {
            definition: &self.definition,
            context,
            state: state.clone(),
            next: Next::stay(),
        };
        // Whatever else has changed: a step that is still there knows how it is taken back.
        course.undone_late(outcome)
    }

    fn evolve(state: &mut StepState<S>, event: &StepEvent<S::Start>) {
        state.apply(event);
    }
}
