//! A decision becomes entries of the journal, and what follows from them by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::Timestamp;
use chronicler_store::codec::{PayloadCodec, encode_event};

use super::Step;
use super::decide::said;
use crate::answer::Answer;
use crate::effect::Request;
use crate::instance::{EffectState, Phase};
use crate::journal::{Entry, StalledInput};
use crate::next::{Action, When};
use crate::saga::{Input, Saga};
use crate::status::Ending;

impl<S: Saga> Step<'_, S> {
    pub(super) fn act(&mut self, action: Action<S::Event>) -> Result<(), String> {
        match action {
            Action::Record(event) => {
                let encoded = encode_event(PayloadCodec::default(), &event);
                self.events
                    .push(encoded.map_err(|error| error.to_string())?);
                let user = &mut self.state.user;
                let evolved = catch_unwind(AssertUnwindSafe(|| S::evolve(user, &event)));
                evolved.map_err(|panic| format!("evolve panicked: {}", said(panic.as_ref())))?;
            }
            Action::Effect(spec) => {
                let index = u32::try_from(self.state.effects.len()).unwrap_or(u32::MAX);
                let is_done = spec.request == Request::Nothing;
                self.enter(Entry::Decided(spec));
                if is_done {
                    let (effect, answer) = (index, Answer::nothing());
                    self.enter(Entry::Answered { effect, answer });
                } else {
                    self.due.push((index, false));
                }
            }
            Action::Pivoting => {
                if let Some(effect) = u32::try_from(self.state.effects.len())
                    .ok()
                    .and_then(|count| count.checked_sub(1))
                {
                    self.enter(Entry::Pivoting { effect });
                }
            }
            Action::UndoOf { key, undo } => {
                if let Some(effect) = self.state.latest(&key) {
                    self.enter(Entry::UndoDecided { effect, undo });
                }
            }
            Action::Arm { key, when } => {
                let due = match when {
                    When::After(after) => self.now.plus(after),
                    When::At(at) => at,
                };
                self.enter(Entry::Armed { key, due });
            }
            Action::Disarm { key } => {
                if self.state.timers.contains_key(&key) {
                    self.enter(Entry::Disarmed { key });
                }
            }
            Action::Pivot if self.state.pivoted => {}
            Action::Pivot => self.enter(Entry::Pivoted),
            Action::Compensate { reason } => self.compensate(reason, None),
            Action::Complete => self.end(Ending::Completed),
            Action::Fail { reason } => self.end(Ending::Failed { reason }),
        }
        Ok(())
    }

    pub(super) fn compensate(&mut self, reason: String, by: Option<String>) {
        if self.state.phase != Phase::Forward {
            return;
        }
        self.enter(Entry::Compensating { reason, by });
        // What is under way is waited for: an undo that overtakes it would find nothing to undo. A call that is parked, or
        // waits for its next attempt, may or may not have been done, and is not tried again. A parked command is tried
        // once more; if that does not help, it is for a person.
        for index in self.state.indices() {
            let Some(effect) = self.state.effect(index) else {
                break;
            };
            let parked = matches!(effect.state, EffectState::Parked { .. });
            // Who waits asks before the attempt (`SagaCommand::Attempt`): either it is asked after this and refused, or
            // it was asked before, and then its time had come.
            let waits =
                matches!(effect.state, EffectState::Pending { next, .. } if next > self.now);
            if (parked || waits) && effect.spec.request.is_call() {
                let reason = "compensation began before it was answered".to_owned();
                self.enter(Entry::Answered {
                    effect: index,
                    answer: Answer::Unknown { reason },
                });
            } else if matches!(effect.state, EffectState::Parked { .. }) {
                let by = "compensation".to_owned();
                self.enter(Entry::Unparked {
                    effect: index,
                    is_undo: false,
                    by,
                });
                self.due.push((index, false));
            }
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        let ending = match (&self.state.phase, ending) {
            // A saga that says it is done after it was undone has been undone.
            (Phase::Compensating { reason } | Phase::Closing { reason }, Ending::Completed) => {
                Ending::Compensated {
                    reason: reason.clone(),
                }
            }
            (_, ending) => ending,
        };
        if self.state.stuck().is_empty() {
            self.enter(Entry::Ended(ending));
        }
    }

    /// What follows by itself: the next undo, the end of compensation.
    pub(super) fn move_on(&mut self) {
        if self.state.ended.is_some() || self.must_wait() {
            return;
        }
        if let Phase::Compensating { reason } = self.state.phase.clone() {
            if let Some(effect) = self.state.next_undo() {
                let (attempt, next) = (0, Timestamp::EPOCH);
                let reason = "undo begins".to_owned();
                self.enter(Entry::Retrying {
                    effect,
                    is_undo: true,
                    attempt,
                    next,
                    reason,
                });
                self.due.push((effect, true));
                return;
            }
            // A parked effect may have been done: a person finds it out before this ends.
            if self.state.has_work() || !self.state.stuck().is_empty() {
                return;
            }
            self.enter(Entry::Closing);
            let input = Input::Compensated {
                reason: reason.clone(),
            };
            self.input(input, StalledInput::Compensated { reason });
        }
        if let Phase::Closing { reason } = self.state.phase.clone()
            && !self.must_wait()
            && !self.state.has_work()
            && self.state.ended.is_none()
        {
            self.end(Ending::Compensated { reason });
        }
    }
}
