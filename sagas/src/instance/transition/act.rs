//! A decision becomes entries of the stream, and what follows from them by itself.

use chronicler_domain::Timestamp;
use chronicler_store::NewEvent;

use super::inputs::never_sent;
use super::step::Step;
use crate::definition::answer::Answer;
use crate::definition::directive::{Directive, When};
use crate::definition::effect::{EffectSpec, Request};
use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::definition::input::Input;
use crate::definition::saga::Saga;
use crate::definition::terms::Orphan;
use crate::instance::action::Action;
use crate::instance::entry::{Entry, StalledInput};
use crate::instance::state::Course;
use crate::instance::status::Ending;

impl<S: Saga> Step<'_, S> {
    /// Carries out one part of a decision that was looked through and tried before: nothing of it can fail. `recorded` are
    /// the decision's own events, encoded, in order.
    pub(super) fn act(
        &mut self,
        directive: Directive<S::Event>,
        recorded: &mut impl Iterator<Item = NewEvent>,
    ) {
        match directive {
            Directive::Record(_) => self.events.extend(recorded.next()),
            Directive::ContinueAsNew => self.enter(Entry::ContinuedAsNew {
                saga_version: S::VERSION,
            }),
            Directive::CameEarly => self.came_early = true,
            Directive::TakeUpEarly => {
                if !self.state.early.is_empty() {
                    self.enter(Entry::EarlyTaken);
                }
            }
            Directive::Effect(spec) => self.add_effect(spec),
            Directive::Pivoting => {
                if let Some(effect) = self.last_effect() {
                    self.enter(Entry::Pivoting { effect });
                }
            }
            Directive::Terms(terms) => {
                if let Some(effect) = self.last_effect() {
                    self.enter(Entry::Terms { effect, terms });
                }
            }
            Directive::Together(count) => {
                let all = self.state.effects.decided();
                // One alone is together with nobody.
                if count > 1 {
                    let first = all.saturating_sub(count);
                    self.enter(Entry::Together { first });
                }
            }
            Directive::Escalate(reason) => {
                // Said again, it changes nothing.
                if self.state.escalated != reason {
                    self.enter(Entry::Escalated { reason });
                }
            }
            Directive::UndoOf { key, undo } => {
                if let Some(effect) = self.state.effects.latest(&key) {
                    self.enter(Entry::UndoDecided { effect, undo });
                }
            }
            Directive::Arm { key, when } => self.arm(key, when),
            Directive::Disarm { key } => {
                self.drop_fired(&key);
                if self.state.timers.contains_key(&key) {
                    self.enter(Entry::Disarmed { key });
                }
            }
            Directive::FoundDone { key } => {
                // What its own attempt was answered may have come first.
                let is_news = |effect: &EffectView| effect.state != EffectState::Done;
                if let Some(effect) = self.state.effects.latest(&key)
                    && self.state.effect(effect).is_some_and(is_news)
                {
                    self.enter(Entry::FoundDone { effect });
                }
            }
            // The answer to a pivoting effect has said it already.
            Directive::Pivot if self.state.pivoted => {}
            Directive::Pivot => self.enter(Entry::Pivoted),
            Directive::Compensate { reason } => self.compensate(reason, None),
            Directive::Complete => self.end(Ending::Completed),
            Directive::Fail { reason } => self.end(Ending::Failed { reason }),
        }
    }

    fn add_effect(&mut self, spec: Box<EffectSpec>) {
        let effect = self.state.effects.decided();
        let is_done = spec.request == Request::Nothing;
        self.enter(Entry::Decided(spec));
        // Only something to take back: there is nobody to ask.
        if is_done {
            let answer = Answer::nothing();
            self.enter(Entry::Answered { effect, answer });
        } else {
            self.due.push(Action::of(effect));
        }
    }

    fn arm(&mut self, key: String, when: When) {
        let due = match when {
            When::After(after) => {
                self.dated.remove(&key);
                self.now.plus(after)
            }
            When::At(at) => {
                self.dated.insert(key.clone());
                at
            }
        };
        self.drop_fired(&key);
        self.enter(Entry::Armed { key, due });
    }

    /// A timer that came due and waits to be taken in is disarmed or moved before its turn: it is not taken in any more.
    pub(super) fn drop_fired(&mut self, key: &str) -> bool {
        let is_this =
            |input: &StalledInput| matches!(input, StalledInput::Timer(fired) if fired == key);
        let waits = self.state.stalled.iter().any(is_this);
        if waits {
            let key = key.to_owned();
            self.enter(Entry::Dropped { key });
        }
        waits
    }

    fn last_effect(&self) -> Option<u32> {
        self.state.effects.decided().checked_sub(1)
    }

    pub(super) fn compensate(&mut self, reason: String, by: Option<String>) {
        if !self.state.is_forward() {
            return;
        }
        self.enter(Entry::Compensating { reason, by });
        // What is under way is waited for: an undo that overtakes it would find nothing to undo. A call that is parked, or
        // waits for its next attempt, may or may not have been done, and is not tried again. A parked command is tried
        // once more; if that does not help, it is for a person. A child is cancelled, awaited or left alone, as its terms
        // say.
        for index in self.state.effects.indices() {
            let Some(effect) = self.state.effect(index) else {
                continue;
            };
            let is_parked = matches!(effect.state, EffectState::Parked { .. });
            // Who waits for a date asks before the attempt (`SagaCommand::Attempt`): either it is asked after this and
            // refused, or it was asked before, and waits for no date any more. The clock has no say in it.
            let waits = effect.state.waits();
            let is_call = effect.spec.request.is_call();
            match (&effect.state, effect.terms.orphan) {
                (EffectState::Awaited, Orphan::Wait) => {}
                (EffectState::Awaited, Orphan::Abandon) => {
                    let answer = Answer::rejected(&"it was left alone");
                    let effect = index;
                    self.enter(Entry::Answered { effect, answer });
                }
                (EffectState::Awaited, Orphan::Cancel) => self.end_effect(index),
                _ if !effect.is_start() && waits && effect.untaken.is_unsent => {
                    let (effect, answer) = (index, never_sent());
                    self.enter(Entry::Answered { effect, answer });
                }
                _ if is_call && (is_parked || waits) => {
                    let reason = "compensation began before it was answered".to_owned();
                    self.enter(Entry::Answered {
                        effect: index,
                        answer: Answer::Unknown(reason),
                    });
                }
                // Neither is a child begun any more that waits, for room or for its next attempt.
                _ if is_parked || (effect.is_start() && waits) => self.end_effect(index),
                _ => {}
            }
        }
    }

    pub(super) fn end(&mut self, ending: Ending) {
        let given_up = |effect: &&EffectView| effect.undo == UndoState::Abandoned;
        let left: Vec<_> = match self.state.effects.is_an_undo_given_up() {
            true => {
                let left = self.state.effects().iter().filter(given_up);
                left.map(|effect| effect.spec.key.clone()).collect()
            }
            false => Vec::new(),
        };
        let ending = match (self.state.course(), ending) {
            (
                Course::Compensating(reason) | Course::Closing(reason),
                Ending::Completed | Ending::Failed { .. } | Ending::Compensated { .. },
            ) if !left.is_empty() => Ending::Abandoned {
                reason: reason.to_owned(),
                left,
            },
            // A saga that says after it was undone that it is done, or has failed, has been undone.
            (
                Course::Compensating(reason) | Course::Closing(reason),
                Ending::Completed | Ending::Failed { .. },
            ) => Ending::Compensated {
                reason: reason.to_owned(),
            },
            (_, ending) => ending,
        };
        // A person sees to what is stuck first; it then ends by itself.
        if self.state.is_stuck() {
            return;
        }
        if self.state.is_under_way() || self.state.effects.is_one_parked() {
            // What it decided last is still carried out.
            if self.state.course() == Course::Forward {
                self.enter(Entry::Concluded(ending));
            }
            return;
        }
        self.finish(ending);
    }

    /// What follows by itself: the next undo, the end of compensation.
    pub(super) fn move_on(&mut self) {
        if self.must_wait() {
            return;
        }
        match self.state.course() {
            Course::Forward | Course::Over(_) => {}
            Course::Concluded(ending) => {
                let ending = ending.clone();
                self.end(ending);
            }
            Course::Compensating(reason) => {
                let reason = reason.to_owned();
                self.go_on_undoing(reason);
                self.end_if_closed();
            }
            Course::Closing(_) => self.end_if_closed(),
        }
    }

    /// Begins the undos that are next. When all were run, the saga is told.
    fn go_on_undoing(&mut self, reason: String) {
        for effect in self.state.effects.next_undos() {
            let action = Action::undo_of(effect);
            self.enter(Entry::Retrying {
                action,
                attempt: 0,
                next: Timestamp::EPOCH,
                reason: "undo begins".to_owned(),
            });
            self.due.push(action);
        }
        // A parked effect may have been done: a person finds it out before this ends.
        if self.state.is_under_way() || self.state.is_stuck() {
            return;
        }
        self.enter(Entry::Closing);
        let input = Input::Compensated {
            reason: reason.clone(),
        };
        self.input(input, StalledInput::Compensated { reason });
    }

    /// Ends it when all undos were run and what the saga sent last is through.
    fn end_if_closed(&mut self) {
        if let Course::Closing(reason) = self.state.course()
            && !self.must_wait()
            && !self.state.is_under_way()
        {
            let reason = reason.to_owned();
            self.end(Ending::Compensated { reason });
        }
    }
}
