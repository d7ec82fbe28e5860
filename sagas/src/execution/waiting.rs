//! Waiting for the end of one instance, whether it has ended or will.

use chronicler_domain::StreamId;
use chronicler_runtime::{DispatchError, Entity};
use chronicler_store::ReadError;

use crate::definition::saga::Saga;
use crate::execution::executor::Executor;
use crate::instance::id::InstanceId;
use crate::instance::state::InstanceState;
use crate::instance::status::Ending;

impl<S: Saga> Executor<S> {
    /// Waits for the end of an instance; at once if it has ended. `ReadError::Closed` when the runtime stops first.
    pub(crate) async fn ending(&self, instance: &InstanceId) -> Result<Ending, DispatchError> {
        let entity = self.handle.entity();
        let stream = StreamId::new(&instance.tenant, entity.category(), &instance.id);
        // An end that is committed after this is told, and what was before is in the state.
        let mut wait = entity.endings().wait(&stream);
        let look = |state: &InstanceState<S::State>, _| state.ended.clone();
        let found = self.handle.query(&instance.tenant, &instance.id, look);
        if let Some(ending) = found.await?.state {
            return Ok(ending);
        }
        tokio::select! {
            biased;
            ending = wait.ending() => Ok(ending),
            () = self.runtime.stopped() => Err(ReadError::Closed.into()),
        }
    }
}
