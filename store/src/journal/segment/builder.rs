//! What the footer of a segment will hold, gathered while the segment is written or scanned.

use uuid::Uuid;

use super::footer::{Footer, SparseEntry, StreamEntry};
use crate::journal::marker::LogEnd;

/// The distance of sparse entries: a look-up reads at most this much, which costs less than a disk access.
const SPARSE_DISTANCE_BYTES: u64 = 64 << 10;

/// The sparse index and the stream index of a segment that is not sealed yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct SealBuilder {
    base_offset: u64,
    next_sparse: u64,
    sparse: Vec<SparseEntry>,
    streams: Vec<StreamEntry>,
}

impl SealBuilder {
    /// Of an empty segment that begins here.
    pub(crate) fn new(base_offset: u64) -> Self {
        Self {
            base_offset,
            next_sparse: base_offset,
            ..Self::default()
        }
    }

    /// Of a sealed segment that is to be gone on with.
    pub(crate) fn resume(footer: Footer) -> Self {
        let last = footer.sparse.last();
        Self {
            base_offset: footer.base_offset,
            next_sparse: last.map_or(footer.base_offset, |last| {
                last.offset + SPARSE_DISTANCE_BYTES
            }),
            sparse: footer.sparse,
            streams: footer.streams,
        }
    }

    /// Notes a frame; the entry if it is to be in the sparse index.
    pub(crate) fn frame(&mut self, entry: SparseEntry) -> Option<SparseEntry> {
        if entry.offset < self.next_sparse {
            return None;
        }
        self.next_sparse = entry.offset + SPARSE_DISTANCE_BYTES;
        self.sparse.push(entry);
        Some(entry)
    }

    /// Notes that the frame at `offset` has a part of the stream with this hash.
    pub(crate) fn stream(&mut self, hash: u64, offset: u64) {
        // A segment is shorter than 4 GiB: JournalOptions sees to it.
        let at = (offset - self.base_offset) as u32;
        self.streams.push(StreamEntry {
            hash,
            first: at,
            last: at,
        });
    }

    /// The sparse entries so far.
    pub(crate) fn sparse(&self) -> &[SparseEntry] {
        &self.sparse
    }

    /// The footer of a segment that ends here.
    pub(crate) fn finish(mut self, store_id: Uuid, end: LogEnd) -> Footer {
        self.streams.sort_unstable();
        self.streams.dedup_by(|later, kept| {
            let same = later.hash == kept.hash;
            if same {
                kept.last = kept.last.max(later.last);
            }
            same
        });
        Footer {
            store_id,
            base_offset: self.base_offset,
            end,
            sparse: self.sparse,
            streams: self.streams,
        }
    }
}
