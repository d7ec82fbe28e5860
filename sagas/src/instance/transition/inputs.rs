//! Inputs are taken: events, answers, failures, timers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::{GlobalPosition, Timestamp};

use super::command::{Part, SagaCommand};
use super::refusal::SagaRefusal;
use super::step::Step;
use crate::definition::answer::{Answer, EffectAnswer};
use crate::definition::effect::Request;
use crate::definition::effect_view::{EffectState, UndoState};
use crate::definition::input::Input;
use crate::definition::routes::Delivery;
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::entry::{Entry, StalledInput};
use crate::instance::reason::cut;
use crate::instance::status::Ending;

/// The answer to an effect that compensation overtook before it was sent, or before its service took it.
pub(super) fn never_sent() -> Answer {
    Answer::rejected(&"it was never sent: compensation began before that")
}

impl<S: Saga> Step<'_, S> {
    pub(super) fn deliver(&mut self, position: GlobalPosition, parts: Vec<Part>, is_late: bool) {
        // Who brings parts late has asked the stream which of them it was given before.
        let was_asked = is_late && parts.iter().any(|part| part.of > 1);
        let is_consumed = !was_asked && self.state.has_consumed(position, is_late);
        if is_consumed || self.state.is_over() {
            return;
        }
        // Which of them pass depends on what those before them begin.
        let mut started = self.state.is_started();
        let mut begun = self.has_begun();
        let passes = |part: &Part| {
            let passes = match part.delivery {
                // One before it may begin it: that is seen when its turn comes.
                Delivery::Start => !begun,
                Delivery::Resume => started,
                Delivery::StartOrResume => true,
            };
            started |= passes;
            passes
        };
        let passing: Vec<_> = parts.into_iter().filter(passes).collect();
        let Some(of) = passing.first().map(|part| part.of) else {
            return;
        };
        if !self.state.is_started() {
            self.enter(Entry::Started {
                saga_version: S::VERSION,
            });
        }
        self.enter(Entry::Consumed { position });
        let (told_at, mut places) = (self.events.len(), Vec::new());
        if self.state.is_forward() {
            self.cut_cycle();
        }
        for Part {
            place,
            of,
            event,
            delivery,
        } in passing
        {
            // One before it has begun it, unless that came early.
            if begun && delivery == Delivery::Start {
                continue;
            }
            places.push(place);
            // One before it may have ended it, or had it compensated: it is noted, and changes nothing any more.
            if self.state.is_over() || !self.state.is_forward() {
                continue;
            }
            self.is_to_begin = delivery == Delivery::Start;
            // Each part waits by itself: what was decided on those before it stays decided.
            let stalled = match (delivery, of) {
                (Delivery::Start, of) => StalledInput::Starting {
                    position,
                    place,
                    of,
                },
                (_, 1) => StalledInput::Event(position),
                (_, of) => StalledInput::Part {
                    position,
                    place,
                    of,
                },
            };
            self.input(Input::Event(event), stalled);
            begun = self.has_begun();
        }
        if of > 1 {
            self.enter_at(told_at, &Entry::Parts { places, of });
        }
    }

    /// True if what begins the instance has come, though it may wait to be taken in.
    pub(super) fn has_begun(&self) -> bool {
        let has_begun = self.saga.has_begun(&self.state.user);
        self.state.has_begun(has_begun)
    }

    pub(super) fn answer(&mut self, action: Action, answer: Answer) {
        let index = action.effect;
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        if action.is_undo() {
            if !matches!(effect.undo, UndoState::Pending { .. }) {
                return;
            }
            return match answer {
                Answer::Done(_) => self.enter(Entry::Undone { effect: index }),
                // There is no other way to take it back: a person sees to it.
                Answer::Rejected(_) | Answer::Unknown(_) => {
                    let reason = format!("the undo was answered {}", answer.word());
                    self.enter(Entry::UndoStuck {
                        effect: index,
                        reason,
                        rejected: true,
                    });
                }
            };
        }
        // An attempt of an earlier life may have been quicker, or a person: the first answer counts.
        if !effect.is_open() {
            return;
        }
        let key = effect.spec.key.clone();
        if let (Answer::Unknown(reason), true) = (&answer, self.state.pivoting.contains(&index)) {
            // Whether the saga can be undone depends on it: a person finds it out.
            let (effect, reason) = (index, reason.clone());
            return self.enter(Entry::Parked { effect, reason });
        }
        self.enter(Entry::Answered {
            effect: index,
            answer: answer.clone(),
        });
        self.conclude_otherwise(index, &answer);
        let is_late = self.state.is_compensating() && answer.is_done();
        if self.state.is_over() || (!self.state.is_forward() && !is_late) {
            return;
        }
        let stalled = StalledInput::Answer {
            effect: index,
            answer: answer.clone(),
        };
        self.input(Input::Answer(EffectAnswer::new(key, answer)), stalled);
    }

    /// A saga that decided to be complete, and whose last effects were not all done, does not read as completed. What the
    /// effect now is decides, not what its own attempt was answered: another may have found it done.
    fn conclude_otherwise(&mut self, index: u32, answer: &Answer) {
        if !self.state.is_forward() || self.state.concluded != Some(Ending::Completed) {
            return;
        }
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        if effect.state == EffectState::Done || !self.end_needs(&effect.spec.key) {
            return;
        }
        let how = match answer {
            Answer::Unknown(reason) => format!("may not have been done: {reason}"),
            Answer::Done(_) | Answer::Rejected(_) => "was refused".to_owned(),
        };
        let key = &effect.spec.key;
        let reason = cut(format!(
            "effect {key:?}, decided with or before its end, {how}"
        ));
        self.enter(Entry::Concluded(Ending::Failed { reason }));
    }

    /// Whether the saga is complete only with this effect. If its code panics over the question, it is.
    fn end_needs(&self, key: &str) -> bool {
        let (saga, user) = (self.saga, &self.state.user);
        catch_unwind(AssertUnwindSafe(|| saga.end_needs(user, key))).unwrap_or(true)
    }

    pub(super) fn failed(
        &mut self,
        action: Action,
        attempt: u32,
        next: Option<Timestamp>,
        reason: String,
    ) {
        let index = action.effect;
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        // An attempt of another time: somebody had it tried again since.
        let is_this = |(failed, _): (u32, Timestamp)| failed + 1 == attempt;
        if !self.state.pending(action).is_some_and(is_this) {
            return;
        }
        let is_undone = self.state.is_compensating();
        let is_undo = action.is_undo();
        if !is_undo && is_undone && effect.spec.request.is_call() {
            // It is not tried again: it would only have to be taken back.
            let answer = Answer::Unknown(reason);
            return self.enter(Entry::Answered {
                effect: index,
                answer,
            });
        }
        if !is_undo && effect.found_done && next.is_none() {
            // Nobody need look at it: it was done, though it never said so itself.
            let (effect, answer) = (index, Answer::nothing());
            return self.enter(Entry::Answered { effect, answer });
        }
        let effect = index;
        // Till it is resumed or released no attempt begins, and a person can skip or settle it.
        let next = next.map(|next| match self.state.stands() {
            true => Timestamp::MAX,
            false => next,
        });
        self.enter(match next {
            Some(next) => Entry::Retrying {
                action,
                attempt,
                next,
                reason,
            },
            None if is_undo => Entry::UndoStuck {
                effect,
                reason,
                rejected: false,
            },
            None => Entry::Parked { effect, reason },
        });
        if next.is_some() {
            self.due.push(action);
        }
    }

    /// The service of an effect did not take an attempt: that is told as `outcome`, and was not done.
    pub(super) fn not_taken(
        &mut self,
        outcome: SagaCommand,
        action: Action,
        counted: bool,
        unsent: bool,
    ) -> Result<(), SagaRefusal> {
        let told = match &outcome {
            SagaCommand::Failed { attempt, .. } | SagaCommand::Held { attempt, .. } => *attempt,
            _ => 0,
        };
        // Not of another time: somebody may have had it tried again since.
        let is_this = |(failed, _): (u32, Timestamp)| failed + 1 == told;
        let is_this = self.state.pending(action).is_some_and(is_this);
        if unsent && is_this && self.state.is_compensating() {
            // There is nothing to take back, whether or not the service ever comes back.
            self.enter(Entry::Answered {
                effect: action.effect,
                answer: never_sent(),
            });
            self.move_on();
            return Ok(());
        }
        let before = self.events.len();
        self.carry_out(outcome)?;
        if self.events.len() > before && self.state.pending(action).is_some() {
            self.enter(Entry::NotTaken {
                action,
                counted,
                unsent,
            });
        }
        Ok(())
    }

    /// No further attempt is made by itself.
    pub(super) fn give_up(&mut self, action: Action, reason: String) {
        if let Some((failed, _)) = self.state.pending(action) {
            return self.failed(action, failed.saturating_add(1), None, reason);
        }
        let state = self.state.effect(action.effect).map(|effect| &effect.state);
        if state == Some(&EffectState::Awaited) && !action.is_undo() {
            let effect = action.effect;
            self.enter(Entry::Parked { effect, reason });
        }
    }

    /// An attempt waits for a service that takes no requests, or for the release of its target.
    pub(super) fn held(&mut self, action: Action, attempt: u32, reason: String) {
        let Some((failed, next)) = self.state.pending(action) else {
            return;
        };
        if failed + 1 != attempt {
            return;
        }
        let is_undone = self.state.is_compensating();
        let request = self.state.request(action);
        if is_undone && !action.is_undo() && request.is_some_and(Request::is_call) {
            // It is not tried again: it would only have to be taken back.
            let (effect, answer) = (action.effect, Answer::Unknown(reason));
            return self.enter(Entry::Answered { effect, answer });
        }
        if next != Timestamp::MAX {
            self.enter(Entry::Held { action, reason });
        }
        self.due.push(action);
    }

    pub(super) fn fire(&mut self, key: String, due: Timestamp) {
        // Of another time than this: it was moved, disarmed or fired since.
        if self.state.timers.get(&key) != Some(&due) || self.state.is_over() {
            return;
        }
        self.enter(Entry::Fired { key: key.clone() });
        if self.state.is_forward() {
            self.input(Input::Timer(key.clone()), StalledInput::Timer(key));
        }
    }
}
