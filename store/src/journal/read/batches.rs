//! Commits gathered into batches of a bounded size, which keep little more memory than their own.

use bytes::{Bytes, BytesMut};

use crate::frame::RecordedCommit;

/// How many commits go into a batch at most.
const BATCH_COMMITS_MAX: usize = 4_096;
/// How many times its own bytes a group of commits may keep. Above it the group is copied: a copy of less than half a
/// window costs less than reading that window did, and a dense window is never copied.
const KEPT_TIMES_MAX: usize = 2;

/// The piece of memory that a commit lies in, and keeps as long as it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Tells it from the one before.
    pub id: u64,
    /// All that it has.
    pub bytes: usize,
}

/// Commits that are gathered, window by window.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    commits: Vec<RecordedCommit>,
    /// The bytes of the commits.
    bytes: usize,
    /// What is kept for those of the windows before the last one.
    kept: usize,
    window: Window,
    /// The first commit of the last window, and the bytes of it and those after it.
    of_window: usize,
    window_bytes: usize,
}

/// A batch being filled, up to the number of commits that a query wants.
#[derive(Debug)]
pub(crate) struct Batches {
    gathered: Gathered,
    left: usize,
}

/// A batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub commits: Vec<RecordedCommit>,
    /// What it keeps in memory.
    pub kept: usize,
    /// What of that is its own: its commits, without what else lies in their windows.
    pub own: usize,
}

impl Gathered {
    /// Adds a commit that lies in this window.
    pub(crate) fn push(&mut self, commit: RecordedCommit, window: Window) {
        if window.id != self.window.id {
            self.leave_window();
        }
        self.window = window;
        let length = commit.as_bytes().len();
        self.bytes += length;
        self.window_bytes += length;
        self.commits.push(commit);
    }

    /// What has been gathered.
    pub(crate) fn take(&mut self) -> Batch {
        self.leave_window();
        let gathered = std::mem::take(self);
        let commits = gathered.commits;
        let list = commits.capacity() * size_of::<RecordedCommit>();
        Batch {
            kept: gathered.kept + list,
            own: gathered.bytes + list,
            commits,
        }
    }

    /// Lets the last window go if its commits are little of it.
    fn leave_window(&mut self) {
        let own = std::mem::take(&mut self.window_bytes);
        let first = std::mem::replace(&mut self.of_window, self.commits.len());
        if own == 0 || self.window.bytes <= own.saturating_mul(KEPT_TIMES_MAX) {
            self.kept += if own == 0 {
                0
            } else {
                own.max(self.window.bytes)
            };
            return;
        }
        let group = self.commits.get_mut(first..).unwrap_or_default();
        let mut copy = BytesMut::with_capacity(own);
        for commit in &*group {
            copy.extend_from_slice(commit.as_bytes());
        }
        let mut copy = copy.freeze();
        for commit in group {
            let bytes: Bytes = copy.split_to(commit.as_bytes().len());
            commit.move_to(bytes);
        }
        self.kept += own;
    }
}

impl Batches {
    pub(crate) fn new(commits_max: usize) -> Self {
        Self {
            gathered: Gathered::default(),
            left: commits_max,
        }
    }

    /// Whether the query wants no more.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// How many commits the query still wants.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Adds a commit, and gives the batch if it has about `bytes_max` bytes of frames, or the commits that are wanted.
    pub(crate) fn push(
        &mut self,
        commit: RecordedCommit,
        window: Window,
        bytes_max: usize,
    ) -> Option<Batch> {
        self.left = self.left.saturating_sub(1);
        self.gathered.push(commit, window);
        let full =
            self.gathered.bytes >= bytes_max || self.gathered.commits.len() >= BATCH_COMMITS_MAX;
        (full || self.is_done()).then(|| self.take())
    }

    /// Whether the batch may as well end here if the next commit lies in another window.
    pub(crate) fn may_end(&self, bytes_max: usize) -> bool {
        self.gathered.bytes >= bytes_max / 2
    }

    /// What has been gathered.
    pub(crate) fn take(&mut self) -> Batch {
        self.gathered.take()
    }
}
