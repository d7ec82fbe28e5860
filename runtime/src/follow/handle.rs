//! How a follower is set up, looked at and operated.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::{AppendError, Filter, ReadError};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::consumer::Consumer;
use super::parked::{ParkedEvent, ParkedGroup, Selection, SetAside, group_parked, parked_events};
use super::run::Run;
use crate::backoff::Backoff;
use crate::core::Core;
use crate::runtime::Runtime;
use crate::workers::{WorkerContext, WorkerError};

/// Verbs that wait for a follower; more wait for room.
const ORDERS_MAX: usize = 16;

/// What a follower follows, under which name, and its limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowerSpec {
    /// Names its cursor and what it has parked; without NUL. Two followers of one name would overwrite each other's cursor.
    pub name: String,
    /// Which events.
    pub filter: Filter,
    /// Keys whose events are being taken at a time; half of them at most for what is parked and tried again. One that takes
    /// so long that it is parked is not counted any more. Default 1,024.
    pub lanes_max: usize,
    /// Events that were read and are neither taken nor parked yet; beyond it nothing more is read. Default 16,384.
    pub outstanding_max: usize,
    /// Events that may be parked; beyond it nothing more is read until some are taken up or dropped. Each takes some 300
    /// bytes of memory. Default 100,000.
    pub parked_max: usize,
    /// How long what may pass waits for its next try. Default 100 ms, doubled to 30 s.
    pub retry: Backoff,
}

impl FollowerSpec {
    /// Follows what passes a filter, with the default limits.
    pub fn new(name: impl Into<String>, filter: Filter) -> Self {
        Self {
            name: name.into(),
            filter,
            lanes_max: 1_024,
            outstanding_max: 16_384,
            parked_max: 100_000,
            retry: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
        }
    }
}

/// Where a follower is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// Everything up to here was taken or is parked.
    pub through: GlobalPosition,
    /// Events that were read and are neither taken nor parked.
    pub outstanding: usize,
    /// When the first of those happened, in the log's time: how far it lags. `None`: there is none.
    pub oldest: Option<Timestamp>,
    /// Events that are parked, those that wait for them included.
    pub parked: usize,
    /// Whether some of those are tried again without a person.
    pub is_retrying: bool,
    /// Whether as many are parked as may be, so that nothing more is read.
    pub is_full: bool,
}

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

/// What a follower and its handles share.
pub(super) struct Shared {
    pub(super) spec: FollowerSpec,
    pub(super) core: Arc<Core>,
    pub(super) status: Mutex<FollowerStatus>,
    orders: mpsc::Sender<Order>,
    pub(super) given: tokio::sync::Mutex<mpsc::Receiver<Order>>,
}

/// What is asked of a follower.
pub(super) struct Order {
    pub(super) verb: Verb,
    pub(super) selection: Selection,
    pub(super) answer: oneshot::Sender<Result<usize, AppendError>>,
}

#[derive(Clone, Copy)]
pub(super) enum Verb {
    Retry,
    Drop,
}

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
