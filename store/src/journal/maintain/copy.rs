//! Copying the frames of a segment, each checked on the way.

use std::path::Path;
use std::sync::Arc;

use super::error::{MaintenanceError, io_failed};
use super::segment_writer::{Fingerprint, SegmentWriter};
use crate::error::ReadError;
use crate::journal::disk::Storage;
use crate::journal::marker::LogEnd;
use crate::journal::open::{Stop, begins_at, scan};
use crate::journal::read::FrameReader;
use crate::journal::segment::{SEGMENT_HEADER_BYTES, Segment, Segments};

/// How far long work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Bytes of the log that are done.
    pub bytes: u64,
    /// Bytes of the log there are.
    pub bytes_of: u64,
}

/// Told after each stretch of work.
pub(super) type OnProgress<'a> = &'a dyn Fn(CopyProgress);

/// What is told about progress at most: once for so many bytes.
const TOLD_EVERY_BYTES: u64 = 4 << 20;

/// One segment that is to be copied.
pub(super) struct SegmentCopy<'a> {
    pub storage: &'a Arc<dyn Storage>,
    pub segment: &'a Arc<Segment>,
    /// The log offset where its frames end.
    pub until: u64,
    /// Whether the log goes on in another segment: then the copy gets a footer.
    pub goes_on: bool,
    /// The last byte of the log, to tell how far this has come.
    pub log_bytes: u64,
    pub progress: OnProgress<'a>,
}

impl SegmentCopy<'_> {
    /// Copies it to a new file, synced, and moves `end` behind its last frame. The footer is made again from the
    /// frames, so that the copy does not depend on the one that is there.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] names what is wrong with the segment and where.
    pub(super) fn copy(
        &self,
        end: &mut LogEnd,
        to: &Path,
    ) -> Result<Fingerprint, MaintenanceError> {
        let header = self.segment.header;
        begins_at(&header, end).map_err(|reason| damaged(self.segment, 0, end, reason))?;
        let storage = self.storage.as_ref();
        let mut writer =
            SegmentWriter::create(storage, to, header).map_err(io_failed("creating", to))?;
        let one: Segments = Arc::from([self.segment.clone()]);
        let mut frames = FrameReader::new(self.storage.clone(), one, self.until);
        let (mut failed, mut told) = (None, end.offset);
        let stop = scan(&mut frames, end, self.until, |commit| {
            if failed.is_none() {
                failed = writer.push(commit).err();
            }
            if commit.log_offset() - told >= TOLD_EVERY_BYTES {
                told = commit.log_offset();
                self.tell(told);
            }
        })?;
        let reason = match stop {
            Stop::Reached if end.offset == self.until => None,
            Stop::Reached => Some("the last frame goes on behind its end".to_owned()),
            Stop::Absent => Some("nothing was written here".to_owned()),
            Stop::Wrong { reason, .. } => Some(reason),
        };
        if let Some(reason) = reason {
            let at = self.segment.file_offset(end.offset);
            return Err(damaged(self.segment, at, end, reason).into());
        }
        if let Some(error) = failed {
            return Err(io_failed("writing", to)(error));
        }
        self.tell(end.offset);
        writer
            .finish(end, self.goes_on)
            .map_err(io_failed("writing", to))
    }

    fn tell(&self, bytes: u64) {
        (self.progress)(CopyProgress {
            bytes,
            bytes_of: self.log_bytes,
        });
    }
}

/// The error that names a place in a segment file; 0 is its header.
pub(super) fn damaged(segment: &Segment, offset: u64, end: &LogEnd, reason: String) -> ReadError {
    debug_assert!(offset == 0 || offset >= SEGMENT_HEADER_BYTES);
    ReadError::Damaged {
        segment: segment.path.clone(),
        offset,
        position: end.position,
        sequence: end.sequence,
        reason,
    }
}
