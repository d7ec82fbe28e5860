//! Steps are begun, as far as a step saga goes in one decision.

use std::fmt::Display;

use super::effect_key::{EffectKey, Place};
use super::encoding::written;
use super::given_up::{Cause, GivenUp};
use super::node::{Kind, Node, Plan};
use super::saga::{StepSaga, Steps};
use super::state::StepEvent;
use super::step_decision::StepDecision;
use crate::definition::effect::{Request, Undo};
use crate::definition::error::DefinitionError;
use crate::definition::next::Next;
use crate::definition::terms::Terms;

impl<S: StepSaga> StepDecision<'_, S> {
    /// Goes on until something has to be waited for.
    pub(super) fn go_on(mut self) -> Next<Steps<S>> {
        let definition = self.definition;
        loop {
            let is_due = |node: &&Node<S::Start>| self.is_next(node) && !self.is_begun(node);
            let Some(node) = definition.nodes.iter().find(is_due) else {
                break;
            };
            match self.plan_of(node) {
                Ok(None) => {
                    let step = node.id.to_owned();
                    self.note(StepEvent::Skipped { step });
                }
                Ok(Some(Plan::Refused(reason))) => {
                    return self.give_up(GivenUp {
                        step: node.id.to_owned(),
                        item: None,
                        cause: Cause::Checked,
                        rejection: None,
                        reason: format!("step {:?}: {reason}", node.id),
                    });
                }
                Ok(Some(plan)) => {
                    if let Err(reason) = self.begin_step(node, plan) {
                        return self.mistaken(reason);
                    }
                }
                Err(reason) => return self.mistaken(of_step(node, &reason)),
            }
        }
        match self.definition.nodes.iter().any(|node| self.is_ahead(node)) {
            true => self.next,
            false => self.next.complete(),
        }
    }

    /// What a step does now that it is its turn; `None` if its condition does not hold.
    fn plan_of(&self, node: &Node<S::Start>) -> Result<Option<Plan>, DefinitionError> {
        let holds = match &node.condition {
            Some(condition) => condition(self.at(Place::default()))?,
            None => true,
        };
        match holds {
            true => (node.plan)(self.at(Place::default())).map(Some),
            false => Ok(None),
        }
    }

    fn begin_step(&mut self, node: &Node<S::Start>, plan: Plan) -> Result<(), String> {
        match plan {
            Plan::Settled(output) => {
                self.did(node, output);
                if node.kind.is_pivot() {
                    self.add(Next::pivot);
                }
            }
            Plan::Wait => self.limit(node),
            Plan::UndoOnly(request) => self.keep_undo(node, request),
            Plan::One(request) => {
                self.send(node, Place::default(), request)
                    .map_err(|reason| of_step(node, &reason))?;
                if node.kind == Kind::Pivot {
                    self.add(Next::pivoting);
                }
                self.limit(node);
            }
            Plan::Many(requests) if requests.is_empty() => {
                let join = node.join.as_ref();
                let join = join.ok_or_else(|| format!("step {:?} gives nothing", node.id))?;
                let output = join(&[]).map_err(|reason| of_step(node, &reason))?;
                self.did(node, output);
            }
            Plan::Many(requests) => self.spread(node, requests)?,
            // The saga gives up instead.
            Plan::Refused(_) => {}
        }
        Ok(())
    }

    /// There is nothing to do, and something to take back.
    fn keep_undo(&mut self, node: &Node<S::Start>, request: Request) {
        let undo = Undo {
            if_done: request,
            if_unknown: None,
        };
        self.add(|next| {
            let next = next.effect(node.id.to_owned(), Request::Nothing);
            let next = next.undone_by(undo);
            match node.terms.branch.is_empty() {
                true => next,
                false => next.terms(|terms| terms.clone_from(&node.terms)),
            }
        });
        self.did(node, written(&()).unwrap_or_default());
    }

    /// Several commands: all at once, or the first of those that go in turn.
    fn spread(&mut self, node: &Node<S::Start>, requests: Vec<Request>) -> Result<(), String> {
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
            self.send(node, place, request)
                .map_err(|reason| of_step(node, &reason))?;
        }
        if !in_turn {
            self.add(|next| next.were_together(count));
        }
        self.limit(node);
        Ok(())
    }

    /// Sends an effect of a step, with its terms.
    pub(super) fn send(
        &mut self,
        node: &Node<S::Start>,
        place: Place,
        request: Request,
    ) -> Result<(), DefinitionError> {
        let if_unknown = match &node.undo_unknown {
            Some(undo) => Some(undo(self.at(place))?),
            None => None,
        };
        let key = EffectKey {
            step: node.id,
            place,
            is_probe: false,
        };
        self.add(|mut next| {
            next = next.effect(key.written(), request);
            if let Some(request) = if_unknown {
                next = next.undone_by(Undo {
                    if_done: request.clone(),
                    if_unknown: Some(request),
                });
            }
            match node.terms == Terms::default() {
                true => next,
                false => next.terms(|terms| terms.clone_from(&node.terms)),
            }
        });
        Ok(())
    }
}

fn of_step<T>(node: &Node<T>, reason: &impl Display) -> String {
    format!("step {:?}: {reason}", node.id)
}
