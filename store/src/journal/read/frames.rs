//! Frames from segment files, through a window that grows while reading goes on in one direction.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chronicler_domain::{GlobalPosition, LogSequence};

use super::batches::Window;
use crate::error::ReadError;
use crate::frame::{CheckedFrame, FrameError, HEADER_BYTES, RecordedCommit};
use crate::journal::disk::{OpenMode, Storage, StorageFile};
use crate::journal::segment::{Segment, Segments};

/// What is read around a frame that does not lie next to the one before.
const WINDOW_BYTES_MIN: u64 = 16 << 10;
/// What is read at once when reading goes on in one direction: large enough that a call costs nothing
/// beside the copy, small enough to stay in the processor's cache.
const WINDOW_BYTES_MAX: u64 = 1 << 20;
/// How much of a window that is read backwards lies behind the start of the wanted frame: most frames fit.
const BEHIND_BYTES: u64 = 4 << 10;

/// Reads frames by their log offsets. Blocks.
#[derive(Debug)]
pub(crate) struct FrameReader {
    storage: Arc<dyn Storage>,
    segments: Segments,
    /// Nothing at or beyond this log offset is read.
    end: u64,
    open: Option<OpenSegment>,
    window: Bytes,
    window_at: u64,
    /// What the window keeps in memory.
    window_capacity: usize,
    /// Where the last window lay, whether or not it is still here; empty if reading begins anew.
    window_was: Range<u64>,
    window_bytes: u64,
    /// What a window has after a jump.
    window_bytes_min: u64,
    /// What a window has at most, but for a longer frame.
    window_bytes_max: u64,
    /// How often the disk was asked for a window.
    loads: u64,
    /// The last good frame, for the words of an error.
    last_good: (GlobalPosition, LogSequence),
}

#[derive(Debug)]
struct OpenSegment {
    segment: Arc<Segment>,
    /// `None` while the reader rests.
    file: Option<Arc<dyn StorageFile>>,
    /// The log offset where its frames end.
    end: u64,
}

impl FrameReader {
    pub(crate) fn new(storage: Arc<dyn Storage>, segments: Segments, end: u64) -> Self {
        Self {
            storage,
            segments,
            end,
            open: None,
            window: Bytes::new(),
            window_at: 0,
            window_capacity: 0,
            window_was: 0..0,
            window_bytes: WINDOW_BYTES_MIN,
            window_bytes_min: WINDOW_BYTES_MIN,
            window_bytes_max: WINDOW_BYTES_MAX,
            loads: 0,
            last_good: Default::default(),
        }
    }

    /// The same for long stretches: every window is as large as any gets.
    pub(crate) fn in_long_stretches(self) -> Self {
        Self {
            window_bytes_min: WINDOW_BYTES_MAX,
            ..self
        }
    }

    /// Reads from other segments from now on.
    pub(crate) fn turn_to(&mut self, segments: Segments, end: u64) {
        (self.segments, self.end, self.open) = (segments, end, None);
        self.empty_window();
    }

    /// Closes its file and empties its window until it reads on: there may be any number of readers that rest.
    pub(super) fn rest(&mut self) {
        if let Some(open) = &mut self.open {
            open.file = None;
        }
        self.window = Bytes::new();
    }

    /// Reads no more at once than a batch may have: what is left of a window is read again by the next turn.
    pub(super) fn limit_window(&mut self, bytes_max: usize) {
        self.window_bytes_max = (bytes_max as u64).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
    }

    /// The memory that the commit read last lies in.
    #[inline]
    pub(super) fn window(&self) -> Window {
        Window {
            id: self.loads,
            bytes: self.window_capacity,
        }
    }

    /// Whether the frame at this log offset is in the window already.
    pub(super) fn has_frame(&self, offset: u64) -> bool {
        self.place_in_window(offset).is_some()
    }

    /// How often it has asked the disk: it has done nothing that takes long since a moment at which this was the same.
    #[inline]
    pub(super) fn loads(&self) -> u64 {
        self.loads
    }

    /// Nothing at or beyond this log offset is read.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The commit whose frame begins at this log offset, checked.
    pub(crate) fn commit_at(&mut self, offset: u64) -> Result<RecordedCommit, ReadError> {
        self.frame_at(offset)?
            .map_err(|wrong| self.damaged(offset, wrong.to_string()))
    }

    /// The same, with what is wrong with the frame kept apart from a failure to read.
    pub(crate) fn frame_at(
        &mut self,
        offset: u64,
    ) -> Result<Result<RecordedCommit, FrameError>, ReadError> {
        let bytes = self.bytes_at(offset)?;
        let parsed = RecordedCommit::parse(&bytes, offset);
        if let Ok(commit) = &parsed {
            self.last_good = (commit.last_position(), commit.sequence());
        }
        Ok(parsed)
    }

    /// Checks the frame that begins at this log offset, and keeps nothing of it.
    #[inline(always)]
    pub(crate) fn check_at(
        &mut self,
        offset: u64,
    ) -> Result<Result<CheckedFrame, FrameError>, ReadError> {
        let at = self.place_of(offset)?;
        let checked = CheckedFrame::check(self.window.get(at..).unwrap_or_default(), offset);
        if let Ok(frame) = &checked {
            self.last_good = (frame.last_position(), frame.header.sequence);
        }
        Ok(checked)
    }

    /// The bytes from this log offset on, at least those of the whole frame there as far as they exist.
    pub(crate) fn bytes_at(&mut self, offset: u64) -> Result<Bytes, ReadError> {
        let at = self.place_of(offset)?;
        Ok(self.window.slice(at..))
    }

    /// Where in the window the frame at this log offset begins, loaded whole as far as it exists.
    #[inline]
    fn place_of(&mut self, offset: u64) -> Result<usize, ReadError> {
        if let Some(at) = self.place_in_window(offset) {
            return Ok(at);
        }
        let at = self.load(offset, HEADER_BYTES as u64)?;
        let front = self.window.get(at..).unwrap_or_default();
        let length = front
            .first_chunk::<4>()
            .map(|four| u32::from_le_bytes(*four));
        match length.map(u64::from) {
            Some(length) if length > front.len() as u64 => self.load(offset, length),
            _ => Ok(at),
        }
    }

    /// The error that names a frame of this log.
    pub(crate) fn damaged(&self, offset: u64, reason: String) -> ReadError {
        let segment = self.segment_of(offset);
        ReadError::Damaged {
            segment: segment.map_or_else(PathBuf::new, |segment| segment.path.clone()),
            offset: segment.map_or(offset, |segment| segment.file_offset(offset)),
            position: self.last_good.0,
            sequence: self.last_good.1,
            reason,
        }
    }

    /// The segment that holds a log offset.
    pub(crate) fn segment_of(&self, offset: u64) -> Option<&Arc<Segment>> {
        let after = self.first_segment_after(offset);
        self.segments.get(after.checked_sub(1)?)
    }

    /// The same if the window holds the whole frame already.
    #[inline]
    fn place_in_window(&self, offset: u64) -> Option<usize> {
        // A window ends with its segment, and is emptied before another is entered.
        let at = usize::try_from(offset.checked_sub(self.window_at)?).ok()?;
        let frame = self.window.get(at..)?;
        let length = u32::from_le_bytes(*frame.first_chunk::<4>()?) as usize;
        (length >= HEADER_BYTES && length <= frame.len()).then_some(at)
    }

    /// Has the window hold at least `wanted` bytes from `offset` on, as far as the segment has them; where in
    /// the window they begin.
    fn load(&mut self, offset: u64, wanted: u64) -> Result<usize, ReadError> {
        let segment_end = self.enter(offset)?;
        let wanted = wanted.min(segment_end.saturating_sub(offset));
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + wanted > window_end {
            self.move_window(offset, wanted, segment_end)?;
        }
        let at = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
        Ok(at.min(self.window.len()))
    }

    fn move_window(&mut self, offset: u64, wanted: u64, segment_end: u64) -> Result<(), ReadError> {
        let was = self.window_was.clone();
        let backwards = offset < was.start;
        let goes_on = if backwards {
            was.start - offset <= self.window_bytes
        } else {
            offset - was.end.min(offset) <= self.window_bytes
        };
        self.window_bytes = if goes_on && !was.is_empty() {
            (self.window_bytes * 2).min(self.window_bytes_max)
        } else {
            self.window_bytes_min
        };
        let Some(open) = &mut self.open else {
            return Err(self.damaged(offset, "no segment holds it".to_owned()));
        };
        let file = match &open.file {
            Some(file) => file,
            None => open
                .file
                .insert(open_file(self.storage.as_ref(), &open.segment)?),
        };
        self.loads += 1;
        let size = self.window_bytes.max(wanted);
        let (from, to) = if backwards {
            let to = (offset + wanted.max(BEHIND_BYTES)).min(segment_end);
            let from = to.saturating_sub(size).min(offset);
            (from.max(open.segment.header.base_offset), to)
        } else {
            (offset, (offset + size).min(segment_end))
        };
        // If nobody has kept a piece of it, the memory serves again.
        let before = std::mem::take(&mut self.window);
        let mut bytes = before.try_into_mut().unwrap_or_default();
        let length = usize::try_from(to - from).unwrap_or(0);
        if self.window_capacity > length.saturating_mul(2) {
            bytes = BytesMut::new();
        }
        bytes.resize(length, 0);
        self.window_capacity = bytes.capacity();
        let read = file
            .read_at(&mut bytes, open.segment.file_offset(from))
            .map_err(|error| failed("reading", &open.segment, error))?;
        bytes.truncate(read);
        self.window = bytes.freeze();
        self.window_at = from;
        self.window_was = from..from + read as u64;
        Ok(())
    }

    /// Opens the segment that holds a log offset, if it is not open already; where its frames end.
    fn enter(&mut self, offset: u64) -> Result<u64, ReadError> {
        if let Some(open) = &self.open
            && (open.segment.header.base_offset..open.end).contains(&offset)
        {
            return Ok(open.end);
        }
        let after = self.first_segment_after(offset);
        let Some(segment) = after.checked_sub(1).and_then(|at| self.segments.get(at)) else {
            return Err(self.damaged(offset, "no segment holds it".to_owned()));
        };
        let next = self.segments.get(after);
        let end = next.map_or(self.end, |next| next.header.base_offset.min(self.end));
        let file = open_file(self.storage.as_ref(), segment)?;
        self.open = Some(OpenSegment {
            segment: segment.clone(),
            file: Some(file),
            end,
        });
        self.empty_window();
        self.window_bytes = self.window_bytes.max(WINDOW_BYTES_MIN);
        Ok(end)
    }

    /// Forgets what was read, and keeps the memory for what is read next.
    fn empty_window(&mut self) {
        self.window.truncate(0);
        // The direction of reading stays known.
        self.window_was.end = self.window_was.start;
    }

    fn first_segment_after(&self, offset: u64) -> usize {
        // Of segments with the same base only the last can hold a frame.
        self.segments
            .partition_point(|segment| segment.header.base_offset <= offset)
    }
}

fn open_file(storage: &dyn Storage, segment: &Segment) -> Result<Arc<dyn StorageFile>, ReadError> {
    let opened = storage.open(&segment.path, OpenMode::Read);
    opened.map_err(|error| failed("opening", segment, error))
}

fn failed(doing: &str, segment: &Segment, source: io::Error) -> ReadError {
    ReadError::Io {
        operation: format!("{doing} {}", segment.path.display()).into(),
        source: Arc::new(source),
    }
}
