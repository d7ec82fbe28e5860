//! The running sagas of an application, of all types: by type, or by stream as an operator sees them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use chronicler_domain::{AggregateId, StreamId, Tenant};
use chronicler_runtime::{FollowerHandle, Runtime, WorkerHandle};
use chronicler_store::ReadError;

use crate::definition::saga::Saga;
use crate::execution::child::{ChildHost, ChildHosts};
use crate::execution::child_places::ChildPlaces;
use crate::execution::quiet::Quiet;
use crate::instance::id::InstanceId;
use crate::instance::status::SagaStatus;
use crate::instance::verb::Order;
use crate::operation::any::{AnyHandle, AnyHandles, QuarantinedSaga, SagaDetails};
use crate::operation::error::OperateError;
use crate::operation::handle::SagaHandle;
use crate::operation::open::{OpenSaga, list_open};
use crate::operation::undefined;

/// The running sagas of an application.
#[derive(Default)]
pub struct Sagas {
    handles: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    any: AnyHandles,
    workers: Vec<WorkerHandle>,
    quiet: Vec<Arc<Quiet>>,
    doubts: Vec<String>,
    runtime: Option<Runtime>,
    child_places: ChildPlaces,
}

impl Sagas {
    /// None yet.
    pub(crate) fn none(runtime: &Runtime, doubts: Vec<String>, child_places: ChildPlaces) -> Self {
        Self {
            child_places,
            doubts,
            runtime: Some(runtime.clone()),
            ..Self::default()
        }
    }

    /// A type is carried out: what says how far it has come, and its workers in the order in which they are stopped.
    pub(crate) fn run(
        &mut self,
        quiet: Arc<Quiet>,
        workers: impl IntoIterator<Item = WorkerHandle>,
    ) {
        self.quiet.push(quiet);
        self.workers.extend(workers);
    }

    /// One more saga type, which runs or is only looked at.
    pub(crate) fn add<S: Saga>(&mut self, handle: SagaHandle<S>, hosts: &ChildHosts) {
        let category = handle.category().as_str().to_owned();
        let executor: Arc<dyn ChildHost> = handle.executor.clone();
        let host = Arc::downgrade(&executor);
        hosts.write().insert(S::NAME.to_owned(), host);
        self.any.insert(category, Arc::new(handle.clone()));
        self.handles.insert(TypeId::of::<S>(), Box::new(handle));
    }

    /// The instances of one type, if it was registered.
    pub fn saga<S: Saga>(&self) -> Option<&SagaHandle<S>> {
        self.handles.get(&TypeId::of::<S>())?.downcast_ref()
    }

    /// What of the sagas may be as it is meant, and is worth a look: undos that can be rejected, waits without a limit,
    /// events that no registered aggregate produces, children that are not registered. It is logged at the start, too.
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// Waits until everything in the log was taken in and nothing is under way any more: no effect, no undo, no
    /// attempt that waits for its turn. Instances may be open, waiting for events or timers. While others go on
    /// writing to the log this can take for ever.
    ///
    /// # Cancel safety
    /// Waiting changes nothing.
    pub async fn settled(&self) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        loop {
            let head = runtime.head().position;
            for quiet in &self.quiet {
                quiet.reached(head).await;
            }
            // What one saga type did since can concern another.
            if runtime.head().position == head {
                return;
            }
        }
    }

    /// What is being carried out, or waits for that: instances with effects, in number.
    pub fn under_way(&self) -> usize {
        self.quiet.iter().map(|quiet| quiet.under_way()).sum()
    }

    /// Stops following the log and carrying out effects. What is open is taken up at the next start.
    pub async fn stop(&self) {
        for worker in &self.workers {
            worker.stop().await;
        }
    }

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
    pub async fn list(&self) -> Result<Vec<OpenSaga>, ReadError> {
        let Some(runtime) = &self.runtime else {
            return Ok(Vec::new());
        };
        let mut listed = list_open(runtime.store().as_ref()).await?;
        listed.retain(|saga| self.any.contains_key(saga.stream.category()));
        Ok(listed)
    }

    /// Has carried out on an instance of any type what an operator wants. One whose type is not registered is terminated,
    /// paused, and its timers are moved and cancelled, without its code. `None` if the stream is not one of a saga, or the
    /// verb needs code that is not registered.
    ///
    /// # Errors
    /// As [`SagaHandle::operate`].
    pub async fn operate(
        &self,
        stream: &StreamId,
        order: Order,
    ) -> Result<Option<SagaStatus>, OperateError> {
        match self.find(stream) {
            Some((handle, instance)) => handle.operate_on(instance, order).await.map(Some),
            None => match &self.runtime {
                Some(runtime) if undefined::is_of_a_saga(stream) => {
                    undefined::operate(runtime, &self.child_places, stream, order).await
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
    pub async fn show(&self, stream: &StreamId) -> Result<Option<SagaDetails>, OperateError> {
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

    fn find(&self, stream: &StreamId) -> Option<(&dyn AnyHandle, InstanceId)> {
        let handle = self.any.get(stream.category())?;
        Some((handle.as_ref(), InstanceId::of(stream)?))
    }

    /// Releases an instance of any type from quarantine; `false` if it was not in it, `None` if the stream is not one of
    /// a saga that is registered.
    ///
    /// # Errors
    /// When the store or the instance fails.
    pub async fn release(&self, stream: &StreamId, by: &str) -> Result<Option<bool>, OperateError> {
        let Some(handle) = self.any.get(stream.category()) else {
            return Ok(None);
        };
        let tenant = Tenant::try_from(stream.tenant().to_owned());
        let (tenant, id) = (
            tenant.map_err(OperateError::failed)?,
            AggregateId::new(stream.id()),
        );
        let id = id.map_err(OperateError::failed)?;
        handle.release(&tenant, &id, by).await.map(Some)
    }
}
