//! The latest durable frames, kept in memory for readers that follow the end of the log.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::frame::{FrameError, FrameHeader, RecordedCommit};

/// 8 MiB: a reader may fall some 20,000 commits behind before it has to turn to the files.
const TAIL_BYTES_MAX: usize = 8 << 20;
/// How many batches are kept at most: with one small commit each, their own weight would exceed that of
/// their frames.
const TAIL_CHUNKS_MAX: usize = 16_384;

/// The latest durable frames, by the batches they were written in.
#[derive(Debug, Default)]
pub(crate) struct Tail(RwLock<Chunks>);

#[derive(Debug, Default)]
struct Chunks {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
}

/// The frames of one batch.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The log offset of its first frame.
    pub base_offset: u64,
    pub bytes: Bytes,
    /// Where each frame begins in `bytes`.
    pub starts: Vec<u32>,
}

/// The memory of a chunk that is gone, empty.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub frames: Vec<u8>,
    pub starts: Vec<u32>,
}

impl Tail {
    /// Adds the frames of a batch that is durable now. Gives the memory of one that had to go for it, if
    /// nobody reads in it.
    pub(crate) fn push(&self, chunk: Chunk) -> Option<Room> {
        let mut gone = None;
        let mut tail = self.0.write();
        tail.bytes += chunk.bytes.len();
        tail.chunks.push_back(Arc::new(chunk));
        // The newest chunk stays, however long it is.
        while tail.chunks.len() > 1
            && (tail.bytes > TAIL_BYTES_MAX || tail.chunks.len() > TAIL_CHUNKS_MAX)
        {
            gone = tail.chunks.pop_front();
            tail.bytes -= gone.as_ref().map_or(0, |gone| gone.bytes.len());
        }
        drop(tail);
        let gone = Arc::into_inner(gone?).filter(|gone| gone.bytes.is_unique())?;
        let (mut frames, mut starts) = (Vec::from(gone.bytes), gone.starts);
        frames.clear();
        starts.clear();
        Some(Room { frames, starts })
    }

    /// The commit whose frame begins at this log offset, if it is here.
    pub(crate) fn commit_at(&self, log_offset: u64) -> Option<Result<RecordedCommit, FrameError>> {
        let tail = self.0.read();
        let after = tail
            .chunks
            .partition_point(|chunk| chunk.base_offset <= log_offset);
        let chunk = tail.chunks.get(after.checked_sub(1)?)?;
        let at = usize::try_from(log_offset - chunk.base_offset).ok()?;
        if at >= chunk.bytes.len() {
            return None;
        }
        Some(RecordedCommit::parse(&chunk.bytes.slice(at..), log_offset))
    }

    /// Where the frame before the first one begins for which `before` is false. `None` if such a frame can lie before what
    /// is here.
    pub(crate) fn offset_of(&self, before: impl Fn(&FrameHeader) -> bool) -> Option<u64> {
        let tail = self.0.read();
        let first_is_before =
            |chunk: &Arc<Chunk>| chunk.header(0).is_some_and(|header| before(&header));
        let after = tail.chunks.partition_point(first_is_before);
        let chunk = Arc::clone(tail.chunks.get(after.checked_sub(1)?)?);
        drop(tail);
        Some(chunk.offset(chunk.first_not(before).saturating_sub(1)))
    }

    /// The chunks from the one on that holds the frame at this log offset, about `bytes_max` bytes of them. None if it is
    /// not here.
    pub(crate) fn chunks_at(&self, log_offset: u64, bytes_max: usize) -> Vec<Arc<Chunk>> {
        let tail = self.0.read();
        let after = tail
            .chunks
            .partition_point(|chunk| chunk.base_offset <= log_offset);
        let Some(from) = after.checked_sub(1) else {
            return Vec::new();
        };
        let mut left = bytes_max;
        let chunks = tail.chunks.iter().skip(from).take_while(|chunk| {
            let wanted = left > 0;
            left = left.saturating_sub(chunk.bytes.len());
            wanted
        });
        let chunks = chunks.filter(|chunk| chunk.end() > log_offset);
        chunks.cloned().collect()
    }
}

impl Chunk {
    /// The header of a frame by its place.
    pub(crate) fn header(&self, index: usize) -> Option<FrameHeader> {
        let at = *self.starts.get(index)? as usize;
        FrameHeader::read(self.bytes.get(at..)?)
    }

    /// The place of the frame that begins at or after this log offset.
    pub(crate) fn index_at(&self, log_offset: u64) -> usize {
        let base = self.base_offset;
        self.starts
            .partition_point(|at| base + u64::from(*at) < log_offset)
    }

    /// The log offset where its last frame ends.
    fn end(&self) -> u64 {
        self.base_offset + self.bytes.len() as u64
    }

    /// The place of the first frame for which `before` is false.
    pub(crate) fn first_not(&self, before: impl Fn(&FrameHeader) -> bool) -> usize {
        self.starts.partition_point(|at| {
            let bytes = self.bytes.get(*at as usize..);
            bytes
                .and_then(FrameHeader::read)
                .is_some_and(|header| before(&header))
        })
    }

    /// Where a frame begins in the log.
    pub(crate) fn offset(&self, index: usize) -> u64 {
        self.base_offset + self.starts.get(index).map_or(0, |at| u64::from(*at))
    }

    /// A frame by its place.
    pub(crate) fn commit(&self, index: usize) -> Option<Result<RecordedCommit, FrameError>> {
        let at = *self.starts.get(index)? as usize;
        let bytes = self.bytes.slice(at..);
        Some(RecordedCommit::parse(&bytes, self.offset(index)))
    }
}
