//! What the tests of transitions share: an aggregate of which only the events matter, and an event that is delivered.

use std::marker::PhantomData;

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, GlobalPosition, Never};
use serde::{Deserialize, Serialize};

use super::command::{Part, SagaCommand};
use crate::definition::input::RoutedEvent;
use crate::definition::routes::Delivery;

/// An aggregate of which only the events matter.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Source<E>(PhantomData<E>);

impl<E> Default for Source<E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Event + Clone> Aggregate for Source<E> {
    const CATEGORY: &'static str = "source";
    type Command = ();
    type Event = E;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, (): (), _: &Context) -> Decided<Self> {
        Ok(Decision::nothing())
    }

    fn evolve(&mut self, _: &E) {}
}

/// An event of this position, as a router brings it.
pub(super) fn delivered(position: u64, delivery: Delivery, event: impl Event) -> SagaCommand {
    SagaCommand::Deliver {
        position: GlobalPosition::new(position),
        is_late: false,
        parts: vec![Part {
            place: 0,
            of: 1,
            delivery,
            event: RoutedEvent::new(event),
        }],
    }
}
