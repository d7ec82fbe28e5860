//! The log as it is when a read of all of it begins.

use std::sync::Arc;

use super::frames::FrameReader;
use crate::journal::disk::Storage;
use crate::journal::marker::LogEnd;
use crate::journal::segment::{Segment, Segments};

/// Where everything is that a read of the whole log needs, as of its beginning.
#[derive(Debug)]
pub(crate) struct LogView {
    pub storage: Arc<dyn Storage>,
    pub segments: Segments,
    pub end: LogEnd,
}

impl LogView {
    pub(crate) fn reader(&self) -> FrameReader {
        FrameReader::new(self.storage.clone(), self.segments.clone(), self.end.offset)
    }

    /// Whether a segment has no frames, and so no footer: the first frame it got was too long for it.
    pub(super) fn is_empty(&self, segment: &Segment) -> bool {
        let base = segment.header.base_offset;
        let behind = |other: &Arc<Segment>| other.header.base_offset <= base;
        let after = self.segments.partition_point(behind);
        let last = after.checked_sub(1).and_then(|at| self.segments.get(at));
        last.is_some_and(|last| last.header.number != segment.header.number)
    }
}
