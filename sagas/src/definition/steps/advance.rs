//! How far a step saga goes in one decision.

use super::course::Course;
use super::effect_key::{EffectKey, Place};
use super::encoding::written;
use super::given_up::{Cause, GivenUp};
use super::node::{Kind, Node, Plan};
use super::saga::{StepSaga, Steps};
use super::state::StepEvent;
use crate::definition::effect::{Request, Undo};
use crate::definition::next::Next;

impl<S: StepSaga> Course<'_, S> {
    /// Goes on until something has to be waited for.
    pub(super) fn go_on(mut self) -> Next<Steps<S>> {
        let definition = self.definition;
        loop {
            let is_due = |node: &&Node<S::Start>| self.is_next(node) && !self.is_begun(node);
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

    /// The decision so far, and an effect of a step with its terms.
    pub(super) fn sent(
        &mut self,
        node: &Node<S::Start>,
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
