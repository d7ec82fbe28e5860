//! A process as a list of steps: what an application writes of it.

use std::fmt::{self, Debug};

use chronicler_store::codec::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::Define;
use super::definition::Definition;
use super::key::StepKey;
use super::list::Nil;
use super::migrate::Migration;
use super::phase::Compensable;
use super::target::ToChild;
use crate::definition::input::{Input, Message};
use crate::definition::payload::Payload;
use crate::definition::requests::child;
use crate::definition::routes::Routes;

/// A process as a list of steps. [`Steps`] makes a saga of it.
pub trait StepSaga: Send + Sync + 'static {
    /// The stable name of the process in the log. 1 to 90 bytes.
    const NAME: &'static str;
    /// The version of its definition; journaled with each instance.
    const VERSION: u32 = 1;

    /// What an instance begins with, and every step can see. It is journaled by the names of its fields and variants, and
    /// instances that are open when it changes go on with it: in another order as it is, with a field more that has a
    /// `#[serde(default)]`, under another name with `#[serde(alias = "…")]`, and in any other shape with
    /// `#[serde(from = "…")]` and a type that reads the earlier shape and the later one. What cannot be read sets aside the
    /// instance at its next input; it can be released when it can be read, and cancelled at any time.
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

/// The meaning of an event for an instance that has begun.
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

/// A message to the step that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub(super) step: String,
    pub(super) said: Result<Payload, CodecError>,
}

impl Signal {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            step: message.name.clone(),
            said: Ok(message.payload.clone()),
        }
    }
}

impl Heard {
    /// It is to be undone, for this reason.
    pub fn cancel(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Cancel { reason }
    }

    /// Tells the step of this key what it waits for, now or when the saga gets there. Only the first counts.
    pub fn signal<K: StepKey>(_: K, said: &K::Output) -> Self {
        Self::Signal(Signal {
            step: K::ID.to_owned(),
            said: Payload::of(said),
        })
    }
}

/// A saga made of steps: what is registered with an application.
pub struct Steps<S: StepSaga> {
    pub(super) definition: Definition<S>,
    pub(super) older: Vec<Definition<S>>,
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

/// An instance of another saga of steps, of this id, that begins with this.
pub fn to_child<C: StepSaga>(id: impl AsRef<str>, start: &C::Start) -> ToChild {
    ToChild(child(C::NAME, id.as_ref(), start))
}
