//! What the store has done since it was opened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncStats {
    /// Commits that were written.
    pub commits: u64,
    /// Batches they were written in; under [`Durability::Fsync`](crate::journal::Durability::Fsync) each was
    /// synced once.
    pub batches: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Rows that were written to the index: stream heads and facts.
    pub index_rows: u64,
    /// How often the index was brought up to date.
    pub index_batches: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    bytes: AtomicU64,
    index_rows: AtomicU64,
    index_batches: AtomicU64,
}

impl Counters {
    pub(crate) fn batch(&self, commits: usize, bytes: usize) {
        self.commits.fetch_add(commits as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn applied(&self, rows: usize) {
        self.index_rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.index_batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> SyncStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SyncStats {
            commits: read(&self.commits),
            batches: read(&self.batches),
            bytes: read(&self.bytes),
            index_rows: read(&self.index_rows),
            index_batches: read(&self.index_batches),
        }
    }
}
