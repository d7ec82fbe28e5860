//! The commits of the whole log, from memory where they are recent and from the segments where not.

use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use futures::{StreamExt, stream};

use super::batches::Batches;
use super::blocking::{BatchSender, stream_batches};
use super::frames::FrameReader;
use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::marker::LogEnd;
use crate::journal::memory::{Chunk, Tail};
use crate::journal::segment::{Segment, Segments, SparseEntry, Trailer};
use crate::query::{AllQuery, CommitStream, Direction, Start, StreamQuery};

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
        return stream_batches(move |sender| backward(&query, &view, sender));
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
        None => stream_batches(move |sender| forward(&query, &view, sender)),
    }
}

/// Whether a place lies before the start of a query by its beginning. The last such place can reach into it.
fn is_before(start: Start, sequence: LogSequence, first: GlobalPosition, at: Timestamp) -> bool {
    match start {
        Start::Position(wanted) => first < wanted,
        Start::Sequence(wanted) => sequence < wanted,
        Start::Time(wanted) => at < wanted,
    }
}

/// Whether a commit lies wholly before the start of a query.
fn ends_before(start: Start, commit: &RecordedCommit) -> bool {
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
fn wanted(query: &AllQuery, commit: &RecordedCommit) -> bool {
    if commit.event_count() == 0 {
        query.eventless && query.filter.is_open()
    } else {
        query.filter.passes(commit)
    }
}

/// Whether a commit lies behind the last one wanted.
fn is_behind(query: &AllQuery, end: &LogEnd, commit: &RecordedCommit) -> bool {
    commit.log_offset() >= end.offset || commit.first_position() > query.to
}

fn forward(query: &AllQuery, view: &LogView, sender: &BatchSender) -> Result<(), ReadError> {
    let mut reader = view.reader();
    let mut batches = Batches::new(query.commits_max);
    let mut offset = first_offset(query, view, &reader)?;
    while offset < view.end.offset {
        let commit = reader.commit_at(offset)?;
        if is_behind(query, &view.end, &commit) {
            break;
        }
        offset += commit.as_bytes().len() as u64;
        if ends_before(query.start, &commit) || !wanted(query, &commit) {
            continue;
        }
        if let Some(batch) = batches.push(commit)
            && !sender.send(batch)
        {
            return Ok(());
        }
        if batches.is_done() {
            return Ok(());
        }
    }
    sender.send(batches.take());
    Ok(())
}

/// The log offset of a frame at or before the first one wanted.
fn first_offset(query: &AllQuery, view: &LogView, reader: &FrameReader) -> Result<u64, ReadError> {
    let segments = &view.segments;
    let after = segments.partition_point(|segment| {
        let header = &segment.header;
        let (first, at) = (header.first_position, header.previous_timestamp);
        is_before(query.start, header.first_sequence, first, at)
    });
    let Some(segment) = segments.get(after.saturating_sub(1)) else {
        return Ok(view.end.offset);
    };
    let sparse = sparse_of(view, segment, reader)?;
    let after = sparse.partition_point(|entry| {
        let (first, at) = (entry.first_position, entry.timestamp);
        is_before(query.start, entry.sequence, first, at)
    });
    let entry = sparse.get(after.saturating_sub(1));
    Ok(entry.map_or(segment.header.base_offset, |entry| entry.offset))
}

/// The log offset of the commit up to which a query of a stream reads, if it is one of that stream.
pub(crate) fn offset_in_stream(
    view: &LogView,
    reader: &mut FrameReader,
    query: &StreamQuery,
) -> Result<Option<u64>, ReadError> {
    let start = AllQuery::from(Start::Sequence(query.until));
    let mut offset = first_offset(&start, view, reader)?;
    while offset < view.end.offset {
        let commit = reader.commit_at(offset)?;
        if commit.sequence() >= query.until {
            let key = query.stream.key();
            let is_in_it = commit.parts().any(|part| part.stream_key() == key);
            return Ok((is_in_it && commit.sequence() == query.until).then_some(offset));
        }
        offset += commit.as_bytes().len() as u64;
    }
    Ok(None)
}

/// Frames are linked by streams only, so the log is read backwards in the stretches of the sparse index,
/// each forward and then turned round.
fn backward(query: &AllQuery, view: &LogView, sender: &BatchSender) -> Result<(), ReadError> {
    let mut reader = view.reader();
    let mut batches = Batches::new(query.commits_max);
    let mut until = view.end.offset;
    for segment in view.segments.iter().rev() {
        let sparse = sparse_of(view, segment, &reader)?;
        let base = segment.header.base_offset;
        let starts = sparse
            .iter()
            .rev()
            .map(|entry| (entry.offset, entry.first_position));
        let starts = starts.filter(|(offset, _)| *offset > base);
        for (start, first_position) in starts.chain([(base, segment.header.first_position)]) {
            if start >= until {
                continue;
            }
            let stretch = start..until;
            until = start;
            if first_position > query.to {
                continue;
            }
            let (commits, reached) = read_stretch(query, view, &mut reader, stretch)?;
            for commit in commits.into_iter().rev() {
                if let Some(batch) = batches.push(commit)
                    && !sender.send(batch)
                {
                    return Ok(());
                }
                if batches.is_done() {
                    return Ok(());
                }
            }
            if reached {
                sender.send(batches.take());
                return Ok(());
            }
        }
    }
    sender.send(batches.take());
    Ok(())
}

/// The wanted commits of a stretch, and whether it reaches what lies before the start.
fn read_stretch(
    query: &AllQuery,
    view: &LogView,
    reader: &mut FrameReader,
    stretch: std::ops::Range<u64>,
) -> Result<(Vec<RecordedCommit>, bool), ReadError> {
    let (mut commits, mut reached) = (Vec::new(), false);
    let mut offset = stretch.start;
    while offset < stretch.end {
        let commit = reader.commit_at(offset)?;
        offset += commit.as_bytes().len() as u64;
        if ends_before(query.start, &commit) {
            reached = true;
        } else if is_behind(query, &view.end, &commit) {
            break;
        } else if wanted(query, &commit) {
            commits.push(commit);
        }
    }
    Ok((commits, reached))
}

/// The sparse index of a segment, from memory or from its footer.
fn sparse_of(
    view: &LogView,
    segment: &Segment,
    reader: &FrameReader,
) -> Result<Vec<SparseEntry>, ReadError> {
    if let Some(sparse) = segment.unsealed_sparse.lock().as_ref() {
        return Ok(sparse.clone());
    }
    if view.is_empty(segment) {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Option<Vec<SparseEntry>>> {
        let file = view.storage.open(&segment.path, OpenMode::Read)?;
        let length = file.len()?;
        match Trailer::read(file.as_ref(), length)? {
            Some(trailer) => trailer.read_sparse(file.as_ref(), length),
            None => Ok(None),
        }
    };
    let found = read().map_err(|error| ReadError::Io {
        operation: format!("reading the footer of {}", segment.path.display()).into(),
        source: Arc::new(error),
    })?;
    found.ok_or_else(|| {
        let reason = "its footer is damaged; opening the store again rebuilds it".to_owned();
        reader.damaged(segment.header.base_offset, reason)
    })
}

impl LogView {
    pub(crate) fn reader(&self) -> FrameReader {
        FrameReader::new(self.storage.clone(), self.segments.clone(), self.end.offset)
    }

    /// Whether a segment has no frames, and so no footer: the first frame it got was too long for it.
    fn is_empty(&self, segment: &Segment) -> bool {
        let base = segment.header.base_offset;
        let behind = |other: &Arc<Segment>| other.header.base_offset <= base;
        let after = self.segments.partition_point(behind);
        let last = after.checked_sub(1).and_then(|at| self.segments.get(at));
        last.is_some_and(|last| last.header.number != segment.header.number)
    }
}
