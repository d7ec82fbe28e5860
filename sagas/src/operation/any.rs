//! The handle of one saga type, whatever it is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::{AggregateId, StreamId, StreamVersion, Tenant, Timestamp};
use chronicler_runtime::FollowerHandle;
use chronicler_store::{ReadError, panic_text};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::definition::effect_view::EffectView;
use crate::definition::saga::Saga;
use crate::instance::id::{InstanceId, printed};
use crate::instance::open_fact::{OpenStatus, waits_for};
use crate::instance::state::InstanceState;
use crate::instance::status::SagaStatus;
use crate::instance::verb::Order;
use crate::operation::error::OperateError;
use crate::operation::handle::SagaHandle;
use crate::operation::history::HistoryLine;

/// An instance whose own code failed: on an input, or over its stream, so that the runtime could not recover it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedSaga {
    /// The instance.
    pub stream: StreamId,
    /// Why.
    pub reason: String,
}

/// The handle of one saga type, whatever it is; by category.
pub(crate) type AnyHandles = BTreeMap<String, Arc<dyn AnyHandle>>;

pub(crate) trait AnyHandle: Send + Sync {
    fn follower(&self) -> &FollowerHandle;

    fn quarantined(&self) -> BoxFuture<'_, Result<Vec<QuarantinedSaga>, ReadError>>;

    fn release<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a AggregateId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<bool, OperateError>>;

    fn operate_on(
        &self,
        instance: InstanceId,
        order: Order,
    ) -> BoxFuture<'_, Result<SagaStatus, OperateError>>;

    fn show(&self, instance: InstanceId) -> BoxFuture<'_, Result<SagaDetails, OperateError>>;
}

/// One instance of any saga type, for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SagaDetails {
    /// Where it is.
    pub status: SagaStatus,
    /// The version of the definition that it goes by.
    pub version: Option<u32>,
    /// Its effects, in the order in which they were decided.
    pub effects: Vec<EffectView>,
    /// Its timers and when they are due.
    pub timers: Vec<(String, Timestamp)>,
    /// Whether it has passed its pivot.
    pub pivoted: bool,
    /// Why a person should look at it.
    pub escalated: Option<String>,
    /// The stream of the instance that began it, if it is a child.
    pub parent: Option<String>,
    /// Inputs that wait for its release, or until it is resumed.
    pub stalled: usize,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last took an input.
    pub moved_at: Timestamp,
    /// What remains to be done, for a saga of steps: the ids of the steps ahead.
    pub remaining: Vec<String>,
    /// The path of this instance through its definition as a Mermaid diagram, for a saga of steps.
    pub diagram: Option<String>,
    /// Everything that happened to it.
    pub history: Vec<HistoryLine>,
}

impl SagaDetails {
    /// What the state of an instance says of it.
    pub(crate) fn of<T>(state: &InstanceState<T>, status: SagaStatus) -> Self {
        let timers = state.timers.iter();
        Self {
            status,
            version: state.saga_version,
            effects: state.effects().to_vec(),
            timers: timers.map(|(key, due)| (key.clone(), *due)).collect(),
            pivoted: state.pivoted,
            escalated: state.escalated.clone(),
            parent: state.parent.as_ref().map(|parent| printed(&parent.stream)),
            stalled: state.stalled.len(),
            started_at: state.started_at,
            moved_at: state.moved_at,
            remaining: Vec::new(),
            diagram: None,
            history: Vec::new(),
        }
    }
}

impl<S: Saga> AnyHandle for SagaHandle<S> {
    fn follower(&self) -> &FollowerHandle {
        &self.follower
    }

    fn quarantined(&self) -> BoxFuture<'_, Result<Vec<QuarantinedSaga>, ReadError>> {
        async move {
            let category = self.category();
            let by_runtime = self.executor.runtime.quarantined().into_iter();
            let by_runtime = by_runtime.filter(|one| one.stream.category() == category.as_str());
            let mut quarantined: Vec<_> = by_runtime
                .map(|one| QuarantinedSaga {
                    stream: one.stream,
                    reason: one.reason.to_string(),
                })
                .collect();
            let open = self.open().await?;
            for saga in open
                .iter()
                .filter(|saga| saga.status == OpenStatus::Quarantined)
            {
                let (Ok(tenant), Ok(id)) = (
                    Tenant::try_from(saga.tenant().to_owned()),
                    AggregateId::new(saga.id()),
                ) else {
                    continue;
                };
                let stream = StreamId::new(&tenant, category, &id);
                if self.executor.runtime.is_quarantined(&stream) {
                    continue;
                }
                let reason = match self.get(&tenant, &id).await {
                    Ok(view) => match view.status {
                        SagaStatus::Quarantined { reason, .. } => reason.to_string(),
                        // Released since.
                        _ => continue,
                    },
                    Err(error) => error.to_string(),
                };
                quarantined.push(QuarantinedSaga { stream, reason });
            }
            Ok(quarantined)
        }
        .boxed()
    }

    fn release<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a AggregateId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<bool, OperateError>> {
        async move {
            let stream = StreamId::new(tenant, self.category(), id);
            if self.executor.runtime.is_quarantined(&stream) {
                SagaHandle::release(self, tenant, id, by).await?;
                return Ok(true);
            }
            let view = self.get(tenant, id).await;
            let view = view.map_err(OperateError::failed)?;
            if !matches!(view.status, SagaStatus::Quarantined { .. }) {
                return Ok(false);
            }
            SagaHandle::release(self, tenant, id, by).await?;
            Ok(true)
        }
        .boxed()
    }

    fn operate_on(
        &self,
        instance: InstanceId,
        order: Order,
    ) -> BoxFuture<'_, Result<SagaStatus, OperateError>> {
        async move {
            let InstanceId { tenant, id } = instance;
            self.operate(&tenant, &id, order).await
        }
        .boxed()
    }

    fn show(&self, instance: InstanceId) -> BoxFuture<'_, Result<SagaDetails, OperateError>> {
        async move {
            let InstanceId { tenant, id } = instance;
            let entity = Arc::clone(self.executor.handle.entity());
            let look = move |state: &InstanceState<S::State>, _: StreamVersion| {
                let status = state.status_with(|| waits_for(entity.saga(), state.user()));
                (SagaDetails::of(state, status), state.user().clone())
            };
            let found = self.executor.handle.query(&tenant, &id, look).await;
            let (mut details, user) = found.map_err(OperateError::failed)?.state;
            let saga = self.executor.handle.entity().saga();
            // The rest is shown although the saga's own code fails on it.
            let drawn = catch_unwind(AssertUnwindSafe(|| {
                let remaining = saga.remaining(&user);
                (remaining, saga.diagram(&user, &details.effects))
            }));
            match drawn {
                Ok((remaining, diagram)) => {
                    details.remaining = remaining;
                    details.diagram = diagram;
                }
                Err(panic) => {
                    let panic = panic_text(panic.as_ref());
                    tracing::error!(
                        saga = S::NAME,
                        panic,
                        "what remains cannot be told: its code panicked"
                    );
                    details.remaining = vec![format!("(its code panicked: {panic})")];
                }
            }
            let history = self.history(&tenant, &id).await;
            details.history = history.map_err(OperateError::failed)?;
            Ok(details)
        }
        .boxed()
    }
}
