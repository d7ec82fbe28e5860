//! A segment file that is written from its beginning to its end, with the checksum of the whole file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::frame::RecordedCommit;
use crate::journal::disk::{OpenMode, Storage, StorageFile};
use crate::journal::marker::LogEnd;
use crate::journal::open::note;
use crate::journal::segment::{SealBuilder, SegmentHeader};

/// How much is written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// A segment file that nobody reads yet.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    file: Arc<dyn StorageFile>,
    header: SegmentHeader,
    builder: SealBuilder,
    buffer: Vec<u8>,
    written: Fingerprint,
}

/// Length and CRC-32C of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub bytes: u64,
    pub checksum: u32,
}

impl SegmentWriter {
    /// Creates the file, or empties the one that is there.
    pub(super) fn create(
        storage: &dyn Storage,
        path: &Path,
        header: SegmentHeader,
    ) -> io::Result<Self> {
        Ok(Self {
            file: storage.open(path, OpenMode::Create)?,
            header,
            builder: SealBuilder::new(header.base_offset),
            buffer: header.to_bytes(),
            written: Fingerprint::default(),
        })
    }

    /// How long the file is so far.
    pub(super) fn bytes(&self) -> u64 {
        self.written.bytes + self.buffer.len() as u64
    }

    /// Where its first frame lies in the log.
    pub(super) fn base_offset(&self) -> u64 {
        self.header.base_offset
    }

    /// Adds a commit, which must be the next one.
    pub(super) fn push(&mut self, commit: &RecordedCommit) -> io::Result<()> {
        note(&mut self.builder, commit);
        self.buffer.extend_from_slice(commit.as_bytes());
        if self.buffer.len() < BLOCK_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// Ends the file behind the last commit, with a footer if the log goes on in another segment, and syncs it.
    pub(super) fn finish(mut self, end: &LogEnd, goes_on: bool) -> io::Result<Fingerprint> {
        // A segment without frames has no footer.
        if goes_on && end.offset > self.header.base_offset {
            let builder = std::mem::take(&mut self.builder);
            let footer = builder.finish(self.header.store_id, *end);
            self.buffer.extend_from_slice(&footer.to_bytes());
        }
        self.write()?;
        self.file.sync_data()?;
        Ok(self.written)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written.bytes)?;
        self.written = self.written.with(&self.buffer);
        self.buffer.clear();
        Ok(())
    }
}

impl Fingerprint {
    /// Of a file as it lies there.
    pub(super) fn of(storage: &dyn Storage, path: &Path) -> io::Result<Self> {
        let file = storage.open(path, OpenMode::Read)?;
        let (mut found, mut block) = (Self::default(), vec![0; BLOCK_BYTES]);
        loop {
            let read = file.read_at(&mut block, found.bytes)?;
            found = found.with(block.get(..read).unwrap_or_default());
            if read < BLOCK_BYTES {
                return Ok(found);
            }
        }
    }

    fn with(self, bytes: &[u8]) -> Self {
        Self {
            bytes: self.bytes + bytes.len() as u64,
            checksum: crc32c::crc32c_append(self.checksum, bytes),
        }
    }
}
