//! The inputs of an instance, and the context of a decision.

use std::any::Any;
use std::sync::Arc;

use chronicler_domain::{Aggregate, Event, Tenant, Timestamp};
use chronicler_store::codec::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::definition::answer::EffectAnswer;
use crate::definition::payload::Payload;

/// The context of a decision: all that it may know beside state and input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SagaContext {
    /// The instance's id.
    pub id: String,
    /// Whose data it is.
    pub tenant: Tenant,
    /// When the input was taken.
    pub now: Timestamp,
}

/// An input: an instance is told this, and decides what to do about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// An event that was routed to it; look at it with [`event`](Self::event).
    Event(RoutedEvent),
    /// What an effect was answered.
    Answer(EffectAnswer),
    /// A timer came due.
    Timer(String),
    /// Somebody says something to this instance; see [`signal_of`](Self::signal_of).
    Signal(Message),
    /// Another saga begins this instance as its child; see [`begins_with`](Self::begins_with).
    Begin(Message),
    /// Somebody cancels it. It can take note; when this was decided, it is compensated.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// It began under another version of its definition, and is now to go by this one.
    Migrate {
        /// The version that it began under, or was migrated to last.
        from: u32,
    },
    /// All undos have been run. What it sends now is still carried out; then it ends.
    Compensated {
        /// Why it compensated.
        reason: String,
    },
}

/// A message to an instance, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(crate) name: String,
    pub(crate) payload: Payload,
}

impl Message {
    /// A message, for tests of a saga without a runtime.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn new<T: Serialize>(name: impl Into<String>, said: &T) -> Result<Self, CodecError> {
        Ok(Self {
            name: name.into(),
            payload: Payload::of(said)?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is not of this type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        self.payload.decode()
    }
}

/// An event of any aggregate, decoded.
#[derive(Clone)]
pub struct RoutedEvent(pub(crate) Arc<dyn Any + Send + Sync>);

impl RoutedEvent {
    pub(crate) fn new<E: Event>(event: E) -> Self {
        Self(Arc::new(event))
    }
}

impl std::fmt::Debug for RoutedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoutedEvent")
    }
}

impl Input {
    /// An event as an input, for tests of a saga without a runtime.
    pub fn of_event<E: Event>(event: E) -> Self {
        Self::Event(RoutedEvent::new(event))
    }

    /// The event, if it is one of this aggregate.
    pub fn event<A: Aggregate>(&self) -> Option<&A::Event> {
        match self {
            Self::Event(event) => event.0.downcast_ref(),
            _ => None,
        }
    }

    /// What an effect was answered, if it is that.
    pub fn answer(&self) -> Option<&EffectAnswer> {
        match self {
            Self::Answer(answer) => Some(answer),
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

    /// What was said under this name, if it is a signal of it.
    ///
    /// # Errors
    /// When it is not of this type.
    pub fn signal_of<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CodecError> {
        match self {
            Self::Signal(said) if said.name == name => said.decode().map(Some),
            _ => Ok(None),
        }
    }

    /// What a child begins with, if another saga begins it.
    ///
    /// # Errors
    /// When it is not of this type.
    pub fn begins_with<T: DeserializeOwned>(&self) -> Result<Option<T>, CodecError> {
        match self {
            Self::Begin(said) => said.decode().map(Some),
            _ => Ok(None),
        }
    }

    /// What kind it is, in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Event(_) => "an event".to_owned(),
            Self::Answer(answer) => format!("the outcome of {:?}", answer.key()),
            Self::Timer(key) => format!("timer {key:?}"),
            Self::Compensated { .. } => "the end of compensation".to_owned(),
            Self::Signal(said) => format!("signal {:?}", said.name),
            Self::Begin(_) => "its beginning".to_owned(),
            Self::Cancelled { .. } => "its cancellation".to_owned(),
            Self::Migrate { from } => format!("its migration from version {from}"),
        }
    }
}
