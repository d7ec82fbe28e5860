//! Every byte of one segment, checked on its own: whether segments fit one another is seen afterwards.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::damage::Damage;
use super::journal_reader::JournalReader;
use crate::journal::disk::{OpenMode, StorageFile};
use crate::journal::marker::LogEnd;
use crate::journal::open::{FoundSegment, Stop, read_segment, scan_frames};
use crate::journal::read::FrameReader;
use crate::journal::segment::{SEGMENT_HEADER_BYTES, Segment, SegmentHeader, Segments, Trailer};

/// What is read at once of what lies behind the frames.
const BLOCK_BYTES: usize = 1 << 20;
/// How often a footer that is not whole is looked at again, and how long between: an application that has the
/// directory open may be writing it, which takes milliseconds.
const FOOTER_READS_MAX: usize = 10;
const FOOTER_PAUSE: Duration = Duration::from_millis(20);

/// What one segment holds.
#[derive(Debug, Default)]
pub(super) struct SegmentVerdict {
    pub commits: u64,
    pub events: u64,
    /// Bytes that were read and checked.
    pub bytes: u64,
    /// Where its frames end; `None` if they could not be read to their end.
    pub end: Option<LogEnd>,
    pub damage: Vec<Damage>,
    /// Whether it has no footer although the log goes on behind it.
    pub unsealed: bool,
}

/// A segment that is to be checked.
pub(super) struct SegmentCheck {
    index: usize,
    found: FoundSegment,
    /// `None` if its header cannot be read.
    frames: Option<Frames>,
    is_last: bool,
}

struct Frames {
    header: SegmentHeader,
    segment: Segments,
    /// Where they end at the latest.
    limit: u64,
    /// Whether that is known from elsewhere.
    is_certain: bool,
}

impl SegmentCheck {
    /// The one for the segment at `index`, if there is such a segment.
    pub(super) fn new(reader: &JournalReader, index: usize) -> Option<Self> {
        let found = reader.segments.get(index)?.clone();
        let next = reader.segments.get(index + 1);
        let next = next.filter(|next| next.number == found.number + 1);
        let is_last = next.is_none();
        let frames = found.header.ok().map(|header| {
            let next_base = next
                .and_then(|next| next.header.ok())
                .map(|h| h.base_offset);
            let trailer_end = found.trailer.map(|trailer| trailer.end.offset);
            let certain = next_base.or(trailer_end);
            let certain = certain.or(is_last.then_some(reader.end.offset));
            let limit = certain.unwrap_or_else(|| found.physical_end(&header));
            Frames {
                header,
                segment: Arc::from([Arc::new(Segment::new(&reader.folder, header, None))]),
                limit: limit.min(reader.end.offset),
                is_certain: certain.is_some(),
            }
        });
        Some(Self {
            index,
            found,
            frames,
            is_last,
        })
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn found(&self) -> &FoundSegment {
        &self.found
    }

    /// Where its frames begin, after what.
    pub(super) fn begin(&self) -> Option<LogEnd> {
        self.frames
            .as_ref()
            .map(|frames| frames.header.end_before())
    }

    /// What its frames are read from, and where they end at the latest.
    pub(super) fn readable(&self) -> Option<(&Segments, u64)> {
        self.frames
            .as_ref()
            .map(|frames| (&frames.segment, frames.limit))
    }

    /// The rest, and the verdict. `whole` is where its frames end, if all were found whole already.
    pub(super) fn finish(&self, reader: &JournalReader, whole: Option<LogEnd>) -> SegmentVerdict {
        let mut verdict = SegmentVerdict::default();
        let found = &self.found;
        let Some(frames) = &self.frames else {
            let reason = found.header.err().unwrap_or_default();
            let nothing = LogEnd::default();
            let damage = Damage::new(found.path.clone(), 0, &nothing, reason.to_owned());
            verdict.damage.push(damage);
            return verdict;
        };
        check_frames(reader, found, frames, whole, &mut verdict);
        if let Some(end) = verdict.end
            && let Err(error) = check_footer(reader, found, &end, self.is_last, &mut verdict)
        {
            let damage = Damage::new(found.path.clone(), 0, &end, error.to_string());
            verdict.damage.push(damage);
        }
        verdict
    }
}

fn check_frames(
    reader: &JournalReader,
    found: &FoundSegment,
    frames: &Frames,
    whole: Option<LogEnd>,
    verdict: &mut SegmentVerdict,
) {
    let before = frames.header.end_before();
    let mut end = whole.unwrap_or(before);
    let limit = frames.limit;
    let stop = if whole.is_some() {
        Ok(Stop::Reached)
    } else {
        let segment = frames.segment.clone();
        let mut frames = FrameReader::new(reader.storage.clone(), segment, limit);
        scan_frames(&mut frames, &mut end, limit)
    };
    verdict.commits = end.sequence.get().saturating_sub(before.sequence.get());
    verdict.events = end.position.get().saturating_sub(before.position.get());
    verdict.bytes = SEGMENT_HEADER_BYTES + end.offset.saturating_sub(before.offset);
    let wrong = match stop {
        Ok(Stop::Reached) => None,
        // Where it ends cannot be told from its neighbours: the one behind it is damaged itself.
        Ok(Stop::Absent) if !frames.is_certain => None,
        Ok(Stop::Absent) => Some(found.damage(end.offset, &end, "nothing was written here".into())),
        Ok(Stop::Wrong { reason, .. }) => Some(found.damage(end.offset, &end, reason)),
        Err(error) => Some(error),
    };
    match wrong {
        None => verdict.end = Some(end),
        Some(error) => verdict
            .damage
            .push(Damage::of(error, found.path.clone(), &end)),
    }
}

/// A segment behind which the log goes on, or of a log that is closed, has a whole footer, or nothing at all
/// behind its frames: then it was not sealed yet.
fn check_footer(
    reader: &JournalReader,
    found: &FoundSegment,
    end: &LogEnd,
    is_last: bool,
    verdict: &mut SegmentVerdict,
) -> io::Result<()> {
    // What lies behind the end of a log that is open is not durable yet.
    let matters = || !is_last || reader.is_still_closed();
    if !matters() {
        return Ok(());
    }
    let is_empty = verdict.commits == 0;
    let mut now = found.clone();
    for attempt in 1.. {
        let (footer, bytes) = read_footer(reader, &now, end)?;
        match footer {
            FooterState::Whole => {
                verdict.bytes += bytes;
                return Ok(());
            }
            FooterState::None if is_empty || !reader.is_still_closed() => {
                verdict.bytes += bytes;
                verdict.unsealed = !is_empty;
                return Ok(());
            }
            FooterState::None => {
                let reason = "its footer is missing, and the log was closed";
                verdict.damage.push(no_footer(&now, end, reason));
                return Ok(());
            }
            FooterState::Wrong { .. } if !matters() => return Ok(()),
            FooterState::Wrong { reason }
                if attempt >= FOOTER_READS_MAX || reader.is_still_closed() =>
            {
                verdict.damage.push(no_footer(&now, end, reason));
                return Ok(());
            }
            FooterState::Wrong { .. } => {
                thread::sleep(FOOTER_PAUSE);
                let storage = reader.storage.as_ref();
                now = read_segment(storage, found.number, found.path.clone(), reader.store_id)?;
            }
        }
    }
    Ok(())
}

fn no_footer(found: &FoundSegment, end: &LogEnd, reason: &str) -> Damage {
    let error = found.damage(end.offset, end, reason.to_owned());
    Damage::of(error, found.path.clone(), end).mended_by_opening()
}

enum FooterState {
    Whole,
    /// Only zeros lie behind the frames.
    None,
    Wrong {
        reason: &'static str,
    },
}

/// The footer, and how many bytes behind the frames were read.
fn read_footer(
    reader: &JournalReader,
    found: &FoundSegment,
    end: &LogEnd,
) -> io::Result<(FooterState, u64)> {
    let file = reader.storage.open(&found.path, OpenMode::Read)?;
    let Some(trailer) = found.trailer else {
        let base = found.header.map_or(end.offset, |header| header.base_offset);
        let behind = SEGMENT_HEADER_BYTES + end.offset.saturating_sub(base);
        let (mut at, mut block) = (behind, vec![0; BLOCK_BYTES]);
        loop {
            let read = file.read_at(&mut block, at)?;
            let some = block.get(..read).unwrap_or_default();
            if some.iter().any(|byte| *byte != 0) {
                let reason = "what lies behind the frames is not a whole footer";
                return Ok((FooterState::Wrong { reason }, 0));
            }
            at += read as u64;
            if read < BLOCK_BYTES {
                return Ok((FooterState::None, at - behind));
            }
        }
    };
    let state = match wrong_footer(&trailer, file.as_ref(), found.file_bytes, end)? {
        Some(reason) => FooterState::Wrong { reason },
        None => FooterState::Whole,
    };
    Ok((state, trailer.footer_bytes()))
}

fn wrong_footer(
    trailer: &Trailer,
    file: &dyn StorageFile,
    file_bytes: u64,
    end: &LogEnd,
) -> io::Result<Option<&'static str>> {
    let same = trailer.end.sequence == end.sequence
        && trailer.end.position == end.position
        && trailer.end.timestamp == end.timestamp
        && trailer.end.checksum == end.checksum
        && trailer.end.offset == end.offset;
    if !same {
        return Ok(Some("the footer names another end than the frames have"));
    }
    let Some(sparse) = trailer.read_sparse(file, file_bytes)? else {
        return Ok(Some("the checksum of the sparse index is wrong"));
    };
    if !sparse.is_sorted_by_key(|entry| entry.offset) {
        return Ok(Some("the sparse index is not in order"));
    }
    let Some(streams) = trailer.read_streams(file, file_bytes)? else {
        return Ok(Some("the checksum of the stream index is wrong"));
    };
    if !streams.is_sorted() {
        return Ok(Some("the stream index is not in order"));
    }
    Ok(None)
}
