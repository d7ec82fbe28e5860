//! A step saga as the executor knows it: one decision for each input.

use std::fmt::{self, Debug};

use chronicler_store::codec::{PayloadCodec, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::advance::{look_of, timer_of};
use super::build::Define;
use super::course::Course;
use super::definition::Definition;
use super::key::StepKey;
use super::list::Nil;
use super::migrate::Migration;
use super::node::Kind;
use super::phase::Compensable;
use super::state::{StepEvent, StepState};
use crate::definition::answer::Outcome;
use crate::definition::effect_view::EffectView;
use crate::definition::next::Next;
use crate::definition::routes::Routes;
use crate::definition::saga::{Input, Saga, SagaContext};

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

    /// The earlier definitions that instances may still go by. An instance ends under the one that it began with, found
    /// by its fingerprint. None by default.
    fn older() -> Vec<OlderDefinition<Self>>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// How an instance of an earlier definition comes to the newest, when an operator has it migrated. What its steps
    /// gave is kept by itself where the newest definition has a step of the same id.
    ///
    /// # Errors
    /// Why it cannot be; it then stays as it was.
    fn migrate(migration: &mut Migration) -> Result<(), String> {
        let _ = migration;
        Ok(())
    }
}

/// Writes the steps of an earlier definition.
pub type OlderDefinition<S> = fn(Define<S, Nil, Compensable>) -> Definition<S>;

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
    pub(super) step: String,
    pub(super) said: Result<(u8, Vec<u8>), String>,
}

impl Heard {
    /// It is to be undone, for this reason.
    pub fn cancel(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Cancel { reason }
    }

    /// Tells the step of this key what it waits for, now or when the saga gets there. Only the first counts.
    pub fn signal<K: StepKey>(_: K, said: &K::Output) -> Self {
        let codec = PayloadCodec::ByName;
        let said = encode(codec, said).map(|said| (codec.id().number(), said.to_vec()));
        Self::Signal(Signal {
            step: K::ID.to_owned(),
            said: said.map_err(|error| error.to_string()),
        })
    }
}

/// A saga made of steps: what is registered with an application.
pub struct Steps<S: StepSaga> {
    definition: Definition<S>,
    older: Vec<Definition<S>>,
}

impl<S: StepSaga> Steps<S> {
    /// The saga of this definition.
    pub fn of() -> Self {
        Self {
            definition: S::define(Define::begin()),
            older: S::older()
                .into_iter()
                .map(|define| define(Define::begin()))
                .collect(),
        }
    }

    /// The definition that an instance goes by.
    fn definition_of(&self, state: &StepState<S>) -> Option<&Definition<S>> {
        let all = std::iter::once(&self.definition).chain(&self.older);
        all.into_iter()
            .find(|definition| definition.fingerprint == state.fingerprint)
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
        let older = self.older.iter().flat_map(Definition::problems);
        let mut problems = self.definition.problems();
        problems.extend(older.map(|problem| format!("in an older definition, {problem}")));
        for (place, older) in self.older.iter().enumerate() {
            let is_another = |other: &Definition<S>| other.fingerprint == older.fingerprint;
            if is_another(&self.definition) || self.older.iter().take(place).any(is_another) {
                problems.push(format!(
                    "two of its definitions have the same steps: {:?}",
                    older.steps().collect::<Vec<_>>()
                ));
            }
        }
        problems
    }

    fn doubts(&self) -> Vec<String> {
        self.definition.doubts()
    }

    fn waits_for(&self, state: &StepState<S>) -> Vec<String> {
        let Some(definition) = self.definition_of(state) else {
            return Vec::new();
        };
        let nodes = definition.nodes.iter();
        nodes
            .filter(|node| node.kind == Kind::Wait && definition.is_next(state, node))
            .map(|node| node.id.to_owned())
            .collect()
    }

    fn remaining(&self, state: &StepState<S>) -> Vec<String> {
        let definition = self.definition_of(state).unwrap_or(&self.definition);
        let nodes = definition.nodes.iter();
        nodes
            .filter(|node| state.is_ahead(node.id))
            .map(|node| node.id.to_owned())
            .collect()
    }

    fn diagram(&self, state: &StepState<S>, effects: &[EffectView]) -> Option<String> {
        let definition = self.definition_of(state).unwrap_or(&self.definition);
        Some(definition.to_mermaid_of(state, effects))
    }

    fn on(&self, state: &StepState<S>, input: &Input, context: &SagaContext) -> Next<Self> {
        let known = self.definition_of(state);
        let definition = known.unwrap_or(&self.definition);
        let course = Course::new(definition, context, state.clone());
        let Some(start) = &state.start else {
            let newest = Course::new(&self.definition, context, state.clone());
            return match input {
                Input::Event(_) => match S::begin(input) {
                    Some(start) => newest.begin(start),
                    None => {
                        newest.mistaken("an event was routed here that begins nothing".to_owned())
                    }
                },
                Input::Begin(said) => match said.decode() {
                    Ok(start) => newest.begin(start),
                    Err(error) => newest.mistaken(format!("what it is to begin with: {error}")),
                },
                _ => newest.next,
            };
        };
        match input {
            Input::Begin(_) => course.next,
            Input::Cancelled { reason, .. } => course.cancelled(reason.clone()),
            Input::Compensated { reason } => course.last_words(reason.clone()),
            Input::Migrate { from } => self.migrated(*from, state, context),
            _ if known.is_none() => course.changed(),
            Input::Event(_) => match start.read().map(|start| S::heard(input, start)) {
                Ok(Heard::Nothing) => course.next,
                Ok(Heard::Signal(signal)) => course.told(signal),
                Ok(Heard::Cancel { reason }) => course.cancel(reason),
                Err(reason) => course.mistaken(reason),
            },
            Input::Signal(said) => course.told(Signal {
                step: said.name.clone(),
                said: Ok((said.codec, said.payload.clone())),
            }),
            Input::Outcome(outcome) => course.answered(outcome),
            Input::Timer(key) => course.late(key),
        }
    }

    fn on_late(
        &self,
        state: &StepState<S>,
        outcome: &Outcome,
        context: &SagaContext,
    ) -> Next<Self> {
        // Whatever else has changed: a step that is still there knows how it is taken back.
        let definition = self.definition_of(state).unwrap_or(&self.definition);
        Course::new(definition, context, state.clone()).undone_late(outcome)
    }

    fn evolve(state: &mut StepState<S>, event: &StepEvent<S::Start>) {
        state.apply(event);
    }
}

impl<S: StepSaga> Steps<S> {
    /// Takes an instance over to the newest definition.
    fn migrated(&self, from: u32, state: &StepState<S>, context: &SagaContext) -> Next<Self> {
        let mut course = Course::new(&self.definition, context, state.clone());
        if state.fingerprint == self.definition.fingerprint {
            return course.next;
        }
        let mut migration = Migration::of(from, state);
        let migrated =
            S::migrate(&mut migration).and_then(|()| migration.into_event(&self.definition));
        match migrated {
            Ok(event) => {
                course.note(event);
                if !state.escalated.is_empty() {
                    course.next = course.next.deescalate();
                }
                for step in state.steps.iter() {
                    course.next = course.next.cancel_timer(timer_of(step));
                    course.next = course.next.cancel_timer(look_of(step));
                }
                if course.is_past_pivot() {
                    course.next = course.next.pivot();
                }
                course.go_on()
            }
            Err(reason) => course.mistaken(reason),
        }
    }
}
