//! A running application.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use chronicler_domain::{Aggregate, AggregateId, InvalidId, Tenant};
use chronicler_projections::{Projection, Projections, TableProjection, TableView};
use chronicler_runtime::{
    Clock, DispatchError, Receipt, Runtime, SendError, StateOf, StopOptions, StopReport,
};
use chronicler_sagas::{Saga, SagaHandle, Sagas};
use chronicler_store::journal::OpenReport;
use chronicler_store::{Head, Health, Store};
use futures::future::{self, BoxFuture};

use crate::command::Command;
use crate::error::ViewAccessError;
use crate::scope::{Scope, View};

/// A running application. Cheap to clone; clones are the same application.
///
/// [`stop`](Self::stop) ends it in good order. When the last clone is dropped without, it ends as in a crash, at once and
/// from any thread: nothing answered is lost, and commands under way are answered with errors. Its directory is given back
/// as soon as what the log had accepted is written; whoever opens it again waits for that, at most 10 s.
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
    /// The store was closed to its end.
    pub(crate) closed: AtomicBool,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.runtime.abandon();
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        // From here on nothing more is taken, and the directory says that it is being closed.
        let closing = self.store.close();
        close_elsewhere(closing);
    }
}

/// Brings a close to its end on a thread of its own: the runtime that the application ran on may be gone, or be this
/// thread.
pub(crate) fn close_elsewhere(closing: BoxFuture<'static, ()>) {
    let close = move || match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime.block_on(closing),
        Err(error) => {
            tracing::error!(%error, "the store of a dropped application is closed when its last reader has ended")
        }
    };
    let started = thread::Builder::new()
        .name("chronicler-close".to_owned())
        .spawn(close);
    if let Err(error) = started {
        tracing::error!(%error, "the store of a dropped application is closed when its last reader has ended");
    }
}

/// Closes a store, and says whether it closed in time.
pub(crate) async fn close_in_time(store: &dyn Store, clock: &dyn Clock, limit: Duration) -> bool {
    tokio::select! {
        biased;
        () = store.close() => true,
        () = clock.sleep(limit) => {
            tracing::error!(?limit, "the store did not close in time; its directory is free when it has, or the process ends");
            false
        }
    }
}

/// How long [`App::stop`] lets sagas and projections end in good order, then commands and all other workers, and then
/// the store.
pub(crate) const STOP_LIMITS: [Duration; 3] = [
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

impl App {
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
    /// [`DispatchError`] when it cannot be recovered, too much is under way, or
    /// [`RuntimeOptions::deadline`](crate::runtime::RuntimeOptions::deadline) is over.
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

    pub(crate) fn weak(&self) -> Weak<Parts> {
        Arc::downgrade(&self.parts)
    }

    pub(crate) fn upgrade(parts: &Weak<Parts>) -> Option<Self> {
        parts.upgrade().map(|parts| Self { parts })
    }

    /// Stops: sagas first, then projections, then commands under way are drained; everything is made durable and
    /// the store is given back.
    ///
    /// Each of them has its time: sagas and projections 15 s, then commands and other workers 30 s, and 5 s for snapshots
    /// that are being saved, and the store 60 s. What has not ended then is ended where it is, and the report says what
    /// that was. Nothing committed is lost by it: the next start takes it up. So this comes back within two minutes,
    /// whatever hangs.
    ///
    /// # Cancel safety
    /// Stopping goes on with the next call.
    pub async fn stop(&self) -> StopReport {
        let parts = &self.parts;
        let [followers, commands, store] = STOP_LIMITS;
        let effects_left = parts.sagas.under_way();
        let in_order = async {
            parts.sagas.stop().await;
            parts.projections.stop().await;
        };
        let clock = parts.runtime.clock();
        tokio::select! {
            biased;
            () = in_order => {}
            () = clock.sleep(followers) => {
                tracing::warn!(limit = ?followers, "sagas and projections did not end in time");
            }
        }
        let options = StopOptions { deadline: commands };
        let mut report = parts.runtime.stop(options).await;
        report.effects_left = effects_left;
        report.closed = self.close_store(store).await;
        report
    }

    /// Whether the store was closed in time.
    async fn close_store(&self, limit: Duration) -> bool {
        let (parts, clock) = (&self.parts, self.parts.runtime.clock());
        let closed = close_in_time(&*parts.store, &**clock, limit).await;
        if closed {
            parts.closed.store(true, Ordering::Release);
        }
        closed
    }

    fn default_tenant(&self) -> Scope {
        Scope::new(self.clone(), Ok(Tenant::default()))
    }
}
