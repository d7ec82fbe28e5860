//! Walking over the segments from the first to the last: where the log ends, and what lies behind that.

use std::sync::Arc;

use super::found::{FoundSegment, begins_at};
use super::scan::{Stop, note, scan};
use crate::error::OpenError;
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::marker::{LogEnd, Marker};
use crate::journal::read::FrameReader;
use crate::journal::segment::{Footer, SealBuilder, Segment, SegmentHeader, file_name};

/// A segment whose frames belong to the log.
#[derive(Debug)]
pub(super) struct KeptSegment {
    pub found: FoundSegment,
    pub header: SegmentHeader,
    /// Where its frames end.
    pub end: LogEnd,
    /// What its footer holds or is to hold; `None` for one that is sealed and will not be written to.
    pub builder: Option<SealBuilder>,
    /// The same as of the marker, if the marker lies in this segment and frames lie behind it.
    pub builder_at_marker: Option<SealBuilder>,
    /// Whether it has a good footer.
    pub sealed: bool,
}

/// The log as found.
#[derive(Debug)]
pub(super) struct Walk {
    /// Never empty.
    pub kept: Vec<KeptSegment>,
    /// The end of the last whole commit.
    pub end: LogEnd,
    /// Segments behind the end.
    pub beyond: Vec<FoundSegment>,
    /// Why the log ends there, if not for lack of anything more.
    pub stop: Option<String>,
}

/// Walks over all segments, checked against the marker.
///
/// # Errors
/// [`OpenError::Damaged`] when anything up to the marker is missing or wrong, or when what lies behind it
/// was not left there by a write that was cut short.
pub(super) fn walk(
    storage: &Arc<dyn Storage>,
    found: Vec<FoundSegment>,
    marker: Option<&Marker>,
) -> Result<Walk, OpenError> {
    let known = marker.map(|marker| marker.end).unwrap_or_default();
    let mut log = Walk {
        kept: Vec::new(),
        end: LogEnd::default(),
        beyond: Vec::new(),
        stop: None,
    };
    let (mut rest, mut number) = (found.into_iter().peekable(), 0);
    while let Some(segment) = rest.next() {
        let expected = number + 1;
        number = segment.number;
        let begins = segment.header.map_err(str::to_owned).and_then(|header| {
            begins_at(&header, &log.end)?;
            Ok(header)
        });
        let header = match begins {
            Ok(header) => header,
            // A gap in the numbers is fine where the segment before it holds what was in it: `mend` leaves
            // that behind when it is cut short.
            Err(_) if number != expected && must_be_whole(&segment, &log.end, marker) => {
                return Err(missing(&segment, expected));
            }
            // Without syncs a power cut can take one name and leave the next.
            Err(_) if number != expected => {
                let name = file_name(expected);
                log.stop = Some(format!(
                    "{name} is missing, and was not known to be durable"
                ));
                log.beyond.push(segment);
                break;
            }
            Err(reason) if must_be_whole(&segment, &log.end, marker) => {
                return Err(segment.damaged(log.end.offset, &log.end, reason));
            }
            Err(reason) => {
                log.stop = Some(reason);
                log.beyond.push(segment);
                break;
            }
        };
        let next = rest.peek().and_then(|next| next.header.ok());
        let (kept, stop) = match sealed(storage, &segment, header, next.as_ref(), &known, marker)? {
            Some(kept) => (kept, Stop::Reached),
            None => scanned(storage, segment, header, next.as_ref(), &log.end, &known)?,
        };
        log.end = kept.end;
        check_marker(&kept, &known, marker)?;
        let gap = next.is_some_and(|next| next.base_offset > log.end.offset);
        log.stop = match stop {
            Stop::Wrong { reason, .. } => Some(reason),
            Stop::Absent if gap => Some("nothing was written here".to_owned()),
            Stop::Absent | Stop::Reached => None,
        };
        log.kept.push(kept);
        if log.stop.is_some() {
            break;
        }
    }
    log.beyond.extend(rest);
    finish(log, &known, marker)
}

/// Whether opening would find the log in order; what is wrong if not. Changes nothing, and does not read what a
/// good footer vouches for.
pub(crate) fn walk_dry(
    storage: &Arc<dyn Storage>,
    found: Vec<FoundSegment>,
    marker: Option<&Marker>,
) -> Result<(), OpenError> {
    walk(storage, found, marker).map(|_| ())
}

fn missing(later: &FoundSegment, number: u64) -> OpenError {
    let path = later.path.with_file_name(file_name(number));
    let reason = "the segment is missing, and later ones are there".to_owned();
    super::found::missing(path, reason)
}

fn finish(log: Walk, known: &LogEnd, marker: Option<&Marker>) -> Result<Walk, OpenError> {
    let Some(last) = log.kept.last() else {
        let reason = "it has no segment that can be read".to_owned();
        return Err(super::found::missing("journal".into(), reason));
    };
    let damaged = |reason: String| Err(last.found.damaged(log.end.offset, &log.end, reason));
    if log.end.offset < known.offset {
        let why = log.stop.clone();
        let why = why.unwrap_or_else(|| "the log ends here".to_owned());
        return damaged(format!(
            "{why}, and commit {} at position {} is known to be durable",
            known.sequence, known.position
        ));
    }
    match (marker, &log.stop) {
        (None, Some(reason)) => damaged(format!(
            "{reason}, and the head marker, which says whether it was durable, cannot be read either"
        )),
        (Some(marker), _) if marker.clean && log.end.offset > known.offset => {
            damaged("frames lie behind the end of a log that was closed".to_owned())
        }
        _ => Ok(log),
    }
}

/// Whether a segment that cannot be used is damage, and not what a cut-short beginning of it left.
fn must_be_whole(segment: &FoundSegment, end: &LogEnd, marker: Option<&Marker>) -> bool {
    marker.is_none_or(|marker| {
        marker.clean || segment.number <= marker.segment || end.offset < marker.end.offset
    })
}

/// Takes a segment by its footer, without reading its frames, if that says where the next one begins and
/// nothing behind the marker would go unchecked.
fn sealed(
    storage: &Arc<dyn Storage>,
    segment: &FoundSegment,
    header: SegmentHeader,
    next: Option<&SegmentHeader>,
    known: &LogEnd,
    marker: Option<&Marker>,
) -> Result<Option<KeptSegment>, OpenError> {
    let fits = |end: &LogEnd| match next {
        Some(next) => next.base_offset == end.offset,
        None => marker.is_some(),
    };
    let checked = |end: &LogEnd| marker.is_none() || end.offset <= known.offset;
    let Some(trailer) = segment.trailer.filter(|t| fits(&t.end) && checked(&t.end)) else {
        return Ok(None);
    };
    let is_last = next.is_none();
    let read = || {
        let file = storage.open(&segment.path, OpenMode::Read)?;
        if is_last {
            let footer = Footer::read(file.as_ref(), segment.file_bytes)?;
            return Ok(footer.map(|footer| Some(SealBuilder::resume(footer))));
        }
        let sparse = trailer.read_sparse(file.as_ref(), segment.file_bytes)?;
        Ok(sparse.map(|_| None))
    };
    let footer = read().map_err(|e| super::found::io_failed("reading", &segment.path, e))?;
    Ok(footer.map(|builder| KeptSegment {
        found: segment.clone(),
        header,
        end: trailer.end,
        builder,
        builder_at_marker: None,
        sealed: true,
    }))
}

/// Reads a segment frame by frame.
fn scanned(
    storage: &Arc<dyn Storage>,
    segment: FoundSegment,
    header: SegmentHeader,
    next: Option<&SegmentHeader>,
    begin: &LogEnd,
    known: &LogEnd,
) -> Result<(KeptSegment, Stop), OpenError> {
    let physical = segment.physical_end(&header);
    let limit = next.map_or(physical, |next| next.base_offset.min(physical));
    let folder = segment.path.parent().unwrap_or(&segment.path);
    let readable = Arc::new(Segment::new(folder, header, None));
    let mut reader = FrameReader::new(storage.clone(), Arc::from([readable]), limit);
    let mut builder = SealBuilder::new(header.base_offset);
    let mut end = *begin;
    let up_to_marker = limit.min(known.offset);
    let stop = scan(&mut reader, &mut end, up_to_marker, |commit| {
        note(&mut builder, commit);
    });
    match stop.map_err(OpenError::Damaged)? {
        Stop::Reached => {}
        Stop::Absent => {
            let reason = format!(
                "nothing was written here, and the log is known to go on to commit {}",
                known.sequence
            );
            return Err(segment.damaged(end.offset, &end, reason));
        }
        Stop::Wrong { reason, .. } => return Err(segment.damaged(end.offset, &end, reason)),
    }
    if end.offset > known.offset && begin.offset < known.offset {
        let reason = "the head marker does not name the end of a frame".to_owned();
        return Err(segment.damaged(known.offset, &end, reason));
    }
    let at_marker = (end.offset == known.offset).then(|| builder.clone());
    let stop = scan(&mut reader, &mut end, limit, |commit| {
        note(&mut builder, commit);
    });
    let stop = stop.map_err(OpenError::Damaged)?;
    if let Stop::Wrong {
        reason,
        can_be_torn: false,
    } = &stop
    {
        return Err(segment.damaged(end.offset, &end, reason.clone()));
    }
    let kept = KeptSegment {
        builder_at_marker: at_marker.filter(|_| end.offset > known.offset),
        found: segment,
        header,
        end,
        builder: Some(builder),
        sealed: false,
    };
    Ok((kept, stop))
}

/// Where the marker names the end of a segment, both must name the same frame.
fn check_marker(
    kept: &KeptSegment,
    known: &LogEnd,
    marker: Option<&Marker>,
) -> Result<(), OpenError> {
    let ends_there = marker.is_some() && kept.end.offset == known.offset;
    if ends_there && kept.end != *known {
        let reason = format!(
            "it ends with commit {}, and the head marker names commit {}",
            kept.end.sequence, known.sequence
        );
        return Err(kept.found.damaged(known.offset, &kept.end, reason));
    }
    Ok(())
}
