//! The lives of a projection's worker: started, and started again after an error or a panic.

use std::sync::Arc;

use chronicler_runtime::{RestartPolicy, WorkerContext, WorkerError, WorkerHandle, WorkerSpec};

use super::run::{Open, run};
use super::setup::Setup;
use crate::fold::Fold;
use crate::progress::Progress;
use crate::waiting::Ended;

/// Starts the worker, which is started again after an error or a panic, from where the view stands.
pub(crate) fn spawn<F: Fold>(setup: Arc<Setup>, open: Open<F>) -> WorkerHandle {
    let spec = WorkerSpec {
        name: format!("projection {}", setup.progress.name),
        restart: RestartPolicy::default(),
    };
    let progress = setup.progress.clone();
    let workers = setup.runtime.workers().clone();
    let worker = workers.spawn(spec, move |ctx| {
        let (setup, open) = (setup.clone(), open.clone());
        Box::pin(async move { live(&setup, &open, &ctx).await })
    });
    progress.supervised_by(worker.clone());
    worker
}

/// One life of the worker.
async fn live<F: Fold>(
    setup: &Setup,
    open: &Open<F>,
    ctx: &WorkerContext,
) -> Result<(), WorkerError> {
    let mut life = Life {
        progress: &setup.progress,
        end: Some("its worker panicked".into()),
    };
    let result = run(setup, open, ctx).await;
    let error = result.err();
    life.end = error.as_ref().map(|error| error.to_string().into());
    match error {
        None => Ok(()),
        // It is to end in any case; what was not written is folded again at the next start.
        Some(error) if ctx.stopping().is_cancelled() => {
            tracing::warn!(projection = %setup.progress.name, %error, "a projection was stopped by an error");
            setup.control.close();
            setup.progress.end(Ended::Stopped);
            Ok(())
        }
        Some(error) => Err(WorkerError(error.to_string())),
    }
}

/// Notes how a life ended, however it does.
struct Life<'a> {
    progress: &'a Progress,
    end: Option<Arc<str>>,
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.end.take() {
            self.progress.restarting(reason);
        }
    }
}
