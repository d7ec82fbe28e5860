//! Changes of effects, as the entries of a stream say.

use chronicler_domain::Timestamp;

use crate::definition::answer::Answer;
use crate::definition::effect::{EffectSpec, Request};
use crate::definition::effect_view::{EffectState, EffectView, UndoState, Untaken};
use crate::definition::terms::Terms;
use crate::instance::action::Way;
use crate::instance::effects::Effects;
use crate::instance::entry::Entry;

impl Effects {
    /// Changes the effects as an entry says that is about them.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Decided(spec) => {
                self.push(EffectView::decided(spec.as_ref().clone()));
            }
            Entry::Together { first } => self.together_from(*first),
            Entry::Terms { effect, terms } => self.change(*effect, |effect| {
                effect.terms = terms.as_ref().clone();
            }),
            Entry::UndoDecided { effect, undo } => self.change(*effect, |effect| {
                effect.spec.undo = (!effect.skipped).then(|| undo.as_ref().clone());
            }),
            Entry::Answered { effect, answer } => {
                self.change(*effect, |effect| effect.answered(answer));
            }
            Entry::Begun { effect } => self.change(*effect, |effect| {
                (effect.state, effect.begun) = (EffectState::Awaited, true);
            }),
            Entry::AwaitsRoom { effect, .. } => self.change(*effect, |effect| {
                effect.hold(Way::Do);
                effect.awaits_room = true;
            }),
            Entry::FoundDone { effect } => self.change(*effect, EffectView::be_found_done),
            Entry::NotTaken {
                action,
                counted,
                unsent,
            } => self.change(action.effect, |effect| {
                effect.untaken.add(action.way, *counted);
                effect.untaken.is_unsent = *unsent;
            }),
            Entry::Retrying {
                action,
                attempt,
                next,
                ..
            } => self.change(action.effect, |effect| {
                effect.wait(action.way, *attempt, *next);
            }),
            Entry::Held { action, .. } => {
                self.change(action.effect, |effect| effect.hold(action.way));
            }
            Entry::Parked { effect, reason } => self.change(*effect, |effect| {
                let reason = reason.clone();
                effect.state = EffectState::Parked { reason };
            }),
            Entry::Unparked { action, .. } => {
                self.change(action.effect, |effect| effect.unpark(action.way));
            }
            Entry::Edited { action, request } => self.change(action.effect, |effect| {
                effect.edit(action.way, request.as_ref().clone());
            }),
            Entry::Skipped { effect } => self.change(*effect, |effect| {
                (effect.skipped, effect.spec.undo) = (true, None);
            }),
            Entry::Undone { effect } => {
                self.change(*effect, |effect| effect.undo = UndoState::Undone);
            }
            Entry::UndoStuck {
                effect,
                reason,
                rejected,
            } => self.change(*effect, |effect| {
                let (reason, rejected) = (reason.clone(), *rejected);
                effect.undo = UndoState::Stuck { reason, rejected };
            }),
            Entry::Abandoned { effect } => {
                self.change(*effect, |effect| effect.undo = UndoState::Abandoned);
            }
            // The others are about the instance.
            _ => {}
        }
    }
}

impl EffectView {
    fn decided(spec: EffectSpec) -> Self {
        Self {
            spec,
            state: EffectState::Pending {
                attempt: 0,
                next: Timestamp::EPOCH,
            },
            undo: UndoState::Idle,
            undo_round: 0,
            decided_at: None,
            terms: Terms::default(),
            together: None,
            found_done: false,
            untaken: Untaken::default(),
            skipped: false,
            begun: false,
            awaits_room: false,
        }
    }

    /// Whoever was asked knows better than its own attempts, also one that was answered before.
    fn be_found_done(&mut self) {
        self.found_done = true;
        if !self.is_under_way() {
            self.state = EffectState::Done;
        }
    }

    fn answered(&mut self, answer: &Answer) {
        self.state = match answer {
            _ if self.found_done => EffectState::Done,
            Answer::Done(_) => EffectState::Done,
            Answer::Rejected(_) => EffectState::Rejected,
            Answer::Unknown(_) => EffectState::Unknown,
        };
    }

    /// So many attempts failed, and the next is due then.
    fn wait(&mut self, way: Way, attempt: u32, next: Timestamp) {
        if attempt == 0 {
            self.untaken.begin(way);
        }
        // Whatever was known before the attempt that now begins, or failed.
        self.untaken.is_unsent &= way == Way::Undo;
        match way {
            Way::Do => {
                self.state = EffectState::Pending { attempt, next };
                self.awaits_room = false;
            }
            Way::Undo => self.undo = UndoState::Pending { attempt, next },
        }
    }

    /// Its next attempt waits for a service, which has no date.
    fn hold(&mut self, way: Way) {
        let next = match (way, &mut self.state, &mut self.undo) {
            (Way::Do, EffectState::Pending { next, .. }, _) => next,
            (Way::Undo, _, UndoState::Pending { next, .. }) => next,
            _ => return,
        };
        *next = Timestamp::MAX;
    }

    /// It is tried again from the beginning. An undo that was refused is another command then: its target would only give
    /// the same answer again.
    fn unpark(&mut self, way: Way) {
        let was_rejected = matches!(self.undo, UndoState::Stuck { rejected: true, .. });
        if way == Way::Undo && was_rejected {
            self.undo_round += 1;
        }
        self.wait(way, 0, Timestamp::EPOCH);
    }

    fn edit(&mut self, way: Way, request: Request) {
        match (way, &mut self.spec.undo) {
            (Way::Do, _) => self.spec.request = request,
            (Way::Undo, Some(undo)) => {
                undo.if_unknown = undo.if_unknown.as_ref().map(|_| request.clone());
                undo.if_done = request;
            }
            (Way::Undo, None) => {}
        }
    }
}
