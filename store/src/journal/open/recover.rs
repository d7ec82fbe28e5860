//! Recovery: from the files as found to a log that ends with a whole, durable commit and can be written on.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::found::{find_segments, io_failed, missing};
use super::mend::Mending;
use super::report::OpenReport;
use super::walk::{KeptSegment, walk};
use crate::error::OpenError;
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::marker::{self, LogEnd, Marker, MarkerFile};
use crate::journal::segment::{SealBuilder, Segment};
use crate::journal::write::ActiveSegment;

/// A log that can be written on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub end: LogEnd,
    pub segments: Vec<Arc<Segment>>,
    pub active: ActiveSegment,
    pub marker: MarkerFile,
}

/// Recovers the log of a journal folder.
pub(super) fn recover(
    storage: &Arc<dyn Storage>,
    folder: &Path,
    store_id: Uuid,
    segment_bytes: u64,
    report: &mut OpenReport,
) -> Result<Recovered, OpenError> {
    let (file, marker) = read_marker(storage.as_ref(), folder, store_id, report)?;
    let found = find_segments(storage.as_ref(), folder, store_id)?;
    if found.is_empty() {
        let reason = "there are no segments, and the store had been begun".to_owned();
        return Err(missing(folder.to_path_buf(), reason));
    }
    let log = walk(storage, found, marker.as_ref())?;
    let end = log.end;
    let mut mending = Mending {
        storage,
        folder,
        store_id,
        report,
    };
    let mended = mending
        .mend(log, marker.as_ref())
        .map_err(|error| io_failed("mending the end of", folder, error))?;
    resume(storage, folder, store_id, segment_bytes, mended, end, file)
        .map_err(|error| io_failed("opening the end of", folder, error))
}

fn read_marker(
    storage: &dyn Storage,
    folder: &Path,
    store_id: Uuid,
    report: &mut OpenReport,
) -> Result<(Option<MarkerFile>, Option<Marker>), OpenError> {
    let path = folder.join(marker::FILE);
    let opened =
        MarkerFile::open(storage, folder).map_err(|error| io_failed("reading", &path, error))?;
    let Some((file, found)) = opened else {
        report.marker_missing = true;
        tracing::warn!(path = %path.display(), "the head marker is missing; the end of the log was found by reading on");
        return Ok((None, None));
    };
    report.marker_slots_damaged = found.damaged_slots;
    if found.damaged_slots > 0 {
        tracing::warn!(path = %path.display(), slots = found.damaged_slots, "a slot of the head marker is damaged");
    }
    match found.marker {
        Some(marker) if marker.store_id != store_id => {
            let reason = "the head marker is of another store".to_owned();
            Err(missing(path, reason))
        }
        marker => Ok((Some(file), marker)),
    }
}

/// Opens the last segment to be written on, and says in the marker that the log is open.
fn resume(
    storage: &Arc<dyn Storage>,
    folder: &Path,
    store_id: Uuid,
    segment_bytes: u64,
    mut kept: Vec<KeptSegment>,
    end: LogEnd,
    marker_file: Option<MarkerFile>,
) -> std::io::Result<Recovered> {
    let Some(last) = kept.pop() else {
        return Err(std::io::Error::other("no segment is left"));
    };
    let file = storage.open(&last.found.path, OpenMode::Write)?;
    // What was read may be in memory only: a process that ended between write and sync leaves it so.
    file.sync_data()?;
    let marker = Marker {
        store_id,
        segment: last.header.number,
        end,
        clean: false,
    };
    // The marker first: a footer may only go when the log no longer counts as closed.
    let marker_file = match marker_file {
        Some(mut file) => {
            file.write(&marker)?;
            file.sync()?;
            file
        }
        None => MarkerFile::create(storage.as_ref(), folder, &marker)?,
    };
    storage.sync_folder(folder)?;
    let builder = last
        .builder
        .unwrap_or_else(|| SealBuilder::new(last.header.base_offset));
    let sparse = Some(builder.sparse().to_vec());
    let segment = Arc::new(Segment::new(folder, last.header, sparse));
    let frames_end = segment.file_offset(end.offset);
    let file_bytes = segment_bytes.max(frames_end);
    file.truncate(frames_end)?;
    file.preallocate(file_bytes)?;
    file.sync_data()?;
    let mut segments: Vec<_> = kept
        .into_iter()
        .map(|kept| Arc::new(Segment::new(folder, kept.header, None)))
        .collect();
    segments.push(segment.clone());
    Ok(Recovered {
        end,
        segments,
        active: ActiveSegment {
            segment,
            file,
            builder,
            file_bytes,
        },
        marker: marker_file,
    })
}
