//! Reading frames one after the other, each checked against the one before.

use crate::error::ReadError;
use crate::frame::{CheckedFrame, FrameError, RecordedCommit};
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
    walk(
        end,
        to,
        |at| reader.frame_at(at),
        RecordedCommit::frame,
        &mut visit,
    )
}

/// The same where nobody wants to see the commits: nothing of them is kept.
pub(crate) fn scan_frames(
    reader: &mut FrameReader,
    end: &mut LogEnd,
    to: u64,
) -> Result<Stop, ReadError> {
    walk(
        end,
        to,
        |at| reader.check_at(at),
        |frame| frame,
        &mut |_| {},
    )
}

fn walk<F>(
    end: &mut LogEnd,
    to: u64,
    mut frame_at: impl FnMut(u64) -> Result<Result<F, FrameError>, ReadError>,
    checked: impl Fn(&F) -> &CheckedFrame,
    visit: &mut impl FnMut(&F),
) -> Result<Stop, ReadError> {
    while end.offset < to {
        let found = match frame_at(end.offset)? {
            Ok(found) => found,
            Err(FrameError::Absent) => return Ok(Stop::Absent),
            Err(wrong) => {
                return Ok(Stop::Wrong {
                    reason: wrong.to_string(),
                    can_be_torn: wrong.can_be_torn(),
                });
            }
        };
        let frame = checked(&found);
        if let Err(reason) = follows(frame, end) {
            return Ok(Stop::Wrong {
                reason: reason.to_owned(),
                can_be_torn: true,
            });
        }
        let next = LogEnd::after(frame);
        visit(&found);
        *end = next;
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

/// Whether a frame is the one after `end`.
pub(crate) fn follows(frame: &CheckedFrame, end: &LogEnd) -> Result<(), &'static str> {
    let header = &frame.header;
    if header.previous_checksum != end.checksum {
        Err("the frame does not follow the one before: it names another checksum")
    } else if header.sequence != end.sequence.next() {
        Err("the frame does not follow the one before: its number is another")
    } else if header.first_position != end.position.next() {
        Err("the frame does not follow the one before: its position is another")
    } else if header.timestamp < end.timestamp {
        Err("the frame does not follow the one before: its time is earlier")
    } else {
        Ok(())
    }
}
