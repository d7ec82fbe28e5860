//! The commits that the writer looks back at: staged, in memory, or in the files.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::acceptance::Past;
use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::journal::read::FrameReader;
use crate::journal::shared::Shared;

/// A reader of files for the writer's own look-ups, made anew when segments were added.
#[derive(Debug, Default)]
pub(crate) struct PastFiles(Mutex<Option<(usize, FrameReader)>>);

/// The commits before an append, staged ones included.
#[derive(Debug)]
pub(crate) struct PastCommits<'a> {
    pub shared: &'a Arc<Shared>,
    pub files: &'a PastFiles,
    /// The staged frames, and the log offset of the first.
    pub staged: &'a [u8],
    pub staged_at: u64,
}

impl Past for PastCommits<'_> {
    fn commit_at(&self, log_offset: u64) -> Result<RecordedCommit, ReadError> {
        let staged = log_offset.checked_sub(self.staged_at);
        let parsed = match staged.and_then(|at| self.staged.get(usize::try_from(at).ok()?..)) {
            Some(rest) => {
                let length = rest
                    .first_chunk::<4>()
                    .map_or(0, |l| u32::from_le_bytes(*l));
                let frame = rest.get(..length as usize).unwrap_or_default();
                Some(RecordedCommit::parse(
                    &Bytes::copy_from_slice(frame),
                    log_offset,
                ))
            }
            None => self.shared.tail.commit_at(log_offset),
        };
        match parsed {
            Some(Ok(commit)) => Ok(commit),
            _ => self.read_file(log_offset),
        }
    }
}

impl PastCommits<'_> {
    fn read_file(&self, log_offset: u64) -> Result<RecordedCommit, ReadError> {
        let segments = self.shared.catalogue.segments();
        let end = self.shared.end().offset;
        let mut files = self.files.0.lock();
        let made_for = segments.len();
        if let Some((segments, reader)) = files.as_mut()
            && *segments == made_for
            && log_offset < reader.end()
        {
            return reader.commit_at(log_offset);
        }
        let reader = FrameReader::new(self.shared.storage.clone(), segments, end);
        files.insert((made_for, reader)).1.commit_at(log_offset)
    }
}
