//! What operators wish.

use super::{SagaRefusal, Step};
use crate::answer::Answer;
use crate::instance::{EffectState, Phase, UndoState};
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
            self.enter(Entry::Unstalled);
            if let Err(reason) = self.take_up(&stalled, Vec::new()) {
                self.quarantine(reason, stalled);
                break;
            }
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
