//! Commits gathered into batches of a bounded size.

use crate::frame::RecordedCommit;

/// About how many bytes of frames go into a batch: enough that handing it over costs nothing per commit.
const BATCH_BYTES: usize = 1 << 20;
/// How many commits go into a batch at most.
const BATCH_COMMITS_MAX: usize = 4_096;

/// A batch being filled, up to the number of commits that a query wants.
#[derive(Debug)]
pub(crate) struct Batches {
    batch: Vec<RecordedCommit>,
    bytes: usize,
    left: usize,
}

impl Batches {
    pub(crate) fn new(commits_max: usize) -> Self {
        Self {
            batch: Vec::new(),
            bytes: 0,
            left: commits_max,
        }
    }

    /// Whether the query wants no more.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Adds a commit, and gives the batch if it is full.
    pub(crate) fn push(&mut self, commit: RecordedCommit) -> Option<Vec<RecordedCommit>> {
        self.left = self.left.saturating_sub(1);
        self.bytes += commit.as_bytes().len();
        self.batch.push(commit);
        let full = self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_COMMITS_MAX;
        (full || self.is_done()).then(|| self.take())
    }

    /// What has been gathered.
    pub(crate) fn take(&mut self) -> Vec<RecordedCommit> {
        self.bytes = 0;
        std::mem::take(&mut self.batch)
    }
}
