//! Every background task, owned and joined.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The tasks of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Tasks are also started by the log's answers, on a thread of the store, where there is no tokio.
    tokio: Handle,
}

impl Tasks {
    /// Tasks that run where this is called.
    ///
    /// # Panics
    /// Outside a tokio runtime, as the first task would.
    pub(crate) fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            tokio: Handle::current(),
        }
    }

    /// Starts a task that [`join`](Self::join) waits for. From any thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(task, &self.tokio);
    }

    /// Waits until all have ended.
    pub(crate) async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
