//! How many instances are alive, over all types, and how many of them were asked to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The live instances of a runtime, counted.
#[derive(Default)]
pub(crate) struct Residents {
    live: AtomicUsize,
    pub(crate) leaving: Leaving,
    /// Somebody wants the sweeper to look now.
    pub(crate) too_many: Notify,
}

/// Instances that were asked to end and have neither ended nor refused.
#[derive(Clone, Default)]
pub(crate) struct Leaving(Arc<AtomicUsize>);

impl Leaving {
    /// Counts one until it is dropped.
    pub(crate) fn one(&self) -> Left {
        self.0.fetch_add(1, Ordering::Relaxed);
        Left(Arc::clone(&self.0))
    }
}

/// One instance that was asked to end; dropped when it has answered.
pub(crate) struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Residents {
    /// Counts a new one, and calls the sweeper if that is one too many.
    pub(crate) fn one_more(&self, live_max: usize) {
        if self.live.fetch_add(1, Ordering::Relaxed) >= live_max {
            self.too_many.notify_one();
        }
    }

    pub(crate) fn one_less(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How many are alive beyond `live_max` and were not asked to end.
    pub(crate) fn beyond(&self, live_max: usize) -> usize {
        let leaving = self.leaving.0.load(Ordering::Relaxed);
        self.live().saturating_sub(leaving).saturating_sub(live_max)
    }
}
