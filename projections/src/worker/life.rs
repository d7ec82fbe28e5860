//! The lives of a projection's worker: started, and started again after an error or a panic.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{RestartPolicy, WorkerContext, WorkerError, WorkerHandle, WorkerSpec};
use chronicler_store::panic_text;
use futures::FutureExt;
use parking_lot::Mutex;

use super::run::{Open, run};
use super::setup::Setup;
use crate::fold::Fold;
use crate::progress::Progress;
use crate::waiting::Ended;

/// Lives of a view that does not answer yet which may end by a panic without one of them coming further than the last;
/// then the projection fails. With the waits between them these are some seconds: who waits for the start is to hear why.
const PANICS_MAX: u32 = 8;

/// Panics in a row that each ended a life at the same place.
#[derive(Default)]
struct Panics {
    at: GlobalPosition,
    count: u32,
}

impl Panics {
    /// Counts one more that ended a life at a position; how many they are.
    fn count(&mut self, at: GlobalPosition) -> u32 {
        if at != self.at {
            *self = Self { at, count: 0 };
        }
        self.count += 1;
        self.count
    }
}

/// Starts the worker, which is started again after an error or a panic, from where the view stands.
pub(crate) fn spawn<F: Fold>(setup: Arc<Setup>, open: Open<F>) -> WorkerHandle {
    let spec = WorkerSpec {
        name: format!("projection {}", setup.progress.name),
        restart: RestartPolicy::default(),
    };
    let progress = setup.progress.clone();
    let workers = setup.runtime.workers().clone();
    let panics = Arc::new(Mutex::new(Panics::default()));
    let worker = workers.spawn(spec, move |ctx| {
        let (setup, open, panics) = (setup.clone(), open.clone(), panics.clone());
        Box::pin(async move { live(&setup, &open, &ctx, &panics).await })
    });
    progress.supervised_by(worker.clone());
    worker
}

/// One life of the worker.
async fn live<F: Fold>(
    setup: &Setup,
    open: &Open<F>,
    ctx: &WorkerContext,
    panics: &Mutex<Panics>,
) -> Result<(), WorkerError> {
    let mut life = Life {
        progress: &setup.progress,
        end: Some("its worker was aborted".into()),
    };
    // A panic drops the run with all that it left half done; shared state is whole after each call.
    let result = AssertUnwindSafe(run(setup, open, ctx)).catch_unwind().await;
    let error: Option<Arc<str>> = match result {
        Ok(ended) => ended.err().map(|error| error.to_string().into()),
        Err(panic) => {
            let reason = format!("its worker panicked: {}", panic_text(&*panic));
            let count = panics.lock().count(setup.progress.folding_at());
            if count >= PANICS_MAX && !setup.progress.was_ready() {
                life.end = None;
                give_up(setup, reason.into());
                return Ok(());
            }
            Some(reason.into())
        }
    };
    life.end = error.clone();
    match error {
        None => Ok(()),
        // The worker is to end in any case; events that were not written are folded again at the next start.
        Some(error) if ctx.stopping().is_cancelled() => {
            tracing::warn!(projection = %setup.progress.name, %error, "a projection was stopped by an error");
            setup.control.close();
            setup.progress.end(Ended::Stopped);
            Ok(())
        }
        Some(error) => Err(WorkerError(error.to_string())),
    }
}

/// Ends a projection whose view cannot be built.
fn give_up(setup: &Setup, reason: Arc<str>) {
    let (progress, position) = (&setup.progress, setup.progress.published());
    tracing::error!(projection = %progress.name, %reason, "a projection failed before its view could answer");
    setup.control.close();
    let hooks = &setup.options.hooks;
    hooks.failed(&progress.name, position, &reason);
    progress.end(Ended::Failed(reason));
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
