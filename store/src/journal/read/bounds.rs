//! Where a query over the whole log begins and ends, and what it wants in between.

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};

use crate::frame::RecordedCommit;
use crate::journal::marker::LogEnd;
use crate::query::{AllQuery, Start};

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

/// Whether a commit that lies within the bounds of a query is wanted.
pub(super) fn wanted(query: &AllQuery, commit: &RecordedCommit) -> bool {
    if commit.event_count() == 0 {
        query.eventless && query.filter.is_open()
    } else {
        query.filter.passes(commit)
    }
}

/// True if a commit comes after the last one wanted.
pub(super) fn is_behind(query: &AllQuery, end: &LogEnd, commit: &RecordedCommit) -> bool {
    commit.log_offset() >= end.offset || commit.first_position() > query.to
}
