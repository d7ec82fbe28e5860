//! The sweeper of one runtime: it asks those instances to end that nobody uses, and makes room when too many are alive.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::core::Core;
use crate::directory::{AnyDirectory, Look};
use crate::residents::Residents;

/// Instances that are passed under one lock: senders to their neighbours wait no longer than that.
const STEPS_AT_ONCE: usize = 64;

/// Passivates what is unused, every quarter of the idle time, and makes room when more are alive than may be.
pub(crate) async fn sweep(core: Arc<Core>, directories: Vec<Arc<dyn AnyDirectory>>) {
    let mut hand = Hand::default();
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
        hand.make_room(&core.residents, &directories, core.options.live_max);
    }
}

/// Asks everybody to end that nobody used for the idle time, a few at a time.
async fn end_unused(core: &Core, directories: &[Arc<dyn AnyDirectory>]) {
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

/// Who has to go when too many are alive, by a second chance: a hand walks along all instances, of all types, round and
/// round. Whoever was used since it came by last stays until it comes again; whoever was not goes. So a new instance costs
/// a few steps of the hand, however many there are, and a type has no more claim to stay than another.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    directory: usize,
    row: usize,
    place: usize,
}

impl Hand {
    /// Asks as many to end as are alive beyond `live_max`.
    fn make_room(
        &mut self,
        residents: &Residents,
        directories: &[Arc<dyn AnyDirectory>],
        live_max: usize,
    ) {
        // Twice round: the first time everybody may have been used since. Then all are at work, or new.
        let mut steps_left = 2 * residents.live() + 1;
        let mut empty_rows = 0;
        let rows_in_all: usize = directories.iter().map(|directory| directory.rows()).sum();
        while steps_left > 0 && empty_rows <= rows_in_all {
            let wanted = residents.beyond(live_max);
            if wanted == 0 {
                return;
            }
            let Some(directory) = directories.get(self.directory) else {
                *self = Hand::default();
                continue;
            };
            let look = Look::Beyond {
                wanted,
                leaving: &residents.leaving,
            };
            let visit = directory.visit(self.row, self.place, STEPS_AT_ONCE, look);
            steps_left = steps_left.saturating_sub(visit.seen);
            empty_rows = match visit.seen {
                0 => empty_rows + 1,
                _ => 0,
            };
            self.place += visit.seen;
            if visit.is_end {
                self.place = 0;
                self.row += 1;
            }
            if self.row >= directory.rows() {
                self.row = 0;
                self.directory = (self.directory + 1) % directories.len().max(1);
            }
        }
    }
}
