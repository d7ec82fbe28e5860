//! The segment that is written to, how a new one is begun, and how one is sealed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use uuid::Uuid;

use crate::journal::disk::{OpenMode, Storage, StorageFile};
use crate::journal::marker::LogEnd;
use crate::journal::segment::{
    SEGMENT_HEADER_BYTES, SealBuilder, Segment, SegmentHeader, SparseEntry, file_name,
};

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub segment: Arc<Segment>,
    pub file: Arc<dyn StorageFile>,
    pub builder: SealBuilder,
    /// How long the file was made, and may become before the next segment is begun.
    pub file_bytes: u64,
}

/// A segment that takes no more frames and waits for its footer.
#[derive(Debug)]
pub(crate) struct SealJob {
    pub segment: Arc<Segment>,
    pub file: Arc<dyn StorageFile>,
    pub builder: SealBuilder,
    pub end: LogEnd,
}

impl ActiveSegment {
    /// Whether a frame of `length` bytes at this log offset still fits.
    pub(crate) fn fits(&self, offset: u64, length: usize) -> bool {
        self.segment.file_offset(offset) + length as u64 <= self.file_bytes
    }

    /// Whether the file is still where it was opened, and nobody has cut it.
    pub(crate) fn is_whole(&self) -> io::Result<bool> {
        let path = &self.segment.path;
        self.file.is_whole_at(path, self.file_bytes)
    }

    /// Makes the beginning of the segment and its name durable.
    pub(super) fn make_durable(&self, storage: &dyn Storage, folder: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        storage.sync_folder(folder)
    }

    /// Notes a frame for the footer.
    pub(crate) fn note(&mut self, entry: SparseEntry, stream_hashes: impl Iterator<Item = u64>) {
        for hash in stream_hashes {
            self.builder.stream(hash, entry.offset);
        }
        if let Some(entry) = self.builder.frame(entry)
            && let Some(sparse) = self.segment.unsealed_sparse.lock().as_mut()
        {
            sparse.push(entry);
        }
    }

    /// Ends the segment at this point.
    pub(crate) fn into_seal(self, end: LogEnd) -> SealJob {
        SealJob {
            segment: self.segment,
            file: self.file,
            builder: self.builder,
            end,
        }
    }
}

/// Creates the segment that follows `end`, with room for `file_bytes`, and makes it durable if asked to.
pub(crate) fn create_segment(
    storage: &dyn Storage,
    folder: &Path,
    store_id: Uuid,
    number: u64,
    end: &LogEnd,
    file_bytes: u64,
    durable: bool,
) -> io::Result<ActiveSegment> {
    let segment = lay_out_segment(storage, folder, store_id, number, end, file_bytes)?;
    if durable {
        segment.make_durable(storage, folder)?;
    }
    Ok(segment)
}

/// The same, without a sync: after a failure nothing has happened that the log knows of.
pub(super) fn lay_out_segment(
    storage: &dyn Storage,
    folder: &Path,
    store_id: Uuid,
    number: u64,
    end: &LogEnd,
    file_bytes: u64,
) -> io::Result<ActiveSegment> {
    let header = SegmentHeader::following(number, store_id, end);
    let file_bytes = file_bytes.max(SEGMENT_HEADER_BYTES);
    let file = storage.open(&folder.join(file_name(number)), OpenMode::Create)?;
    file.preallocate(file_bytes)?;
    file.write_at(&header.to_bytes(), 0)?;
    let segment = Segment::new(folder, header, Some(Vec::new()));
    Ok(ActiveSegment {
        segment: Arc::new(segment),
        file,
        builder: SealBuilder::new(end.offset),
        file_bytes,
    })
}

/// Whether a failure to lay out a segment may pass by itself: there was no descriptor, no room or no memory for it.
pub(super) fn may_pass(error: &io::Error) -> bool {
    let of_kind = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory
    );
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let of_number = matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::DQUOT | Errno::AGAIN | Errno::INTR)
    );
    of_kind || of_number
}

/// Writes the footer of a segment behind its frames, gives back what was reserved beyond, and syncs.
/// A segment without frames gets no footer.
pub(crate) fn seal(job: SealJob, store_id: Uuid) -> io::Result<()> {
    let frames_end = job.segment.file_offset(job.end.offset);
    if job.end.offset == job.segment.header.base_offset {
        job.file.truncate(frames_end)?;
        job.file.sync_data()?;
        *job.segment.unsealed_sparse.lock() = None;
        return Ok(());
    }
    let footer = job.builder.finish(store_id, job.end).to_bytes();
    // First everything behind the frames goes, so that no bytes of another time lie between them and the end.
    job.file.truncate(frames_end)?;
    job.file.write_at(&footer, frames_end)?;
    job.file.sync_data()?;
    *job.segment.unsealed_sparse.lock() = None;
    Ok(())
}
