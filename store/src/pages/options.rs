//! How a store in sled is opened.

use crate::journal::{JournalOptions, ReplayProgress};

/// How a store in sled is opened. `SledOptions::default()` is what most want.
///
/// There is no choice of durability: what sled has not flushed does not even outlive the process, so every batch
/// is flushed and synced before it is answered.
#[derive(Clone, Debug, Default)]
pub struct SledOptions {
    pub(super) journal: JournalOptions,
}

impl SledOptions {
    /// How long a segment of the log becomes before the next one is begun: what is looked through when
    /// the store is opened after a crash. Default: 64 MiB. Values outside 64 KiB to 2 GiB are brought into that
    /// range.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.journal = self.journal.segment_bytes(bytes);
        self
    }

    /// The longest commit, as a frame. Default: 16 MiB; at most 1 GiB. A longer one is refused with
    /// [`TooLarge`](crate::AppendError::TooLarge). It lies in as many pages as it needs.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.journal = self.journal.frame_bytes_max(bytes);
        self
    }

    /// How many commits may wait for the writer. Default: 65,536; at least 1. More are refused with
    /// [`Overloaded`](crate::AppendError::Overloaded).
    #[must_use]
    pub fn queue_commits_max(mut self, commits: usize) -> Self {
        self.journal = self.journal.queue_commits_max(commits);
        self
    }

    /// How many bytes of payload may wait for the writer. Default: 64 MiB. A commit is taken when nothing
    /// waits, however long it is.
    #[must_use]
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.journal = self.journal.queue_bytes_max(bytes);
        self
    }

    /// Is told how far the log has been read when the index has to be brought up to date, about every
    /// 65,536 commits. Called from within `open`.
    #[must_use]
    pub fn on_replay(mut self, listener: impl Fn(ReplayProgress) + Send + Sync + 'static) -> Self {
        self.journal = self.journal.on_replay(listener);
        self
    }
}
