//! How far a step saga goes in one decision.

use super::build::{GIVEN, written};
use super::course::Course;
use super::given_up::{Cause, GivenUp};
use super::node::{EffectKey, Kind, Node, Place, Plan, Told};
use super::saga::{StepSaga, Steps};
use super::state::StepEvent;
use crate::definition::effect::{Request, Undo};
use crate::definition::next::Next;

impl<S: StepSaga> Course<'_, S> {
    /// Goes on until something has to be waited for.
    pub(super) fn go_on(mut self) -> Next<Steps<S>> {
        let definition = self.definition;
        loop {
            let is_due = |node: &&Node<S>| self.is_next(node) && !self.is_begun(node);
            let Some(node) = definition.nodes.iter().find(is_due) else {
                break;
            };
            let planned = match &node.condition {
                Some(condition) => condition(self.at(Place::default())),
                None => Ok(true),
            };
            let planned = planned.and_then(|holds| match holds {
                true => (node.plan)(self.at(Place::default())).map(Some),
                false => Ok(None),
            });
            let plan = match planned {
                Ok(Some(plan)) => plan,
                Ok(None) => {
                    let step = node.id.to_owned();
                    self.note(StepEvent::Skipped { step });
                    continue;
                }
                Err(reason) => return self.mistaken(format!("step {:?}: {reason}", node.id)),
            };
            match plan {
                Plan::Settled(output) => {
                    self.did(node, output);
                    if node.kind.is_pivot() {
                        self.next = self.next.pivot();
                    }
                }
                Plan::Wait => self = self.limited(node),
                Plan::Refused(reason) => {
                    return self.give_up(GivenUp {
                        step: node.id.to_owned(),
                        item: None,
                        cause: Cause::Checked,
                        rejection: None,
                        reason: format!("step {:?}: {reason}", node.id),
                    });
                }
                Plan::UndoOnly(request) => {
                    let undo = Undo {
                        if_done: request,
                        if_unknown: None,
                    };
                    self.next = self.next.effect(node.id.to_owned(), Request::Nothing);
                    self.next = self.next.undone_by(undo);
                    if !node.terms.branch.is_empty() {
                        self.next = self.next.terms(|terms| terms.clone_from(&node.terms));
                    }
                    self.did(node, written(&()).unwrap_or_default());
                }
                Plan::One(request) => {
                    match self.sent(node, Place::default(), request) {
                        Ok(next) => self.next = next,
                        Err(reason) => {
                            return self.mistaken(format!("step {:?}: {reason}", node.id));
                        }
                    }
                    if node.kind == Kind::Pivot {
                        self.next = self.next.pivoting();
                    }
                    self = self.limited(node);
                }
                Plan::Many(requests) if requests.is_empty() => match &node.join {
                    Some(join) => match join(&[]) {
                        Ok(output) => self.did(node, output),
                        Err(reason) => {
                            return self.mistaken(format!("step {:?}: {reason}", node.id));
                        }
                    },
                    None => return self.mistaken(format!("step {:?} gives nothing", node.id)),
                },
                Plan::Many(requests) => {
                    let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
                    self.note(StepEvent::Spread {
                        step: node.id.to_owned(),
                        count,
                    });
                    let in_turn = node.kind == Kind::Turns;
                    let begun = match in_turn {
                        true => {
                            let first = requests.iter().take(1).cloned().collect();
                            self.state.lists.keep(node.id, 0, requests);
                            first
                        }
                        false => requests,
                    };
                    for (item, request) in begun.into_iter().enumerate() {
                        let place = Place {
                            item: Some(item),
                            tried: 0,
                        };
                        match self.sent(node, place, request) {
                            Ok(next) => self.next = next,
                            Err(reason) => {
                                return self.mistaken(format!("step {:?}: {reason}", node.id));
                            }
                        }
                    }
                    if !in_turn {
                        self.next = self.next.were_together(count);
                    }
                    self = self.limited(node);
                }
            }
        }
        match self.definition.nodes.iter().any(|node| self.is_ahead(node)) {
            true => self.next,
            false => self.next.complete(),
        }
    }

    /// It was begun, and now waits: as long as it may.
    fn limited(mut self, node: &Node<S>) -> Self {
        self.begun.insert(node.id);
        if !node.terms.branch.is_empty() {
            let step = node.id.to_owned();
            self.note(StepEvent::Entered { step });
        }
        if let Some(limit) = node.limit {
            self.next = self.next.timer(timer_of(node.id), limit);
        }
        if let Some(after) = node.look_after {
            self.next = self.next.timer(look_of(node.id), after);
        }
        self
    }

    /// It waits no more.
    pub(super) fn unlimited(self, node: &Node<S>) -> Self {
        let was_shown = self.state.escalated.contains(node.id);
        self.unlimited_and(node, was_shown)
    }

    /// The same where it is noted already that it is done, for a step that a person was shown.
    pub(super) fn unlimited_and(mut self, node: &Node<S>, was_shown: bool) -> Self {
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

    pub(super) fn did(&mut self, node: &Node<S>, output: Vec<u8>) {
        self.note(StepEvent::Did {
            step: node.id.to_owned(),
            codec: GIVEN.id().number(),
            output,
        });
    }

    pub(super) fn note(&mut self, event: StepEvent<S::Start>) {
        self.state.apply(&event);
        let next = std::mem::replace(&mut self.next, Next::stay());
        self.next = next.record(event);
    }

    pub(super) fn mistaken(self, reason: String) -> Next<Steps<S>> {
        self.next.mistaken(S::NAME, reason)
    }

    pub(super) fn at(&self, place: Place) -> Told<'_, S> {
        Told {
            state: &self.state,
            context: self.context,
            place,
        }
    }

    pub(super) fn is_ahead(&self, node: &Node<S>) -> bool {
        self.state.is_ahead(node.id)
    }

    /// Whether it is its turn, begun or not: it is ahead, and everything right before it is behind.
    pub(super) fn is_next(&self, node: &Node<S>) -> bool {
        self.definition.is_next(&self.state, node)
    }

    fn is_begun(&self, node: &Node<S>) -> bool {
        self.begun.contains(node.id) || self.state.entered.contains(node.id)
    }

    fn pivot(&self) -> Option<&Node<S>> {
        self.definition
            .nodes
            .iter()
            .find(|node| node.kind.is_pivot())
    }

    pub(super) fn has_pivot_begun(&self) -> bool {
        let begun = |pivot: &Node<S>| !self.is_ahead(pivot) || self.is_next(pivot);
        self.pivot().is_none_or(begun)
    }

    pub(super) fn is_past_pivot(&self) -> bool {
        self.pivot().is_some_and(|pivot| !self.is_ahead(pivot))
    }

    /// The decision so far, and an effect of a step with its terms.
    pub(super) fn sent(
        &mut self,
        node: &Node<S>,
        place: Place,
        request: Request,
    ) -> Result<Next<Steps<S>>, String> {
        let if_unknown = match &node.undo_unknown {
            Some(undo) => Some(undo(self.at(place))?),
            None => None,
        };
        let key = EffectKey {
            step: node.id,
            place,
            is_probe: false,
        };
        let mut next = std::mem::replace(&mut self.next, Next::stay());
        next = next.effect(key.written(), request);
        if let Some(request) = if_unknown {
            next = next.undone_by(Undo {
                if_done: request.clone(),
                if_unknown: Some(request),
            });
        }
        if node.terms != crate::definition::terms::Terms::default() {
            next = next.terms(|terms| terms.clone_from(&node.terms));
        }
        Ok(next)
    }
}

/// The key of the timer of a step.
pub(super) fn timer_of(step: &str) -> String {
    format!("step:{step}")
}

/// The key of the timer after which a person should look at a step.
pub(super) fn look_of(step: &str) -> String {
    format!("look:{step}")
}
