//! Which segments there are, shared between the writer and the readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::footer::SparseEntry;
use super::header::{SEGMENT_HEADER_BYTES, SegmentHeader};

const SUFFIX: &str = ".seg";

/// The segments at one time, ascending. Never empty.
pub(crate) type Segments = Arc<[Arc<Segment>]>;

/// One segment file. Readers open it themselves, so that the number of open files does not grow with the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub header: SegmentHeader,
    pub path: PathBuf,
    /// Of a segment without a footer; `None` once it has one.
    pub unsealed_sparse: Mutex<Option<Vec<SparseEntry>>>,
}

/// The list of segments, replaced as a whole when one is added.
#[derive(Debug)]
pub(crate) struct Catalogue(RwLock<Segments>);

impl Segment {
    pub(crate) fn new(
        folder: &Path,
        header: SegmentHeader,
        unsealed_sparse: Option<Vec<SparseEntry>>,
    ) -> Self {
        Self {
            path: folder.join(file_name(header.number)),
            header,
            unsealed_sparse: Mutex::new(unsealed_sparse),
        }
    }

    /// Whether it has its footer, synced with everything before it.
    pub(crate) fn is_sealed(&self) -> bool {
        self.unsealed_sparse.lock().is_none()
    }

    /// Where a log offset of this segment lies in its file.
    pub(crate) fn file_offset(&self, log_offset: u64) -> u64 {
        log_offset.saturating_sub(self.header.base_offset) + SEGMENT_HEADER_BYTES
    }
}

impl Catalogue {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self(RwLock::new(segments.into()))
    }

    /// The segments as they are now.
    pub(crate) fn segments(&self) -> Segments {
        self.0.read().clone()
    }

    /// Adds the segment that follows the last one.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        let mut segments = self.0.write();
        let with_it = segments.iter().cloned().chain([segment]);
        *segments = with_it.collect();
    }
}

/// The name of a segment's file: its number in 20 digits, so that names sort as numbers do.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

/// The number in the name of a segment's file; `None` if it is not one.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let whole = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok()).flatten()
}
