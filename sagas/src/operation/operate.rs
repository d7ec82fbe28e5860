//! Sagas of all types at once, as an operator sees them: by stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronicler_domain::{AggregateId, LogSequence, StreamId, Tenant, Timestamp};
use chronicler_runtime::{Entity, FollowerHandle, SendOptions};
use chronicler_store::{FactKind, FactQuery, ReadError, Store};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::definition::effect_view::EffectView;
use crate::definition::saga::Saga;
use crate::execution::executor::{AskError, Instance};
use crate::instance::journal::Parent;
use crate::instance::open_fact::OpenFact;
use crate::instance::state::InstanceState;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::transition::SagaCommand;
use crate::instance::verb::SagaVerb;
use crate::operation::handle::{CancelError, OpenSaga, SagaHandle};
use crate::operation::history::HistoryLine;
use crate::operation::registry::Sagas;
use crate::operation::undefined;

/// An instance whose own code failed: on an input, or over its journal, so that the runtime could not recover it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    ) -> BoxFuture<'a, Result<bool, CancelError>>;

    fn operate_on<'a>(
        &'a self,
        instance: Instance,
        verb: SagaVerb,
        by: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<SagaStatus, CancelError>>;

    fn show(&self, instance: Instance) -> BoxFuture<'_, Result<SagaShown, CancelError>>;

    /// Begins an instance as the child of another, or finds it begun by the same.
    fn begin_child(
        &self,
        child: Instance,
        parent: Parent,
        beginning: (u8, Vec<u8>),
        options: SendOptions,
    ) -> BoxFuture<'_, Result<Began, String>>;

    /// Has a child undo what it did, if it can be.
    fn end_child(&self, child: Instance, parent: Parent) -> BoxFuture<'_, Result<Began, String>>;
}

/// What a child says when it is begun, or told to end.
pub(crate) enum Began {
    /// Its end will be reported.
    GoesOn,
    /// It has ended.
    Ended(Ending),
    /// There is another instance of this id.
    Refused(String),
}

/// One instance of any saga type, for people.
#[derive(Clone, Debug)]
pub struct SagaShown {
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

/// An open instance of any saga type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSaga {
    /// Its stream.
    pub stream: StreamId,
    /// What is known of it without waking it.
    pub open: OpenSaga,
}

impl<S: Saga> SagaHandle<S> {
    async fn ask_child(
        &self,
        child: Instance,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<Began, String> {
        // Who asks has a place among what is under way: waiting for room in the backlog, a saga that begins instances of its
        // own type would wait for itself.
        let told = self.executor.ask_or_set_aside(&child, command, options);
        match told.await {
            Ok(()) => {}
            Err(AskError::Refused(refusal)) => return Ok(Began::Refused(refusal.to_string())),
            Err(AskError::Failed(error)) => return Err(error.to_string()),
        }
        let ended = |state: &InstanceState<S::State>, _: _| state.ended.clone();
        let found = self.executor.handle.query(&child.tenant, &child.id, ended);
        match found.await {
            Ok(found) => Ok(found.state.map_or(Began::GoesOn, Began::Ended)),
            Err(error) => Err(error.to_string()),
        }
    }
}

pub(crate) fn category_of<S: Saga>(handle: &SagaHandle<S>) -> String {
    let entity = handle.executor.handle.entity();
    entity.category().as_str().to_owned()
}

impl<S: Saga> AnyHandle for SagaHandle<S> {
    fn follower(&self) -> &FollowerHandle {
        &self.follower
    }

    fn quarantined(&self) -> BoxFuture<'_, Result<Vec<QuarantinedSaga>, ReadError>> {
        async move {
            let category = self.executor.handle.entity().category();
            let by_runtime = self.executor.runtime.quarantined().into_iter();
            let by_runtime = by_runtime.filter(|one| one.stream.category() == category.as_str());
            let mut quarantined: Vec<_> = by_runtime
                .map(|one| QuarantinedSaga {
                    stream: one.stream,
                    reason: one.reason.to_string(),
                })
                .collect();
            let open = self.open().await?;
            for saga in open.iter().filter(|saga| saga.status == "quarantined") {
                let (Ok(tenant), Ok(id)) = (
                    Tenant::try_from(saga.tenant.clone()),
                    AggregateId::new(&saga.id),
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
    ) -> BoxFuture<'a, Result<bool, CancelError>> {
        async move {
            let stream = StreamId::new(tenant, self.executor.handle.entity().category(), id);
            if self.executor.runtime.is_quarantined(&stream) {
                SagaHandle::release(self, tenant, id, by).await?;
                return Ok(true);
            }
            let view = self.get(tenant, id).await;
            let view = view.map_err(CancelError::failed)?;
            if !matches!(view.status, SagaStatus::Quarantined { .. }) {
                return Ok(false);
            }
            SagaHandle::release(self, tenant, id, by).await?;
            Ok(true)
        }
        .boxed()
    }

    fn operate_on<'a>(
        &'a self,
        instance: Instance,
        verb: SagaVerb,
        by: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<SagaStatus, CancelError>> {
        async move {
            let Instance { tenant, id } = instance;
            self.operate(&tenant, &id, verb, by, reason).await
        }
        .boxed()
    }

    fn show(&self, instance: Instance) -> BoxFuture<'_, Result<SagaShown, CancelError>> {
        async move {
            let Instance { tenant, id } = instance;
            let view = self.get(&tenant, &id).await.map_err(CancelError::failed)?;
            let history = self.history(&tenant, &id).await;
            let saga = self.executor.handle.entity().saga();
            Ok(SagaShown {
                remaining: saga.remaining(&view.state),
                diagram: saga.diagram(&view.state, &view.effects),
                status: view.status,
                version: view.version,
                effects: view.effects,
                timers: view.timers,
                pivoted: view.pivoted,
                escalated: view.escalated,
                parent: view.parent,
                stalled: view.stalled,
                started_at: view.started_at,
                moved_at: view.moved_at,
                history: history.map_err(CancelError::failed)?,
            })
        }
        .boxed()
    }

    fn begin_child(
        &self,
        child: Instance,
        parent: Parent,
        (codec, start): (u8, Vec<u8>),
        options: SendOptions,
    ) -> BoxFuture<'_, Result<Began, String>> {
        let command = SagaCommand::Begin {
            parent,
            codec,
            start,
        };
        self.ask_child(child, command, options).boxed()
    }

    fn end_child(&self, child: Instance, parent: Parent) -> BoxFuture<'_, Result<Began, String>> {
        let reason = format!("{} is being compensated", parent.stream);
        let command = SagaCommand::EndChild { parent, reason };
        self.ask_child(child, command, SendOptions::default())
            .boxed()
    }
}

/// The open instances of all sagas that a store holds, whether they are registered or not, without waking any of them.
///
/// # Errors
/// When the store cannot be read.
pub async fn list_open(store: &dyn Store) -> Result<Vec<ListedSaga>, ReadError> {
    let facts = store.facts(FactQuery::all(FactKind::OPEN_SAGA)).await?;
    let listed = facts
        .iter()
        .filter_map(|fact| ListedSaga::read(&fact.key, &fact.value, fact.sequence));
    Ok(listed.collect())
}

impl ListedSaga {
    /// Reads a fact of kind [`FactKind::OPEN_SAGA`] that was set by this commit; `None` if it cannot be read.
    pub fn read(key: &[u8], value: &[u8], sequence: LogSequence) -> Option<Self> {
        let stream = StreamId::from_key(std::str::from_utf8(key).ok()?)?;
        let open = OpenFact::read(value)?;
        let open = OpenSaga {
            tenant: stream.tenant().to_owned(),
            id: stream.id().to_owned(),
            since: open.since,
            status: open.status.word(),
            version: open.version,
            on: open.on,
            until: open.until,
            escalated: open.escalated,
            sequence,
        };
        Some(Self { stream, open })
    }
}

impl Sagas {
    /// The followers that bring events to the instances, one for each type, by name.
    pub fn followers(&self) -> impl Iterator<Item = &FollowerHandle> {
        self.any.values().map(|handle| handle.follower())
    }

    /// The instances of all types whose own code failed, by category.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn quarantined(&self) -> Result<Vec<QuarantinedSaga>, ReadError> {
        let mut all = Vec::new();
        for handle in self.any.values() {
            all.extend(handle.quarantined().await?);
        }
        Ok(all)
    }

    /// The open instances of all types, without waking any of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self) -> Result<Vec<ListedSaga>, ReadError> {
        let Some(runtime) = &self.runtime else {
            return Ok(Vec::new());
        };
        let mut listed = list_open(runtime.store().as_ref()).await?;
        listed.retain(|saga| self.any.contains_key(saga.stream.category()));
        Ok(listed)
    }

    /// Has an operator's verb carried out on an instance of any type. One whose type is not registered is terminated,
    /// paused, and its timers are moved and cancelled, without its code. `None` if the stream is not one of a saga, or the
    /// verb needs code that is not registered.
    ///
    /// # Errors
    /// As [`SagaHandle::operate`].
    pub async fn operate(
        &self,
        stream: &StreamId,
        verb: SagaVerb,
        by: &str,
        reason: &str,
    ) -> Result<Option<SagaStatus>, CancelError> {
        match self.find(stream) {
            Some((handle, instance)) => handle
                .operate_on(instance, verb, by, reason)
                .await
                .map(Some),
            None => match &self.runtime {
                Some(runtime) if undefined::is_of_a_saga(stream) => {
                    undefined::operate(runtime, stream, verb, by, reason).await
                }
                _ => Ok(None),
            },
        }
    }

    /// Looks at an instance of any type; `None` if the stream is not one of a saga. Of one whose type is not registered the
    /// history and what remains are not told.
    ///
    /// # Errors
    /// When the store cannot be read, or the instance cannot be recovered.
    pub async fn show(&self, stream: &StreamId) -> Result<Option<SagaShown>, CancelError> {
        match self.find(stream) {
            Some((handle, instance)) => handle.show(instance).await.map(Some),
            None => match &self.runtime {
                Some(runtime) if undefined::is_of_a_saga(stream) => {
                    undefined::show(runtime, stream).await.map(Some)
                }
                _ => Ok(None),
            },
        }
    }

    fn find(&self, stream: &StreamId) -> Option<(&dyn AnyHandle, Instance)> {
        let handle = self.any.get(stream.category())?;
        Some((handle.as_ref(), Instance::of(stream)?))
    }

    /// Releases an instance of any type from quarantine; `false` if it was not in it, `None` if the stream is not one of
    /// a saga that is registered.
    ///
    /// # Errors
    /// When the store or the instance fails.
    pub async fn release(&self, stream: &StreamId, by: &str) -> Result<Option<bool>, CancelError> {
        let Some(handle) = self.any.get(stream.category()) else {
            return Ok(None);
        };
        let tenant = Tenant::try_from(stream.tenant().to_owned());
        let (tenant, id) = (
            tenant.map_err(CancelError::failed)?,
            AggregateId::new(stream.id()),
        );
        let id = id.map_err(CancelError::failed)?;
        handle.release(&tenant, &id, by).await.map(Some)
    }
}
