//! The fixed front of a frame.

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use uuid::Uuid;

use super::varint::Cursor;

/// Bytes before a frame's body.
pub const HEADER_BYTES: usize = 56;
/// The only frame version so far.
pub const FRAME_VERSION: u8 = 1;

/// The fixed front of a frame. All numbers are little-endian.
///
/// For every version of the format: bytes 0..4 are the length, 4..8 the checksum over all but itself, and
/// byte 12 the version. Byte 13 has a bit for each feature that a reader must know (none so far), byte 14
/// one for each that it may ignore, byte 15 is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the whole frame, this header included.
    pub length: u32,
    /// CRC32C over `length` and everything after this field.
    pub checksum: u32,
    /// The checksum of the frame before; 0 for the first frame of a log.
    pub previous_checksum: u32,
    /// The number of this commit.
    pub sequence: LogSequence,
    /// The position of its first event; without events, the position the next event will get.
    pub first_position: GlobalPosition,
    /// When it was accepted; never before that of the frame before.
    pub timestamp: Timestamp,
    /// The id of the commit: that of its command or effect.
    pub commit_id: Uuid,
}

impl FrameHeader {
    /// Reads the fields; `None` if there are too few bytes, the version is not [`FRAME_VERSION`], or a
    /// feature is set that a reader must know and this one does not.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let length = u32::from_le_bytes(cursor.array()?);
        let checksum = u32::from_le_bytes(cursor.array()?);
        let previous_checksum = u32::from_le_bytes(cursor.array()?);
        let [version, required, _ignorable, zero] = cursor.array()?;
        let header = Self {
            length,
            checksum,
            previous_checksum,
            sequence: LogSequence::new(u64::from_le_bytes(cursor.array()?)),
            first_position: GlobalPosition::new(u64::from_le_bytes(cursor.array()?)),
            timestamp: Timestamp::from_micros(u64::from_le_bytes(cursor.array()?)),
            commit_id: Uuid::from_bytes(cursor.array()?),
        };
        (version == FRAME_VERSION && required == 0 && zero == 0).then_some(header)
    }

    /// Appends the header with `length` and `checksum` as zeros, to be filled in by [`seal`].
    pub(super) fn write_open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.previous_checksum.to_le_bytes());
        out.extend_from_slice(&[FRAME_VERSION, 0, 0, 0]);
        out.extend_from_slice(&self.sequence.get().to_le_bytes());
        out.extend_from_slice(&self.first_position.get().to_le_bytes());
        out.extend_from_slice(&self.timestamp.as_micros().to_le_bytes());
        out.extend_from_slice(self.commit_id.as_bytes());
    }
}

/// The checksum of a whole frame's bytes: CRC32C over bytes 0..4 and 8.. of it.
pub(super) fn checksum(frame: &[u8]) -> Option<u32> {
    let crc = crc32c::crc32c(frame.get(..4)?);
    Some(crc32c::crc32c_append(crc, frame.get(8..)?))
}

/// Fills in length and checksum of a frame that ends the buffer and starts at `start`.
pub(super) fn seal(out: &mut [u8], start: usize) -> Option<u32> {
    let frame = out.get_mut(start..)?;
    let length = u32::try_from(frame.len()).ok()?;
    frame.get_mut(..4)?.copy_from_slice(&length.to_le_bytes());
    let crc = checksum(frame)?;
    frame.get_mut(4..8)?.copy_from_slice(&crc.to_le_bytes());
    Some(crc)
}
