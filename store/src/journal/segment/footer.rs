//! The footer of a sealed segment: what reading it needs, found from the end of the file.

use std::io;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use uuid::Uuid;

use crate::Fnv;
use crate::frame::varint::Cursor;
use crate::journal::disk::StorageFile;
use crate::journal::marker::LogEnd;

/// The fixed end of a sealed file.
pub(crate) const TRAILER_BYTES: usize = 108;
const MAGIC: &[u8; 8] = b"CHRNSEAL";
const SPARSE_BYTES: usize = 32;
const STREAM_BYTES: usize = 16;

/// One of the frames, about every 64 KiB of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SparseEntry {
    pub offset: u64,
    pub sequence: LogSequence,
    pub first_position: GlobalPosition,
    pub timestamp: Timestamp,
}

/// Where a segment holds a stream: its first and its last frame there, counted from the segment's base.
/// Streams are named by a hash, so several can share an entry; the frames say which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamEntry {
    pub hash: u64,
    pub first: u32,
    pub last: u32,
}

/// The fixed end of a sealed file: where its frames end, and where its indexes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub store_id: Uuid,
    pub base_offset: u64,
    pub end: LogEnd,
    sparse_count: u32,
    stream_count: u32,
    sparse_checksum: u32,
    stream_checksum: u32,
}

/// Everything behind the frames of a sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub store_id: Uuid,
    pub base_offset: u64,
    pub end: LogEnd,
    pub sparse: Vec<SparseEntry>,
    /// Ascending.
    pub streams: Vec<StreamEntry>,
}

/// The hash of a stream's key in a stream index: 64-bit FNV-1a. On disk.
pub(crate) fn stream_hash(key: &str) -> u64 {
    Fnv::new().with(key.as_bytes()).value()
}

impl Footer {
    /// The bytes behind the frames, trailer last.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let sparse = self.sparse.len() * SPARSE_BYTES;
        let streams = self.streams.len() * STREAM_BYTES;
        let mut out = Vec::with_capacity(sparse + streams + TRAILER_BYTES);
        for entry in &self.sparse {
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.sequence.get().to_le_bytes());
            out.extend_from_slice(&entry.first_position.get().to_le_bytes());
            out.extend_from_slice(&entry.timestamp.as_micros().to_le_bytes());
        }
        for entry in &self.streams {
            out.extend_from_slice(&entry.hash.to_le_bytes());
            out.extend_from_slice(&entry.first.to_le_bytes());
            out.extend_from_slice(&entry.last.to_le_bytes());
        }
        let (sparse_bytes, stream_bytes) = out.split_at(sparse);
        let trailer = Trailer {
            store_id: self.store_id,
            base_offset: self.base_offset,
            end: self.end,
            sparse_count: self.sparse.len() as u32,
            stream_count: self.streams.len() as u32,
            sparse_checksum: crc32c::crc32c(sparse_bytes),
            stream_checksum: crc32c::crc32c(stream_bytes),
        };
        trailer.write(&mut out);
        out
    }

    /// Reads the footer of a file that ends at `file_bytes`; `None` if there is no whole one.
    pub(crate) fn read(file: &dyn StorageFile, file_bytes: u64) -> io::Result<Option<Self>> {
        let Some(trailer) = Trailer::read(file, file_bytes)? else {
            return Ok(None);
        };
        let sparse = trailer.read_sparse(file, file_bytes)?;
        let streams = trailer.read_streams(file, file_bytes)?;
        Ok(sparse.zip(streams).map(|(sparse, streams)| Self {
            store_id: trailer.store_id,
            base_offset: trailer.base_offset,
            end: trailer.end,
            sparse,
            streams,
        }))
    }
}

impl Trailer {
    /// Reads the trailer of a file that ends at `file_bytes`; `None` if there is no whole one.
    pub(crate) fn read(file: &dyn StorageFile, file_bytes: u64) -> io::Result<Option<Self>> {
        let Some(at) = file_bytes.checked_sub(TRAILER_BYTES as u64) else {
            return Ok(None);
        };
        let mut bytes = [0; TRAILER_BYTES];
        file.read_at(&mut bytes, at)?;
        Ok(Self::decode(&bytes))
    }

    /// The sparse index, ascending; `None` if its checksum is wrong.
    pub(crate) fn read_sparse(
        &self,
        file: &dyn StorageFile,
        file_bytes: u64,
    ) -> io::Result<Option<Vec<SparseEntry>>> {
        let behind = self.stream_bytes() + TRAILER_BYTES as u64;
        let bytes = read_behind(file, file_bytes, self.sparse_bytes(), behind)?;
        if crc32c::crc32c(&bytes) != self.sparse_checksum {
            return Ok(None);
        }
        let entry = |chunk: &[u8]| {
            let mut cursor = Cursor::new(chunk);
            let mut next = || cursor.array().map(u64::from_le_bytes);
            Some(SparseEntry {
                offset: next()?,
                sequence: LogSequence::new(next()?),
                first_position: GlobalPosition::new(next()?),
                timestamp: Timestamp::from_micros(next()?),
            })
        };
        Ok(bytes.chunks_exact(SPARSE_BYTES).map(entry).collect())
    }

    /// The stream index, ascending; `None` if its checksum is wrong.
    pub(crate) fn read_streams(
        &self,
        file: &dyn StorageFile,
        file_bytes: u64,
    ) -> io::Result<Option<Vec<StreamEntry>>> {
        let behind = TRAILER_BYTES as u64;
        let bytes = read_behind(file, file_bytes, self.stream_bytes(), behind)?;
        if crc32c::crc32c(&bytes) != self.stream_checksum {
            return Ok(None);
        }
        let entry = |chunk: &[u8]| {
            let mut cursor = Cursor::new(chunk);
            Some(StreamEntry {
                hash: u64::from_le_bytes(cursor.array()?),
                first: u32::from_le_bytes(cursor.array()?),
                last: u32::from_le_bytes(cursor.array()?),
            })
        };
        Ok(bytes.chunks_exact(STREAM_BYTES).map(entry).collect())
    }

    /// How many bytes lie behind the frames.
    pub(crate) fn footer_bytes(&self) -> u64 {
        self.sparse_bytes() + self.stream_bytes() + TRAILER_BYTES as u64
    }

    fn sparse_bytes(&self) -> u64 {
        u64::from(self.sparse_count) * SPARSE_BYTES as u64
    }

    fn stream_bytes(&self) -> u64 {
        u64::from(self.stream_count) * STREAM_BYTES as u64
    }

    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.store_id.as_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.end.sequence.get().to_le_bytes());
        out.extend_from_slice(&self.end.position.get().to_le_bytes());
        out.extend_from_slice(&self.end.timestamp.as_micros().to_le_bytes());
        out.extend_from_slice(&self.end.last_offset.to_le_bytes());
        out.extend_from_slice(&self.end.offset.to_le_bytes());
        out.extend_from_slice(&self.end.checksum.to_le_bytes());
        out.extend_from_slice(&self.sparse_count.to_le_bytes());
        out.extend_from_slice(&self.stream_count.to_le_bytes());
        out.extend_from_slice(&self.sparse_checksum.to_le_bytes());
        out.extend_from_slice(&self.stream_checksum.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[0; 8]);
        let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(MAGIC);
    }

    fn decode(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        let (covered, rest) = bytes.split_at_checked(TRAILER_BYTES - 12)?;
        let (checksum, magic) = rest.split_at_checked(4)?;
        let stored = u32::from_le_bytes(checksum.try_into().ok()?);
        if magic != MAGIC || stored != crc32c::crc32c(covered) {
            return None;
        }
        let mut cursor = Cursor::new(covered);
        let store_id = Uuid::from_bytes(cursor.array()?);
        let mut next = || cursor.array().map(u64::from_le_bytes);
        let base_offset = next()?;
        let sequence = LogSequence::new(next()?);
        let position = GlobalPosition::new(next()?);
        let timestamp = Timestamp::from_micros(next()?);
        let (last_offset, offset) = (next()?, next()?);
        let mut next = || cursor.array().map(u32::from_le_bytes);
        let checksum = next()?;
        Some(Self {
            store_id,
            base_offset,
            end: LogEnd {
                sequence,
                position,
                timestamp,
                last_offset,
                checksum,
                offset,
            },
            sparse_count: next()?,
            stream_count: next()?,
            sparse_checksum: next()?,
            stream_checksum: next()?,
        })
    }
}

/// Reads `count` bytes that end `behind` bytes before the end of the file; fewer if the file is shorter.
fn read_behind(
    file: &dyn StorageFile,
    file_bytes: u64,
    count: u64,
    behind: u64,
) -> io::Result<Vec<u8>> {
    let Some(at) = file_bytes.checked_sub(behind + count) else {
        return Ok(Vec::new());
    };
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
    let read = file.read_at(&mut bytes, at)?;
    bytes.truncate(read);
    Ok(bytes)
}
