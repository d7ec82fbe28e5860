//! One decision of a saga of steps, while it is being made.

use std::collections::BTreeSet;

use super::beginning::Beginning;
use super::definition::Definition;
use super::effect_key::Place;
use super::encoding::GIVEN;
use super::given_up::GivenUp;
use super::node::{Node, Situation};
use super::saga::{StepSaga, Steps};
use super::state::{StepEvent, StepState};
use crate::definition::input::SagaContext;
use crate::definition::next::Next;

/// A decision that is being made, and the state as it will be.
pub(super) struct StepDecision<'a, S: StepSaga> {
    pub(super) definition: &'a Definition<S>,
    pub(super) context: &'a SagaContext,
    pub(super) state: StepState<S::Start>,
    pub(super) next: Next<Steps<S>>,
    /// The steps that were begun in this decision.
    pub(super) begun: BTreeSet<&'static str>,
}

impl<'a, S: StepSaga> StepDecision<'a, S> {
    pub(super) fn new(
        definition: &'a Definition<S>,
        context: &'a SagaContext,
        state: StepState<S::Start>,
    ) -> Self {
        Self {
            definition,
            context,
            state,
            next: Next::stay(),
            begun: BTreeSet::new(),
        }
    }

    pub(super) fn begin(mut self, start: S::Start) -> Next<Steps<S>> {
        let steps = self.definition.steps().map(str::to_owned).collect();
        let start = match Beginning::new(start) {
            Ok(start) => start,
            Err(reason) => return self.mistaken(format!("what it is to begin with: {reason}")),
        };
        let fingerprint = self.definition.fingerprint;
        self.note(StepEvent::Begun {
            start,
            fingerprint,
            steps,
        });
        self.add(Next::take_up_early);
        self.go_on()
    }

    /// The definition is another than the one it began under.
    pub(super) fn changed(self) -> Next<Steps<S>> {
        let now: Vec<_> = self.definition.steps().collect();
        let reason = format!(
            "it began under another definition, of the steps {:?}; this application has {now:?}: name the earlier one in `StepSaga::older`, migrate the instance, or release it with the application that began it",
            self.state.steps
        );
        self.mistaken(reason)
    }

    pub(super) fn cancel(mut self, reason: String) -> Next<Steps<S>> {
        if self.has_pivot_begun() {
            self.note(StepEvent::CancelRefused { reason });
            return self.next;
        }
        self.give_up(GivenUp::cancelled(reason))
    }

    /// An operator, or who began it, has it undone: only noted.
    pub(super) fn cancelled(mut self, reason: String) -> Next<Steps<S>> {
        self.note(given_up(GivenUp::cancelled(reason)));
        self.shown_no_more().next
    }

    /// All undos were run: its last words.
    pub(super) fn last_words(self, reason: String) -> Next<Steps<S>> {
        let definition = self.definition;
        let Some((id, say)) = &definition.last_words else {
            return self.next;
        };
        let given_up = self.state.given_up.clone();
        let given_up = given_up.unwrap_or_else(|| GivenUp::cancelled(reason));
        match say(self.at(Place::default()), &given_up) {
            Ok(request) => self.next.effect((*id).to_owned(), request),
            Err(reason) => self.mistaken(format!("{id:?}: {reason}")),
        }
    }

    pub(super) fn give_up(mut self, why: GivenUp) -> Next<Steps<S>> {
        let reason = why.reason.clone();
        self.note(given_up(why));
        self.shown_no_more().next.compensate(reason)
    }

    /// Nothing that a person was shown is waited for any more.
    fn shown_no_more(mut self) -> Self {
        if !self.state.escalated.is_empty() {
            self.next = self.next.deescalate();
        }
        self
    }

    pub(super) fn did(&mut self, node: &Node<S::Start>, output: Vec<u8>) {
        self.note(StepEvent::Did {
            step: node.id.to_owned(),
            codec: GIVEN.id().number(),
            output,
        });
    }

    pub(super) fn note(&mut self, event: StepEvent<S::Start>) {
        self.state.apply(&event);
        self.add(|next| next.record(event));
    }

    /// More of the decision.
    pub(super) fn add(&mut self, add: impl FnOnce(Next<Steps<S>>) -> Next<Steps<S>>) {
        let next = std::mem::replace(&mut self.next, Next::stay());
        self.next = add(next);
    }

    pub(super) fn mistaken(self, reason: String) -> Next<Steps<S>> {
        self.next.mistaken(S::NAME, reason)
    }

    pub(super) fn at(&self, place: Place) -> Situation<'_, S::Start> {
        Situation {
            state: &self.state,
            context: self.context,
            place,
        }
    }

    pub(super) fn is_ahead(&self, node: &Node<S::Start>) -> bool {
        self.state.is_ahead(node.id)
    }

    /// Whether it is its turn, begun or not: it is ahead, and nothing right before it is ahead.
    pub(super) fn is_next(&self, node: &Node<S::Start>) -> bool {
        self.definition.is_next(&self.state, node)
    }

    pub(super) fn is_begun(&self, node: &Node<S::Start>) -> bool {
        self.begun.contains(node.id) || self.state.entered.contains(node.id)
    }

    fn pivot(&self) -> Option<&Node<S::Start>> {
        self.definition
            .nodes
            .iter()
            .find(|node| node.kind.is_pivot())
    }

    pub(super) fn has_pivot_begun(&self) -> bool {
        let begun = |pivot: &Node<S::Start>| !self.is_ahead(pivot) || self.is_next(pivot);
        self.pivot().is_none_or(begun)
    }

    pub(super) fn is_past_pivot(&self) -> bool {
        self.pivot().is_some_and(|pivot| !self.is_ahead(pivot))
    }
}

fn given_up<T>(why: GivenUp) -> StepEvent<T> {
    let GivenUp {
        step,
        item,
        cause,
        rejection,
        reason,
    } = why;
    StepEvent::GaveUp {
        step,
        item: item.and_then(|item| u32::try_from(item).ok()),
        cause,
        rejection,
        reason,
    }
}
