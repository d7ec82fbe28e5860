//! Waits of steps: for messages, and for no longer than their limits.

use super::effect_key::{EffectKey, Place, look_of, timer_of};
use super::given_up::{Cause, GivenUp};
use super::node::{Kind, Node, Plan};
use super::saga::{Signal, StepSaga, Steps};
use super::state::StepEvent;
use super::step_decision::StepDecision;
use crate::definition::next::Next;
use crate::definition::terms::Terms;

impl<S: StepSaga> StepDecision<'_, S> {
    pub(super) fn told(mut self, signal: Signal) -> Next<Steps<S>> {
        let Signal { step, said } = signal;
        let (codec, said) = match said {
            Ok(said) => (said.codec().number(), said.into_bytes()),
            Err(reason) => return self.mistaken(format!("the signal for {step:?}: {reason}")),
        };
        let is_awaited = |node: &&Node<S::Start>| node.id == step && node.kind == Kind::Wait;
        let definition = self.definition;
        let Some(node) = definition.nodes.iter().find(is_awaited) else {
            return self.mistaken(format!(
                "a signal for {step:?}, and no step of this id waits for one"
            ));
        };
        // Before the saga has begun it waits, and is to be one that can be taken then.
        let has_begun = self.state.start.is_some();
        if has_begun && (!self.is_ahead(node) || self.state.signals.contains_key(&step)) {
            // It was told before.
            return self.next;
        }
        let is_current = has_begun && self.is_next(node);
        self.note(StepEvent::Signalled { step, codec, said });
        let planned = (node.plan)(self.at(Place::default()));
        match planned {
            // What the step could not take is not kept: another may come.
            Err(reason) => self.mistaken(format!("the signal for {:?}: {reason}", node.id)),
            // Its condition was asked when it began to wait.
            Ok(Plan::Settled(output)) if is_current => {
                self = self.unlimited(node);
                self.did(node, output);
                self.go_on()
            }
            Ok(_) => self.next,
        }
    }

    /// A timer came due.
    pub(super) fn late(self, key: &str) -> Next<Steps<S>> {
        let definition = self.definition;
        let is_its = |node: &&Node<S::Start>| timer_of(node.id) == key || look_of(node.id) == key;
        // A timer of a step that was answered by then is disarmed; this is for one that fired just then.
        let node = definition.nodes.iter().find(is_its);
        let Some(node) = node.filter(|node| self.is_next(node)) else {
            return self.next;
        };
        if look_of(node.id) == key {
            return self.escalated(node);
        }
        let Some(limit) = node.limit.filter(|_| !self.is_past_pivot()) else {
            return self.next;
        };
        let place = self.state.place_of(node.id, None);
        match self.probed(node, place) {
            // The answer may take as long again, whatever way it then leads.
            Ok(next) => next.timer(timer_of(node.id), limit),
            Err(course) => course.give_up(GivenUp {
                step: node.id.to_owned(),
                item: None,
                cause: Cause::TooLong,
                rejection: None,
                reason: format!("step {:?} took too long", node.id),
            }),
        }
    }

    /// A person should look at a step that takes long.
    fn escalated(mut self, node: &Node<S::Start>) -> Next<Steps<S>> {
        let step = node.id.to_owned();
        let limit = node.look_after.unwrap_or_default();
        let reason = format!("step {step:?} is not done after {limit:?}");
        self.note(StepEvent::Escalated { step });
        self.next.escalate(reason)
    }

    /// Asks what became of a call, if it can be asked and was not yet.
    pub(super) fn probed(
        mut self,
        node: &Node<S::Start>,
        place: Place,
    ) -> Result<Next<Steps<S>>, Box<Self>> {
        let Some(probe) = &node.probe else {
            return Err(Box::new(self));
        };
        let key = EffectKey {
            step: node.id,
            place,
            is_probe: false,
        };
        if self.state.probed.contains(&key.written()) {
            return Err(Box::new(self));
        }
        let request = match probe(self.at(place)) {
            Ok(request) => request,
            Err(reason) => return Ok(self.mistaken(format!("the probe of {key:?}: {reason}"))),
        };
        self.note(StepEvent::Probed { key: key.written() });
        let key = EffectKey {
            is_probe: true,
            ..key
        };
        let next = self.next.effect(key.written(), request);
        // It asks the same service as the call, and goes by the same terms.
        Ok(match node.terms == Terms::default() {
            true => next,
            false => next.terms(|terms| terms.clone_from(&node.terms)),
        })
    }

    /// It was begun, and now waits: as long as it may.
    pub(super) fn limit(&mut self, node: &Node<S::Start>) {
        self.begun.insert(node.id);
        if !node.terms.branch.is_empty() {
            let step = node.id.to_owned();
            self.note(StepEvent::Entered { step });
        }
        if let Some(limit) = node.limit {
            self.add(|next| next.timer(timer_of(node.id), limit));
        }
        if let Some(after) = node.look_after {
            self.add(|next| next.timer(look_of(node.id), after));
        }
    }

    /// It waits no more.
    pub(super) fn unlimited(self, node: &Node<S::Start>) -> Self {
        let was_shown = self.state.escalated.contains(node.id);
        self.unlimited_and(node, was_shown)
    }

    /// The same where it is noted already that it is done, for a step that a person was shown.
    pub(super) fn unlimited_and(mut self, node: &Node<S::Start>, was_shown: bool) -> Self {
        if node.limit.is_some() {
            self.next = self.next.cancel_timer(timer_of(node.id));
        }
        if node.look_after.is_some() {
            self.next = self.next.cancel_timer(look_of(node.id));
        }
        if was_shown {
            let other = self.state.escalated.iter().find(|step| *step != node.id);
            self.next = match other {
                Some(step) => self.next.escalate(format!("step {step:?} is not done")),
                None => self.next.deescalate(),
            };
        }
        self
    }
}
