//! Sagas of all types at once, as an operator sees them: by stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronicler_domain::{AggregateId, StreamId, Tenant};
use chronicler_runtime::Entity;
use chronicler_store::ReadError;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::handle::{CancelError, SagaHandle};
use crate::registry::Sagas;
use crate::saga::Saga;
use crate::status::SagaStatus;

/// An instance whose own code failed.
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
    fn quarantined(&self) -> BoxFuture<'_, Result<Vec<QuarantinedSaga>, ReadError>>;

    fn release<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a AggregateId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<bool, CancelError>>;
}

pub(crate) fn category_of<S: Saga>(handle: &SagaHandle<S>) -> String {
    let entity = handle.executor.handle.entity();
    entity.category().as_str().to_owned()
}

impl<S: Saga> AnyHandle for SagaHandle<S> {
    fn quarantined(&self) -> BoxFuture<'_, Result<Vec<QuarantinedSaga>, ReadError>> {
        async move {
            let mut quarantined = Vec::new();
            let open = self.open().await?;
            for saga in open.iter().filter(|saga| saga.status == "quarantined") {
                let (Ok(tenant), Ok(id)) = (
                    Tenant::try_from(saga.tenant.clone()),
                    AggregateId::new(&saga.id),
                ) else {
                    continue;
                };
                let reason = match self.get(&tenant, &id).await {
                    Ok(view) => match view.status {
                        SagaStatus::Quarantined { reason, .. } => reason.to_string(),
                        // Released since.
                        _ => continue,
                    },
                    Err(error) => error.to_string(),
                };
                let category = self.executor.handle.entity().category();
                quarantined.push(QuarantinedSaga {
                    stream: StreamId::new(&tenant, category, &id),
                    reason,
                });
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
}

impl Sagas {
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
