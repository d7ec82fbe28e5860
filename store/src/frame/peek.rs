//! The link of one stream in a frame, read without checking the frame: for walks that check it later.

use chronicler_domain::{LogSequence, StreamVersion};

use super::body::{RawMetadata, read_event, read_part};
use super::header::{FrameHeader, HEADER_BYTES};
use super::text::is_text;
use super::varint::Cursor;

/// What a frame says about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamLink {
    pub sequence: LogSequence,
    pub first_version: StreamVersion,
    pub event_count: u64,
    /// Where the frame with the stream's previous part begins.
    pub previous_offset: Option<u64>,
}

impl StreamLink {
    /// Reads the link of a stream from the frame at the front of `bytes`; `None` if it is not there. The
    /// checksum is not looked at, so everything in it may be wrong.
    pub(crate) fn peek(bytes: &[u8], log_offset: u64, stream_key: &str) -> Option<Self> {
        let header = FrameHeader::read(bytes)?;
        let mut cursor = Cursor::new(bytes.get(HEADER_BYTES..header.length as usize)?);
        RawMetadata::read(&mut cursor)?;
        for _ in 0..cursor.varint()? {
            let part = read_part(&mut cursor)?;
            if part.stream_key == stream_key.as_bytes() {
                return Some(Self {
                    sequence: header.sequence,
                    first_version: StreamVersion::new(part.first_version),
                    event_count: part.count,
                    previous_offset: match part.back {
                        0 => None,
                        back => Some(log_offset.checked_sub(back)?),
                    },
                });
            }
            for _ in 0..part.count {
                let event = read_event(&mut cursor)?;
                if !is_text(event.event_type) {
                    return None;
                }
            }
        }
        None
    }
}
