//! Every background task, owned and joined.

use std::future::Future;

use tokio_util::task::TaskTracker;

/// The tasks of one runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    /// Starts a task that [`join`](Self::join) waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Waits until all have ended.
    pub(crate) async fn join(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
