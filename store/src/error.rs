//! What can go wrong in a store; every error says what became of the request.

use std::path::PathBuf;
use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, StreamId, StreamVersion};
use uuid::Uuid;

use crate::append::Expected;

/// What became of a write that ended in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was refused before anything was written: it did not happen, and will not.
    NotApplied,
    /// It happened; only the answer was lost.
    Applied,
    /// It may have happened. The log knows; this answer does not.
    Unknown,
}

/// Why an append was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream is not as expected.
    #[error("stream {stream} is at version {actual}, and {expected:?} was expected")]
    WrongExpectedVersion {
        /// The stream.
        stream: StreamId,
        /// What was expected.
        expected: Expected,
        /// Its version when the append was judged; durable before this is answered.
        actual: StreamVersion,
    },
    /// The stream is at the expected version, but another commit took it there.
    #[error(
        "stream {stream} is at version {version} by commit {actual:?}, and the decision was made on {decided_on:?}"
    )]
    Fenced {
        /// The stream.
        stream: StreamId,
        /// Its version.
        version: StreamVersion,
        /// The commit that the decision was made on.
        decided_on: Option<Uuid>,
        /// The last commit recorded in the stream.
        actual: Option<Uuid>,
    },
    /// The frame would be longer than the store allows.
    #[error(
        "the commit needs {bytes} bytes, and at most {bytes_max} are allowed: split it, or raise frame_bytes_max"
    )]
    TooLarge {
        /// What it needs.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// Something in the append breaks a rule.
    #[error("the append is invalid: {reason}")]
    Invalid {
        /// Which rule, and what to do.
        reason: String,
    },
    /// The writer's queue is full.
    #[error(
        "the log is overloaded: {queued} commits of {bytes} bytes wait to be written; try again later"
    )]
    Overloaded {
        /// Commits that wait.
        queued: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The next segment of the log could not be begun, for want of room, memory or descriptors. Nothing was written.
    /// For 100 ms appends are refused so at once; the next one after that tries again.
    #[error("the log cannot grow at present, and nothing was written: {source}; try again later")]
    CannotGrow {
        /// The error of the operating system.
        source: Arc<std::io::Error>,
    },
    /// Writes have stopped after an earlier failure; reads go on.
    #[error("the log takes no more writes until it is opened again: {reason}")]
    ReadOnly {
        /// The failure.
        reason: Arc<str>,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// The answer was lost: the writer ended before it gave one. The append may have happened.
    #[error(
        "the log ended before it answered, and whether the commit is in it is unknown until it is opened again"
    )]
    Lost,
    /// The commit id is recorded in the stream with other events: two different commits share an id.
    #[error(
        "commit id {commit_id} is already in stream {stream} with other events: give each commit its own id"
    )]
    IdReused {
        /// The id.
        commit_id: Uuid,
        /// The stream.
        stream: StreamId,
    },
    /// The commits before cannot be read, so it cannot be decided whether this one fits or is a repetition.
    #[error("what stream {stream} holds cannot be read, so nothing was appended: {source}")]
    Unreadable {
        /// The stream.
        stream: StreamId,
        /// Why not.
        source: ReadError,
    },
    /// The write or its sync failed: it may have happened.
    #[error(
        "{operation} failed, and whether the commit is in the log is unknown until it is opened again: {source}"
    )]
    Failed {
        /// What failed: "write" or "fdatasync", with the file.
        operation: Arc<str>,
        /// The error of the operating system.
        source: Arc<std::io::Error>,
    },
}

impl AppendError {
    /// What became of this append. Of an earlier one with the same commit id, after whose failure writes stopped,
    /// [`ReadOnly`](Self::ReadOnly) and [`Closed`](Self::Closed) say nothing.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { .. } | Self::Lost => Outcome::Unknown,
            // Nothing was written, but it may be the repetition of what was.
            Self::Unreadable { .. } => Outcome::Unknown,
            Self::WrongExpectedVersion { .. }
            | Self::Fenced { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. }
            | Self::Overloaded { .. }
            | Self::CannotGrow { .. }
            | Self::ReadOnly { .. }
            | Self::Closed
            | Self::IdReused { .. } => Outcome::NotApplied,
        }
    }

    /// Whether the same append can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::CannotGrow { .. } => true,
            Self::Unreadable { source, .. } => source.is_retryable(),
            Self::WrongExpectedVersion { .. }
            | Self::Fenced { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. }
            | Self::ReadOnly { .. }
            | Self::Closed
            | Self::Lost
            | Self::IdReused { .. }
            | Self::Failed { .. } => false,
        }
    }
}

/// Why a read failed. Reads change nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file does not hold what was written there.
    #[error(
        "segment {segment} is damaged at byte {offset} (after position {position}, commit {sequence}): {reason}; see with `chronicler verify` what else is damaged; then use a backup (`chronicler restore`) or, without one, cut the log before the damage (`chronicler repair`, which keeps the originals)"
    )]
    Damaged {
        /// The file.
        segment: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// The last good position before.
        position: GlobalPosition,
        /// The last good commit before.
        sequence: LogSequence,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{operation} failed: {source}")]
    Io {
        /// What failed, with the file.
        operation: Arc<str>,
        /// The error of the operating system.
        source: Arc<std::io::Error>,
    },
    /// The index cannot be read; it is being built again from the journal, or is so when the store is opened again.
    #[error(
        "the index failed ({reason}), and is being built again from the journal: try again later"
    )]
    Index {
        /// What it said.
        reason: Arc<str>,
    },
    /// The place to begin at lies beyond the log: it comes from another log, or from a newer copy of this one.
    #[error(
        "position {position} is beyond the log, which ends at {head}: it comes from another log, or from a newer copy of this one; begin again from what this one holds"
    )]
    BeyondHead {
        /// What was asked for.
        position: GlobalPosition,
        /// The last durable position.
        head: GlobalPosition,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl ReadError {
    /// Whether the same read can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Index { .. } => true,
            Self::Damaged { .. } | Self::BeyondHead { .. } | Self::Closed => false,
        }
    }
}

/// Why a snapshot or view could not be written. Both are derived: nothing that happened is lost.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The place where derived data lives refused.
    #[error("{operation} failed: {reason}")]
    Derived {
        /// What failed.
        operation: &'static str,
        /// What it said.
        reason: Arc<str>,
    },
    /// The version or position lies beyond what is durable in the log.
    #[error("{what} {given} is beyond the durable {durable}: only what is durable is remembered")]
    BeyondLog {
        /// "snapshot sequence" or "view position".
        what: &'static str,
        /// What was given.
        given: u64,
        /// What is durable.
        durable: u64,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call can succeed later without anything being mended. What was derived and is lost is derived again,
    /// and want of threads, descriptors or room may pass.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Derived { .. } => true,
            Self::BeyondLog { .. } | Self::Closed => false,
        }
    }
}

/// Why a store could not be opened. Nothing was changed, unless the message says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process (or another store in this one) has the directory.
    #[error("{path} is in use by {holder}: a directory has one writing process at a time")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as the lock file says: "process 4711".
        holder: String,
    },
    /// A newer release wrote it.
    #[error(
        "{path} has format {found}, and this release reads up to format {known}: use the release that wrote it, or a newer one"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format that this release reads.
        known: u32,
    },
    /// It is the directory of another kind of store.
    #[error("{path} is a directory of {found}, and {wanted} was to open it: open it with {found}")]
    AnotherKind {
        /// The directory.
        path: PathBuf,
        /// The store whose directory it is.
        found: &'static str,
        /// The store that was to open it.
        wanted: &'static str,
    },
    /// It is not a data directory.
    #[error("{path} is not a Chronicler data directory: {reason}")]
    NotADirectory {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A work that was to make it whole was cut short: an import, a restore, a repair.
    #[error("{path} is not whole: its {work} was not brought to its end; {to_do}")]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// Which work: "import".
        work: &'static str,
        /// What to do.
        to_do: &'static str,
    },
    /// What is known to have been durable is damaged or missing.
    #[error(transparent)]
    Damaged(ReadError),
    /// The operating system refused.
    #[error("{operation} failed: {source}")]
    Io {
        /// What failed, with the path.
        operation: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
}
