//! Keeping aside what is cut off behind the last whole commit.

use std::io;
use std::path::Path;

use super::found::FoundSegment;
use super::report::CutTail;
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::marker::LogEnd;
use crate::journal::segment::SEGMENT_HEADER_BYTES;

/// What the names of files begin with that hold what was cut off.
pub(super) const CUT: &str = "cut-";
/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Copies what a segment file holds from `file_offset` on, up to its last byte that is not zero, into a file
/// of its own, synced. `None` if there is nothing but zeros.
pub(super) fn keep_aside(
    storage: &dyn Storage,
    folder: &Path,
    segment: &FoundSegment,
    file_offset: u64,
    end: &LogEnd,
    reason: &str,
) -> io::Result<Option<CutTail>> {
    let from = file_offset.max(SEGMENT_HEADER_BYTES);
    let file = storage.open(&segment.path, OpenMode::Read)?;
    let mut used_to = from;
    let (mut at, mut block) = (from, vec![0; COPY_BYTES]);
    loop {
        let read = file.read_at(&mut block, at)?;
        let some = block.get(..read).unwrap_or_default();
        if let Some(last) = some.iter().rposition(|byte| *byte != 0) {
            used_to = at + last as u64 + 1;
        }
        at += read as u64;
        if read < COPY_BYTES {
            break;
        }
    }
    if used_to == from {
        return Ok(None);
    }
    let name = format!("{CUT}{:020}-{:020}.bin", segment.number, from);
    let path = folder.join(name);
    let aside = storage.open(&path, OpenMode::Create)?;
    let mut at = from;
    while at < used_to {
        let wanted = usize::try_from(used_to - at).unwrap_or(COPY_BYTES);
        let some = block.get_mut(..wanted.min(COPY_BYTES)).unwrap_or_default();
        let read = file.read_at(some, at)?;
        aside.write_at(some.get(..read).unwrap_or_default(), at - from)?;
        at += read.max(1) as u64;
    }
    aside.sync_data()?;
    Ok(Some(CutTail {
        path,
        bytes: used_to - from,
        sequence: end.sequence,
        position: end.position,
        reason: reason.to_owned(),
    }))
}
