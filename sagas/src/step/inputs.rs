//! What an instance is told: events, answers, failures, timers.

use chronicler_domain::{GlobalPosition, Timestamp};

use super::Step;
use crate::answer::{Answer, Outcome};
use crate::effect_view::{EffectState, UndoState};
use crate::instance::Phase;
use crate::journal::{Entry, StalledInput};
use crate::routes::Delivery;
use crate::saga::{Input, RoutedEvent, Saga};

impl<S: Saga> Step<'_, S> {
    pub(super) fn deliver(
        &mut self,
        position: GlobalPosition,
        delivery: Delivery,
        events: Vec<RoutedEvent>,
    ) {
        let started = self.state.is_started();
        let passes = match delivery {
            Delivery::Start => !started,
            Delivery::Resume => started,
            Delivery::StartOrResume => true,
        };
        if position <= self.state.consumed || !passes || self.state.ended.is_some() {
            return;
        }
        if !started {
            self.enter(Entry::Started {
                saga_version: S::VERSION,
            });
        }
        self.enter(Entry::Consumed { position });
        if self.state.phase != Phase::Forward {
            // It is noted, and changes nothing any more.
            return;
        }
        self.cut_cycle();
        if self.must_wait() {
            return self.enter(Entry::Stalled(StalledInput::Event(position)));
        }
        let failed = events
            .into_iter()
            .find_map(|event| self.decide(&Input::Event(event)).err());
        if let Some(reason) = failed {
            self.quarantine(reason, StalledInput::Event(position));
        }
    }

    pub(super) fn answer(&mut self, index: u32, is_undo: bool, answer: Answer) {
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        if is_undo {
            if !matches!(effect.undo, UndoState::Pending { .. }) {
                return;
            }
            return match answer {
                Answer::Done { .. } => self.enter(Entry::Undone { effect: index }),
                Answer::Rejected { .. } | Answer::Unknown { .. } => {
                    let reason = format!("the undo was answered {}", answer.word());
                    self.enter(Entry::UndoStuck {
                        effect: index,
                        reason,
                        rejected: true,
                    });
                }
            };
        }
        if !matches!(
            effect.state,
            EffectState::Pending { .. } | EffectState::Parked { .. } | EffectState::Awaited
        ) {
            return;
        }
        let key = effect.spec.key.clone();
        if let (Answer::Unknown { reason }, true) = (&answer, self.state.pivoting == Some(index)) {
            // Whether the saga can be undone depends on it: a person finds it out.
            let (effect, reason) = (index, reason.clone());
            return self.enter(Entry::Parked { effect, reason });
        }
        self.enter(Entry::Answered {
            effect: index,
            answer: answer.clone(),
        });
        let is_late = matches!(self.state.phase, Phase::Compensating { .. })
            && matches!(answer, Answer::Done { .. });
        if self.state.ended.is_some() || (self.state.phase != Phase::Forward && !is_late) {
            return;
        }
        let stalled = StalledInput::Outcome {
            effect: index,
            answer: answer.clone(),
        };
        self.input(Input::Outcome(Outcome::new(key, answer)), stalled);
    }

    pub(super) fn failed(
        &mut self,
        index: u32,
        is_undo: bool,
        attempt: u32,
        next: Option<Timestamp>,
        reason: String,
    ) {
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        // An attempt of another time: somebody had it tried anew meanwhile.
        let is_this = |(failed, _): (u32, Timestamp)| failed + 1 == attempt;
        if !self.state.pending(index, is_undo).is_some_and(is_this) {
            return;
        }
        let is_undone = matches!(self.state.phase, Phase::Compensating { .. });
        if !is_undo && is_undone && effect.spec.request.is_call() {
            // It is not tried again: it would only have to be taken back.
            let answer = Answer::Unknown { reason };
            return self.enter(Entry::Answered {
                effect: index,
                answer,
            });
        }
        let effect = index;
        self.enter(match next {
            Some(next) => Entry::Retrying {
                effect,
                is_undo,
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
            self.due.push((index, is_undo));
        }
    }

    pub(super) fn fire(&mut self, key: String, due: Timestamp) {
        // Of another time than this: it was moved, disarmed or fired meanwhile.
        if self.state.timers.get(&key) != Some(&due) || self.state.ended.is_some() {
            return;
        }
        self.enter(Entry::Fired { key: key.clone() });
        if self.state.phase == Phase::Forward {
            self.input(Input::Timer(key.clone()), StalledInput::Timer(key));
        }
    }
}
