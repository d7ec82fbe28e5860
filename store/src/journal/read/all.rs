//! The commits of the whole log, from memory where they are recent and from the segments where not.

use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use futures::{StreamExt, stream};

use super::batches::Batches;
use super::blocking::stream_batches;
use super::frames::FrameReader;
use super::scan::{BackwardScan, ForwardScan};
use crate::frame::RecordedCommit;
use crate::journal::disk::Storage;
use crate::journal::marker::LogEnd;
use crate::journal::memory::{Chunk, Tail};
use crate::journal::segment::{Segment, Segments};
use crate::query::{AllQuery, CommitStream, Direction, Start};

/// Where everything is that a read of the whole log needs, as of its beginning.
#[derive(Debug)]
pub(crate) struct LogView {
    pub storage: Arc<dyn Storage>,
    pub segments: Segments,
    pub end: LogEnd,
}

/// Reads the log up to the end that `view` names.
pub(crate) fn read_all(query: AllQuery, view: LogView, tail: &Tail) -> CommitStream {
    if query.commits_max == 0 || view.end.sequence == LogSequence::ZERO {
        return Box::pin(stream::empty());
    }
    if query.direction == Direction::Backward {
        return stream_batches(false, move || Ok(Some(BackwardScan::new(query, view))));
    }
    let before = |header: &crate::frame::FrameHeader| {
        is_before(
            query.start,
            header.sequence,
            header.first_position,
            header.timestamp,
        )
    };
    match tail.from(before) {
        Some(chunks) => from_memory(query, chunks, view),
        None => stream_batches(false, move || Ok(Some(ForwardScan::new(query, view)))),
    }
}

/// Whether a place lies before the start of a query by its beginning. The last such place can reach into it.
pub(super) fn is_before(
    start: Start,
    sequence: LogSequence,
    first: GlobalPosition,
    at: Timestamp,
) -> bool {
    match start {
        Start::Position(wanted) => first < wanted,
        Start::Sequence(wanted) => sequence < wanted,
        Start::Time(wanted) => at < wanted,
    }
}

/// Whether a commit lies wholly before the start of a query.
pub(super) fn ends_before(start: Start, commit: &RecordedCommit) -> bool {
    match start {
        // One without events lies before the position that the next event has.
        Start::Position(wanted) => commit.last_position().max(commit.first_position()) < wanted,
        Start::Sequence(wanted) => commit.sequence() < wanted,
        Start::Time(wanted) => commit.timestamp() < wanted,
    }
}

fn from_memory(query: AllQuery, chunks: Vec<Arc<Chunk>>, view: LogView) -> CommitStream {
    struct Cursor {
        query: AllQuery,
        view: LogView,
        chunks: std::vec::IntoIter<Arc<Chunk>>,
        chunk: Option<(Arc<Chunk>, usize)>,
        batches: Batches,
    }
    let mut chunks = chunks.into_iter();
    let chunk = chunks.next().map(|chunk| {
        let first = chunk.first_not(|header| {
            let (sequence, first) = (header.sequence, header.first_position);
            is_before(query.start, sequence, first, header.timestamp)
        });
        (chunk, first.saturating_sub(1))
    });
    let cursor = Cursor {
        batches: Batches::new(query.commits_max),
        query,
        view,
        chunks,
        chunk,
    };
    let next = |mut cursor: Cursor| async move {
        while let Some((chunk, index)) = cursor.chunk.take() {
            let Some(parsed) = chunk.commit(index) else {
                cursor.chunk = cursor.chunks.next().map(|chunk| (chunk, 0));
                continue;
            };
            let commit = match parsed {
                Ok(commit) => commit,
                // The bytes were right when they were written: this machine has faulty memory.
                Err(_) => {
                    let offset = chunk.offset(index);
                    let view = &cursor.view;
                    let (storage, segments) = (view.storage.clone(), view.segments.clone());
                    let reader = FrameReader::new(storage, segments, view.end.offset);
                    let reason = "the copy of the frame in memory is damaged".to_owned();
                    return Some((Err(reader.damaged(offset, reason)), cursor));
                }
            };
            if is_behind(&cursor.query, &cursor.view.end, &commit) {
                cursor.chunk = None;
                cursor.chunks = Vec::new().into_iter();
                break;
            }
            cursor.chunk = Some((chunk, index + 1));
            if ends_before(cursor.query.start, &commit) || !wanted(&cursor.query, &commit) {
                continue;
            }
            if let Some(batch) = cursor.batches.push(commit) {
                if cursor.batches.is_done() {
                    cursor.chunk = None;
                }
                return Some((Ok(batch), cursor));
            }
        }
        let rest = cursor.batches.take();
        (!rest.is_empty()).then_some((Ok(rest), cursor))
    };
    Box::pin(stream::unfold(cursor, next).fuse())
}

/// Whether a commit that lies within the bounds of a query is wanted.
pub(super) fn wanted(query: &AllQuery, commit: &RecordedCommit) -> bool {
    if commit.event_count() == 0 {
        query.eventless && query.filter.is_open()
    } else {
        query.filter.passes(commit)
    }
}

/// Whether a commit lies behind the last one wanted.
pub(super) fn is_behind(query: &AllQuery, end: &LogEnd, commit: &RecordedCommit) -> bool {
    commit.log_offset() >= end.offset || commit.first_position() > query.to
}

impl LogView {
    pub(crate) fn reader(&self) -> FrameReader {
        FrameReader::new(self.storage.clone(), self.segments.clone(), self.end.offset)
    }

    /// Whether a segment has no frames, and so no footer: the first frame it got was too long for it.
    pub(super) fn is_empty(&self, segment: &Segment) -> bool {
        let base = segment.header.base_offset;
        let behind = |other: &Arc<Segment>| other.header.base_offset <= base;
        let after = self.segments.partition_point(behind);
        let last = after.checked_sub(1).and_then(|at| self.segments.get(at));
        last.is_some_and(|last| last.header.number != segment.header.number)
    }
}
