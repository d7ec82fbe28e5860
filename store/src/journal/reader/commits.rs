//! The commits of a log one after the other, each checked against the one before.

use std::sync::Arc;

use chronicler_domain::StreamId;

use super::journal_reader::JournalReader;
use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::journal::marker::LogEnd;
use crate::journal::open::{begins_at, follows};
use crate::journal::read::FrameReader;
use crate::journal::segment::{Segment, Segments};
use crate::query::Start;

/// A stretch of the log within one segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Which of the segments.
    pub segment: usize,
    /// Frames that begin before this log offset belong to it.
    pub until: u64,
    pub entry: Entry,
}

/// How reading comes into a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// At its beginning, from the end of the segment before: both must fit.
    Chained,
    /// At its beginning, as its header says.
    Anew,
    /// Behind a commit that has been read.
    Within(LogEnd),
}

/// Commits in the order of the log. Ends at the durable end, or after the first error.
#[derive(Debug)]
pub struct Commits {
    frames: FrameReader,
    segments: Segments,
    spans: std::vec::IntoIter<Span>,
    until: u64,
    at: LogEnd,
    /// What is wrong behind the last span.
    broken: Option<ReadError>,
    start: Start,
    stream: Option<StreamId>,
    /// What the last commit must be when reading gets there.
    known: LogEnd,
}

impl Commits {
    pub(super) fn new(
        reader: &JournalReader,
        segments: Segments,
        spans: Vec<Span>,
        broken: Option<ReadError>,
        start: Start,
        known: LogEnd,
    ) -> Self {
        let storage = reader.storage.clone();
        Self {
            frames: FrameReader::new(storage, segments.clone(), known.offset),
            segments,
            spans: spans.into_iter(),
            until: 0,
            at: LogEnd::default(),
            broken,
            start,
            stream: None,
            known,
        }
    }

    /// Only those with a part of this stream.
    pub(super) fn of_stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// How far reading has come, in bytes of the log; [`JournalReader::log_bytes`] is the whole.
    pub fn log_offset(&self) -> u64 {
        self.at.offset
    }

    pub(super) fn reached(&self) -> &LogEnd {
        &self.at
    }

    fn next_frame(&mut self) -> Result<Option<RecordedCommit>, ReadError> {
        while self.at.offset >= self.until {
            let Some(span) = self.spans.next() else {
                return self.finish();
            };
            self.enter(span)?;
        }
        let commit = self.frames.commit_at(self.at.offset)?;
        follows(commit.frame(), &self.at)
            .map_err(|reason| self.frames.damaged(self.at.offset, reason.to_owned()))?;
        self.at = LogEnd::after(commit.frame());
        Ok(Some(commit))
    }

    fn enter(&mut self, span: Span) -> Result<(), ReadError> {
        let Some(segment) = self.segments.get(span.segment) else {
            return Ok(());
        };
        match span.entry {
            Entry::Within(reached) => self.at = reached,
            Entry::Anew => self.at = segment.header.end_before(),
            Entry::Chained => begins_at(&segment.header, &self.at)
                .map_err(|reason| self.wrong_header(segment, reason))?,
        }
        self.until = span.until;
        Ok(())
    }

    fn wrong_header(&self, segment: &Arc<Segment>, reason: String) -> ReadError {
        ReadError::Damaged {
            segment: segment.path.clone(),
            offset: 0,
            position: self.at.position,
            sequence: self.at.sequence,
            reason,
        }
    }

    /// The end of the last span: is it the end of the log?
    fn finish(&mut self) -> Result<Option<RecordedCommit>, ReadError> {
        if let Some(mut broken) = self.broken.take() {
            if let ReadError::Damaged {
                position, sequence, ..
            } = &mut broken
            {
                (*position, *sequence) = (self.at.position, self.at.sequence);
            }
            return Err(broken);
        }
        let (at, known) = (&self.at, &self.known);
        let same = at.sequence == known.sequence && at.checksum == known.checksum;
        if self.at.offset == known.offset && !same {
            let reason = format!(
                "it ends with commit {}, and the head marker names commit {}",
                at.sequence, known.sequence
            );
            let last = self.at.offset.saturating_sub(1);
            return Err(self.frames.damaged(last, reason));
        }
        if self.stream.is_none() && at.offset < known.offset {
            let reason = format!(
                "the log ends here, and commit {} at position {} is known to be durable",
                known.sequence, known.position
            );
            return Err(self.frames.damaged(at.offset, reason));
        }
        Ok(None)
    }

    fn is_wanted(&self, commit: &RecordedCommit) -> bool {
        let behind_start = match self.start {
            Start::Position(wanted) => {
                commit.last_position().max(commit.first_position()) >= wanted
            }
            Start::Sequence(wanted) => commit.sequence() >= wanted,
            Start::Time(wanted) => commit.timestamp() >= wanted,
        };
        behind_start
            && self.stream.as_ref().is_none_or(|stream| {
                let mut parts = commit.parts();
                parts.any(|part| part.stream_key() == stream.key())
            })
    }
}

impl Iterator for Commits {
    type Item = Result<RecordedCommit, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_frame() {
                Ok(Some(commit)) if self.is_wanted(&commit) => return Some(Ok(commit)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    // Nothing behind what is wrong can be checked.
                    self.spans = Vec::new().into_iter();
                    self.until = 0;
                    self.known = self.at;
                    return Some(Err(error));
                }
            }
        }
    }
}
