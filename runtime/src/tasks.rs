//! Every background task, owned and joined.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Nobody waits for them any more.
    abandoned: CancellationToken,
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
            abandoned: CancellationToken::new(),
            tokio: Handle::current(),
        }
    }

    /// Starts a task that [`join`](Self::join) waits for. From any thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abandoned = self.abandoned.clone();
        let task = async move {
            tokio::select! {
                biased;
                () = abandoned.cancelled() => {}
                () = task => {}
            }
        };
        self.tracker.spawn_on(task, &self.tokio);
    }

    /// Drops all of them where they are, and every later one at once.
    pub(crate) fn abandon(&self) {
        self.tracker.close();
        self.abandoned.cancel();
    }

    /// Starts a task that its caller waits for.
    pub(crate) fn on_its_own<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tokio.spawn(task)
    }

    /// Waits until all have ended.
    pub(crate) async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
