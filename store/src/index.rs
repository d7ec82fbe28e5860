//! What a durable index remembers about a journal: quick to look up, checked before it is trusted, rebuilt
//! when it is not. The journal is the truth.

use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamVersion, Timestamp};
use uuid::Uuid;

use crate::frame::FactKind;

/// What the index remembers about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadRow {
    pub version: StreamVersion,
    /// The last commit recorded in the stream, and where its frame begins in the log.
    pub sequence: LogSequence,
    pub log_offset: u64,
    pub commit_id: Uuid,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// How far the index has followed the journal. Everything up to here is in its rows, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    pub store_id: Uuid,
    pub sequence: LogSequence,
    /// Where the frame of that commit begins, and its checksum: names the history, not only the length.
    pub log_offset: u64,
    pub checksum: u32,
}

/// A keyed fact's new value, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FactChange {
    pub kind: FactKind,
    pub key: Bytes,
    /// `None` removes it.
    pub value: Option<Bytes>,
    pub sequence: LogSequence,
}

/// Rows that bring the index to a watermark. Repeated changes of a row are already one.
#[derive(Clone, Debug)]
pub(crate) struct IndexBatch {
    pub heads: Vec<(Arc<str>, HeadRow)>,
    pub facts: Vec<FactChange>,
    pub watermark: Watermark,
}

/// The operation of an [`IndexError`] that says: somebody has the database open.
pub(crate) const HELD: &str = "lock";

/// The operation of an [`IndexError`] that says: there is no thread, descriptor, memory or room to begin with. Nothing was
/// touched, and it may pass.
pub(crate) const BEGIN: &str = "begin";
/// The operation of an [`IndexError`] that says: the batch could not be announced, and no row of it was written.
pub(crate) const ANNOUNCE: &str = "write intent";

/// An index that failed; the store sets it aside and rebuilds it from the journal, unless somebody has it open.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation}: {reason}")]
pub(crate) struct IndexError {
    pub operation: &'static str,
    pub reason: String,
}

impl IndexError {
    /// Whether it is whole, as far as anybody knows, and in use.
    pub(crate) fn is_held(&self) -> bool {
        self.operation == HELD
    }

    /// Whether it is as it was, and may do it the next time.
    pub(crate) fn is_not_begun(&self) -> bool {
        matches!(self.operation, BEGIN | ANNOUNCE)
    }
}

/// Stream heads and facts, as of a watermark. All calls block; none panics.
pub(crate) trait Index: Send + Sync + 'static {
    /// How far it has followed, if it was checked and found whole when it was opened.
    fn watermark(&self) -> Option<Watermark>;

    /// One stream's row.
    fn head(&self, stream_key: &str) -> Result<Option<HeadRow>, IndexError>;

    /// One fact: value and the commit that set it.
    fn fact(&self, kind: FactKind, key: &[u8]) -> Result<Option<(Bytes, LogSequence)>, IndexError>;

    /// Facts of a kind by ascending key, strictly after `after` (`None`: from the first), at most `limit`.
    fn facts(
        &self,
        kind: FactKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes, LogSequence)>, IndexError>;

    /// Writes the rows, makes them durable, then moves the watermark and makes that durable.
    fn apply(&self, batch: &IndexBatch) -> Result<(), IndexError>;

    /// Removes everything, to be rebuilt from the beginning.
    fn clear(&self) -> Result<(), IndexError>;

    /// Sets aside what there is, which has failed, and puts in its place what `fill` makes of an empty index. Until
    /// that is complete this one answers as before: with what it has, or with errors, never with less.
    fn rebuild(&self, fill: &mut Fill<'_>) -> Result<(), IndexError>;
}

/// Brings an empty index after the journal.
pub(crate) type Fill<'a> = dyn FnMut(&dyn Index) -> Result<(), IndexError> + 'a;
