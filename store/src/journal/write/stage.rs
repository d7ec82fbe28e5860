//! The batch being gathered: frames that were accepted and are not written yet, and who waits for them.

use bytes::Bytes;
use chronicler_domain::StreamVersion;

use super::answer::{Answer, Barrier};
use super::search::Search;
use crate::append::{Append, Appended};
use crate::error::AppendError;
use crate::frame::{FramePlace, encode};
use crate::journal::marker::LogEnd;
use crate::journal::memory::{Chunk, Room};

/// Who is answered when the batch is durable.
pub(crate) enum Waiting {
    Append {
        appended: Appended,
        /// Whether this is the answer even if the batch fails: nothing in it depends on what is staged.
        is_certain: bool,
        done: Answer,
    },
    /// Refused because of something staged. Told before that is durable, the refusal would speak of what may
    /// never have been.
    Refusal(AppendError, Answer),
    /// Refused, unless its original is found further back.
    Search(Box<Search>),
    Barrier(Barrier),
}

/// Frames that were accepted and are not written yet.
#[derive(Default)]
pub(crate) struct Stage {
    /// The end of the log once everything here is durable.
    pub end: LogEnd,
    /// The frames, one behind the other.
    pub frames: Vec<u8>,
    starts: Vec<u32>,
    pub waiting: Vec<Waiting>,
    room: Option<Room>,
}

/// A frame that was encoded at the end of the stage and not accepted yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    pub start: usize,
    pub length: usize,
    pub end: LogEnd,
}

impl Stage {
    pub(crate) fn new(end: LogEnd) -> Self {
        Self {
            end,
            ..Self::default()
        }
    }

    /// The log offset of the first staged frame.
    pub(crate) fn base(&self) -> u64 {
        self.end.offset - self.frames.len() as u64
    }

    pub(crate) fn commits(&self) -> usize {
        self.starts.len()
    }

    /// Encodes the frame of an append behind the staged ones.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`]; then nothing was changed.
    pub(crate) fn encode(
        &mut self,
        append: &Append,
        parts: &[Option<(StreamVersion, Option<u64>)>],
        frame_bytes_max: u32,
    ) -> Result<Encoded, AppendError> {
        let start = self.frames.len();
        let timestamp = append.at.max(self.end.timestamp);
        let place = FramePlace {
            previous_checksum: self.end.checksum,
            sequence: self.end.sequence.next(),
            first_position: self.end.position.next(),
            timestamp,
            log_offset: self.end.offset,
            parts,
        };
        let checksum = encode(append, &place, &mut self.frames);
        let length = self.frames.len() - start;
        let (bytes, bytes_max) = (length as u64, u64::from(frame_bytes_max));
        let Some(checksum) = checksum.filter(|_| bytes <= bytes_max) else {
            self.frames.truncate(start);
            return Err(AppendError::TooLarge { bytes, bytes_max });
        };
        let events: u64 = append.parts.iter().map(|p| p.events.len() as u64).sum();
        Ok(Encoded {
            start,
            length,
            end: LogEnd {
                sequence: place.sequence,
                position: self.end.position.plus(events),
                timestamp,
                last_offset: self.end.offset,
                checksum,
                offset: self.end.offset + bytes,
            },
        })
    }

    /// Accepts the frame that was encoded last.
    pub(crate) fn accept(&mut self, encoded: Encoded) {
        self.starts.push(encoded.start as u32);
        self.end = encoded.end;
    }

    /// Takes out the frame that was encoded last, to be put in again behind a new segment's beginning: its
    /// bytes do not depend on the segment.
    pub(crate) fn take_out(&mut self, encoded: Encoded) -> Vec<u8> {
        self.frames.split_off(encoded.start)
    }

    /// Puts a frame in that was taken out; the stage is empty.
    pub(crate) fn put_in(&mut self, frame: Vec<u8>, encoded: Encoded) -> Encoded {
        self.frames = frame;
        Encoded {
            start: 0,
            ..encoded
        }
    }

    /// Takes the frames, to be kept in memory; the next batch is likely to be as long.
    pub(crate) fn take_chunk(&mut self) -> Chunk {
        let base_offset = self.base();
        let length = self.frames.len();
        let mut room = self.room.take().unwrap_or_default();
        // Memory counts what is in a chunk, so there may not be much more room than that.
        if !(length..=2 * length).contains(&room.frames.capacity()) {
            room.frames = Vec::with_capacity(length);
            room.starts = Vec::with_capacity(self.starts.len());
        }
        Chunk {
            base_offset,
            bytes: Bytes::from(std::mem::replace(&mut self.frames, room.frames)),
            starts: std::mem::replace(&mut self.starts, room.starts),
        }
    }

    /// Takes the room of a batch that memory has forgotten, for one of the next.
    pub(crate) fn reuse(&mut self, room: Room) {
        self.room = Some(room);
    }
}
