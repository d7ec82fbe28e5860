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
    delivered_as(position, [(delivery, event)])
}

/// An event of this position that is read as several, each with its way to the instance.
pub(super) fn delivered_as<E: Event>(
    position: u64,
    parts: impl IntoIterator<Item = (Delivery, E), IntoIter: ExactSizeIterator>,
) -> SagaCommand {
    let parts = parts.into_iter();
    let of = u32::try_from(parts.len()).unwrap();
    let part = |(place, (delivery, event))| Part {
        place,
        of,
        delivery,
        event: RoutedEvent::new(event),
    };
    SagaCommand::Deliver {
        position: GlobalPosition::new(position),
        is_late: false,
        parts: (0..).zip(parts).map(part).collect(),
    }
}
