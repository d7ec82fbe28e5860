//! How many instances are alive over all types, and who has to go when they are too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::directory::{AnyDirectory, Look};
use crate::dispatch::Core;

/// Instances that are passed under one lock: senders to their neighbours wait no longer than that.
const STEPS_AT_ONCE: usize = 64;

/// The live instances of a runtime, counted.
///
/// Who goes is found by a second chance: a hand walks along all instances, of all types, round and round. Whoever was
/// used since it came by last stays until it comes again; whoever was not goes. So a new instance costs a few steps of
/// the hand, however many there are, and a type has no more claim to stay than another.
#[derive(Default)]
pub(crate) struct Residents {
    live: AtomicUsize,
    leaving: Leaving,
    /// Somebody wants the sweeper to look now.
    pub(crate) too_many: Notify,
    hand: Mutex<Hand>,
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

/// Where the hand is.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    directory: usize,
    row: usize,
    place: usize,
}

/// What a walk along a row came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visit {
    /// Instances that were passed.
    pub(crate) seen: usize,
    /// Those of them that were asked to end.
    pub(crate) asked: usize,
    /// The row ends there.
    pub(crate) is_end: bool,
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

    fn beyond(&self, live_max: usize) -> usize {
        let leaving = self.leaving.0.load(Ordering::Relaxed);
        let live = self.live.load(Ordering::Relaxed);
        live.saturating_sub(leaving).saturating_sub(live_max)
    }

    /// Asks as many to end as are alive beyond `live_max`.
    pub(crate) fn make_room(&self, directories: &[Arc<dyn AnyDirectory>], live_max: usize) {
        let mut hand = self.hand.lock();
        // Twice round: the first time everybody may have been used since. Then all are at work, or new.
        let mut steps_left = 2 * self.live.load(Ordering::Relaxed) + 1;
        let mut empty_rows = 0;
        let rows_in_all: usize = directories.iter().map(|directory| directory.rows()).sum();
        while steps_left > 0 && empty_rows <= rows_in_all {
            let wanted = self.beyond(live_max);
            if wanted == 0 {
                return;
            }
            let Some(directory) = directories.get(hand.directory) else {
                *hand = Hand::default();
                continue;
            };
            let look = Look::Beyond {
                wanted,
                leaving: &self.leaving,
            };
            let visit = directory.visit(hand.row, hand.place, STEPS_AT_ONCE, look);
            steps_left = steps_left.saturating_sub(visit.seen);
            empty_rows = match visit.seen {
                0 => empty_rows + 1,
                _ => 0,
            };
            hand.place += visit.seen;
            if visit.is_end {
                hand.place = 0;
                hand.row += 1;
            }
            if hand.row >= directory.rows() {
                hand.row = 0;
                hand.directory = (hand.directory + 1) % directories.len().max(1);
            }
        }
    }
}

/// Asks everybody to end that nobody used for the idle time, a few at a time.
pub(crate) async fn end_unused(core: &Core, directories: &[Arc<dyn AnyDirectory>]) {
    let look = Look::Unused {
        now: core.clock.monotonic(),
        idle: core.options.idle,
    };
    for directory in directories {
        for row in 0..directory.rows() {
            let mut place = 0;
            loop {
                let visit = directory.visit(row, place, STEPS_AT_ONCE, look);
                if visit.is_end {
                    break;
                }
                place += visit.seen;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Passivates what is unused, every quarter of the idle time, and makes room when more are alive than may be.
pub(crate) async fn sweep(core: Arc<Core>, directories: Vec<Arc<dyn AnyDirectory>>) {
    let mut look_again = core.clock.sleep(core.options.idle / 4);
    while !core.stopping.load(Ordering::Acquire) {
        tokio::select! {
            biased;
            () = &mut look_again => {
                end_unused(&core, &directories).await;
                look_again = core.clock.sleep(core.options.idle / 4);
            }
            () = core.residents.too_many.notified() => {}
        }
        core.residents
            .make_room(&directories, core.options.live_max);
    }
}
