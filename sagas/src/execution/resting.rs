//! Attempts of a paused instance that nobody makes, although it believes them under way: its process ended meanwhile.

use chronicler_domain::{LogSequence, Timestamp};

use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, Patience};
use crate::execution::executor::Executor;
use crate::execution::turns::Turn;
use crate::instance::action::Action;
use crate::instance::id::InstanceId;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::SagaCommand;

impl<S: Saga> Executor<S> {
    /// Has an instance that stands know which of its attempts are not under way: they wait until it is resumed or released,
    /// and till then a person can skip or settle them. None of them begins unasked while their turns, which this gives, are kept.
    pub(crate) async fn hold_what_rests(
        &self,
        instance: &InstanceId,
    ) -> Result<Vec<Turn>, AskError> {
        let sent = |state: &InstanceState<S::State>, _: _| state.sent_before_it_stood();
        let sent = self.look(Patience::PERSON, instance, sent).await?;
        // What was decided just now is about to be sent.
        if self.backlog().has(instance) {
            return Ok(Vec::new());
        }
        let mut turns = Vec::new();
        for (action, failed) in sent {
            // Taken from the backlog, it may be about to have its turn.
            let Some(turn) = self.turns.hold(instance, action) else {
                continue;
            };
            let held = SagaCommand::Held {
                action,
                attempt: failed.saturating_add(1),
                reason: "it is paused or quarantined".to_owned(),
                decided_at: LogSequence::ZERO.next(),
            };
            self.tell_for_a_person(instance, held).await?;
            turns.push(turn);
        }
        Ok(turns)
    }
}

impl<S> InstanceState<S> {
    /// The attempts that it sent before it was paused or quarantined, and how many of each failed before; none if it does
    /// not stand.
    fn sent_before_it_stood(&self) -> Vec<(Action, u32)> {
        if !self.stands() {
            return Vec::new();
        }
        let all = self.effects.indices().into_iter();
        let sent = all.flat_map(Action::both_of).filter_map(|action| {
            let (failed, next) = self.pending(action)?;
            (next == Timestamp::EPOCH).then_some((action, failed))
        });
        sent.collect()
    }
}
