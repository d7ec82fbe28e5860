//! The commits that follow one another from the first, whatever the head marker and the footers say.

use std::sync::Arc;

use uuid::Uuid;

use super::copy::{CopyProgress, OnProgress};
use super::error::MaintenanceError;
use crate::error::ReadError;
use crate::frame::FrameError;
use crate::journal::disk::Storage;
use crate::journal::marker::LogEnd;
use crate::journal::open::{FoundSegment, Stop, begins_at, scan_frames};
use crate::journal::read::FrameReader;
use crate::journal::segment::{Segment, SegmentHeader, Segments};

/// What the bytes 12..16 of every frame are: version 1, no features.
const VERSION_BYTES: [u8; 4] = [1, 0, 0, 0];

/// The commits that follow one another from the first.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The segments that hold them, ascending.
    pub kept: Vec<(FoundSegment, SegmentHeader)>,
    /// The end of the last one.
    pub end: LogEnd,
    /// Whether the last of the segments holds more than them, so that it has to be cut.
    pub ends_within: bool,
    /// Why it ends there, if not for lack of anything more.
    pub stop: Option<String>,
    /// The segments behind it.
    pub rest: Vec<FoundSegment>,
}

impl Chain {
    /// Reads all segments up to the first thing that is missing or wrong.
    ///
    /// # Errors
    /// [`ReadError::Io`], and a refusal where a newer release wrote on.
    pub(super) fn read(
        storage: &Arc<dyn Storage>,
        found: Vec<FoundSegment>,
        progress: OnProgress<'_>,
    ) -> Result<Self, MaintenanceError> {
        let mut chain = Self::default();
        let bytes_of = found.iter().map(|segment| segment.file_bytes).sum();
        let mut rest = found.into_iter().peekable();
        while let Some(segment) = rest.next() {
            let begins = segment.header.map_err(str::to_owned).and_then(|header| {
                begins_at(&header, &chain.end)?;
                Ok(header)
            });
            let header = match begins {
                Ok(header) => header,
                Err(reason) => {
                    chain.stop = Some(format!("{}: {reason}", segment.path.display()));
                    chain.rest.push(segment);
                    break;
                }
            };
            let next = rest.peek().and_then(|next| next.header.ok());
            let next = next.map(|next| next.base_offset);
            let goes_on = rest.peek().is_some() || segment.trailer.is_some();
            let stop = scan_one(storage, &segment, &header, next, &mut chain.end)?;
            let bytes = chain.end.offset;
            progress(CopyProgress { bytes, bytes_of });
            let reason = match stop {
                Stop::Reached => None,
                Stop::Absent => goes_on.then(|| "nothing was written here".to_owned()),
                Stop::Wrong { reason, .. } => Some(reason),
            };
            let damage = reason.map(|reason| segment.damage(chain.end.offset, &chain.end, reason));
            chain.kept.push((segment, header));
            if let Some(damage) = damage {
                (chain.stop, chain.ends_within) = (Some(damage.to_string()), true);
                break;
            }
        }
        chain.rest.extend(rest);
        Ok(chain)
    }

    /// The whole commits behind its end, and the number and position of the last of them: they follow nothing.
    pub(super) fn behind(
        &self,
        storage: &Arc<dyn Storage>,
    ) -> Result<(u64, LogEnd), MaintenanceError> {
        let within = self.kept.last().filter(|_| self.ends_within);
        let within = within.map(|(segment, header)| (segment, *header, self.end.offset));
        let rest = self.rest.iter().map(|segment| {
            let header = segment
                .header
                .unwrap_or_else(|_| self.stand_in(segment.number));
            (segment, header, header.base_offset)
        });
        let (mut count, mut last) = (0, self.end);
        for (segment, header, from) in within.into_iter().chain(rest) {
            let (mut frames, to) = reader(storage, segment, &header, None);
            let mut at = from;
            while let Some(offset) = next_frame_like(&mut frames, at, to)? {
                at = match frames.frame_at(offset)? {
                    Ok(commit) => {
                        let end = LogEnd::after(commit.frame());
                        count += 1;
                        if end.sequence > last.sequence {
                            last = end;
                        }
                        end.offset
                    }
                    Err(_) => offset + 1,
                };
            }
        }
        Ok((count, last))
    }
}

impl Chain {
    /// For a header that cannot be read: its frames are still found, if not where in the log they were.
    fn stand_in(&self, number: u64) -> SegmentHeader {
        let end = LogEnd {
            // So high that no link to an earlier frame can be wrong.
            offset: 1 << 62,
            ..self.end
        };
        SegmentHeader::following(number, Uuid::nil(), &end)
    }
}

fn reader(
    storage: &Arc<dyn Storage>,
    segment: &FoundSegment,
    header: &SegmentHeader,
    next: Option<u64>,
) -> (FrameReader, u64) {
    let physical = segment.physical_end(header);
    let limit = next.map_or(physical, |next| next.min(physical));
    let folder = segment.path.parent().unwrap_or(&segment.path);
    let one: Segments = Arc::from([Arc::new(Segment::new(folder, *header, None))]);
    (FrameReader::new(storage.clone(), one, limit), limit)
}

fn scan_one(
    storage: &Arc<dyn Storage>,
    segment: &FoundSegment,
    header: &SegmentHeader,
    next: Option<u64>,
    end: &mut LogEnd,
) -> Result<Stop, MaintenanceError> {
    let (mut frames, limit) = reader(storage, segment, header, next);
    let stop = scan_frames(&mut frames, end, limit)?;
    if matches!(stop, Stop::Wrong { .. })
        && let Err(FrameError::Newer { .. }) = frames.frame_at(end.offset)?
    {
        let reason = format!(
            "commit {} was written by a newer release: repair it with that",
            end.sequence.next()
        );
        return Err(MaintenanceError::refused(&segment.path, reason));
    }
    Ok(stop)
}

/// The next log offset where the bytes look like the front of a frame.
fn next_frame_like(
    frames: &mut FrameReader,
    mut at: u64,
    to: u64,
) -> Result<Option<u64>, ReadError> {
    while at < to {
        let window = frames.bytes_at(at)?;
        let fronts = window.windows(16);
        let found = fronts
            .enumerate()
            .find(|(_, front)| front.ends_with(&VERSION_BYTES) && !front.starts_with(&[0; 4]));
        match found {
            Some((ahead, _)) => return Ok(Some(at + ahead as u64)),
            // A front may begin in the last bytes of a window.
            None => at += (window.len() as u64).saturating_sub(15).max(1),
        }
    }
    Ok(None)
}
