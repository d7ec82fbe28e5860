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
    #[inline(always)]
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
#[inline]
pub(super) fn checksum(frame: &[u8]) -> Option<u32> {
    let length = frame.first_chunk::<4>()?;
    Some(crc32c::crc32c_append(
        checksum_of_four(*length),
        frame.get(8..)?,
    ))
}

/// What [`crc32c::crc32c`] gives for four bytes, without the cost of its setting out: that of a hundred bytes more.
#[inline]
fn checksum_of_four(bytes: [u8; 4]) -> u32 {
    let [a, b, c, d] = (!u32::from_le_bytes(bytes)).to_le_bytes();
    let [of_a, of_b, of_c, of_d] = &FOUR_BYTES;
    !(of_a[usize::from(a)] ^ of_b[usize::from(b)] ^ of_c[usize::from(c)] ^ of_d[usize::from(d)])
}

/// The remainders of each value of each of four bytes, by the reflected Castagnoli polynomial (RFC 3720, 12.1).
static FOUR_BYTES: [[u32; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut value = 0;
    while value < 256 {
        let mut remainder = value as u32;
        let mut table = 4;
        while table > 0 {
            table -= 1;
            let mut bit = 0;
            while bit < 8 {
                let odd = remainder & 1 == 1;
                remainder = (remainder >> 1) ^ if odd { 0x82f6_3b78 } else { 0 };
                bit += 1;
            }
            tables[table][value] = remainder;
        }
        value += 1;
    }
    tables
};

/// Fills in length and checksum of a frame that ends the buffer and starts at `start`.
pub(super) fn seal(out: &mut [u8], start: usize) -> Option<u32> {
    let frame = out.get_mut(start..)?;
    let length = u32::try_from(frame.len()).ok()?;
    frame.get_mut(..4)?.copy_from_slice(&length.to_le_bytes());
    let crc = checksum(frame)?;
    frame.get_mut(4..8)?.copy_from_slice(&crc.to_le_bytes());
    Some(crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_have_the_checksum_that_the_library_gives_them() {
        let numbers = (0..70_000_u32).chain((0..32).map(|bit| 1 << bit));
        for number in numbers.chain([u32::MAX, 0xdead_beef]) {
            let bytes = number.to_le_bytes();
            assert_eq!(checksum_of_four(bytes), crc32c::crc32c(&bytes), "{number}");
        }
    }
}
