//! All projections of an application: defined, started together, found by type or by name.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{
    Clock, ParkedEvent, ParkedGroup, Runtime, Selection, SetAside, WorkerHandle, group_parked,
    parked_events,
};
use chronicler_store::ReadError;
use futures::FutureExt;
use tokio::sync::watch;

use crate::definition::{Definition, Memory, Rows, Running};
use crate::error::{ParkedError, RebuildError, StartError, WaitError};
use crate::memory::MemoryView;
use crate::options::ProjectionOptions;
use crate::progress::Progress;
use crate::projection::{Projection, TableProjection};
use crate::status::{ProjectionInfo, StartProgress};
use crate::table::TableView;
use crate::waiting::Ended;
use crate::worker::{RebuildReport, Setup, Verb};

/// How long a start that failed waits for the other projections to end.
const STOP_AFTER_FAILURE_MAX: Duration = Duration::from_secs(15);

/// The projections that are to run. Start it with a runtime.
#[derive(Default)]
#[must_use]
pub struct ProjectionsBuilder {
    definitions: Vec<Box<dyn Definition>>,
}

impl ProjectionsBuilder {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A view in memory that begins as this value, with the default options.
    pub fn memory<P: Projection>(self, initial: P) -> Self {
        self.memory_with(initial, ProjectionOptions::default())
    }

    /// A view in memory that begins as this value.
    pub fn memory_with<P: Projection>(mut self, initial: P, options: ProjectionOptions) -> Self {
        self.definitions
            .push(Box::new(Memory::new(initial, options)));
        self
    }

    /// A view in the store, with the default options.
    pub fn table<T: TableProjection>(self) -> Self {
        self.table_with::<T>(ProjectionOptions::default())
    }

    /// A view in the store.
    pub fn table_with<T: TableProjection>(mut self, options: ProjectionOptions) -> Self {
        self.definitions.push(Box::new(Rows::<T>::new(options)));
        self
    }

    /// Starts all projections, and returns when every view has reached the head that was found at the
    /// beginning. `progress` is called with all of them whenever one has come further.
    ///
    /// # Errors
    /// [`StartError::Invalid`] with everything that is wrong, before anything is started;
    /// [`StartError::Failed`] when a projection failed on the way, after all were stopped, or told to stop 15 s ago.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the workers to the runtime, which stops them with itself.
    pub async fn start(
        self,
        runtime: &Runtime,
        mut progress: impl FnMut(&[StartProgress]) + Send,
    ) -> Result<Projections, StartError> {
        let (changes, mut changed) = watch::channel(());
        let projections = self.launch(runtime, &changes)?;
        loop {
            let states = projections.start_progress();
            progress(&states);
            let failed = projections.ended();
            if !failed.is_empty() {
                projections.stop_in_time(&**runtime.clock()).await;
                return Err(StartError::Failed { failed });
            }
            if states.iter().all(|state| state.ready) {
                return Ok(projections);
            }
            tokio::select! {
                biased;
                _ = changed.changed() => {}
                () = projections.any_end() => {}
            }
        }
    }

    /// Starts all projections without waiting: a view answers
    /// [`Rebuilding`](crate::ViewError::Rebuilding) until it has reached the head found at the beginning.
    ///
    /// # Errors
    /// [`StartError::Invalid`] with everything that is wrong, before anything is started.
    pub fn start_without_waiting(self, runtime: &Runtime) -> Result<Projections, StartError> {
        self.launch(runtime, &watch::Sender::new(()))
    }

    fn launch(
        self,
        runtime: &Runtime,
        changes: &watch::Sender<()>,
    ) -> Result<Projections, StartError> {
        let mut problems: Vec<String> =
            self.definitions.iter().flat_map(|d| d.problems()).collect();
        let mut names = HashMap::<&str, usize>::new();
        for definition in &self.definitions {
            *names.entry(definition.name()).or_default() += 1;
        }
        let twice = names.iter().filter(|(_, count)| **count > 1);
        problems.extend(twice.map(|(name, count)| {
            format!("projection {name:?} is there {count} times: names and types are unique")
        }));
        if !problems.is_empty() {
            problems.sort();
            return Err(StartError::Invalid { problems });
        }
        let mut running = BTreeMap::new();
        let mut views = HashMap::new();
        for definition in self.definitions {
            let Running {
                setup,
                worker,
                view,
            } = definition.start(runtime, changes);
            views.extend([view]);
            running.insert(setup.progress.name.clone(), (setup, worker));
        }
        Ok(Projections {
            inner: Arc::new(Inner { running, views }),
        })
    }
}

/// The running projections. Cheap to clone.
#[derive(Clone)]
pub struct Projections {
    inner: Arc<Inner>,
}

struct Inner {
    running: BTreeMap<Arc<str>, (Arc<Setup>, WorkerHandle)>,
    views: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
}

impl Projections {
    /// The view of a projection in memory; `None` if it was not given to the builder.
    pub fn view<P: Projection>(&self) -> Option<MemoryView<P>> {
        let view = self.inner.views.get(&TypeId::of::<P>())?;
        view.downcast_ref::<MemoryView<P>>().cloned()
    }

    /// The view of a projection in the store; `None` if it was not given to the builder.
    pub fn table<T: TableProjection>(&self) -> Option<TableView<T>> {
        let view = self.inner.views.get(&TypeId::of::<T>())?;
        view.downcast_ref::<TableView<T>>().cloned()
    }

    /// All projections, by name.
    pub fn list(&self) -> Vec<ProjectionInfo> {
        self.progresses().map(|progress| progress.info()).collect()
    }

    /// One projection.
    pub fn info(&self, name: &str) -> Option<ProjectionInfo> {
        let (setup, _) = self.inner.running.get(name)?;
        Some(setup.progress.info())
    }

    /// The events that a projection has set aside and that wait, by position. What it leaves out for good is in
    /// [`left_out`](Self::left_out).
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn parked(&self, name: &str) -> Result<Vec<ParkedEvent>, ReadError> {
        let mut found = self.set_aside(name).await?;
        found.retain(|event| event.cause != SetAside::Skipped);
        Ok(found)
    }

    /// The events that a projection leaves out for good, by its failure policy or because somebody dropped it, by position.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn left_out(&self, name: &str) -> Result<Vec<ParkedEvent>, ReadError> {
        let mut found = self.set_aside(name).await?;
        found.retain(|event| event.cause == SetAside::Skipped);
        Ok(found)
    }

    async fn set_aside(&self, name: &str) -> Result<Vec<ParkedEvent>, ReadError> {
        match self.inner.running.get(name) {
            Some((setup, _)) => parked_events(&*setup.store, &setup.progress.facts()).await,
            None => Ok(Vec::new()),
        }
    }

    /// The [parked](Self::parked) events in groups, by what they failed with; the largest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn parked_groups(&self, name: &str) -> Result<Vec<ParkedGroup>, ReadError> {
        Ok(group_parked(&self.parked(name).await?))
    }

    /// Has what is set aside tried again, in order within each key, and gives how many keys that is, when the first event of
    /// each was tried. What works is folded at once; what fails waits as before. Only the first event of a key can be tried:
    /// a selection without it changes nothing for that key.
    ///
    /// # Errors
    /// [`ParkedError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take it back.
    pub async fn retry_parked(
        &self,
        name: &str,
        selection: Selection,
    ) -> Result<usize, ParkedError> {
        self.order(name, Verb::Retry, selection).await
    }

    /// Leaves events out that are set aside, for good, and gives how many that is. Those that waited for them are tried.
    /// Durable when it returns. A [rebuild](Self::rebuild) and another `VERSION` meet the events again.
    ///
    /// # Errors
    /// [`ParkedError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take it back.
    pub async fn drop_parked(
        &self,
        name: &str,
        selection: Selection,
    ) -> Result<usize, ParkedError> {
        self.order(name, Verb::Drop, selection).await
    }

    async fn order(
        &self,
        name: &str,
        verb: Verb,
        selection: Selection,
    ) -> Result<usize, ParkedError> {
        let Some((setup, _)) = self.inner.running.get(name) else {
            return Err(ParkedError::Unknown { name: name.into() });
        };
        tokio::select! {
            biased;
            answer = setup.control.order(verb, selection) => answer,
            _ = setup.progress.end_of_worker() => Err(ParkedError::NotRunning { name: name.into() }),
        }
    }

    /// Waits until every projection shows everything up to `position`, at most `within`.
    ///
    /// # Errors
    /// [`WaitError`] of the first that does not get there.
    ///
    /// # Cancel safety
    /// Dropping the future only ends the wait.
    pub async fn at_least(
        &self,
        position: GlobalPosition,
        within: Duration,
    ) -> Result<(), WaitError> {
        let waits = self.progresses().map(|p| p.reach(position, within));
        futures::future::try_join_all(waits).await.map(drop)
    }

    /// Builds a view anew, beside the one that answers, and puts it in its place when it shows at least as
    /// much. No reader goes back in time, and other projections are untouched. Events that were set aside are
    /// tried again.
    ///
    /// # Errors
    /// [`RebuildError`]; the view then answers as before.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the rebuild; [`cancel_rebuild`](Self::cancel_rebuild) does.
    pub async fn rebuild(&self, name: &str) -> Result<RebuildReport, RebuildError> {
        let Some((setup, _)) = self.inner.running.get(name) else {
            return Err(RebuildError::Unknown { name: name.into() });
        };
        tokio::select! {
            biased;
            answer = setup.control.rebuild() => answer,
            _ = setup.progress.end_of_worker() => Err(RebuildError::NotRunning { name: name.into() }),
        }
    }

    /// Ends a rebuild that is under way; `false` if there is none. The view answers as before.
    pub fn cancel_rebuild(&self, name: &str) -> bool {
        let found = self.inner.running.get(name);
        found.is_some_and(|(setup, _)| setup.control.cancel_rebuild())
    }

    /// Stops one projection, with what it has published written; its view answers from there. `false` if
    /// there is none of this name.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the stop back.
    pub async fn stop_one(&self, name: &str) -> bool {
        match self.inner.running.get(name) {
            Some((_, worker)) => {
                worker.stop().await;
                true
            }
            None => false,
        }
    }

    /// Stops all projections, with what they have published written. Idempotent.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the stop back from those that were told.
    pub async fn stop(&self) {
        let workers = self.inner.running.values();
        futures::future::join_all(workers.map(|(_, worker)| worker.stop())).await;
    }

    /// The same, for as long as a start that failed waits for it: one worker that hangs must not keep the reason back. The
    /// runtime ends those that have not ended by then.
    async fn stop_in_time(&self, clock: &dyn Clock) {
        tokio::select! {
            biased;
            () = self.stop() => {}
            () = clock.sleep(STOP_AFTER_FAILURE_MAX) => {
                tracing::warn!(limit = ?STOP_AFTER_FAILURE_MAX, "projections did not end in time after a start that failed");
            }
        }
    }

    fn progresses(&self) -> impl Iterator<Item = &Arc<Progress>> {
        self.inner
            .running
            .values()
            .map(|(setup, _)| &setup.progress)
    }

    fn start_progress(&self) -> Vec<StartProgress> {
        self.progresses().map(|p| p.start_progress()).collect()
    }

    /// Those that have ended, and why.
    fn ended(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let reason = |ended| match ended {
            Ended::Failed(reason) => reason,
            Ended::Stopped => "it was stopped".into(),
        };
        self.progresses()
            .filter_map(|p| Some((p.name.clone(), reason(p.ended()?))))
            .collect()
    }

    /// Waits until one of them has ended.
    async fn any_end(&self) {
        let ends = self.progresses().map(|p| p.end_of_worker().boxed());
        futures::future::select_all(ends).await;
    }
}

impl fmt::Debug for Projections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.inner.running.keys()).finish()
    }
}

impl fmt::Debug for ProjectionsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.definitions.iter().map(|d| d.name());
        f.debug_list().entries(names).finish()
    }
}
