//! The consistency boundary: state, a pure decision, and how events change the state.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Event};

/// A consistency boundary: one instance decides one command at a time, on its own history alone.
///
/// Both functions are pure and synchronous. Neither may read a clock, draw a random number, block or
/// panic; a panic fails that command and nothing else.
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The stable name of this type of aggregate in the log. Never change it once events exist.
    const CATEGORY: &'static str;
    /// The version of what the state means. Raise it when [`evolve`](Self::evolve) does something else, or a field that
    /// keeps its name and type means something else: older snapshots are then ignored and the state is folded from its
    /// events again. Fields that are added, removed or called otherwise are noticed without it.
    const SNAPSHOT_VERSION: u32 = 1;

    /// What can be asked: plain data, usually an enum in the imperative.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What can have happened: usually an enum in the past tense.
    type Event: Event;
    /// What an accepted command answers; `()` if nothing.
    type Reply: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// Why the domain says no; [`Never`](crate::Never) if it never does.
    type Rejection: std::error::Error + Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// Decides a command on the present state: events and a reply, or a rejection.
    ///
    /// # Errors
    /// The rejection, when the domain says no. Nothing is then appended.
    ///
    /// # Panics
    /// An implementation should not panic. A panic fails the command, as an event that cannot be encoded does, and the
    /// state stays in memory as it is. So a decision must not change the state: one with a `Cell` or a lock in it keeps what
    /// a failed decision left there, and differs from what its events say until it is recovered.
    fn decide(&self, command: Self::Command, ctx: &Context) -> Decided<Self>;

    /// Changes the state as the event says. Called once for each event, when it is decided and whenever
    /// the instance is recovered; it must accept every event that `decide` ever gave.
    fn evolve(&mut self, event: &Self::Event);
}

/// What [`Aggregate::decide`] returns.
pub type Decided<A> =
    Result<Decision<<A as Aggregate>::Event, <A as Aggregate>::Reply>, <A as Aggregate>::Rejection>;

/// An accepted command: what happened, in order, and what to answer. No events means: nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision<E, R = ()> {
    /// What happened, in order; committed together or not at all.
    pub events: Vec<E>,
    /// What the sender is answered once that is durable.
    pub reply: R,
}

impl<E> Decision<E, ()> {
    /// Accepted, and nothing happened: the state already is as asked.
    pub fn nothing() -> Self {
        Self {
            events: Vec::new(),
            reply: (),
        }
    }

    /// One thing happened.
    pub fn event(event: E) -> Self {
        Self {
            events: vec![event],
            reply: (),
        }
    }

    /// Several things happened, in this order, together.
    pub fn events(events: impl IntoIterator<Item = E>) -> Self {
        Self {
            events: events.into_iter().collect(),
            reply: (),
        }
    }

    /// The same events with an answer.
    pub fn reply<R>(self, reply: R) -> Decision<E, R> {
        Decision {
            events: self.events,
            reply,
        }
    }
}

impl<E> From<E> for Decision<E, ()> {
    fn from(event: E) -> Self {
        Self::event(event)
    }
}
