//! The whole directory: every frame, every link between segments, every footer, and the head marker.

use parking_lot::Mutex;
use uuid::Uuid;

use super::damage::Damage;
use super::journal_reader::JournalReader;
use super::pieces::check_segments;
use super::segment_check::SegmentVerdict;
use crate::error::ReadError;
use crate::journal::marker::{self, LogEnd, MarkerFile};
use crate::journal::open::{FoundSegment, begins_at};
use crate::journal::read::FrameReader;
use crate::journal::segment::SEGMENT_HEADER_BYTES;
use crate::log::Head;

/// How far verifying has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Segments that have been read.
    pub segments: u64,
    /// Segments there are.
    pub segments_of: u64,
    /// Bytes that have been read.
    pub bytes: u64,
    /// Bytes there are, about.
    pub bytes_of: u64,
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The store's id.
    pub store_id: Uuid,
    /// The end of what is durable.
    pub head: Head,
    /// Whether the directory was closed.
    pub closed: bool,
    /// Segments that were read.
    pub segments: u64,
    /// Whole commits in them.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes that were read and checked.
    pub bytes: u64,
    /// What is wrong. Empty: everything is as it was written.
    pub damage: Vec<Damage>,
    /// Segments without a footer although the log goes on behind them: an application has the directory open, or
    /// ended before it could write them. Opening writes them.
    pub unsealed: u64,
}

impl Verification {
    /// Whether everything is as it was written.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

impl JournalReader {
    /// Reads and checks everything up to the durable end: every frame and that it follows the one before, that
    /// every segment follows the one before, the footers, and the head marker. Goes on behind damage with the next
    /// segment. `progress` is told after each segment, from several threads.
    pub fn verify(&self, progress: &(dyn Fn(VerifyProgress) + Sync)) -> Verification {
        let verdicts = self.verdicts(progress);
        let mut found = Verification {
            store_id: self.store_id(),
            head: self.head(),
            closed: self.is_closed(),
            segments: verdicts.len() as u64,
            commits: verdicts.iter().map(|verdict| verdict.commits).sum(),
            events: verdicts.iter().map(|verdict| verdict.events).sum(),
            bytes: verdicts.iter().map(|verdict| verdict.bytes).sum(),
            damage: Vec::new(),
            unsealed: verdicts.iter().filter(|verdict| verdict.unsealed).count() as u64,
        };
        let end = self.check_links(verdicts, &mut found.damage);
        self.check_end(end, &mut found.damage);
        if let Some(file) = &self.stray {
            let reason = "it lies behind the end of the log, and those before it are missing: an application does not open the directory";
            found
                .damage
                .push(Damage::new(file.clone(), 0, &self.end, reason.to_owned()));
        }
        found
    }

    /// Each segment on its own, several at a time.
    fn verdicts(&self, progress: &(dyn Fn(VerifyProgress) + Sync)) -> Vec<SegmentVerdict> {
        let count = self.segments.len();
        let bytes_of = |found: &FoundSegment| match found.header {
            // What is reserved behind the end of the log is not read.
            Ok(header) if found.trailer.is_none() => {
                let frames = self.end.offset.saturating_sub(header.base_offset);
                found.file_bytes.min(SEGMENT_HEADER_BYTES + frames)
            }
            _ => found.file_bytes,
        };
        let total: u64 = self.segments.iter().map(bytes_of).sum();
        let told = Mutex::new(VerifyProgress {
            segments: 0,
            segments_of: count as u64,
            bytes: 0,
            bytes_of: total,
        });
        let verdicts = Mutex::new(Vec::with_capacity(count));
        check_segments(self, &|index, verdict| {
            let mut told = told.lock();
            told.segments += 1;
            told.bytes += verdict.bytes;
            progress(*told);
            verdicts.lock().push((index, verdict));
        });
        let mut verdicts = verdicts.into_inner();
        verdicts.sort_unstable_by_key(|(index, _)| *index);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    /// Whether each segment follows the one before; where the log ends, if it is whole up to there.
    fn check_links(
        &self,
        verdicts: Vec<SegmentVerdict>,
        damage: &mut Vec<Damage>,
    ) -> Option<LogEnd> {
        let mut before = Some(LogEnd::default());
        let mut number = 0;
        for (found, verdict) in self.segments.iter().zip(verdicts) {
            number += 1;
            if number < found.number {
                let last = before.take().unwrap_or_default();
                for missing in number..found.number {
                    damage.push(self.missing(missing, &last));
                }
                number = found.number;
            }
            let header = found.header.ok();
            if let Some((header, before)) = header.zip(before)
                && let Err(reason) = begins_at(&header, &before)
            {
                damage.push(Damage::new(found.path.clone(), 0, &before, reason));
            }
            damage.extend(verdict.damage);
            let has_frames = verdict.commits > 0;
            before = match verdict.end {
                // Without frames its end is that of the segment before, which knows more about it.
                Some(_) if !has_frames && before.is_some() => before,
                other => other,
            };
        }
        let wanted = self.marker.marker.map_or(1, |marker| marker.segment);
        for missing in number + 1..=wanted {
            damage.push(self.missing(missing, &before.take().unwrap_or_default()));
        }
        before
    }

    fn missing(&self, number: u64, before: &LogEnd) -> Damage {
        let error = self.missing_segment(number);
        let mut damage = Damage::of(error, self.folder.clone(), before);
        (damage.position, damage.sequence) = (before.position, before.sequence);
        damage
    }

    /// Whether the marker is there, and names the end that was read.
    fn check_end(&self, end: Option<LogEnd>, damage: &mut Vec<Damage>) {
        let path = self.folder.join(marker::FILE);
        let Some(marker) = self.marker.marker else {
            let no_marker = Damage::new(
                path,
                0,
                &self.end,
                "the head marker, which says how far the log is known to be durable, is missing or cannot be read"
                    .to_owned(),
            );
            damage.push(match &self.stopped {
                None => no_marker.mended_by_opening(),
                Some(reason) => Damage {
                    reason: format!("{}; the frames end with: {reason}", no_marker.reason),
                    ..no_marker
                },
            });
            return;
        };
        if self.marker.damaged_slots > 0 {
            let reason = "one of the two slots of the head marker is damaged".to_owned();
            damage.push(Damage::new(path.clone(), 0, &self.end, reason).mended_by_opening());
        }
        let Some(end) = end else {
            return;
        };
        let known = marker.end;
        if !is_same(&end, &known) {
            let reason = format!(
                "it names commit {} at position {}, and the frames end with commit {} at position {}",
                known.sequence, known.position, end.sequence, end.position
            );
            damage.push(Damage::new(path, 0, &end, reason));
        } else if marker.clean && self.has_frames_behind().unwrap_or(false) {
            let last = self.segments.last();
            damage.extend(last.map(|last| {
                let reason = "frames lie behind the end of a log that was closed".to_owned();
                let error = last.damage(end.offset, &end, reason);
                Damage::of(error, last.path.clone(), &end)
            }));
        }
    }

    /// Whether a frame lies behind the end of a log that was closed, and still is.
    fn has_frames_behind(&self) -> Result<bool, ReadError> {
        let unsealed = self.segments.last().filter(|last| last.trailer.is_none());
        let Some((last, header)) = unsealed.and_then(|last| Some((last, last.header.ok()?))) else {
            return Ok(false);
        };
        let physical = last.physical_end(&header);
        let (segments, _) = self.chain();
        let mut frames = FrameReader::new(self.storage.clone(), segments, physical);
        let is_frame = physical > self.end.offset && frames.frame_at(self.end.offset)?.is_ok();
        Ok(is_frame && self.is_still_closed())
    }

    /// Whether the marker is the one that was read: nobody has opened the directory meanwhile.
    pub(super) fn is_still_closed(&self) -> bool {
        let now = MarkerFile::read(self.storage.as_ref(), &self.folder);
        self.is_closed() && now.is_ok_and(|now| now == Some(self.marker))
    }
}

/// Whether two ends name the same commit. Where the last frame begins is not known of a segment without frames.
fn is_same(end: &LogEnd, known: &LogEnd) -> bool {
    let mut known = *known;
    if end.last_offset == 0 {
        known.last_offset = 0;
    }
    *end == known
}
