//! Commands that an aggregate never refuses.

use crate::{Aggregate, Context, Decision};

/// An aggregate that never refuses this command, whatever it refuses otherwise.
///
/// The decision has no way to say no, so whoever sends the command need not think of one: behind the pivot of a saga
/// only such commands can stand. [`Aggregate::decide`] has to go the same way for it, as in the example; the test kit
/// checks that with `when_certain`.
///
/// ```
/// use chronicler_domain::{Aggregate, Certain, Context, Decided, Decision, Event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Shelf { on_hand: u32, promised: u32 }
/// #[derive(Serialize, Deserialize)]
/// enum ShelfCommand { Promise(u32), HandOver(HandOver) }
/// #[derive(Serialize, Deserialize)]
/// struct HandOver;
/// impl From<HandOver> for ShelfCommand {
///     fn from(command: HandOver) -> Self { Self::HandOver(command) }
/// }
/// # #[derive(Serialize, Deserialize)]
/// # enum ShelfEvent { Promised(u32), HandedOver(u32) }
/// # impl Event for ShelfEvent {}
/// # #[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
/// # #[error("too few")]
/// # struct TooFew;
/// impl Aggregate for Shelf {
///     const CATEGORY: &'static str = "shelf";
///     type Command = ShelfCommand;
///     type Event = ShelfEvent;
///     type Reply = ();
///     type Rejection = TooFew;
///     fn decide(&self, command: ShelfCommand, ctx: &Context) -> Decided<Self> {
///         match command {
///             ShelfCommand::Promise(units) if units > self.on_hand - self.promised => Err(TooFew),
///             ShelfCommand::Promise(units) => Ok(ShelfEvent::Promised(units).into()),
///             ShelfCommand::HandOver(command) => Ok(self.certain(command, ctx)),
///         }
///     }
///     fn evolve(&mut self, event: &ShelfEvent) {
///         match event {
///             ShelfEvent::Promised(units) => self.promised += units,
///             ShelfEvent::HandedOver(units) => {
///                 self.promised -= units;
///                 self.on_hand -= units;
///             }
///         }
///     }
/// }
/// impl Certain<HandOver> for Shelf {
///     fn certain(&self, _: HandOver, _: &Context) -> Decision<ShelfEvent> {
///         match self.promised {
///             0 => Decision::nothing(),
///             units => ShelfEvent::HandedOver(units).into(),
///         }
///     }
/// }
/// ```
pub trait Certain<C: Into<Self::Command>>: Aggregate {
    /// Decides the command on the present state: events and a reply.
    fn certain(&self, command: C, ctx: &Context) -> Decision<Self::Event, Self::Reply>;
}
