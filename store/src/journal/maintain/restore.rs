//! From a backup to a data directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::copy::{OnProgress, SegmentCopy};
use super::error::{MaintenanceError, io_failed};
use super::manifest::{MANIFEST, Manifest, ManifestSegment};
use super::place::{EmptyPlace, KIND};
use crate::journal::disk::{RealStorage, Storage};
use crate::journal::marker::LogEnd;
use crate::journal::open::read_segment;
use crate::journal::segment::{Segment, file_name};
use crate::journal::unfinished::Work;
use crate::log::Head;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The store's id: that of the store that the backup was taken of.
    pub store_id: Uuid,
    /// The end of the log.
    pub head: Head,
    /// How many segments.
    pub segments: u64,
    /// How many bytes of commits.
    pub log_bytes: u64,
}

/// Makes a data directory of a backup, in a directory that is empty or not there yet. Every commit is checked on the
/// way, and every file against the manifest. What is in sled is not in a backup: the next opening builds it.
///
/// # Errors
/// [`MaintenanceError`]: the directory is not empty, it is no backup, or something in it is damaged. Then the
/// directory is as it was.
pub fn restore(
    backup: &Path,
    data: &Path,
    progress: OnProgress<'_>,
) -> Result<RestoreReport, MaintenanceError> {
    let storage: Arc<dyn Storage> = Arc::new(RealStorage);
    let manifest = Manifest::read(storage.as_ref(), backup)?.ok_or_else(|| {
        MaintenanceError::refused(backup, format!("it is no backup: it has no {MANIFEST}"))
    })?;
    if !manifest.complete {
        let reason = "the first backup was never brought to its end: take it again";
        return Err(MaintenanceError::refused(backup, reason));
    }
    let place = EmptyPlace::take(storage.as_ref(), data, Work::Restore)?;
    let mut end = LogEnd::default();
    for segment in &manifest.segments {
        let restoring = Restoring {
            storage: &storage,
            backup,
            manifest: &manifest,
            progress,
        };
        restoring.segment(segment, &mut end, &place.folder)?;
    }
    let known: LogEnd = manifest.end.into();
    let last = manifest.segments.last().map_or(0, |last| last.number);
    if end != known || last == 0 {
        let path = backup.join(MANIFEST);
        let reason = format!(
            "it names commit {} as the last, and the segments end with commit {}: use another backup",
            known.sequence, end.sequence
        );
        return Err(MaintenanceError::damaged(&path, reason));
    }
    place.settle(storage.as_ref(), manifest.store, end, last)?;
    Ok(RestoreReport {
        store_id: manifest.store,
        head: end.into(),
        segments: manifest.segments.len() as u64,
        log_bytes: end.offset,
    })
}

struct Restoring<'a> {
    storage: &'a Arc<dyn Storage>,
    backup: &'a Path,
    manifest: &'a Manifest,
    progress: OnProgress<'a>,
}

impl Restoring<'_> {
    /// Copies one segment. A file that has become longer since, by a backup that was cut short, begins with what
    /// the manifest names; what lies behind that is left.
    fn segment(
        &self,
        wanted: &ManifestSegment,
        end: &mut LogEnd,
        into: &Path,
    ) -> Result<(), MaintenanceError> {
        let folder = self.backup.join(KIND.folder());
        let path = folder.join(file_name(wanted.number));
        let (number, store) = (wanted.number, self.manifest.store);
        let found =
            read_segment(self.storage.as_ref(), number, path.clone(), store).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        MaintenanceError::damaged(&path, "it is missing: use another backup")
                    }
                    _ => io_failed("reading", &path)(error),
                }
            })?;
        let header = found
            .header
            .map_err(|reason| found.damage(end.offset, end, reason.to_owned()))?;
        let segment = Arc::new(Segment::new(&folder, header, None));
        let copy = SegmentCopy {
            storage: self.storage,
            segment: &segment,
            until: wanted.end.offset,
            goes_on: wanted.sealed,
            log_bytes: self.manifest.end.offset,
            progress: self.progress,
        };
        let written = copy.copy(end, &into.join(file_name(number)))?;
        if wanted.file.is(written) {
            return Ok(());
        }
        let reason = "it is whole, and not the file that the manifest names: use another backup";
        Err(MaintenanceError::damaged(&path, reason))
    }
}
