//! Puts an application together: what it defines, over which store, with which limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chronicler_domain::Aggregate;
use chronicler_projections::{
    Projection, ProjectionOptions, Projections, ProjectionsBuilder, StartProgress, TableProjection,
};
use chronicler_runtime::{
    Clock, Runtime, RuntimeBuilder, RuntimeOptions, StopOptions, SystemClock,
};
use chronicler_sagas::{ExternalService, Saga, SagaOptions, SagasBuilder, StartFrom};
use chronicler_store::journal::OpenReport;
use chronicler_store::{OpenError, Store};
use futures::future::BoxFuture;

use crate::app::{App, Parts, STOP_LIMITS, close_elsewhere, close_in_time};
use crate::error::StartError;
use crate::operator;

/// Opens the store when the application starts.
pub(crate) type OpenStore =
    Box<dyn FnOnce() -> BoxFuture<'static, Result<OpenedStore, OpenError>> + Send>;
type OpenedStore = (Arc<dyn Store>, Option<OpenReport>);

type Register<B> = Box<dyn FnOnce(B) -> B + Send>;
type OnProgress = Box<dyn FnMut(&[StartProgress]) + Send>;

/// Puts an application together; made by [`App::open`] and its siblings.
#[must_use]
pub struct AppBuilder {
    open: OpenStore,
    runtime: Vec<Register<RuntimeBuilder>>,
    projections: ProjectionsBuilder,
    sagas: Vec<Register<SagasBuilder>>,
    saga_options: SagaOptions,
    progress: OnProgress,
    socket: Option<PathBuf>,
}

impl AppBuilder {
    pub(crate) fn new(open: OpenStore) -> Self {
        Self {
            open,
            runtime: Vec::new(),
            projections: ProjectionsBuilder::new(),
            sagas: Vec::new(),
            saga_options: SagaOptions::default(),
            progress: Box::new(|_| {}),
            socket: None,
        }
    }

    /// Hosts an aggregate type.
    pub fn aggregate<A: Aggregate>(mut self) -> Self {
        self.runtime
            .push(Box::new(|runtime| runtime.aggregate::<A>()));
        self
    }

    /// Adds a projection whose view is kept in memory, and built from the log at each start.
    pub fn projection<P: Projection>(mut self, initial: P) -> Self {
        self.projections = self.projections.memory(initial);
        self
    }

    /// The same with other options than the default ones.
    pub fn projection_with<P: Projection>(
        mut self,
        initial: P,
        options: ProjectionOptions,
    ) -> Self {
        self.projections = self.projections.memory_with(initial, options);
        self
    }

    /// Adds a projection whose view is kept in the store.
    pub fn table<T: TableProjection>(mut self) -> Self {
        self.projections = self.projections.table::<T>();
        self
    }

    /// The same with other options than the default ones.
    pub fn table_with<T: TableProjection>(mut self, options: ProjectionOptions) -> Self {
        self.projections = self.projections.table_with::<T>(options);
        self
    }

    /// Adds a saga. Registered for the first time it begins with what happens from now on.
    pub fn saga<S: Saga>(self, saga: S) -> Self {
        self.saga_from(saga, StartFrom::Now)
    }

    /// Adds a saga and says where it begins when it is registered for the first time.
    pub fn saga_from<S: Saga>(mut self, saga: S, from: StartFrom) -> Self {
        self.sagas
            .push(Box::new(move |sagas| sagas.saga(saga, from)));
        self
    }

    /// Adds a service that sagas call by this name.
    pub fn service(mut self, name: &str, service: impl ExternalService) -> Self {
        let (name, service) = (name.to_owned(), Arc::new(service));
        self.sagas
            .push(Box::new(move |sagas| sagas.service(&name, service)));
        self
    }

    /// Another clock than the system's; for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.runtime
            .push(Box::new(move |runtime| runtime.clock(clock)));
        self
    }

    /// Other limits than the default ones.
    pub fn options(mut self, options: RuntimeOptions) -> Self {
        self.runtime
            .push(Box::new(move |runtime| runtime.options(options)));
        self
    }

    /// Other limits for sagas than the default ones.
    pub fn saga_options(mut self, options: SagaOptions) -> Self {
        self.saga_options = options;
        self
    }

    /// The folder with the socket on which operators reach the application; `None`: they do not. Only the owner of
    /// the folder may use it (mode 0600).
    ///
    /// An application that opens a data directory listens in it by default.
    pub fn operator_socket(mut self, folder: Option<PathBuf>) -> Self {
        self.socket = folder;
        self
    }

    /// Called while views are brought up to date at the start.
    pub fn on_progress(mut self, report: impl FnMut(&[StartProgress]) + Send + 'static) -> Self {
        self.progress = Box::new(report);
        self
    }

    /// Starts: opens the store, brings the views up to its head, then lets the sagas follow.
    ///
    /// # Errors
    /// [`StartError`]; everything that is wrong with what was registered at once.
    pub async fn start(self) -> Result<App, StartError> {
        self.launch(true).await
    }

    /// The same without waiting for the views: those that are behind answer that they are being built.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_without_waiting(self) -> Result<App, StartError> {
        self.launch(false).await
    }

    async fn launch(self, wait: bool) -> Result<App, StartError> {
        let options = SagasBuilder::default().options(self.saga_options);
        let sagas = self
            .sagas
            .into_iter()
            .fold(options, |sagas, register| register(sagas));
        if !sagas.problems().is_empty() {
            return Err(StartError::Problems(sagas.problems().to_vec()));
        }
        let (store, open_report) = (self.open)().await?;
        let mut launch = Launch::new(Arc::clone(&store));
        let builder = RuntimeBuilder::new(Arc::clone(&store));
        let builder = self
            .runtime
            .into_iter()
            .fold(builder, |runtime, register| register(runtime));
        let runtime = match sagas.register(builder).build().await {
            Ok(runtime) => launch.runs(runtime),
            Err(error) => {
                launch.take_back().await;
                return Err(error.into());
            }
        };
        let views = if wait {
            self.projections.start(&runtime, self.progress).await
        } else {
            self.projections.start_without_waiting(&runtime)
        };
        let projections = match views {
            Ok(projections) => projections,
            Err(error) => {
                launch.take_back().await;
                return Err(error.into());
            }
        };
        match sagas.start(&runtime).await {
            Ok(sagas) => {
                launch.succeeded();
                let app = App::new(Parts {
                    store,
                    open_report,
                    runtime,
                    projections,
                    sagas,
                    closed: AtomicBool::new(false),
                });
                app.tell_unregistered().await;
                if let Some(folder) = self.socket {
                    operator::listen(&app, folder).await;
                }
                Ok(app)
            }
            Err(error) => {
                launch.stop_views(&projections).await;
                launch.take_back().await;
                Err(error.into())
            }
        }
    }
}

/// A start under way. Dropped before it has succeeded it gives back what it holds, as a dropped application does: who
/// waits for a start may lose patience.
struct Launch {
    store: Arc<dyn Store>,
    runtime: Option<Runtime>,
    is_over: bool,
}

impl Launch {
    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            runtime: None,
            is_over: false,
        }
    }

    /// The runtime runs.
    fn runs(&mut self, runtime: Runtime) -> Runtime {
        self.runtime = Some(runtime.clone());
        runtime
    }

    /// Ends the views of a start that has failed, in the time that a stop gives them.
    async fn stop_views(&self, projections: &Projections) {
        let [limit, ..] = STOP_LIMITS;
        tokio::select! {
            biased;
            () = projections.stop() => {}
            () = self.clock().sleep(limit) => {
                tracing::warn!(?limit, "projections did not end in time after a start that failed");
            }
        }
    }

    /// Ends what was begun: the start has failed. In the time that a stop takes: whoever waits is to hear why.
    async fn take_back(mut self) {
        let [_, commands, closing] = STOP_LIMITS;
        if let Some(runtime) = &self.runtime {
            runtime.stop(StopOptions { deadline: commands }).await;
        }
        let store = Arc::clone(&self.store);
        // One that has not closed by then goes on closing.
        self.is_over = close_in_time(&*store, &*self.clock(), closing).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        let runtime = self.runtime.as_ref();
        runtime.map_or_else(
            || Arc::new(SystemClock) as Arc<dyn Clock>,
            |runtime| Arc::clone(runtime.clock()),
        )
    }

    /// From here on the application holds it.
    fn succeeded(mut self) {
        self.is_over = true;
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(runtime) = &self.runtime {
            runtime.abandon();
        }
        close_elsewhere(self.store.close());
    }
}
