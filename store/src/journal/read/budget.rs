//! How much memory the readers of one store may keep in batches, all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// 64 MiB in batches that are being read, lie ready or are being consumed, over all readers of a store.
const READ_BYTES_MAX: usize = 64 << 20;
/// What one batch may be of what is left: the first readers get whole batches, and later ones still get some.
const SHARE_OF_REST: usize = 16;
/// 1 MiB: enough that handing a batch over costs nothing per commit.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// 32 KiB: a batch that any reader may have, however many there are. A commit may be longer than that.
const BATCH_BYTES_MIN: usize = 32 << 10;

/// How many bytes of batches there are, and how many there may be. A reader that nobody polls keeps its last batch; so
/// batches become smaller while many readers have one.
#[derive(Debug, Default)]
pub(crate) struct ReadBudget {
    taken: AtomicUsize,
}

/// The part of the budget that one batch has. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<ReadBudget>,
    bytes: usize,
}

impl ReadBudget {
    /// The share of a batch that somebody waits for.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        self.take(BATCH_BYTES_MIN)
    }

    /// The share of a batch that nobody waits for yet; `None` if there is no room for it.
    pub(super) fn share_ahead(self: &Arc<Self>) -> Option<Share> {
        let share = self.take(0);
        (share.bytes >= BATCH_BYTES_MIN).then_some(share)
    }

    fn take(self: &Arc<Self>, bytes_min: usize) -> Share {
        let wanted = |taken: usize| {
            let rest = READ_BYTES_MAX.saturating_sub(taken);
            (rest / SHARE_OF_REST).clamp(bytes_min, BATCH_BYTES_MAX)
        };
        let (Ok(before) | Err(before)) =
            self.taken
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                    Some(taken + wanted(taken))
                });
        Share {
            budget: Arc::clone(self),
            bytes: wanted(before),
        }
    }

    /// How many bytes are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Share {
    /// About how many bytes the batch may have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what the batch came to.
    pub(super) fn settle(&mut self, bytes: usize) {
        let taken = &self.budget.taken;
        if bytes > self.bytes {
            taken.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            taken.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_readers_there_are_their_batches_stay_small_together() {
        let budget = Arc::new(ReadBudget::default());
        let shares: Vec<_> = (0..1_000).map(|_| budget.share()).collect();
        assert_eq!(shares[0].bytes(), BATCH_BYTES_MAX);
        assert_eq!(shares[999].bytes(), BATCH_BYTES_MIN);
        assert!(budget.taken() <= READ_BYTES_MAX + 1_000 * BATCH_BYTES_MIN);
        assert!(budget.share_ahead().is_none());
        drop(shares);
        assert_eq!(budget.taken(), 0);
        let mut share = budget.share_ahead().unwrap();
        share.settle(3 << 20);
        assert_eq!(budget.taken(), 3 << 20);
        share.settle(0);
        assert_eq!(budget.taken(), 0);
    }
}
