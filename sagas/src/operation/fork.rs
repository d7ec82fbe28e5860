//! An instance that begins with what another did.

use chronicler_domain::{AggregateId, StreamId, Tenant, Timestamp};
use chronicler_store::StreamQuery;
use futures::StreamExt;

use crate::definition::effect::Request;
use crate::definition::effect_view::{EffectState, UndoState};
use crate::definition::input::RoutedEvent;
use crate::definition::saga::Saga;
use crate::instance::effects::Effects;
use crate::instance::fold::{CommitInfo, Recorded, StreamReader};
use crate::instance::journal::Entry;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::Fork;
use crate::operation::error::OperateError;
use crate::operation::handle::SagaHandle;

impl<S: Saga> SagaHandle<S> {
    /// What an instance did until an effect was decided, that decision and its commit included.
    pub(crate) async fn fork_of(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        before: String,
    ) -> Result<Fork, OperateError> {
        let stream = StreamId::new(tenant, self.category(), id);
        let from = stream.key().to_owned();
        let query = StreamQuery::new(stream);
        let mut commits = self.executor.runtime.store().read_stream(query);
        let reader = StreamReader::<S::Event>::new();
        let mut events = Vec::new();
        // What became of what is copied, to the end of its stream.
        let mut state = InstanceState::<()>::new(tenant.clone(), id.as_str().to_owned());
        state.effects = Effects::kept_all();
        let mut until = None;
        let mut at = Timestamp::EPOCH;
        while let Some(batch) = commits.next().await {
            for commit in batch.map_err(OperateError::failed)? {
                let mut decides = false;
                let is_copied = until.is_none();
                let info = CommitInfo::of(&commit);
                state.fold_commit(&info);
                for event in commit.events() {
                    let read = reader.read(&event, |recorded| {
                        let decided = recorded.entry();
                        decides |=
                            matches!(decided, Some(Entry::Decided(spec)) if spec.key == before);
                        state.fold(&info, &recorded, |(), _| {});
                        if is_copied {
                            events.push(recorded.routed());
                        }
                    });
                    read.map_err(OperateError::failed)?;
                }
                if is_copied {
                    at = commit.timestamp();
                }
                if decides && is_copied {
                    until = Some(state.effects().to_vec());
                }
            }
        }
        let Some(copied) = until else {
            return Err(OperateError::refused(format!(
                "it decided no effect of the key {before:?}"
            )));
        };
        for (then, now) in copied.iter().zip(state.effects()) {
            let key = &then.spec.key;
            let was_done = matches!(then.state, EffectState::Done | EffectState::Unknown);
            if was_done && now.undo != UndoState::Idle {
                return Err(OperateError::refused(format!(
                    "effect {key:?} was undone, or is to be: fork before that one, or begin anew"
                )));
            }
            let is_answered = matches!(now.state, EffectState::Done | EffectState::Unknown);
            if !was_done && is_answered && *key != before && now.undo == UndoState::Idle {
                return Err(OperateError::refused(format!(
                    "effect {key:?} was under way beside it, and was done: it would be done twice. Fork before that one, or begin anew"
                )));
            }
            if !was_done && matches!(then.spec.request, Request::Start { .. }) {
                return Err(OperateError::refused(format!(
                    "effect {key:?} began a child, which cannot be begun twice: fork before that one, or begin anew"
                )));
            }
        }
        if state.ended.is_none() {
            return Err(OperateError::refused(
                "it has not ended: what it still does would be done twice".to_owned(),
            ));
        }
        // It is not a child of whoever began the other, and is not paused or quarantined for it.
        let is_of_the_other = |copied: &Recorded<RoutedEvent>| {
            matches!(
                copied,
                Recorded::Entry(
                    Entry::Child { .. }
                        | Entry::Paused { .. }
                        | Entry::Resumed
                        | Entry::Quarantined { .. }
                        | Entry::Released { .. }
                        | Entry::Forked { .. }
                        | Entry::ForkedTo { .. }
                )
            )
        };
        events.retain(|copied| !is_of_the_other(copied));
        Ok(Fork {
            from,
            before,
            events,
            at,
        })
    }
}
