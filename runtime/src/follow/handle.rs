//! How a follower is set up, looked at and operated.

use std::sync::Arc;

use chronicler_store::{AppendError, ReadError};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::consumer::Consumer;
use super::parked::{ParkedEvent, ParkedGroup, Selection, SetAside, group_parked, parked_events};
use super::run::Run;
use super::shared::{FollowerSpec, FollowerStatus, Order, Shared, Verb};
use crate::runtime::Runtime;
use crate::workers::{WorkerContext, WorkerError};

/// Verbs that wait for a follower; more wait for room.
const ORDERS_MAX: usize = 16;

/// Why a verb was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowerError {
    /// Nobody takes events under this name at present.
    #[error("{name} is not running: start it, and ask again")]
    NotRunning {
        /// The follower.
        name: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A follower, from outside. Cheap to clone.
#[derive(Clone)]
pub struct FollowerHandle(Arc<Shared>);

impl FollowerHandle {
    /// A follower that is not running yet.
    pub fn new(runtime: &Runtime, spec: FollowerSpec) -> Self {
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        Self(Arc::new(Shared {
            spec,
            core: Arc::clone(&runtime.core),
            status: Mutex::default(),
            orders,
            given: tokio::sync::Mutex::new(given),
        }))
    }

    /// Has a consumer take the events, until the worker that this runs in is to stop. From the cursor on, and what is parked
    /// is tried again: the code may have been mended since.
    ///
    /// # Errors
    /// When the log cannot be read or does not take a fact. Run again it goes on from the cursor.
    ///
    /// # Cancel safety
    /// Dropped, it is as after a crash: what was not recorded comes again.
    pub async fn run<C: Consumer>(
        &self,
        consumer: Arc<C>,
        context: WorkerContext,
    ) -> Result<(), WorkerError> {
        // One run at a time: what another still wrote is read after it.
        let mut orders = self.0.given.lock().await;
        // What was asked of an earlier run is not for this one: who asked was told so.
        while orders.try_recv().is_ok() {}
        let run = Run::new(&self.0, consumer).await?;
        run.follow(&mut orders, context).await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.spec.name
    }

    /// Where it is.
    pub fn status(&self) -> FollowerStatus {
        self.0.status.lock().clone()
    }

    /// Everything that it has parked, by position.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn parked(&self) -> Result<Vec<ParkedEvent>, ReadError> {
        let found = parked_events(self.0.core.store.as_ref(), &self.0.spec.name).await;
        let mut found = found?;
        // What is only known so that it does not come again is not parked.
        found.retain(|event| event.cause != SetAside::Skipped);
        Ok(found)
    }

    /// The same in groups, by what they failed with; the largest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn parked_groups(&self) -> Result<Vec<ParkedGroup>, ReadError> {
        Ok(group_parked(&self.parked().await?))
    }

    /// Has what is parked tried again, in order within each key, and gives how many keys that is. Only the first event of a
    /// key can be tried: a selection without it changes nothing for that key.
    ///
    /// # Errors
    /// [`FollowerError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take it back.
    pub async fn retry(&self, selection: Selection) -> Result<usize, FollowerError> {
        self.order(Verb::Retry, selection).await
    }

    /// Leaves parked events out for good, and gives how many that is. What waited for them is tried. Durable when it
    /// returns. A key that is being tried at this moment is left as it is.
    ///
    /// # Errors
    /// [`FollowerError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take it back.
    pub async fn drop_parked(&self, selection: Selection) -> Result<usize, FollowerError> {
        self.order(Verb::Drop, selection).await
    }

    async fn order(&self, verb: Verb, selection: Selection) -> Result<usize, FollowerError> {
        let not_running = || FollowerError::NotRunning {
            name: self.0.spec.name.clone(),
        };
        // Nobody holds it who takes orders.
        if self.0.given.try_lock().is_ok() {
            return Err(not_running());
        }
        let (answer, answered) = oneshot::channel();
        let order = Order {
            verb,
            selection,
            answer,
        };
        let asked = async {
            let sent = self.0.orders.send(order).await;
            sent.map_err(|_| not_running())?;
            Ok(answered.await.map_err(|_| not_running())??)
        };
        tokio::select! {
            biased;
            answer = asked => answer,
            // It has ended since.
            _ = self.0.given.lock() => Err(not_running()),
        }
    }
}
