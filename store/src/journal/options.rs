//! How a journal store is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::LogSequence;

/// What a completed append survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The end of the process and of the power: every batch is synced before it is answered.
    #[default]
    Fsync,
    /// The end of the process only: the operating system writes when it likes.
    Os,
}

/// How far the rebuild of the index has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayProgress {
    /// The last commit that was read.
    pub at: LogSequence,
    /// The last commit there is.
    pub of: LogSequence,
}

/// Told from time to time while the journal is read to bring the index up to date.
pub type ReplayListener = Arc<dyn Fn(ReplayProgress) + Send + Sync>;

/// How a journal store is opened. `JournalOptions::default()` is what most want.
#[derive(Clone)]
#[non_exhaustive]
pub struct JournalOptions {
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) frame_bytes_max: u32,
    pub(crate) queue_commits_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) replay: Option<ReplayListener>,
    pub(crate) marker_sync_every: Duration,
    pub(crate) index_idle: Duration,
    pub(crate) layout_pause: Duration,
}

/// 64 MiB: at full speed a new file about every second, and a file that is quick to copy.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The smallest segment that leaves room for anything beside its header.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The largest one: its footer addresses frames with 32 bits.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;
/// 16 MiB: larger commits would hold up everybody else's for too long.
const FRAME_BYTES_MAX: u32 = 16 << 20;
/// The largest limit on a frame that fits the largest segment.
const FRAME_BYTES_LIMIT_MAX: u32 = 1 << 30;
/// About a fifth of a second of work at full speed.
const QUEUE_COMMITS_MAX: usize = 65_536;
/// 64 MiB: what the queue may hold in memory.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How old the durable marker may become while the log moves on: the window in which, after a power cut
/// *with* damage, it cannot be decided whether something is missing.
const MARKER_SYNC_EVERY: Duration = Duration::from_millis(100);
/// How long the log must be still before the index is brought after it although little has changed.
const INDEX_IDLE: Duration = Duration::from_secs(1);
/// How long appends are refused at once after a segment could not be begun: a try takes calls of the system on the thread
/// of the writer, and a full disk stays full for longer than that.
const LAYOUT_PAUSE: Duration = Duration::from_millis(100);

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: SEGMENT_BYTES,
            frame_bytes_max: FRAME_BYTES_MAX,
            queue_commits_max: QUEUE_COMMITS_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            replay: None,
            marker_sync_every: MARKER_SYNC_EVERY,
            index_idle: INDEX_IDLE,
            layout_pause: LAYOUT_PAUSE,
        }
    }
}

impl JournalOptions {
    /// What a completed append survives. Default: [`Durability::Fsync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long a segment file becomes before the next one is begun; it is reserved at once. Default:
    /// 64 MiB. Values outside 64 KiB to 2 GiB are brought into that range.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self
    }

    /// The longest commit, as a frame. Default: 16 MiB; at most 1 GiB. A longer one is refused with
    /// [`TooLarge`](crate::AppendError::TooLarge). One that is longer than a segment gets a segment of its own.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.frame_bytes_max = bytes.min(FRAME_BYTES_LIMIT_MAX);
        self
    }

    /// How many commits may wait for the writer. Default: 65,536; at least 1. More are refused with
    /// [`Overloaded`](crate::AppendError::Overloaded).
    #[must_use]
    pub fn queue_commits_max(mut self, commits: usize) -> Self {
        self.queue_commits_max = commits.max(1);
        self
    }

    /// How many bytes of payload may wait for the writer. Default: 64 MiB. A commit is taken when nothing
    /// waits, however long it is.
    #[must_use]
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }

    /// Is told how far the journal has been read when the index has to be brought up to date, about every
    /// 65,536 commits. Called from within `open`.
    #[must_use]
    pub fn on_replay(mut self, listener: impl Fn(ReplayProgress) + Send + Sync + 'static) -> Self {
        self.replay = Some(Arc::new(listener));
        self
    }
}

impl fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalOptions")
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .field("frame_bytes_max", &self.frame_bytes_max)
            .field("queue_commits_max", &self.queue_commits_max)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .finish_non_exhaustive()
    }
}
