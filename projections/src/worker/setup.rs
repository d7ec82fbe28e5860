//! What does not change from one run of a projection's worker to the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{
    Clock, RestartPolicy, Runtime, Subscription, SubscriptionOptions, WorkerContext, WorkerError,
    WorkerHandle, WorkerSpec,
};
use chronicler_store::{Filter, Store};
use futures::future::BoxFuture;

use super::control::Control;
use super::run::run;
use crate::error::RunError;
use crate::fold::Fold;
use crate::options::ProjectionOptions;
use crate::parked::{Facts, facts_name};
use crate::progress::Progress;
use crate::waiting::Ended;

/// A wait that nobody sees the end of: a hundred years.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Makes the view that a run begins with.
pub(crate) type Open<F> =
    Arc<dyn Fn() -> BoxFuture<'static, Result<F, RunError>> + Send + Sync + 'static>;

/// What does not change from one run of a projection's worker to the next.
pub(crate) struct Setup {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) control: Arc<Control>,
    pub(crate) options: ProjectionOptions,
    pub(crate) fingerprint: u64,
    pub(crate) filter: Filter,
}

impl Setup {
    /// The commits after a position that concern this projection.
    pub(super) fn subscribe(&self, after: GlobalPosition) -> Subscription {
        self.runtime.subscribe(SubscriptionOptions {
            after,
            filter: self.filter.clone(),
        })
    }

    /// The facts about what this projection has set aside.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            store: &*self.store,
            clock: &*self.clock,
            projection: &self.progress.name,
            fingerprint: self.fingerprint,
        }
    }

    /// Under which name a view of this projection has its facts.
    pub(super) fn facts_name(&self, generation: u64) -> Arc<str> {
        facts_name(&self.progress.name, generation)
    }

    /// The time so long after now.
    pub(super) fn after(&self, wait: Duration) -> Instant {
        let now = self.clock.monotonic();
        // One that no clock can show is as good as never.
        now.checked_add(wait).unwrap_or(now + NEVER)
    }

    /// Waits until a time.
    pub(super) async fn sleep_to(&self, at: Instant) {
        let now = self.clock.monotonic();
        if at > now {
            self.clock.sleep(at.saturating_duration_since(now)).await;
        }
    }

    /// Starts the worker, which is started again after an error or a panic, from where the view stands.
    pub(crate) fn spawn<F: Fold>(setup: Arc<Self>, open: Open<F>) -> WorkerHandle {
        let spec = WorkerSpec {
            name: format!("projection {}", setup.progress.name),
            restart: RestartPolicy::default(),
        };
        let progress = setup.progress.clone();
        let workers = setup.runtime.workers().clone();
        let worker = workers.spawn(spec, move |ctx| {
            let (setup, open) = (setup.clone(), open.clone());
            Box::pin(async move { setup.live(&open, &ctx).await })
        });
        progress.supervised_by(worker.clone());
        worker
    }

    /// One life of the worker.
    async fn live<F: Fold>(&self, open: &Open<F>, ctx: &WorkerContext) -> Result<(), WorkerError> {
        let mut life = Life {
            progress: &self.progress,
            end: Some("its worker panicked".into()),
        };
        let result = run(self, open, ctx).await;
        let error = result.err();
        life.end = error.as_ref().map(|error| error.to_string().into());
        match error {
            None => Ok(()),
            // It is to end in any case; what was not written is folded again at the next start.
            Some(error) if ctx.stopping().is_cancelled() => {
                tracing::warn!(projection = %self.progress.name, %error, "a projection was stopped by an error");
                self.control.close();
                self.progress.end(Ended::Stopped);
                Ok(())
            }
            Some(error) => Err(WorkerError(error.to_string())),
        }
    }

    /// Tells who wants to know that a life begins.
    pub(super) fn began(&self, ctx: &WorkerContext, position: GlobalPosition) {
        let (hooks, name) = (&self.options.hooks, &self.progress.name);
        match self.progress.began() {
            Some(reason) if ctx.life() > 1 => hooks.restarted(name, position, &reason),
            _ => hooks.started(name, position),
        }
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
