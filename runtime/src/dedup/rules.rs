//! How much is remembered, and what all instances together have of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chronicler_domain::Timestamp;

use crate::options::RuntimeOptions;

/// Callers' ids and effects of one run when it is closed: few enough to be looked through one by one.
const RUN_IDS: usize = 256;
/// Runs that are merged into one when so many of about one length lie beside each other.
const RUNS_MERGED: usize = 8;
/// The most that a merged run has: reading one again from the log takes some ten milliseconds.
const RUN_IDS_MAX: u64 = 16_384;
/// Runs of one instance; beyond it neighbours are merged, and looked for in the log. A snapshot holds 40 bytes of each.
const RUNS_MAX: usize = 256;

/// The limits of every instance's memory, and what all of them use of the one that they share.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Outcomes that are kept whole.
    pub(crate) outcomes_max: usize,
    /// Their payloads.
    pub(crate) answer_bytes_max: usize,
    /// What all instances together keep of older ids.
    pub(crate) id_bytes_max: usize,
    pub(crate) remembered_for: Duration,
    pub(crate) ahead_max: Duration,
    pub(crate) run_ids: usize,
    pub(crate) runs_merged: usize,
    pub(crate) run_ids_max: u64,
    pub(crate) runs_max: usize,
    id_bytes: AtomicUsize,
}

impl Rules {
    pub(crate) fn new(options: &RuntimeOptions) -> Self {
        Self {
            outcomes_max: options.remembered_max,
            answer_bytes_max: options.remembered_answer_bytes_max,
            id_bytes_max: options.remembered_id_bytes_max,
            remembered_for: options.remembered_for,
            ahead_max: options.remembered_ahead_max,
            run_ids: RUN_IDS,
            runs_merged: RUNS_MERGED,
            run_ids_max: RUN_IDS_MAX,
            runs_max: RUNS_MAX,
            id_bytes: AtomicUsize::new(0),
        }
    }

    /// Ids made up to here are older than what is remembered.
    pub(crate) fn oldest(&self, now: Timestamp) -> Timestamp {
        now.minus(self.remembered_for)
    }

    /// Takes so many bytes of what all instances share, if they are free.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let taken = |used: usize| {
            let used = used.checked_add(bytes)?;
            (used <= self.id_bytes_max).then_some(used)
        };
        self.id_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }

    /// Gives so many bytes back.
    pub(super) fn give_back(&self, bytes: usize) {
        self.id_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn id_bytes(&self) -> usize {
        self.id_bytes.load(Ordering::Relaxed)
    }
}
