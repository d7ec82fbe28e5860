//! The fixed front of a segment file: whose it is, and what lies before it.

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use uuid::Uuid;

use crate::frame::varint::Cursor;
use crate::journal::marker::LogEnd;

/// Bytes before the first frame: a block of its own, so that no write of frames touches the header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4_096;
const MAGIC: &[u8; 8] = b"CHRNSEGM";
const FORMAT: u32 = 1;
const CHECKSUM_AT: usize = SEGMENT_HEADER_BYTES as usize - 4;

/// The fixed front of a segment file. Written once, before the first frame, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// 1, 2, 3 …, also the name of the file.
    pub number: u64,
    pub store_id: Uuid,
    /// The log offset of its first frame: where its predecessor ends.
    pub base_offset: u64,
    /// What its first frame has.
    pub first_sequence: LogSequence,
    pub first_position: GlobalPosition,
    /// The last frame before it: its checksum and time; both zero in the first segment.
    pub previous_checksum: u32,
    pub previous_timestamp: Timestamp,
}

impl SegmentHeader {
    /// Of the segment that begins where the log ends.
    pub(crate) fn following(number: u64, store_id: Uuid, end: &LogEnd) -> Self {
        Self {
            number,
            store_id,
            base_offset: end.offset,
            first_sequence: end.sequence.next(),
            first_position: end.position.next(),
            previous_checksum: end.checksum,
            previous_timestamp: end.timestamp,
        }
    }

    /// The end of the log before this segment, as far as the header says: not where its last frame begins.
    pub(crate) fn end_before(&self) -> LogEnd {
        LogEnd {
            sequence: self.first_sequence.previous(),
            position: self.first_position.previous(),
            timestamp: self.previous_timestamp,
            last_offset: 0,
            checksum: self.previous_checksum,
            offset: self.base_offset,
        }
    }

    /// The whole block.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&(SEGMENT_HEADER_BYTES as u32).to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.first_sequence.get().to_le_bytes());
        out.extend_from_slice(&self.first_position.get().to_le_bytes());
        out.extend_from_slice(&self.previous_timestamp.as_micros().to_le_bytes());
        out.extend_from_slice(&self.previous_checksum.to_le_bytes());
        out.resize(CHECKSUM_AT, 0);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the block; what is wrong with it if it is not one.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let (covered, checksum) = bytes
            .get(..SEGMENT_HEADER_BYTES as usize)
            .and_then(|block| block.split_last_chunk::<4>())
            .ok_or("the segment header is cut short")?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
            return Err("the checksum of the segment header is wrong");
        }
        Self::fields(covered).ok_or("the segment header is of another format")
    }

    fn fields(covered: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(covered);
        let magic: [u8; 8] = cursor.array()?;
        let format = u32::from_le_bytes(cursor.array()?);
        let size = u32::from_le_bytes(cursor.array()?);
        if &magic != MAGIC || format != FORMAT || u64::from(size) != SEGMENT_HEADER_BYTES {
            return None;
        }
        let number = u64::from_le_bytes(cursor.array()?);
        let store_id = Uuid::from_bytes(cursor.array()?);
        let mut next = || cursor.array().map(u64::from_le_bytes);
        Some(Self {
            number,
            store_id,
            base_offset: next()?,
            first_sequence: LogSequence::new(next()?),
            first_position: GlobalPosition::new(next()?),
            previous_timestamp: Timestamp::from_micros(next()?),
            previous_checksum: u32::from_le_bytes(cursor.array()?),
        })
    }
}
