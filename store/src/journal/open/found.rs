//! The segment files that are there, and what their headers and trailers say.

use std::io;
use std::path::{Path, PathBuf};

use chronicler_domain::{GlobalPosition, LogSequence};
use uuid::Uuid;

use crate::error::{OpenError, ReadError};
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::marker::LogEnd;
use crate::journal::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, Trailer, number_of};

/// A segment file as found.
#[derive(Clone, Debug)]
pub(crate) struct FoundSegment {
    pub number: u64,
    pub path: PathBuf,
    pub file_bytes: u64,
    /// What is wrong with the header, if it cannot be read.
    pub header: Result<SegmentHeader, &'static str>,
    /// Only with a readable header that it agrees with.
    pub trailer: Option<Trailer>,
}

/// All segment files, ascending by number.
pub(crate) fn find_segments(
    storage: &dyn Storage,
    folder: &Path,
    store_id: Uuid,
) -> Result<Vec<FoundSegment>, OpenError> {
    let names = storage
        .list(folder)
        .map_err(|error| io_failed("listing", folder, error))?;
    let mut numbers: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| Some((number_of(&name)?, name)))
        .collect();
    numbers.sort_unstable();
    let read = |(number, name): (u64, String)| {
        let path = folder.join(name);
        read_segment(storage, number, path.clone(), store_id)
            .map_err(|error| io_failed("reading", &path, error))
    };
    numbers.into_iter().map(read).collect()
}

/// What the header and the trailer of a segment file say.
pub(crate) fn read_segment(
    storage: &dyn Storage,
    number: u64,
    path: PathBuf,
    store_id: Uuid,
) -> io::Result<FoundSegment> {
    let file = storage.open(&path, OpenMode::Read)?;
    let file_bytes = file.len()?;
    let mut block = vec![0; SEGMENT_HEADER_BYTES as usize];
    let read = file.read_at(&mut block, 0)?;
    block.truncate(read);
    let header = SegmentHeader::read(&block).and_then(|header| {
        if header.store_id != store_id {
            Err("the segment is of another store")
        } else if header.number != number {
            Err("the segment has another number than its file")
        } else {
            Ok(header)
        }
    });
    let mut trailer = Trailer::read(file.as_ref(), file_bytes)?;
    trailer = trailer.filter(|trailer| {
        let frames = trailer.end.offset.checked_sub(trailer.base_offset);
        let bytes = frames.map(|frames| SEGMENT_HEADER_BYTES + frames + trailer.footer_bytes());
        trailer.store_id == store_id
            && bytes == Some(file_bytes)
            && header.is_ok_and(|header| header.base_offset == trailer.base_offset)
    });
    Ok(FoundSegment {
        number,
        path,
        file_bytes,
        header,
        trailer,
    })
}

impl FoundSegment {
    /// The log offset behind the last byte that can belong to a frame.
    pub(crate) fn physical_end(&self, header: &SegmentHeader) -> u64 {
        match &self.trailer {
            Some(trailer) => trailer.end.offset,
            None => header.base_offset + self.file_bytes.saturating_sub(SEGMENT_HEADER_BYTES),
        }
    }

    /// The error that says that this segment does not hold what it must.
    pub(super) fn damaged(&self, log_offset: u64, end: &LogEnd, reason: String) -> OpenError {
        OpenError::Damaged(self.damage(log_offset, end, reason))
    }

    /// The same for a reader.
    pub(crate) fn damage(&self, log_offset: u64, end: &LogEnd, reason: String) -> ReadError {
        let base = self.header.map_or(log_offset, |header| header.base_offset);
        ReadError::Damaged {
            segment: self.path.clone(),
            offset: SEGMENT_HEADER_BYTES + log_offset.saturating_sub(base),
            position: end.position,
            sequence: end.sequence,
            reason,
        }
    }
}

/// Whether a segment begins where the log before it ends; what is wrong if not.
pub(crate) fn begins_at(header: &SegmentHeader, end: &LogEnd) -> Result<(), String> {
    let same = header.base_offset == end.offset
        && header.first_sequence == end.sequence.next()
        && header.first_position == end.position.next()
        && header.previous_checksum == end.checksum
        && header.previous_timestamp == end.timestamp;
    if same {
        return Ok(());
    }
    Err(format!(
        "it begins with commit {} and position {}, and the segment before ends with commit {} and position {}",
        header.first_sequence, header.first_position, end.sequence, end.position
    ))
}

/// The error for something that is missing altogether.
pub(crate) fn missing(path: PathBuf, reason: String) -> OpenError {
    OpenError::Damaged(ReadError::Damaged {
        segment: path,
        offset: 0,
        position: GlobalPosition::ZERO,
        sequence: LogSequence::ZERO,
        reason,
    })
}

pub(crate) fn io_failed(doing: &str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        operation: format!("{doing} {}", path.display()),
        source,
    }
}
