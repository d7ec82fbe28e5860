//! Going through the segments: the whole log from a place on, or back to it.

use std::sync::Arc;
use std::vec;

use chronicler_domain::GlobalPosition;

use super::batches::{Batches, Gathered, Window};
use super::blocking::{Found, Turn, TurnReader};
use super::bounds::{ends_before, is_before, is_behind, wanted};
use super::frames::FrameReader;
use super::view::LogView;
use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::journal::disk::OpenMode;
use crate::journal::segment::{Segment, SparseEntry, Trailer};
use crate::query::{AllQuery, Start, StreamQuery};

/// From old to new.
pub(crate) struct ForwardScan {
    query: AllQuery,
    view: LogView,
    frames: FrameReader,
    batches: Batches,
    /// Where the next frame begins; `None` before the first.
    offset: Option<u64>,
}

impl ForwardScan {
    pub(crate) fn new(query: AllQuery, view: LogView) -> Self {
        Self {
            frames: view.reader(),
            batches: Batches::new(query.commits_max),
            query,
            view,
            offset: None,
        }
    }

    /// Begins with the frame at this log offset, which does not lie after the first one wanted.
    pub(super) fn at(offset: u64, query: AllQuery, view: LogView) -> Self {
        Self {
            offset: Some(offset),
            ..Self::new(query, view)
        }
    }

    fn scan(&mut self, turn: &mut Turn) -> Result<Found, ReadError> {
        let Self {
            query,
            view,
            frames,
            batches,
            offset,
        } = self;
        let offset = match offset {
            Some(offset) => offset,
            None => offset.insert(first_offset(query, view, frames)?),
        };
        while *offset < view.end.offset {
            if turn.is_over_before(*offset, frames) {
                return Ok(Found::more(batches.take()));
            }
            let commit = frames.commit_at(*offset)?;
            if is_behind(query, &view.end, &commit) {
                break;
            }
            *offset += commit.as_bytes().len() as u64;
            if ends_before(query.start, &commit) || !wanted(query, &commit) {
                continue;
            }
            let full = batches.push(commit, frames.window(), turn.bytes_max);
            if batches.is_done() {
                return Ok(Found::last(full.unwrap_or_default()));
            }
            if let Some(batch) = full {
                return Ok(Found::more(batch));
            }
            if batches.may_end(turn.bytes_max) && !frames.has_frame(*offset) {
                return Ok(Found::more(batches.take()));
            }
        }
        Ok(Found::last(batches.take()))
    }
}

impl TurnReader for ForwardScan {
    fn read(&mut self, turn: &mut Turn) -> Result<Found, ReadError> {
        self.frames.limit_window(turn.bytes_max);
        let found = self.scan(turn);
        self.frames.rest();
        found
    }
}

/// From new to old. Frames are linked by streams only, so the log is read backwards in the stretches of the sparse
/// index, each forward and then turned round.
pub(crate) struct BackwardScan {
    query: AllQuery,
    view: LogView,
    frames: FrameReader,
    batches: Batches,
    /// How many segments are left.
    segments: usize,
    /// The stretches that are left of one, by where they begin and their first position.
    stretches: vec::IntoIter<(u64, GlobalPosition)>,
    /// Everything from here on has been read.
    until: u64,
    /// What was read of a stretch and not given yet.
    commits: std::iter::Rev<vec::IntoIter<RecordedCommit>>,
    /// Whether the start was reached.
    reached: bool,
}

impl BackwardScan {
    pub(crate) fn new(query: AllQuery, view: LogView) -> Self {
        Self {
            frames: view.reader(),
            batches: Batches::new(query.commits_max),
            query,
            segments: view.segments.len(),
            stretches: Vec::new().into_iter(),
            until: view.end.offset,
            view,
            commits: Vec::new().into_iter().rev(),
            reached: false,
        }
    }

    fn scan(&mut self, turn: &mut Turn) -> Result<Found, ReadError> {
        loop {
            for commit in self.commits.by_ref() {
                let full = self.batches.push(commit, Window::default(), turn.bytes_max);
                if self.batches.is_done() {
                    return Ok(Found::last(full.unwrap_or_default()));
                }
                if let Some(batch) = full {
                    return Ok(Found::more(batch));
                }
            }
            if self.reached {
                return Ok(Found::last(self.batches.take()));
            }
            if turn.is_over(self.frames.loads()) {
                return Ok(Found::more(self.batches.take()));
            }
            let Some((start, first_position)) = self.next_stretch()? else {
                return Ok(Found::last(self.batches.take()));
            };
            if start >= self.until {
                continue;
            }
            let stretch = start..self.until;
            self.until = start;
            if first_position > self.query.to {
                continue;
            }
            let (commits, reached) =
                read_stretch(&self.query, &self.view, &mut self.frames, stretch)?;
            self.commits = commits.into_iter().rev();
            self.reached = reached;
        }
    }

    /// The next older stretch.
    fn next_stretch(&mut self) -> Result<Option<(u64, GlobalPosition)>, ReadError> {
        loop {
            if let Some(stretch) = self.stretches.next() {
                return Ok(Some(stretch));
            }
            let Some(left) = self.segments.checked_sub(1) else {
                return Ok(None);
            };
            self.segments = left;
            let Some(segment) = self.view.segments.get(left) else {
                return Ok(None);
            };
            let base = segment.header.base_offset;
            let sparse = sparse_of(&self.view, segment, &self.frames)?;
            let starts = sparse
                .iter()
                .rev()
                .map(|entry| (entry.offset, entry.first_position));
            let starts = starts.filter(|(offset, _)| *offset > base);
            let starts: Vec<_> = starts
                .chain([(base, segment.header.first_position)])
                .collect();
            self.stretches = starts.into_iter();
        }
    }
}

impl TurnReader for BackwardScan {
    fn read(&mut self, turn: &mut Turn) -> Result<Found, ReadError> {
        self.frames.limit_window(turn.bytes_max);
        let found = self.scan(turn);
        self.frames.rest();
        found
    }
}

/// The log offset of a frame at or before the first one wanted.
fn first_offset(query: &AllQuery, view: &LogView, reader: &FrameReader) -> Result<u64, ReadError> {
    let segments = &view.segments;
    let after = segments.partition_point(|segment| {
        let header = &segment.header;
        let (first, at) = (header.first_position, header.previous_timestamp);
        is_before(query.start, header.first_sequence, first, at)
    });
    let Some(segment) = segments.get(after.saturating_sub(1)) else {
        return Ok(view.end.offset);
    };
    let sparse = sparse_of(view, segment, reader)?;
    let after = sparse.partition_point(|entry| {
        let (first, at) = (entry.first_position, entry.timestamp);
        is_before(query.start, entry.sequence, first, at)
    });
    let entry = sparse.get(after.saturating_sub(1));
    Ok(entry.map_or(segment.header.base_offset, |entry| entry.offset))
}

/// The log offset of the commit up to which a query of a stream reads, if it is one of that stream.
pub(crate) fn offset_in_stream(
    view: &LogView,
    reader: &mut FrameReader,
    query: &StreamQuery,
) -> Result<Option<u64>, ReadError> {
    let start = AllQuery::from(Start::Sequence(query.until));
    let mut offset = first_offset(&start, view, reader)?;
    while offset < view.end.offset {
        let commit = reader.commit_at(offset)?;
        if commit.sequence() >= query.until {
            let key = query.stream.key();
            let is_in_it = commit.parts().any(|part| part.stream_key() == key);
            return Ok((is_in_it && commit.sequence() == query.until).then_some(offset));
        }
        offset += commit.as_bytes().len() as u64;
    }
    Ok(None)
}

/// The wanted commits of a stretch, and whether it reaches what lies before the start.
fn read_stretch(
    query: &AllQuery,
    view: &LogView,
    reader: &mut FrameReader,
    stretch: std::ops::Range<u64>,
) -> Result<(Vec<RecordedCommit>, bool), ReadError> {
    let (mut commits, mut reached) = (Gathered::default(), false);
    let mut offset = stretch.start;
    while offset < stretch.end {
        let commit = reader.commit_at(offset)?;
        offset += commit.as_bytes().len() as u64;
        if ends_before(query.start, &commit) {
            reached = true;
        } else if is_behind(query, &view.end, &commit) {
            break;
        } else if wanted(query, &commit) {
            commits.push(commit, reader.window());
        }
    }
    Ok((commits.take().commits, reached))
}

/// The sparse index of a segment, from memory or from its footer.
fn sparse_of(
    view: &LogView,
    segment: &Segment,
    reader: &FrameReader,
) -> Result<Vec<SparseEntry>, ReadError> {
    if let Some(sparse) = segment.unsealed_sparse.lock().as_ref() {
        return Ok(sparse.clone());
    }
    if view.is_empty(segment) {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Option<Vec<SparseEntry>>> {
        let file = view.storage.open(&segment.path, OpenMode::Read)?;
        let length = file.len()?;
        match Trailer::read(file.as_ref(), length)? {
            Some(trailer) => trailer.read_sparse(file.as_ref(), length),
            None => Ok(None),
        }
    };
    let found = read().map_err(|error| ReadError::Io {
        operation: format!("reading the footer of {}", segment.path.display()).into(),
        source: Arc::new(error),
    })?;
    found.ok_or_else(|| {
        let reason = "its footer is damaged; opening the store again rebuilds it".to_owned();
        reader.damaged(segment.header.base_offset, reason)
    })
}
