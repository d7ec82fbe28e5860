//! The segments of a log, checked by several threads at the same time, each in pieces: its sparse index says
//! where frames begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::journal_reader::JournalReader;
use super::segment_check::{SegmentCheck, SegmentVerdict};
use crate::frame::CheckedFrame;
use crate::journal::disk::OpenMode;
use crate::journal::marker::LogEnd;
use crate::journal::open::{Stop, follows, scan_frames};
use crate::journal::read::FrameReader;

/// How many threads read at the same time at most: a disk is not faster with more.
const THREADS_MAX: usize = 4;
/// What a piece has at least.
const PIECE_BYTES: u64 = 1 << 20;

/// Checks every segment on its own; `done` is told each verdict, from several threads.
pub(super) fn check_segments(
    reader: &JournalReader,
    done: &(dyn Fn(usize, SegmentVerdict) + Sync),
) {
    let queue = Mutex::new(Queue::default());
    let work = || {
        let mut frames = None;
        loop {
            let taken = queue.lock().take(reader);
            let Some((segment, piece)) = taken else {
                return;
            };
            segment.check_piece(reader, piece, &mut frames);
            if segment.is_last_piece() {
                let whole = segment.joined();
                done(segment.check.index(), segment.check.finish(reader, whole));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..threads.min(THREADS_MAX) {
            scope.spawn(work);
        }
        work();
    });
}

/// Which piece is checked next.
#[derive(Default)]
struct Queue {
    current: Option<Arc<InPieces>>,
    next_piece: usize,
    next_segment: usize,
}

impl Queue {
    fn take(&mut self, reader: &JournalReader) -> Option<(Arc<InPieces>, usize)> {
        loop {
            if let Some(segment) = &self.current
                && self.next_piece < segment.starts.len()
            {
                self.next_piece += 1;
                return Some((segment.clone(), self.next_piece - 1));
            }
            let check = SegmentCheck::new(reader, self.next_segment)?;
            self.current = Some(Arc::new(InPieces::new(reader, check)));
            self.next_segment += 1;
            self.next_piece = 0;
        }
    }
}

/// A segment that is being checked.
struct InPieces {
    check: SegmentCheck,
    /// Where the pieces begin. A single one stands for a segment that is to be read from front to end.
    starts: Vec<u64>,
    pieces: Mutex<Vec<Option<Piece>>>,
    left: AtomicUsize,
}

/// The first frame of a piece, and the end of its last.
struct Piece {
    first: CheckedFrame,
    end: LogEnd,
}

impl InPieces {
    fn new(reader: &JournalReader, check: SegmentCheck) -> Self {
        let starts = starts(reader, &check).unwrap_or_else(|| vec![0]);
        Self {
            check,
            pieces: Mutex::new(starts.iter().map(|_| None).collect()),
            left: AtomicUsize::new(starts.len()),
            starts,
        }
    }

    fn check_piece(
        &self,
        reader: &JournalReader,
        piece: usize,
        frames: &mut Option<(usize, FrameReader)>,
    ) {
        let Some((segment, limit)) = self.check.readable().filter(|_| self.starts.len() > 1) else {
            return;
        };
        let index = self.check.index();
        let frames = match frames {
            Some((of, frames)) if *of == index => frames,
            Some((of, frames)) => {
                frames.turn_to(segment.clone(), limit);
                *of = index;
                frames
            }
            None => {
                let new = FrameReader::new(reader.storage.clone(), segment.clone(), limit);
                &mut frames.insert((index, new.in_long_stretches())).1
            }
        };
        let to = self.starts.get(piece + 1).copied().unwrap_or(limit);
        let found = self
            .starts
            .get(piece)
            .and_then(|from| check_piece(frames, *from, to));
        if let Some(place) = self.pieces.lock().get_mut(piece) {
            *place = found;
        }
    }

    /// Counts a piece as done.
    fn is_last_piece(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Where the frames end, if every piece is whole and follows the one before. `None` says only that this was
    /// not shown: reading the frames one after the other tells what is wrong, or that the sparse index is.
    fn joined(&self) -> Option<LogEnd> {
        let mut end = self.check.begin()?;
        for piece in self.pieces.lock().iter() {
            let piece = piece.as_ref()?;
            if piece.first.log_offset != end.offset || follows(&piece.first, &end).is_err() {
                return None;
            }
            end = piece.end;
        }
        Some(end)
    }
}

/// Where the pieces of a segment begin; `None` if there is only one, or its sparse index does not tell.
fn starts(reader: &JournalReader, check: &SegmentCheck) -> Option<Vec<u64>> {
    let found = check.found();
    let trailer = found.trailer.as_ref()?;
    let (begin, (_, limit)) = (check.begin()?.offset, check.readable()?);
    let file = reader.storage.open(&found.path, OpenMode::Read).ok()?;
    let sparse = trailer
        .read_sparse(file.as_ref(), found.file_bytes)
        .ok()??;
    let mut starts = vec![begin];
    let mut last = begin;
    for entry in sparse {
        if entry.offset >= last.saturating_add(PIECE_BYTES) && entry.offset < limit {
            last = entry.offset;
            starts.push(last);
        }
    }
    (starts.len() > 1).then_some(starts)
}

fn check_piece(frames: &mut FrameReader, from: u64, to: u64) -> Option<Piece> {
    let first = frames.check_at(from).ok()?.ok()?;
    let mut end = LogEnd::after(&first);
    let stop = scan_frames(frames, &mut end, to).ok()?;
    (stop == Stop::Reached && end.offset == to).then_some(Piece { first, end })
}
