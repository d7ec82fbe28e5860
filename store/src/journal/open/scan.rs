//! Reading frames one after the other, each checked against the one before.

use crate::error::ReadError;
use crate::frame::{FrameError, RecordedCommit};
use crate::journal::marker::LogEnd;
use crate::journal::read::FrameReader;
use crate::journal::segment::{SealBuilder, SparseEntry, stream_hash};

/// Why a scan came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It reached the offset it was to go to.
    Reached,
    /// Nothing was ever written here.
    Absent,
    /// The bytes are no frame, or not one that follows.
    Wrong {
        reason: String,
        /// Whether a write that was cut short can leave this behind.
        can_be_torn: bool,
    },
}

/// Reads on from `end` until `to`, and moves `end` behind each frame.
pub(crate) fn scan(
    reader: &mut FrameReader,
    end: &mut LogEnd,
    to: u64,
    mut visit: impl FnMut(&RecordedCommit),
) -> Result<Stop, ReadError> {
    while end.offset < to {
        let commit = match reader.frame_at(end.offset)? {
            Ok(commit) => commit,
            Err(FrameError::Absent) => return Ok(Stop::Absent),
            Err(wrong) => {
                return Ok(Stop::Wrong {
                    reason: wrong.to_string(),
                    can_be_torn: wrong.can_be_torn(),
                });
            }
        };
        if let Err(reason) = follows(&commit, end) {
            return Ok(Stop::Wrong {
                reason: reason.to_owned(),
                can_be_torn: true,
            });
        }
        visit(&commit);
        *end = LogEnd::after(&commit);
    }
    Ok(Stop::Reached)
}

/// Notes a commit for the footer of its segment.
pub(crate) fn note(builder: &mut SealBuilder, commit: &RecordedCommit) {
    for part in commit.parts() {
        builder.stream(stream_hash(part.stream_key()), commit.log_offset());
    }
    builder.frame(SparseEntry {
        offset: commit.log_offset(),
        sequence: commit.sequence(),
        first_position: commit.first_position(),
        timestamp: commit.timestamp(),
    });
}

/// Whether a commit is the one after `end`.
pub(crate) fn follows(commit: &RecordedCommit, end: &LogEnd) -> Result<(), &'static str> {
    if commit.header().previous_checksum != end.checksum {
        Err("the frame does not follow the one before: it names another checksum")
    } else if commit.sequence() != end.sequence.next() {
        Err("the frame does not follow the one before: its number is another")
    } else if commit.first_position() != end.position.next() {
        Err("the frame does not follow the one before: its position is another")
    } else if commit.timestamp() < end.timestamp {
        Err("the frame does not follow the one before: its time is earlier")
    } else {
        Ok(())
    }
}
