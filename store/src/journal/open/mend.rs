//! Making the log end where its last whole commit ends, with everything up to there durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::cut::keep_aside;
use super::found::FoundSegment;
use super::report::OpenReport;
use super::scan::{note, scan};
use super::walk::{KeptSegment, Walk};
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::marker::{LogEnd, Marker};
use crate::journal::read::FrameReader;
use crate::journal::segment::{
    SEGMENT_HEADER_BYTES, SealBuilder, Segment, SegmentHeader, Segments, file_name,
};
use crate::journal::write::{SealJob, seal};

/// A segment that is being made, until it has its name.
pub(super) const NEW_TAIL: &str = "tail.new";
/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Where everything lies that is mended.
#[derive(Debug)]
pub(super) struct Mending<'a> {
    pub storage: &'a Arc<dyn Storage>,
    pub folder: &'a Path,
    pub store_id: Uuid,
    pub report: &'a mut OpenReport,
}

impl Mending<'_> {
    /// Cuts off what is no commit, copies what lies behind the marker into a new segment, and seals every
    /// segment but the last. The segments that are left, ascending.
    ///
    /// A crash at any point leaves a log that the next opening mends to the same end: nothing is removed
    /// before its copy is durable, and a segment ends where the next one begins.
    pub(super) fn mend(
        &mut self,
        mut log: Walk,
        marker: Option<&Marker>,
    ) -> io::Result<Vec<KeptSegment>> {
        let reason = log
            .stop
            .clone()
            .unwrap_or_else(|| "it is no frame".to_owned());
        let is_cut = self.keep_rest_aside(&log, &reason)?;
        let known = marker.map(|marker| marker.end);
        match known.filter(|known| known.offset < log.end.offset) {
            Some(known) => self.copy_tail(&mut log, known)?,
            None => {
                self.remove(log.beyond.iter().rev())?;
                if is_cut && let Some(last) = log.kept.last() {
                    self.cut(last)?;
                }
            }
        }
        if let Some(last) = log.kept.last()
            && last.end.offset == last.header.base_offset
            && marker.is_none_or(|marker| marker.segment < last.header.number)
        {
            self.make_again(last)?;
        }
        let last = log.kept.len().saturating_sub(1);
        for kept in log.kept.iter_mut().take(last) {
            self.seal(kept)?;
        }
        Ok(log.kept)
    }

    /// Keeps aside what lies behind the end. Whether there was anything.
    fn keep_rest_aside(&mut self, log: &Walk, reason: &str) -> io::Result<bool> {
        let unsealed = log.kept.last().filter(|last| !last.sealed);
        let last = unsealed.map(|last| (&last.found, file_offset(&last.header, log.end.offset)));
        let beyond = log.beyond.iter().map(|segment| (segment, 0));
        let before = self.report.cut.len();
        for (segment, from) in last.into_iter().chain(beyond) {
            let storage = self.storage.as_ref();
            let cut = keep_aside(storage, self.folder, segment, from, &log.end, reason)?;
            if let Some(cut) = &cut {
                tracing::warn!(
                    path = %cut.path.display(), bytes = cut.bytes, after = %cut.sequence, reason,
                    "bytes behind the last whole commit were cut off and kept aside"
                );
            }
            self.report.cut.extend(cut);
        }
        if self.report.cut.len() > before {
            self.storage.sync_folder(self.folder)?;
        }
        Ok(self.report.cut.len() > before)
    }

    /// Makes everything behind the last frame of a segment zeros again.
    fn cut(&self, last: &KeptSegment) -> io::Result<()> {
        let file = self.storage.open(&last.found.path, OpenMode::Write)?;
        file.truncate(file_offset(&last.header, last.end.offset))?;
        file.sync_data()
    }

    /// Copies the frames behind the marker into a new segment that begins there: after a failed sync they
    /// can be in memory and not on the disk, and writing them anew is the only way to be sure.
    fn copy_tail(&mut self, log: &mut Walk, known: LogEnd) -> io::Result<()> {
        let segments: Segments = log
            .kept
            .iter()
            .map(|kept| Arc::new(Segment::new(self.folder, kept.header, None)))
            .collect();
        // The segments that end at the marker or before, and the one that it lies within.
        let whole = |kept: &KeptSegment| kept.header.base_offset < known.offset;
        let first = log.kept.iter().take_while(|kept| whole(kept)).count();
        let Some(number) = log
            .kept
            .first()
            .map(|kept| kept.header.number + first as u64)
        else {
            return Ok(());
        };
        let header = SegmentHeader {
            number,
            store_id: self.store_id,
            base_offset: known.offset,
            first_sequence: known.sequence.next(),
            first_position: known.position.next(),
            previous_checksum: known.checksum,
            previous_timestamp: known.timestamp,
        };
        let builder = self.write_tail(segments, &header, known, log.end)?;
        let path = self.folder.join(file_name(number));
        self.storage.rename(&self.folder.join(NEW_TAIL), &path)?;
        self.storage.sync_folder(self.folder)?;
        self.report.kept_beyond_marker = log.end.sequence.get() - known.sequence.get();
        tracing::info!(
            commits = self.report.kept_beyond_marker,
            "commits behind the head marker were copied into a new segment"
        );
        let replaced: Vec<_> = log.kept.drain(first..).map(|kept| kept.found).collect();
        let later = |found: &&FoundSegment| found.number > number;
        self.remove(log.beyond.iter().rev().filter(later))?;
        // Of these the oldest first: as long as a later one is there, the log goes on into it.
        self.remove(replaced.iter().filter(later))?;
        if let Some(last) = log.kept.last_mut()
            && last.end.offset > known.offset
        {
            last.end = known;
            last.builder = last.builder_at_marker.take();
            last.sealed = false;
        }
        log.kept.push(KeptSegment {
            found: FoundSegment {
                number,
                path,
                file_bytes: file_offset(&header, log.end.offset),
                header: Ok(header),
                trailer: None,
            },
            header,
            end: log.end,
            builder: Some(builder),
            builder_at_marker: None,
            sealed: false,
        });
        Ok(())
    }

    /// Writes header and frames of the new segment, synced, under a name that is no segment's yet.
    fn write_tail(
        &self,
        segments: Segments,
        header: &SegmentHeader,
        known: LogEnd,
        end: LogEnd,
    ) -> io::Result<SealBuilder> {
        let file = self
            .storage
            .open(&self.folder.join(NEW_TAIL), OpenMode::Create)?;
        file.write_at(&header.to_bytes(), 0)?;
        let mut reader = FrameReader::new(self.storage.clone(), segments, end.offset);
        let mut builder = SealBuilder::new(header.base_offset);
        let (mut at, mut copied, mut buffer) = (SEGMENT_HEADER_BYTES, known, Vec::new());
        let mut failed = None;
        scan(&mut reader, &mut copied, end.offset, |commit| {
            note(&mut builder, commit);
            buffer.extend_from_slice(commit.as_bytes());
            if buffer.len() >= COPY_BYTES && failed.is_none() {
                failed = file.write_at(&buffer, at).err();
                at += buffer.len() as u64;
                buffer.clear();
            }
        })
        .map_err(io::Error::other)?;
        if copied != end {
            failed = Some(io::Error::other("the files changed while they were read"));
        }
        if let Some(error) = failed {
            return Err(error);
        }
        file.write_at(&buffer, at)?;
        file.sync_data()?;
        Ok(builder)
    }

    /// Makes an empty segment anew that the marker does not know: if the sync failed that should have made it
    /// durable, its header and name can be in memory only.
    fn make_again(&self, empty: &KeptSegment) -> io::Result<()> {
        let new = self.folder.join(NEW_TAIL);
        let file = self.storage.open(&new, OpenMode::Create)?;
        file.write_at(&empty.header.to_bytes(), 0)?;
        file.sync_data()?;
        self.storage.rename(&new, &empty.found.path)?;
        self.storage.sync_folder(self.folder)
    }

    /// Writes the footer of a segment that is followed by another, if it has none.
    fn seal(&mut self, kept: &mut KeptSegment) -> io::Result<()> {
        let Some(builder) = kept.builder.take().filter(|_| !kept.sealed) else {
            return Ok(());
        };
        let job = SealJob {
            segment: Arc::new(Segment::new(self.folder, kept.header, None)),
            file: self.storage.open(&kept.found.path, OpenMode::Write)?,
            builder,
            end: kept.end,
        };
        seal(job, self.store_id)?;
        kept.sealed = true;
        self.report.sealed_again += 1;
        Ok(())
    }

    /// Removes segments one after the other, each durably: the next opening must be able to make sense of
    /// those that are left when this is cut short.
    fn remove<'s>(&self, segments: impl Iterator<Item = &'s FoundSegment>) -> io::Result<()> {
        for segment in segments {
            self.storage.remove(&segment.path)?;
            self.storage.sync_folder(self.folder)?;
        }
        Ok(())
    }
}

fn file_offset(header: &SegmentHeader, log_offset: u64) -> u64 {
    SEGMENT_HEADER_BYTES + log_offset.saturating_sub(header.base_offset)
}
