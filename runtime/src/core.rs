//! What all instances of one runtime share, and the right of a command to be under way in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use chronicler_domain::StreamId;
use chronicler_store::Store;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::backoff::Jitter;
use crate::clock::Clock;
use crate::dedup::Rules;
use crate::error::DispatchError;
use crate::failing::Failing;
use crate::options::RuntimeOptions;
use crate::quarantine::Quarantine;
use crate::residents::Residents;
use crate::supervision::Supervisor;
use crate::tasks::Tasks;

/// What all instances of a runtime share.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: RuntimeOptions,
    pub(crate) tasks: Tasks,
    pub(crate) supervisor: Supervisor,
    pub(crate) quarantine: Quarantine,
    pub(crate) failing: Failing,
    pub(crate) jitter: Arc<Jitter>,
    pub(crate) recoveries: Semaphore,
    /// Places for those who look in the log for commands: however long they look, they take none of a recovery.
    pub(crate) look_ups: Semaphore,
    pub(crate) memory: Arc<Rules>,
    /// Places for snapshots that wait to be saved.
    pub(crate) snapshots: Arc<Semaphore>,
    /// How many instances are alive, over all types.
    pub(crate) residents: Residents,
    pub(crate) stopping: AtomicBool,
    /// It has stopped: whoever waits for events waits in vain.
    pub(crate) ended: CancellationToken,
    pub(crate) commands: AtomicU64,
    in_flight: AtomicUsize,
    pub(crate) drained: Notify,
}

impl Core {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: RuntimeOptions,
        supervisor: Supervisor,
        quarantine: Quarantine,
    ) -> Self {
        let places = || Semaphore::new(options.recoveries_max.max(1));
        let (recoveries, look_ups) = (places(), places());
        let memory = Arc::new(Rules::new(&options));
        let jitter = Arc::new(Jitter::new(options.id_seed));
        let snapshots = Arc::new(Semaphore::new(options.snapshots_waiting_max.max(1)));
        Self {
            store,
            clock,
            options,
            tasks: Tasks::new(),
            supervisor,
            quarantine,
            failing: Failing::default(),
            jitter,
            recoveries,
            look_ups,
            memory,
            snapshots,
            residents: Residents::default(),
            stopping: AtomicBool::new(false),
            ended: CancellationToken::new(),
            commands: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            drained: Notify::new(),
        }
    }

    /// Commands and queries under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Takes one more command in, or says why not.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admitted, DispatchError> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::AcqRel);
        let admitted = Admitted(Arc::clone(self));
        if self.stopping.load(Ordering::Acquire) {
            return Err(DispatchError::Stopped);
        }
        let in_flight_max = self.options.in_flight_max;
        if in_flight >= in_flight_max {
            let what = "in all".to_owned();
            return Err(DispatchError::Overloaded {
                what,
                in_flight,
                in_flight_max,
            });
        }
        Ok(admitted)
    }

    /// Quarantines an instance; if the log does not take it, it holds in memory.
    pub(crate) async fn set_aside(&self, stream: &StreamId, reason: &str) {
        let (store, clock) = (self.store.as_ref(), self.clock.as_ref());
        if let Err(error) = self
            .quarantine
            .set_aside(store, clock, stream, reason)
            .await
        {
            tracing::error!(%stream, %error, "the quarantine could not be journaled");
        }
    }
}

/// The right of one command to be under way; given back when dropped.
pub(crate) struct Admitted(Arc<Core>);

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.drained.notify_waiters();
        }
    }
}
