//! A running application.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use chronicler_domain::{Aggregate, AggregateId, InvalidId, Tenant};
use chronicler_projections::{Projection, Projections, TableProjection, TableView};
use chronicler_runtime::{
    DispatchError, Receipt, Runtime, SendError, StateOf, StopOptions, StopReport,
};
use chronicler_sagas::{Saga, SagaHandle, Sagas};
use chronicler_store::journal::{JournalOptions, OpenReport};
use chronicler_store::{Head, Health, JournalStore, MemoryStore, OpenError, Store};
use futures::FutureExt;
use futures::future;
use tokio::task::spawn_blocking;

use crate::builder::AppBuilder;
use crate::command::Command;
use crate::error::ViewAccessError;
use crate::operator::perform::perform;
use crate::operator::{OperatorError, OperatorRequest};
use crate::scope::{Scope, View};

/// A running application. Cheap to clone; clones are the same application.
#[derive(Clone)]
pub struct App {
    parts: Arc<Parts>,
}

pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) open_report: Option<OpenReport>,
    pub(crate) runtime: Runtime,
    pub(crate) projections: Projections,
    pub(crate) sagas: Sagas,
}

impl App {
    /// An application over the durable store of a data directory; an empty or missing one is begun.
    pub fn open(data: impl Into<PathBuf>) -> AppBuilder {
        Self::open_with(data, JournalOptions::default())
    }

    /// The same with other options than the default ones: durability, segment size, limits.
    pub fn open_with(data: impl Into<PathBuf>, options: JournalOptions) -> AppBuilder {
        let data = data.into();
        let folder = data.clone();
        let open = async move {
            // Opening reads files and may rebuild the index: it blocks.
            let opening = spawn_blocking(move || JournalStore::open(data, options)).await;
            let store = opening.map_err(|error| OpenError::Io {
                operation: "opening the store".to_owned(),
                source: io::Error::other(error),
            })??;
            let report = store.open_report().clone();
            Ok((Arc::new(store) as Arc<dyn Store>, Some(report)))
        };
        AppBuilder::new(Box::new(move || open.boxed())).operator_socket(Some(folder))
    }

    /// An application over a store in memory: nothing outlives the process. For tests and first steps.
    pub fn in_memory() -> AppBuilder {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// An application over any store. [`stop`](Self::stop) closes it.
    ///
    /// # Examples
    ///
    /// With the log in sled, too, in place of a journal beside it:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use chronicler::App;
    /// use chronicler::store::{SledOptions, SledStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let data = folder.path();
    /// let app = App::over(Arc::new(SledStore::open(data, SledOptions::default())?)).start().await?;
    /// # app.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn over(store: Arc<dyn Store>) -> AppBuilder {
        AppBuilder::new(Box::new(move || future::ready(Ok((store, None))).boxed()))
    }

    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Sends a command and waits until it, and everything it was decided on, is durable.
    ///
    /// # Errors
    /// [`SendError::Rejected`] with the domain's own type; [`SendError::Failed`] with what became of the command.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back: it is carried out or refused all the same.
    pub async fn send<A: Aggregate>(
        &self,
        id: impl TryInto<AggregateId, Error: Into<InvalidId>>,
        command: impl Into<A::Command>,
    ) -> Result<Receipt<A::Reply>, SendError<A::Rejection>> {
        self.default_tenant().send::<A>(id, command).await
    }

    /// A command about which more is to be said: its id, its deadline, on whose behalf.
    pub fn command<A: Aggregate>(
        &self,
        id: impl TryInto<AggregateId, Error: Into<InvalidId>>,
        command: impl Into<A::Command>,
    ) -> Command<A> {
        self.default_tenant().command(id, command)
    }

    /// One aggregate's durable state; an unknown one is the default at version 0.
    ///
    /// # Errors
    /// [`DispatchError`] when it cannot be recovered.
    pub async fn state<A: Aggregate>(
        &self,
        id: impl TryInto<AggregateId, Error: Into<InvalidId>>,
    ) -> Result<StateOf<A>, DispatchError> {
        self.default_tenant().state::<A>(id).await
    }

    /// The same application for one tenant. A name that cannot be one is an error of whatever is then asked.
    pub fn tenant(&self, name: impl AsRef<str>) -> Scope {
        Scope::new(self.clone(), Tenant::new(name))
    }

    /// A view that is kept in memory.
    pub fn view<P: Projection>(&self) -> View<P> {
        View::new(self.parts.projections.view::<P>())
    }

    /// A view that is kept in the store.
    ///
    /// # Errors
    /// [`ViewAccessError::NotRegistered`].
    pub fn table<T: TableProjection>(&self) -> Result<TableView<T>, ViewAccessError> {
        let missing = ViewAccessError::NotRegistered { name: T::NAME };
        self.parts.projections.table::<T>().ok_or(missing)
    }

    /// Waits until the sagas have taken in everything in the log and nothing of theirs is under way; see
    /// [`Sagas::settled`].
    ///
    /// # Cancel safety
    /// Waiting changes nothing.
    pub async fn settled(&self) {
        self.parts.sagas.settled().await;
    }

    /// All sagas: what is in quarantine, by stream.
    pub fn sagas(&self) -> &Sagas {
        &self.parts.sagas
    }

    /// The instances of a saga type, if it was registered.
    pub fn saga<S: Saga>(&self) -> Option<&SagaHandle<S>> {
        self.parts.sagas.saga::<S>()
    }

    /// All projections: status, lag, rebuild, parked events.
    pub fn projections(&self) -> &Projections {
        &self.parts.projections
    }

    /// The runtime below: subscriptions, workers, timers, quarantine.
    pub fn runtime(&self) -> &Runtime {
        &self.parts.runtime
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// What opening the data directory found and did; none over a store that was handed in.
    pub fn open_report(&self) -> Option<&OpenReport> {
        self.parts.open_report.as_ref()
    }

    /// Whether commands can still change anything. It does not come back by itself: an application whose log is
    /// [`ReadOnly`](Health::ReadOnly) goes on reading, and is to be stopped and started again when the reason that
    /// it names is mended.
    pub fn health(&self) -> Health {
        self.parts.store.health()
    }

    /// Waits until the log takes no more writes, and says why: a full disk, a failed sync, a directory that was
    /// deleted. Nothing acknowledged is lost by it.
    ///
    /// # Cancel safety
    /// Waiting changes nothing. It goes on for ever while the log takes writes, and after the store was closed.
    pub async fn read_only(&self) -> Arc<str> {
        let mut health = self.parts.store.watch_health();
        loop {
            if let Health::ReadOnly(reason) = &*health.borrow_and_update() {
                return Arc::clone(reason);
            }
            if health.changed().await.is_err() {
                future::pending::<()>().await;
            }
        }
    }

    /// The durable end of the log.
    pub fn head(&self) -> Head {
        self.parts.store.head()
    }

    /// Carries an operator's verb out, and journals who wanted it and why before it does.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the verb carried out or not; doing it again does no harm.
    pub async fn operate(
        &self,
        request: &OperatorRequest,
    ) -> Result<serde_json::Value, OperatorError> {
        perform(self, request).await
    }

    pub(crate) fn weak(&self) -> Weak<Parts> {
        Arc::downgrade(&self.parts)
    }

    pub(crate) fn upgrade(parts: &Weak<Parts>) -> Option<Self> {
        parts.upgrade().map(|parts| Self { parts })
    }

    /// Stops: sagas first, then projections, then commands under way are drained; everything is made durable and
    /// the store is given back.
    ///
    /// # Cancel safety
    /// Stopping goes on with the next call.
    pub async fn stop(&self) -> StopReport {
        self.parts.sagas.stop().await;
        self.parts.projections.stop().await;
        let report = self.parts.runtime.stop(StopOptions::default()).await;
        self.parts.store.close().await;
        report
    }

    fn default_tenant(&self) -> Scope {
        Scope::new(self.clone(), Ok(Tenant::default()))
    }
}
