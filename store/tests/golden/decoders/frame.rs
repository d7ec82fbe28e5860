//! Any bytes as a frame.

use bytes::Bytes;
use chronicler_store::RecordedCommit;
use chronicler_store::frame::HEADER_BYTES;

use super::look::look_at;

/// Reads a frame, and everything in it.
pub(crate) fn frame(bytes: &[u8]) -> bool {
    match RecordedCommit::parse(&Bytes::copy_from_slice(bytes), 0) {
        Ok(commit) => {
            look_at(&commit);
            true
        }
        Err(error) => {
            // What is wrong can be said.
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The same under the checksum that the bytes give: what faulty code could have written.
pub(crate) fn resealed_frame(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER_BYTES {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
    frame(&bytes)
}
