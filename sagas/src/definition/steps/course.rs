//! One decision of a step saga: what an input means, and how far the saga then goes.

use std::collections::BTreeSet;

use chronicler_store::codec::CodecId;

use super::advance::{look_of, timer_of};
use super::beginning::Beginning;
use super::build::GIVEN;
use super::definition::Definition;
use super::given::Replies;
use super::given_up::{Cause, GivenUp};
use super::node::{EffectKey, Encoded, Kind, Node, Place, Plan};
use super::saga::{Signal, StepSaga, Steps};
use super::state::{StepEvent, StepState};
use crate::definition::answer::{Answer, Outcome};
use crate::definition::effect::Request;
use crate::definition::next::Next;
use crate::definition::saga::SagaContext;

/// A decision that is being made, and the state as it will be.
pub(super) struct Course<'a, S: StepSaga> {
    pub(super) definition: &'a Definition<S>,
    pub(super) context: &'a SagaContext,
    pub(super) state: StepState<S>,
    pub(super) next: Next<Steps<S>>,
    /// The steps that were begun in this decision.
    pub(super) begun: BTreeSet<&'static str>,
}

impl<'a, S: StepSaga> Course<'a, S> {
    pub(super) fn new(
        definition: &'a Definition<S>,
        context: &'a SagaContext,
        state: StepState<S>,
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

    pub(super) fn told(mut self, signal: Signal) -> Next<Steps<S>> {
        let Signal { step, said } = signal;
        let (codec, said) = match said {
            Ok(said) => said,
            Err(reason) => return self.mistaken(format!("the signal for {step:?}: {reason}")),
        };
        let is_awaited = |node: &&Node<S>| node.id == step && node.kind == Kind::Wait;
        let definition = self.definition;
        let Some(node) = definition.nodes.iter().find(is_awaited) else {
            return self.mistaken(format!(
                "a signal for {step:?}, and no step of this id waits for one"
            ));
        };
        if !self.is_ahead(node) || self.state.signals.contains_key(&step) {
            // It was told before.
            return self.next;
        }
        let is_current = self.is_next(node);
        self.note(StepEvent::Signalled { step, codec, said });
        if let Err(reason) = (node.plan)(self.at(Place::default())) {
            // What the step could not take is not kept: another may come.
            return self.mistaken(format!("the signal for {:?}: {reason}", node.id));
        }
        if !is_current {
            return self.next;
        }
        // It is begun once more, and finds what it waits for.
        self.state.entered.remove(node.id);
        self = self.unlimited(node);
        self.go_on()
    }

    /// A timer came due.
    pub(super) fn late(self, key: &str) -> Next<Steps<S>> {
        let definition = self.definition;
        let is_its = |node: &&Node<S>| timer_of(node.id) == key || look_of(node.id) == key;
        // A timer of a step that was answered meanwhile is disarmed; this is for one that fired just then.
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
    fn escalated(mut self, node: &Node<S>) -> Next<Steps<S>> {
        let step = node.id.to_owned();
        let limit = node.look_after.unwrap_or_default();
        let reason = format!("step {step:?} is not done after {limit:?}");
        self.note(StepEvent::Escalated { step });
        self.next.escalate(reason)
    }

    /// Asks what became of a call, if it can be asked and was not yet.
    fn probed(mut self, node: &Node<S>, place: Place) -> Result<Next<Steps<S>>, Box<Self>> {
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
        Ok(self.next.effect(key.written(), request))
    }

    pub(super) fn answered(mut self, outcome: &Outcome) -> Next<Steps<S>> {
        let EffectKey {
            step,
            place,
            is_probe,
        } = EffectKey::read(outcome.key());
        let definition = self.definition;
        let Some(node) = definition.node(step) else {
            let reason = format!("an outcome of step {step:?}, which the definition does not have");
            return self.mistaken(reason);
        };
        if place.tried != self.state.place_of(step, place.item).tried {
            // Of a way that counts as refused already: another is under way.
            return match outcome.answer() {
                Answer::Done { .. } if !is_probe => self.undone_late(outcome),
                _ => self.next,
            };
        }
        if !self.is_ahead(node) {
            // A probe was quicker, or the call itself.
            return match outcome.answer() {
                Answer::Done { .. } if !is_probe => self.undone_late(outcome),
                _ => self.next,
            };
        }
        match outcome.answer() {
            Answer::Done { codec, payload } => {
                if is_probe {
                    let key = EffectKey {
                        step,
                        place,
                        is_probe: false,
                    };
                    self.next = self.next.found_done(key.written());
                }
                self.done(node, place, *codec, payload)
            }
            Answer::Rejected { codec, payload } => {
                let again = node.alternative.as_ref().map(|again| {
                    let rejection = (*codec, payload.as_slice());
                    again(self.at(place), rejection)
                });
                match again {
                    Some(Ok(true)) if !self.is_past_pivot() => {
                        return self.alternative(node, place);
                    }
                    Some(Err(reason)) => {
                        return self.mistaken(format!("the alternative of {step:?}: {reason}"));
                    }
                    _ => {}
                }
                let said = (node.words)((*codec, payload));
                let reason = match self.state.cancel_refused.take() {
                    Some(asked) => {
                        format!("step {step:?} was rejected ({said}), and before that: {asked}")
                    }
                    None => format!("step {step:?} was rejected: {said}"),
                };
                let rejection = Some((*codec, payload.clone()));
                self.not_done(node, place, Cause::Rejected, rejection, reason)
            }
            Answer::Unknown { reason } => {
                let course = match is_probe {
                    true => Box::new(self),
                    false => match self.probed(node, place) {
                        Ok(next) => return next,
                        Err(course) => course,
                    },
                };
                let is_asked = !is_probe && node.probe.is_some();
                if is_asked {
                    // The answer to the question decides.
                    return course.next;
                }
                let reason = format!("what became of step {step:?} is unknown: {reason}");
                course.not_done(node, place, Cause::Unknown, None, reason)
            }
        }
    }

    /// Makes a step that was refused anew, as its alternative.
    fn alternative(mut self, node: &Node<S>, place: Place) -> Next<Steps<S>> {
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
    fn item(&self, node: &Node<S>, place: Place) -> Result<(Option<Request>, usize), String> {
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
            _ => Err("it is of another kind now".to_owned()),
        }
    }

    /// Sends one more effect of a step that was begun.
    fn again(mut self, node: &Node<S>, place: Place, request: Request) -> Next<Steps<S>> {
        match self.sent(node, place, request) {
            Ok(next) => next,
            Err(reason) => self.mistaken(format!("step {:?}: {reason}", node.id)),
        }
    }

    /// Only says how a step is taken back that was done after compensation had begun, or after it was known otherwise.
    pub(super) fn undone_late(self, outcome: &Outcome) -> Next<Steps<S>> {
        let EffectKey { step, place, .. } = EffectKey::read(outcome.key());
        let Answer::Done { codec, payload } = outcome.answer() else {
            return self.next;
        };
        let Some(node) = self.definition.node(step) else {
            let reason =
                format!("step {step:?} is to be taken back, and the definition does not have it");
            return self.mistaken(reason);
        };
        self.undoable(node, place, (*codec, payload)).next
    }

    /// Says how a step that was done is taken back, now that its output is known; or why that cannot be said, which
    /// makes the whole decision a mistake. What is registered before the outcome of a call is known stands for an
    /// unknown one.
    fn undoable(mut self, node: &Node<S>, place: Place, output: Encoded<'_>) -> Self {
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
        node: &Node<S>,
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

    fn done(mut self, node: &Node<S>, place: Place, codec: u8, payload: &[u8]) -> Next<Steps<S>> {
        self = self.undoable(node, place, (codec, payload));
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
    fn joined(mut self, node: &Node<S>, replies: &[Encoded<'_>]) -> Next<Steps<S>> {
        let output = match &node.join {
            Some(join) => join(replies),
            None => Err("it has one command only".to_owned()),
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

    /// A step is done: it waits no more, and what is behind it goes on.
    fn behind(mut self, node: &Node<S>, was_shown: bool) -> Next<Steps<S>> {
        self = self.unlimited_and(node, was_shown);
        if node.kind.is_pivot() {
            self.next = self.next.pivot();
        }
        self.go_on()
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
