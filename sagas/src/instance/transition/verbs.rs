//! Orders about what is under way: cancel, retry, settle.

use chronicler_domain::Timestamp;

use super::refusal::SagaRefusal;
use super::step::Step;
use crate::definition::answer::Answer;
use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::definition::input::Input;
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::entry::{Entry, StalledInput};
use crate::instance::reason::cut;

impl<S: Saga> Step<'_, S> {
    pub(super) fn cancel(&mut self, reason: String, by: String) -> Result<(), SagaRefusal> {
        self.open()?;
        if self.state.concluded.is_some() {
            return Err(SagaRefusal::Concluded);
        }
        if self.state.pivoted {
            return Err(SagaRefusal::PastPivot);
        }
        if !self.state.is_forward() {
            // It is on its way there, unless its own code keeps it from that.
            if self.state.quarantined.is_some() {
                self.enter(Entry::Released { by });
                self.go_on_with_all();
                self.take_back_what_waits();
            }
            return Ok(());
        }
        if !self.state.pivoting.is_empty() {
            return Err(SagaRefusal::PivotUnderWay);
        }
        let stood = self.state.stands();
        if self.state.quarantined.is_some() {
            self.enter(Entry::Released { by: by.clone() });
        }
        if self.state.paused.is_some() {
            self.enter(Entry::Resumed);
        }
        if stood {
            self.go_on_with_all();
        }
        let told = Input::Cancelled {
            by: by.clone(),
            reason: reason.clone(),
        };
        // What was done is taken back whatever its code makes of it.
        if self.state.stalled.is_empty()
            && let Err(error) = self.decide(&told)
        {
            tracing::warn!(saga = S::NAME, id = self.state.id, %error, "told in vain");
        }
        if self.state.is_over() {
            return Ok(());
        }
        self.compensate(reason, Some(by));
        self.take_back_what_waits();
        Ok(())
    }

    /// What waits is only looked at for what has to be taken back; the undos are run whatever the saga's code makes of it.
    fn take_back_what_waits(&mut self) {
        while let Some(stalled) = self.state.stalled.front().cloned() {
            if let Err(fault) = self.take_up(&stalled, Vec::new())
                && let StalledInput::Answer { effect, .. } = &stalled
                && !self.is_undone_as_given(&stalled, &fault)
            {
                // Nobody can say how: it is for a person, and holds up no others.
                let reason = format!("how it is taken back is not known: {fault}");
                self.enter(Entry::UndoStuck {
                    effect: *effect,
                    reason: cut(reason),
                    rejected: false,
                });
            }
            self.enter(Entry::Unstalled);
        }
    }

    pub(super) fn settle(
        &mut self,
        key: &str,
        answer: Answer,
        by: String,
        reason: String,
    ) -> Result<(), SagaRefusal> {
        self.open()?;
        let waits = |index: &u32| {
            let effect = self.state.effect(*index)?;
            let is_undo = match &effect.undo {
                UndoState::Stuck { .. } => true,
                UndoState::Pending { next, .. } => *next == Timestamp::MAX,
                _ => false,
            };
            let is_parked = match &effect.state {
                EffectState::Parked { .. } => true,
                EffectState::Pending { next, .. } => *next == Timestamp::MAX,
                _ => false,
            };
            let action = match is_undo {
                true => Action::undo_of(*index),
                false => Action::of(*index),
            };
            (effect.spec.key == key && (is_undo || is_parked)).then_some(action)
        };
        let all = self.state.effects.indices().into_iter();
        let found = all.rev().find_map(|index| waits(&index));
        let action = found.ok_or(SagaRefusal::NothingToSettle)?;
        let (effect, is_undo) = (action.effect, action.is_undo());
        let is_call = |effect: &EffectView| effect.spec.request.is_call();
        let is_unknown = matches!(answer, Answer::Unknown(_));
        if !is_undo && is_unknown && !self.state.effect(effect).is_some_and(is_call) {
            return Err(SagaRefusal::CannotBeUnknown);
        }
        let what = "the answer that it is settled with";
        if !is_undo {
            self.would_take_answer(effect, &answer, what)?;
        }
        let was_quarantined = self.state.quarantined.is_some();
        self.enter(Entry::Settled { action, by, reason });
        if is_undo {
            self.enter(Entry::Undone { effect });
        } else {
            self.answer(action, answer);
        }
        self.taken(was_quarantined, what);
        Ok(())
    }

    pub(super) fn retry_now(&mut self, by: &str) -> Result<(), SagaRefusal> {
        self.open()?;
        for index in self.state.effects.indices() {
            let Some(effect) = self.state.effect(index) else {
                continue;
            };
            let (action, is_under_way) = match (&effect.state, &effect.undo) {
                // Nobody knows what to send.
                (_, UndoState::Stuck { .. }) if effect.undo_request().is_none() => continue,
                (_, UndoState::Stuck { .. }) => (Action::undo_of(index), false),
                // A child that has ended says so again.
                (EffectState::Parked { .. } | EffectState::Awaited, _) => {
                    (Action::of(index), false)
                }
                // What waits for its service or the release of its target asks by itself.
                (_, UndoState::Pending { next, .. }) if *next == Timestamp::MAX => continue,
                (EffectState::Pending { next, .. }, _) if *next == Timestamp::MAX => continue,
                // Whether an attempt is under way no clock says, and its number neither.
                (_, UndoState::Pending { next, .. }) => {
                    (Action::undo_of(index), *next == Timestamp::EPOCH)
                }
                (EffectState::Pending { next, .. }, _) => {
                    (Action::of(index), *next == Timestamp::EPOCH)
                }
                _ => continue,
            };
            // One that is under way is sent once more after it, in case its answer gets lost: its target answers the same.
            match is_under_way {
                true => self.due.push(action),
                false => self.unpark(action, by.to_owned()),
            }
        }
        Ok(())
    }

    /// Has it tried again: at once, or when the instance is resumed or released. Till then a person can skip or settle it.
    pub(super) fn unpark(&mut self, action: Action, by: String) {
        self.enter(Entry::Unparked { action, by });
        if self.state.stands() {
            let reason = match self.state.paused {
                Some(_) => "it is paused".to_owned(),
                None => "it is quarantined".to_owned(),
            };
            self.enter(Entry::Held { action, reason });
        }
        self.due.push(action);
    }

    pub(super) fn open(&self) -> Result<(), SagaRefusal> {
        match (self.state.is_started(), &self.state.ended) {
            (false, _) => Err(SagaRefusal::NotStarted),
            (_, Some(_)) => Err(SagaRefusal::Over),
            _ => Ok(()),
        }
    }
}
