//! What operators wish.

use chronicler_store::codec::CodecError;

use super::{SagaRefusal, Step};
use crate::answer::Answer;
use crate::instance::{EffectState, EffectView, Phase, UndoState};
use crate::journal::Entry;
use crate::saga::Saga;

impl<S: Saga> Step<'_, S> {
    pub(super) fn cancel(&mut self, reason: String, by: String) -> Result<(), SagaRefusal> {
        self.open()?;
        if self.state.pivoted {
            return Err(SagaRefusal::PastPivot);
        }
        if self.state.phase != Phase::Forward {
            return Err(SagaRefusal::Compensating);
        }
        if self.state.pivoting.is_some() {
            return Err(SagaRefusal::PivotUnderWay);
        }
        if self.state.quarantined.is_some() {
            self.enter(Entry::Released { by: by.clone() });
        }
        self.compensate(reason, Some(by));
        // What waited is only looked at for what has to be taken back.
        while let Some(stalled) = self.state.stalled.front().cloned() {
            if let Err(reason) = self.take_up(&stalled, Vec::new()) {
                self.set_aside(reason);
                break;
            }
            self.enter(Entry::Unstalled);
        }
        Ok(())
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
            let is_undo = matches!(effect.undo, UndoState::Stuck { .. });
            let is_parked = matches!(effect.state, EffectState::Parked { .. });
            (effect.spec.key == key && (is_undo || is_parked)).then_some((*index, is_undo))
        };
        let found = self.state.indices().rev().find_map(|index| waits(&index));
        let (effect, is_undo) = found.ok_or(SagaRefusal::NothingToSettle)?;
        let is_call = |effect: &EffectView| effect.spec.request.is_call();
        let is_unknown = matches!(answer, Answer::Unknown { .. });
        if !is_undo && is_unknown && !self.state.effect(effect).is_some_and(is_call) {
            return Err(SagaRefusal::CannotBeUnknown);
        }
        let was_quarantined = self.state.quarantined.is_some();
        self.enter(Entry::Settled {
            effect,
            is_undo,
            by,
            reason,
        });
        if is_undo {
            self.enter(Entry::Undone { effect });
        } else {
            self.answer(effect, false, answer);
        }
        // An answer that the saga's code cannot take is not taken: the effect goes on waiting for another.
        if let Some(reason) = self.state.quarantined.clone().filter(|_| !was_quarantined) {
            let type_name = "the answer that it is settled with";
            self.error = Some(CodecError::Undecodable { type_name, reason });
        }
        Ok(())
    }

    pub(super) fn retry_now(&mut self, by: &str) -> Result<(), SagaRefusal> {
        self.open()?;
        for index in self.state.indices() {
            let Some(effect) = self.state.effect(index) else {
                break;
            };
            let (is_undo, is_under_way) = match (&effect.state, &effect.undo) {
                (_, UndoState::Stuck { .. }) => (true, false),
                (EffectState::Parked { .. }, _) => (false, false),
                (_, UndoState::Pending { attempt, .. }) => (true, *attempt == 0),
                (EffectState::Pending { attempt, .. }, _) => (false, *attempt == 0),
                _ => continue,
            };
            // One that is under way for the first time is sent once more, in case its answer got lost: its target
            // answers the same.
            if !is_under_way {
                self.enter(Entry::Unparked {
                    effect: index,
                    is_undo,
                    by: by.to_owned(),
                });
            }
            self.due.push((index, is_undo));
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Result<(), SagaRefusal> {
        match (self.state.is_started(), &self.state.ended) {
            (false, _) => Err(SagaRefusal::NotStarted),
            (_, Some(_)) => Err(SagaRefusal::Over),
            _ => Ok(()),
        }
    }
}
