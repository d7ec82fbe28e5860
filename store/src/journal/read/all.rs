//! The commits of the whole log, from memory where they are recent and from the segments where not.

use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use futures::{StreamExt, stream};

use super::blocking::stream_batches;
use super::frames::FrameReader;
use super::recent::{Recent, RecentScan};
use super::scan::{BackwardScan, ForwardScan};
use crate::frame::RecordedCommit;
use crate::journal::disk::Storage;
use crate::journal::marker::LogEnd;
use crate::journal::segment::{Segment, Segments};
use crate::journal::shared::Shared;
use crate::query::{AllQuery, CommitStream, Direction, Start};

/// Where everything is that a read of the whole log needs, as of its beginning.
#[derive(Debug)]
pub(crate) struct LogView {
    pub storage: Arc<dyn Storage>,
    pub segments: Segments,
    pub end: LogEnd,
}

/// Reads the log up to its durable end.
pub(crate) fn read_all(query: AllQuery, shared: &Shared) -> CommitStream {
    let (view, budget) = (shared.view(), Arc::clone(&shared.read_budget));
    if query.commits_max == 0 || view.end.sequence == LogSequence::ZERO {
        return Box::pin(stream::empty());
    }
    if query.direction == Direction::Backward {
        return stream_batches(false, budget, move || {
            Ok(Some(BackwardScan::new(query, view)))
        });
    }
    match RecentScan::new(&query, shared) {
        Some(scan) => read_recent(scan, query, view),
        None => stream_batches(false, budget, move || {
            Ok(Some(ForwardScan::new(query, view)))
        }),
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

/// Reads what is in memory, and from the segments what has left it before the consumer came so far.
fn read_recent(scan: RecentScan, query: AllQuery, view: LogView) -> CommitStream {
    enum Reading {
        Memory(Box<(RecentScan, AllQuery, LogView)>),
        Segments(CommitStream),
    }
    let next = |mut reading: Reading| async move {
        loop {
            reading = match reading {
                Reading::Memory(mut memory) => {
                    let (scan, query, view) = &mut *memory;
                    match scan.read(query, view) {
                        Recent::Batch(batch) => return Some((batch, Reading::Memory(memory))),
                        Recent::End => return None,
                        Recent::Gone => Reading::Segments(read_on(*memory)),
                    }
                }
                Reading::Segments(mut segments) => {
                    let batch = segments.next().await?;
                    return Some((batch, Reading::Segments(segments)));
                }
            }
        }
    };
    let memory = Reading::Memory(Box::new((scan, query, view)));
    Box::pin(stream::unfold(memory, next).fuse())
}

/// Goes on in the segments where a scan in memory has come to.
fn read_on((scan, mut query, view): (RecentScan, AllQuery, LogView)) -> CommitStream {
    query.commits_max = scan.batches.left();
    let at = scan.offset;
    stream_batches(false, scan.budget, move || {
        Ok(Some(ForwardScan::at(at, query, view)))
    })
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
