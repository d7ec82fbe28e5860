//! What an application writes: which events concern a process, what it does next, what it remembers.

use std::any::Any;
use std::sync::Arc;

use chronicler_domain::{Aggregate, Event, Tenant, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::Outcome;
use crate::next::Next;
use crate::routes::Routes;

/// A process across aggregates.
///
/// All functions are pure and synchronous. [`on`](Self::on) is called once for each input and never again: what
/// it decided is journaled, and a recovery folds [`evolve`](Self::evolve) over what it recorded.
pub trait Saga: Send + Sync + 'static {
    /// The stable name of the process in the log. 1 to 90 bytes.
    const NAME: &'static str;
    /// The version of its definition; journaled with each instance.
    const VERSION: u32 = 1;

    /// What an instance knows.
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What an instance remembers: usually an enum in the past tense. Its type names must not begin with `$`.
    type Event: Event;

    /// Says which events concern which instances.
    fn routes(on: &mut Routes<Self>)
    where
        Self: Sized;

    /// Decides what to do about an input.
    fn on(&self, state: &Self::State, input: &Input, ctx: &SagaContext) -> Next<Self>
    where
        Self: Sized;

    /// Decides how an effect is taken back that was done only after compensation had begun. It can record, and say how
    /// effects are undone; anything else quarantines the instance. Nothing by default: an undo that was given with its
    /// effect is run in any case.
    fn on_late(&self, state: &Self::State, outcome: &Outcome, ctx: &SagaContext) -> Next<Self>
    where
        Self: Sized,
    {
        let _ = (state, outcome, ctx);
        Next::stay()
    }

    /// What is wrong with its definition: the application then does not start, and says so. Nothing by default.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Changes the state as an event says.
    fn evolve(state: &mut Self::State, event: &Self::Event);
}

/// What a decision may know beside state and input.
#[derive(Clone, Debug)]
pub struct SagaContext {
    /// The instance's id.
    pub id: String,
    /// Whose data it is.
    pub tenant: Tenant,
    /// When the input was taken.
    pub now: Timestamp,
}

/// What an instance is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// An event that was routed to it; look at it with [`event`](Self::event).
    Event(RoutedEvent),
    /// The outcome of an effect.
    Outcome(Outcome),
    /// A timer came due.
    Timer(String),
    /// All undos have been run. What it sends now is still carried out; then it ends.
    Compensated {
        /// Why it compensated.
        reason: String,
    },
}

/// An event of any aggregate, decoded.
#[derive(Clone)]
pub struct RoutedEvent(pub(crate) Arc<dyn Any + Send + Sync>);

impl std::fmt::Debug for RoutedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoutedEvent")
    }
}

impl Input {
    /// An event as an input, for tests of a saga without a runtime.
    pub fn of_event<E: Event>(event: E) -> Self {
        Self::Event(RoutedEvent(Arc::new(event)))
    }

    /// The event, if it is one of this aggregate.
    pub fn event<A: Aggregate>(&self) -> Option<&A::Event> {
        match self {
            Self::Event(event) => event.0.downcast_ref(),
            _ => None,
        }
    }

    /// The outcome, if it is one.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Outcome(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The key of the timer, if it is one.
    pub fn timer(&self) -> Option<&str> {
        match self {
            Self::Timer(key) => Some(key),
            _ => None,
        }
    }

    /// What kind it is, in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Event(_) => "an event".to_owned(),
            Self::Outcome(outcome) => format!("the outcome of {:?}", outcome.key()),
            Self::Timer(key) => format!("timer {key:?}"),
            Self::Compensated { .. } => "the end of compensation".to_owned(),
        }
    }
}
