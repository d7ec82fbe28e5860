//! One projection as it was given to the builder, with its types taken away.

use std::any::{Any, TypeId};
use std::sync::Arc;

use chronicler_runtime::{Runtime, WorkerHandle};
use chronicler_store::Filter;
use tokio::sync::watch;

use crate::fingerprint::fingerprint;
use crate::fold::Fold;
use crate::handlers::Handlers;
use crate::memory::{MemoryFold, MemoryView, Published};
use crate::options::ProjectionOptions;
use crate::progress::Progress;
use crate::projection::{Projection, TableProjection};
use crate::table::{Current, Table, TableFold, TableParts, TableView};
use crate::worker::{Control, Open, Setup, spawn};

/// The longest name of a projection, in bytes; the keys of its facts begin with it.
pub const PROJECTION_NAME_BYTES_MAX: usize = 200;

/// A projection that runs.
pub(crate) struct Running {
    pub(crate) setup: Arc<Setup>,
    pub(crate) worker: WorkerHandle,
    /// Whose view it is, and a [`MemoryView`] or [`TableView`] of it.
    pub(crate) view: (TypeId, Box<dyn Any + Send + Sync>),
}

/// A projection that can be started.
pub(crate) trait Definition: Send + Sync {
    fn name(&self) -> &'static str;

    /// What is wrong with it, one sentence each.
    fn problems(&self) -> Vec<String>;

    /// Starts its worker.
    fn start(self: Box<Self>, runtime: &Runtime, changed: &watch::Sender<()>) -> Running;
}

/// A view in memory.
pub(crate) struct Memory<P> {
    initial: P,
    handlers: Handlers<P>,
    options: ProjectionOptions,
}

/// A view in the store.
pub(crate) struct Rows<T: TableProjection> {
    handlers: Handlers<Table<T::Row>>,
    options: ProjectionOptions,
}

impl<P: Projection> Memory<P> {
    pub(crate) fn new(initial: P, options: ProjectionOptions) -> Self {
        let mut handlers = Handlers::new();
        P::define(&mut handlers);
        Self {
            initial,
            handlers,
            options,
        }
    }
}

impl<T: TableProjection> Rows<T> {
    pub(crate) fn new(options: ProjectionOptions) -> Self {
        let mut handlers = Handlers::new();
        T::define(&mut handlers);
        Self { handlers, options }
    }
}

impl<P: Projection> Definition for Memory<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn problems(&self) -> Vec<String> {
        problems(P::NAME, self.handlers.problems())
    }

    fn start(self: Box<Self>, runtime: &Runtime, changed: &watch::Sender<()>) -> Running {
        let setup = setup(
            runtime,
            changed,
            (P::NAME, P::VERSION, 0),
            self.options,
            self.handlers.filter(),
        );
        let (handlers, initial) = (Arc::new(self.handlers), Arc::new(self.initial));
        let published = Arc::new(Published::new(initial.clone(), setup.fingerprint));
        let view = MemoryView::new(published.clone(), setup.progress.clone());
        let progress = setup.progress.clone();
        let open: Open<MemoryFold<P>> = Arc::new(move || {
            let is_ready = progress.is_ready();
            let (handlers, initial) = (handlers.clone(), initial.clone());
            let fold = MemoryFold::new(handlers, initial, published.clone(), is_ready);
            Box::pin(async move { Ok(fold) })
        });
        running(setup, open, TypeId::of::<P>(), view)
    }
}

impl<T: TableProjection> Definition for Rows<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn problems(&self) -> Vec<String> {
        problems(T::NAME, self.handlers.problems())
    }

    fn start(self: Box<Self>, runtime: &Runtime, changed: &watch::Sender<()>) -> Running {
        let setup = setup(
            runtime,
            changed,
            (T::NAME, T::VERSION, T::ROW_VERSION),
            self.options,
            self.handlers.filter(),
        );
        let parts = TableParts::<T> {
            store: setup.store.clone(),
            clock: setup.clock.clone(),
            handlers: Arc::new(self.handlers),
            current: Arc::new(Current::new()),
            fingerprint: setup.fingerprint,
            flush: setup.options.flush,
            cached_rows: setup.options.cached_rows,
            in_place: setup.options.in_place,
            progress: setup.progress.clone(),
        };
        let (progress, control) = (setup.progress.clone(), setup.control.clone());
        let view = TableView::<T>::new(parts.current.clone(), progress, control);
        let open: Open<TableFold<T>> = Arc::new(move || Box::pin(TableFold::open(parts.clone())));
        running(setup, open, TypeId::of::<T>(), view)
    }
}

fn setup(
    runtime: &Runtime,
    changed: &watch::Sender<()>,
    (name, version, row_version): (&str, u32, u32),
    options: ProjectionOptions,
    filter: Filter,
) -> Arc<Setup> {
    let (store, clock) = (runtime.store().clone(), runtime.clock().clone());
    let progress = Progress::new(name, version, changed.clone(), store.clone(), clock.clone());
    let progress = Arc::new(progress);
    Arc::new(Setup {
        runtime: runtime.clone(),
        store,
        clock,
        control: Arc::new(Control::new(progress.name.clone())),
        progress,
        options,
        fingerprint: fingerprint(name, version, row_version),
        filter,
    })
}

fn running<F: Fold>(
    setup: Arc<Setup>,
    open: Open<F>,
    of: TypeId,
    view: impl Any + Send + Sync,
) -> Running {
    Running {
        worker: spawn(setup.clone(), open),
        setup,
        view: (of, Box::new(view)),
    }
}

fn problems(name: &str, mut found: Vec<String>) -> Vec<String> {
    let (length, limit) = (name.len(), PROJECTION_NAME_BYTES_MAX);
    if name.is_empty() || length > limit {
        found.push(format!(
            "its name has {length} bytes, and 1 to {limit} are allowed"
        ));
    }
    if name.chars().any(char::is_control) {
        found.push("its name has a control character".to_owned());
    }
    let of = |problem| format!("projection {name:?}: {problem}");
    found.into_iter().map(of).collect()
}
