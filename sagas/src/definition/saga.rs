//! The trait that an application writes: the routes of a process, its decisions, and what it remembers.

use chronicler_domain::{Category, Event, InvalidId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::definition::answer::EffectAnswer;
pub(crate) use crate::definition::category::CATEGORY_PREFIX;
use crate::definition::effect_view::EffectView;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::Routes;

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
    /// effects are undone. Nothing by default: an undo that was given with its effect is run in any case. Where this wants
    /// something else, or panics, that undo is run as it is, and the instance escalated; for an effect without one the
    /// instance is quarantined, and when it is cancelled the other undos are run, and this effect waits for a person.
    fn on_late(&self, state: &Self::State, outcome: &EffectAnswer, ctx: &SagaContext) -> Next<Self>
    where
        Self: Sized,
    {
        let _ = (state, outcome, ctx);
        Next::stay()
    }

    /// Whether an instance that has said [`Next::complete`] while this effect was under way is completed only if the
    /// effect is done; else it then reads failed. Every effect by default. A saga of steps says no: it is complete when
    /// its steps are done, and what is still under way then are questions about a call, and ways that another overtook.
    fn end_needs(&self, state: &Self::State, key: &str) -> bool {
        let _ = (state, key);
        true
    }

    /// Whether an instance that was started has begun. `None`: with the first input that it was given. One of steps has not
    /// while it only keeps what came before the event that begins it.
    #[doc(hidden)]
    fn has_begun(&self, state: &Self::State) -> Option<bool> {
        let _ = state;
        None
    }

    /// What an instance waits for that has nothing under way, for people: `the approval`. Nothing by default; then the
    /// keys of its timers are shown.
    fn waits_for(&self, state: &Self::State) -> Vec<String> {
        let _ = state;
        Vec::new()
    }

    /// The ids of what an instance has still to do, if the saga knows them, as one of steps does.
    fn remaining(&self, state: &Self::State) -> Vec<String> {
        let _ = state;
        Vec::new()
    }

    /// The path of an instance through its definition as a Mermaid diagram, if the saga can draw it.
    fn diagram(&self, state: &Self::State, effects: &[EffectView]) -> Option<String> {
        let _ = (state, effects);
        None
    }

    /// What is wrong with its definition: the application then does not start, and says so. Nothing by default.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// What of its definition may be as it is meant, and is worth a look: it is logged when the application starts.
    /// Nothing by default.
    fn doubts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Changes the state as an event says.
    fn evolve(state: &mut Self::State, event: &Self::Event);
}

/// The category of a saga's streams.
pub(crate) fn category<S: Saga>() -> Result<Category, InvalidId> {
    Category::new(format!("{CATEGORY_PREFIX}{}", S::NAME))
}
