//! Answers to the effects of steps, and where the saga goes by them.

use chronicler_store::codec::CodecId;

use super::effect_key::{EffectKey, Place};
use super::encoding::{Encoded, GIVEN, encoded};
use super::given_up::{Cause, GivenUp};
use super::node::{Kind, Node, Plan};
use super::outputs::Replies;
use super::saga::{StepSaga, Steps};
use super::state::StepEvent;
use super::step_decision::StepDecision;
use crate::definition::answer::{Answer, EffectAnswer};
use crate::definition::effect::Request;
use crate::definition::error::DefinitionError;
use crate::definition::next::Next;

impl<S: StepSaga> StepDecision<'_, S> {
    /// An effect of a step was answered, or the question what became of it.
    pub(super) fn answered(self, outcome: &EffectAnswer) -> Next<Steps<S>> {
        let key = EffectKey::read(outcome.key());
        let EffectKey {
            step,
            place,
            is_probe,
        } = key;
        let definition = self.definition;
        let Some(node) = definition.node(step) else {
            let reason = format!("an outcome of step {step:?}, which the definition does not have");
            return self.mistaken(reason);
        };
        // Of a way that counts as refused already, another being under way; or a probe was quicker, or the call itself.
        let is_of_another_way = place.tried != self.state.place_of(step, place.item).tried;
        if is_of_another_way || !self.is_ahead(node) {
            // A call that said itself that it was done is undone by what it gave then.
            return match outcome.answer().is_done() && (!is_probe || is_of_another_way) {
                true => self.undone_late(outcome),
                false => self.next,
            };
        }
        match outcome.answer() {
            Answer::Done(reply) => self.found_done(node, key).done(node, place, encoded(reply)),
            Answer::Rejected(rejection) if !is_probe && self.is_asked_about(node, place) => {
                self.refused_so_far(key, encoded(rejection))
            }
            Answer::Rejected(rejection) => self.rejected(node, place, encoded(rejection)),
            Answer::Unknown(reason) => self.unknown(node, key, reason),
        }
    }

    /// Whether it was asked what became of a call. Until the answer comes the call's place stays what it is.
    fn is_asked_about(&self, node: &Node<S::Start>, place: Place) -> bool {
        let key = EffectKey {
            step: node.id,
            place,
            is_probe: false,
        };
        self.state.probed.contains(&key.written())
    }

    /// A call was refused while it is asked what became of it: an attempt before may have been done, so the answer to the
    /// question is waited for.
    fn refused_so_far(
        mut self,
        key: EffectKey<'_>,
        (codec, rejection): Encoded<'_>,
    ) -> Next<Steps<S>> {
        self.note(StepEvent::Refused {
            key: key.written(),
            codec,
            rejection: rejection.to_vec(),
        });
        self.next
    }

    /// Where a probe says it, the call itself counts as done from here on.
    fn found_done(mut self, node: &Node<S::Start>, key: EffectKey<'_>) -> Self {
        if key.is_probe {
            let call = EffectKey {
                step: node.id,
                place: key.place,
                is_probe: false,
            };
            self.add(|next| next.found_done(call.written()));
        }
        self
    }

    fn rejected(
        mut self,
        node: &Node<S::Start>,
        place: Place,
        rejection: Encoded<'_>,
    ) -> Next<Steps<S>> {
        let step = node.id;
        let again = node.alternative.as_ref();
        match again.map(|again| again(self.at(place), rejection)) {
            Some(Ok(true)) if !self.is_past_pivot() => return self.alternative(node, place),
            Some(Err(reason)) => {
                return self.mistaken(format!("the alternative of {step:?}: {reason}"));
            }
            _ => {}
        }
        let said = (node.words)(rejection);
        let reason = match self.state.cancel_refused.take() {
            Some(asked) => {
                format!("step {step:?} was rejected ({said}), and before that: {asked}")
            }
            None => format!("step {step:?} was rejected: {said}"),
        };
        let rejection = Some((rejection.0, rejection.1.to_vec()));
        self.not_done(node, place, Cause::Rejected, rejection, reason)
    }

    fn unknown(
        self,
        node: &Node<S::Start>,
        EffectKey {
            place, is_probe, ..
        }: EffectKey<'_>,
        reason: &str,
    ) -> Next<Steps<S>> {
        let course = match is_probe {
            true => Box::new(self),
            false => match self.probed(node, place) {
                Ok(next) => return next,
                Err(course) => course,
            },
        };
        if !is_probe && node.probe.is_some() {
            // It was asked before: the answer to the question decides.
            return course.next;
        }
        let call = EffectKey {
            step: node.id,
            place,
            is_probe: false,
        };
        if let Some((codec, rejection)) = course.state.refused.get(&call.written()).cloned() {
            // Nobody knows better than the call itself.
            return course.rejected(node, place, (codec, &rejection));
        }
        let reason = format!("what became of step {:?} is unknown: {reason}", node.id);
        course.not_done(node, place, Cause::Unknown, None, reason)
    }

    /// Makes a step that was refused again, as its alternative.
    fn alternative(mut self, node: &Node<S::Start>, place: Place) -> Next<Steps<S>> {
        let place = Place {
            tried: place.tried + 1,
            ..place
        };
        self.note(StepEvent::Again {
            step: node.id.to_owned(),
            item: place.item.and_then(|item| u32::try_from(item).ok()),
            tried: place.tried,
        });
        match self.item(node, place) {
            Ok((Some(request), _)) => self.again(node, place, request),
            Ok((None, _)) => self.mistaken(format!("step {:?} has no alternative there", node.id)),
            Err(reason) => self.mistaken(format!("step {:?}: {reason}", node.id)),
        }
    }

    /// What a step sends at this place, if there is such a place, and how many places there are.
    fn item(
        &self,
        node: &Node<S::Start>,
        place: Place,
    ) -> Result<(Option<Request>, usize), DefinitionError> {
        let of_several = |requests: &[Request], item: usize| {
            let request = requests.get(item).cloned();
            Ok((request, requests.len()))
        };
        if let Some(item) = place.item
            && let Some(requests) = self.state.lists.get(node.id, place.tried)
        {
            return of_several(&requests, item);
        }
        match ((node.plan)(self.at(place))?, place.item) {
            (Plan::One(request), None) => Ok((Some(request), 1)),
            (Plan::Many(requests), Some(item)) => {
                let lists = &self.state.lists;
                of_several(&lists.keep(node.id, place.tried, requests), item)
            }
            _ => Err(DefinitionError::OtherKind),
        }
    }

    /// Sends one more effect of a step that was begun.
    fn again(mut self, node: &Node<S::Start>, place: Place, request: Request) -> Next<Steps<S>> {
        match self.send(node, place, request) {
            Ok(()) => self.next,
            Err(reason) => self.mistaken(format!("step {:?}: {reason}", node.id)),
        }
    }

    /// Only says how a step is taken back that was done after compensation had begun, or after it was known otherwise.
    pub(super) fn undone_late(self, outcome: &EffectAnswer) -> Next<Steps<S>> {
        let key = EffectKey::read(outcome.key());
        let EffectKey { step, place, .. } = key;
        let Answer::Done(reply) = outcome.answer() else {
            return self.next;
        };
        let Some(node) = self.definition.node(step) else {
            let reason =
                format!("step {step:?} is to be taken back, and the definition does not have it");
            return self.mistaken(reason);
        };
        let found = self.found_done(node, key);
        found.undoable(node, place, encoded(reply)).next
    }

    /// Says how a step that was done is taken back, now that its output is known; or why that cannot be said, which
    /// makes the whole decision a mistake. What is registered before the outcome of a call is known stands for an
    /// unknown one.
    fn undoable(mut self, node: &Node<S::Start>, place: Place, output: Encoded<'_>) -> Self {
        let Some(undo) = &node.undo else {
            return self;
        };
        let key = EffectKey {
            step: node.id,
            place,
            is_probe: false,
        };
        let undone = undo(self.at(place), output);
        self.next = match undone {
            Ok(request) => self.next.undone_later(key.written(), request),
            Err(reason) => {
                let reason = format!("the undo of {:?}: {reason}", node.id);
                self.next.mistaken(S::NAME, reason)
            }
        };
        self
    }

    fn not_done(
        self,
        node: &Node<S::Start>,
        place: Place,
        cause: Cause,
        rejection: Option<(u8, Vec<u8>)>,
        reason: String,
    ) -> Next<Steps<S>> {
        if self.is_past_pivot() {
            return self.mistaken(format!("after its pivot: {reason}"));
        }
        self.unlimited(node).give_up(GivenUp {
            step: node.id.to_owned(),
            item: place.item,
            cause,
            rejection,
            reason,
        })
    }

    fn done(mut self, node: &Node<S::Start>, place: Place, reply: Encoded<'_>) -> Next<Steps<S>> {
        self = self.undoable(node, place, reply);
        let (codec, payload) = reply;
        let step = node.id.to_owned();
        if let Some(item) = place.item {
            self.note(StepEvent::Heard {
                step,
                item: u32::try_from(item).unwrap_or(u32::MAX),
                codec,
                reply: payload.to_vec(),
            });
            if node.kind == Kind::Turns {
                let place = Place {
                    item: Some(item + 1),
                    tried: 0,
                };
                let count = self.state.spread.get(node.id).map_or(0, Replies::count);
                match self.item(node, place) {
                    Ok((Some(request), all)) if all == count => {
                        return self.again(node, place, request);
                    }
                    Ok((None, all)) if all == count => {}
                    Ok((_, all)) => {
                        let id = node.id;
                        return self.mistaken(format!(
                            "step {id:?} began with {count} commands in turn, and has {all} now"
                        ));
                    }
                    Err(reason) => return self.mistaken(format!("step {:?}: {reason}", node.id)),
                }
            }
            let replies = self.state.spread.get(node.id).cloned();
            return match replies.as_ref().and_then(Replies::whole) {
                Some(replies) => self.joined(node, &replies),
                None => self.next,
            };
        }
        let was_shown = self.state.escalated.contains(node.id);
        // Services answer in bincode. What cannot be read is kept as it is: whoever needs it says what is wrong.
        let by_name = (codec == CodecId::BINCODE.number())
            .then(|| (node.given)((codec, payload)).ok())
            .flatten();
        let (codec, output) = match by_name {
            Some(output) => (GIVEN.id().number(), output),
            None => (codec, payload.to_vec()),
        };
        self.note(StepEvent::Did {
            step,
            codec,
            output,
        });
        self.behind(node, was_shown)
    }

    /// All commands of a step are answered.
    fn joined(mut self, node: &Node<S::Start>, replies: &[Encoded<'_>]) -> Next<Steps<S>> {
        let output = match &node.join {
            Some(join) => join(replies).map_err(DefinitionError::from),
            None => Err(DefinitionError::OneCommand),
        };
        match output {
            Ok(output) => {
                let was_shown = self.state.escalated.contains(node.id);
                self.did(node, output);
                self.behind(node, was_shown)
            }
            Err(reason) => self.mistaken(format!("the replies of {:?}: {reason}", node.id)),
        }
    }

    /// A step is done: it waits no more, and what comes after it goes on.
    fn behind(mut self, node: &Node<S::Start>, was_shown: bool) -> Next<Steps<S>> {
        self = self.unlimited_and(node, was_shown);
        if node.kind.is_pivot() {
            self.next = self.next.pivot();
        }
        self.go_on()
    }
}
