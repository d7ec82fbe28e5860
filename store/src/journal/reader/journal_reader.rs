//! A data directory as it is found by somebody who only reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, StreamId};
use uuid::Uuid;

use super::commits::{Commits, Entry, Span};
use crate::error::{OpenError, ReadError};
use crate::journal::disk::{OpenMode, RealStorage, Storage};
use crate::journal::identity::{self, StoreKind};
use crate::journal::marker::{self, FoundMarker, LogEnd, MarkerFile};
use crate::journal::open::{
    FoundSegment, Stop, begins_at, find_segments, io_failed, missing, scan_frames,
};
use crate::journal::read::FrameReader;
use crate::journal::segment::{Segment, Segments, StreamEntry, file_name, stream_hash};
use crate::journal::unfinished;
use crate::log::Head;
use crate::query::Start;

/// How often the head marker is read again when a slot cannot be read: the application may be writing it.
const MARKER_READS_MAX: usize = 8;

/// A data directory opened to be read: without its lock and without sled, also while an application has it open
/// and writes. Changes nothing.
///
/// It shows what was durable when it was opened. Every frame that is read is checked: its checksum, and that it
/// follows the one before. All calls block.
#[derive(Debug)]
pub struct JournalReader {
    pub(in crate::journal) storage: Arc<dyn Storage>,
    data: PathBuf,
    pub(in crate::journal) folder: PathBuf,
    pub(in crate::journal) store_id: Uuid,
    pub(in crate::journal) marker: FoundMarker,
    /// Up to the one that the marker names, ascending.
    pub(in crate::journal) segments: Vec<FoundSegment>,
    pub(in crate::journal) end: LogEnd,
    /// Why reading on found no more, where there is no marker that says where the log ends.
    pub(super) stopped: Option<String>,
    /// A segment behind the end and behind a gap, which no store makes.
    pub(super) stray: Option<PathBuf>,
}

/// A segment file, as far as its header and its footer tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// 1, 2, 3 …
    pub number: u64,
    /// The file.
    pub path: PathBuf,
    /// Its length, with what is reserved.
    pub file_bytes: u64,
    /// Whether it has a footer, and so will never change.
    pub sealed: bool,
    /// Its first commit; `None` if its header cannot be read.
    pub first_sequence: Option<LogSequence>,
    /// The position of the first event in it or after it; `None` if its header cannot be read.
    pub first_position: Option<GlobalPosition>,
    /// How many bytes of frames it has; `None` if its header cannot be read.
    pub frame_bytes: Option<u64>,
}

impl JournalReader {
    /// Opens the journal of a data directory.
    ///
    /// # Errors
    /// [`OpenError`]: it is not a data directory, a newer release wrote it, or its head marker is another
    /// store's. Damage of segments is found by reading or by [`verify`](Self::verify).
    pub fn open(data: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(RealStorage), data.as_ref())
    }

    pub(crate) fn open_on(storage: Arc<dyn Storage>, data: &Path) -> Result<Self, OpenError> {
        unfinished::refuse(storage.as_ref(), data, None)?;
        let store_id =
            identity::read(storage.as_ref(), StoreKind::Journal, data)?.ok_or_else(|| {
                let reason = "it has no `format` file".to_owned();
                OpenError::NotADirectory {
                    path: data.to_path_buf(),
                    reason,
                }
            })?;
        let folder = data.join(StoreKind::Journal.folder());
        // The marker before the segments: what it names was written before it was.
        let marker = read_marker(storage.as_ref(), &folder, store_id)?;
        let mut segments = find_segments(storage.as_ref(), &folder, store_id)?;
        let mut stray = None;
        if let Some(marker) = &marker.marker {
            // What follows the last one without a gap may have been begun since.
            let beyond = segments
                .iter()
                .filter(|segment| segment.number > marker.segment);
            stray = (marker.segment + 1..)
                .zip(beyond)
                .find(|(number, segment)| segment.number != *number)
                .map(|(_, segment)| segment.path.clone());
            segments.retain(|segment| segment.number <= marker.segment);
        }
        let mut reader = Self {
            storage,
            data: data.to_path_buf(),
            folder,
            store_id,
            marker,
            segments,
            stray,
            end: LogEnd::default(),
            stopped: None,
        };
        match reader.marker.marker {
            Some(marker) => reader.end = marker.end,
            None => reader.read_on_to_the_end().map_err(OpenError::Damaged)?,
        }
        Ok(reader)
    }

    /// The same directory as it is now; `None` if nothing has become durable since this was opened.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn refreshed(&self) -> Result<Option<Self>, OpenError> {
        let marker = read_marker(self.storage.as_ref(), &self.folder, self.store_id)?;
        if marker.marker.is_some() && marker.marker == self.marker.marker {
            return Ok(None);
        }
        Self::open_on(self.storage.clone(), &self.data).map(Some)
    }

    /// The store's id.
    pub fn store_id(&self) -> Uuid {
        self.store_id
    }

    /// The end of what is durable.
    pub fn head(&self) -> Head {
        self.end.into()
    }

    /// Whether the directory was closed when it was read. If not, an application has it open, or ended without
    /// closing it.
    pub fn is_closed(&self) -> bool {
        self.marker.marker.is_some_and(|marker| marker.clean)
    }

    /// How many bytes of frames the log has, without the headers and footers of segments.
    pub fn log_bytes(&self) -> u64 {
        self.end.offset
    }

    /// Its segments, ascending.
    pub fn segments(&self) -> Vec<SegmentSummary> {
        let ends = self.segments.iter().skip(1).map(|next| next.header.ok());
        let ends = ends.map(|next| next.map(|header| header.base_offset));
        let summary = |(found, next): (&FoundSegment, Option<u64>)| {
            let header = found.header.ok();
            let end = found.trailer.map(|trailer| trailer.end.offset);
            let end = end.or(next).unwrap_or(self.end.offset);
            SegmentSummary {
                number: found.number,
                path: found.path.clone(),
                file_bytes: found.file_bytes,
                sealed: found.trailer.is_some(),
                first_sequence: header.map(|header| header.first_sequence),
                first_position: header.map(|header| header.first_position),
                frame_bytes: header.map(|header| end.saturating_sub(header.base_offset)),
            }
        };
        self.segments
            .iter()
            .zip(ends.chain([None]))
            .map(summary)
            .collect()
    }

    /// All commits from `start` to the durable end, in order. Reading begins with the segment that holds `start`,
    /// so that every commit that is given was checked against the one before it.
    pub fn commits(&self, start: Start) -> Commits {
        let (segments, broken) = self.chain();
        let is_before = |segment: &Arc<Segment>| {
            let header = &segment.header;
            match start {
                Start::Position(wanted) => header.first_position < wanted,
                Start::Sequence(wanted) => header.first_sequence < wanted,
                Start::Time(wanted) => header.previous_timestamp < wanted,
            }
        };
        let first = segments.partition_point(is_before).saturating_sub(1);
        let spans = self.spans(&segments, first, Entry::Anew);
        Commits::new(self, segments, spans, broken, start, self.end)
    }

    /// What has become durable since the end of another read, which must have been read to its end.
    pub fn commits_after(&self, read: &Commits) -> Commits {
        let (segments, broken) = self.chain();
        let from = *read.reached();
        let after = segments.partition_point(|segment| segment.header.base_offset <= from.offset);
        let spans = self.spans(&segments, after.saturating_sub(1), Entry::Within(from));
        let start = Start::Sequence(from.sequence.next());
        Commits::new(self, segments, spans, broken, start, self.end)
    }

    /// The commits of one stream, forward; segments that do not hold it are passed over where their stream index
    /// says so.
    ///
    /// # Errors
    /// [`ReadError::Io`] when a stream index cannot be read. One that is damaged is not used.
    pub fn commits_of(&self, stream: &StreamId) -> Result<Commits, ReadError> {
        let (segments, broken) = self.chain();
        let hash = stream_hash(stream.key());
        let mut spans = Vec::new();
        for mut span in self.spans(&segments, 0, Entry::Anew) {
            if let Some(entries) = self.stream_index(span.segment)? {
                let found = entries.binary_search_by_key(&hash, |entry| entry.hash);
                let Some(entry) = found.ok().and_then(|at| entries.get(at)) else {
                    continue;
                };
                let base = segments.get(span.segment).map(|s| s.header.base_offset);
                // Up to and with the frame that begins there.
                span.until = base.unwrap_or_default() + u64::from(entry.last) + 1;
                span.entry = Entry::Anew;
            }
            spans.push(span);
        }
        // What was passed over is not there to be followed on from.
        let mut before = None;
        for span in &mut spans {
            if before.is_none_or(|before| before + 1 != span.segment) {
                span.entry = Entry::Anew;
            }
            before = Some(span.segment);
        }
        let all = Start::Sequence(LogSequence::ZERO);
        let commits = Commits::new(self, segments, spans, broken, all, self.end);
        Ok(commits.of_stream(stream.clone()))
    }

    fn stream_index(&self, segment: usize) -> Result<Option<Vec<StreamEntry>>, ReadError> {
        let Some(found) = self.segments.get(segment) else {
            return Ok(None);
        };
        let Some(trailer) = found.trailer.filter(|t| t.end.offset <= self.end.offset) else {
            return Ok(None);
        };
        let read = || {
            let file = self.storage.open(&found.path, OpenMode::Read)?;
            trailer.read_streams(file.as_ref(), found.file_bytes)
        };
        read().map_err(|error| ReadError::Io {
            operation: format!("reading the stream index of {}", found.path.display()).into(),
            source: Arc::new(error),
        })
    }

    /// The segments that follow one another from the first, and what is wrong with the one after them.
    pub(in crate::journal) fn chain(&self) -> (Segments, Option<ReadError>) {
        let mut segments = Vec::with_capacity(self.segments.len());
        for (number, found) in (1..).zip(&self.segments) {
            if found.number != number {
                return (segments.into(), Some(self.missing_segment(number)));
            }
            match found.header {
                Ok(header) => segments.push(Arc::new(Segment::new(&self.folder, header, None))),
                Err(reason) => {
                    let before = segments.last().map(|segment| segment.header.end_before());
                    let before = before.unwrap_or_default();
                    let damage = found.damage(before.offset, &before, reason.to_owned());
                    return (segments.into(), Some(damage));
                }
            }
        }
        let wanted = self.marker.marker.map_or(1, |marker| marker.segment);
        let next = segments.len() as u64 + 1;
        let broken = (next <= wanted).then(|| self.missing_segment(next));
        (segments.into(), broken)
    }

    pub(super) fn missing_segment(&self, number: u64) -> ReadError {
        let path = self.folder.join(file_name(number));
        let reason = "the segment is missing".to_owned();
        match missing(path, reason) {
            OpenError::Damaged(error) => error,
            _ => ReadError::Closed,
        }
    }

    /// The stretches of the log from a segment on.
    fn spans(&self, segments: &Segments, first: usize, entry: Entry) -> Vec<Span> {
        let ends = segments.iter().skip(1).map(|next| next.header.base_offset);
        let ends = ends.map(Some).chain([None]);
        let all = ends.enumerate().map(|(segment, next)| {
            let sealed = self.segments.get(segment).and_then(|found| found.trailer);
            let until = next.or(sealed.map(|trailer| trailer.end.offset));
            Span {
                segment,
                until: until.unwrap_or(self.end.offset).min(self.end.offset),
                entry: if segment == first {
                    entry
                } else {
                    Entry::Chained
                },
            }
        });
        all.skip(first).collect()
    }

    /// Without a marker: the log ends where no frame follows.
    fn read_on_to_the_end(&mut self) -> Result<(), ReadError> {
        let (segments, _) = self.chain();
        for (index, (segment, found)) in segments.iter().zip(&self.segments).enumerate() {
            if let Err(reason) = begins_at(&segment.header, &self.end) {
                self.stopped = Some(reason);
                return Ok(());
            }
            let next = segments.get(index + 1).map(|next| next.header.base_offset);
            let physical = found.physical_end(&segment.header);
            let limit = next.map_or(physical, |next| next.min(physical));
            let one: Segments = Arc::from([segment.clone()]);
            let mut frames = FrameReader::new(self.storage.clone(), one, limit);
            match scan_frames(&mut frames, &mut self.end, limit)? {
                Stop::Reached => {}
                Stop::Absent => return Ok(()),
                Stop::Wrong { reason, .. } => {
                    self.stopped = Some(reason);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn read_marker(
    storage: &dyn Storage,
    folder: &Path,
    store_id: Uuid,
) -> Result<FoundMarker, OpenError> {
    let path = folder.join(marker::FILE);
    let mut found = FoundMarker::default();
    for _ in 0..MARKER_READS_MAX {
        let read = MarkerFile::read(storage, folder);
        found = read
            .map_err(|error| io_failed("reading", &path, error))?
            .unwrap_or_default();
        if found.damaged_slots == 0 {
            break;
        }
    }
    match found.marker {
        Some(marker) if marker.store_id != store_id => {
            let reason = "the head marker is of another store".to_owned();
            Err(missing(path, reason))
        }
        _ => Ok(found),
    }
}
