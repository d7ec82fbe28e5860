//! An executor as the host of children: other sagas have it begin its instances, and end them.

use std::sync::Arc;

use chronicler_runtime::{DispatchError, SendOptions};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::definition::payload::Payload;
use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, Patience};
use crate::execution::child::{ChildAnswer, ChildHost};
use crate::execution::executor::Executor;
use crate::instance::entry::Parent;
use crate::instance::id::InstanceId;
use crate::instance::occupancy::Occupancy;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::SagaCommand;

impl<S: Saga> Executor<S> {
    async fn ask_child(
        &self,
        child: InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<ChildAnswer, DispatchError> {
        // Who asks has a place among what is under way: waiting for room in the backlog, a saga that begins instances of its
        // own type would wait for itself.
        let told = self.ask_or_quarantine_for(Patience::MOMENT, &child, command, options);
        match told.await {
            Ok(()) => {}
            Err(AskError::Refused(refusal)) => {
                return Ok(ChildAnswer::Refused(refusal.to_string()));
            }
            Err(AskError::Failed(error)) => return Err(error),
        }
        let ended = |state: &InstanceState<S::State>, _: _| state.ended.clone();
        let found = self.handle.query(&child.tenant, &child.id, ended).await?;
        let ending = found.state;
        Ok(ending.map_or(ChildAnswer::GoesOn, ChildAnswer::Ended))
    }
}

impl<S: Saga> ChildHost for Executor<S> {
    fn begin_child(
        &self,
        child: InstanceId,
        parent: Parent,
        start: Payload,
        occupies: Option<Occupancy>,
        options: SendOptions,
    ) -> BoxFuture<'_, Result<ChildAnswer, DispatchError>> {
        let command = SagaCommand::Begin {
            parent,
            start,
            occupies,
        };
        self.ask_child(child, command, options).boxed()
    }

    fn has_begun(&self, child: InstanceId) -> BoxFuture<'_, Result<bool, DispatchError>> {
        async move {
            let entity = Arc::clone(self.handle.entity());
            let has_begun = move |state: &InstanceState<S::State>, _: _| {
                state.has_begun(entity.saga().has_begun(state.user()))
            };
            let found = self.handle.query(&child.tenant, &child.id, has_begun);
            Ok(found.await?.state)
        }
        .boxed()
    }

    fn end_child(
        &self,
        child: InstanceId,
        parent: Parent,
        is_spared: bool,
    ) -> BoxFuture<'_, Result<ChildAnswer, DispatchError>> {
        let reason = format!("{} is being compensated", parent.stream);
        let command = SagaCommand::EndChild {
            parent,
            reason,
            is_spared,
        };
        self.ask_child(child, command, SendOptions::default())
            .boxed()
    }
}
