//! The first opening of a directory.

use std::io;
use std::path::Path;

use chronicler_domain::LogSequence;
use uuid::Uuid;

use super::found::{find_segments, io_failed};
use crate::error::OpenError;
use crate::journal::disk::{OpenMode, Storage, create_folders};
use crate::journal::identity::{self, StoreKind};
use crate::journal::marker::{self, LogEnd, Marker, MarkerFile};
use crate::journal::segment::SEGMENT_HEADER_BYTES;
use crate::journal::write::create_segment;

const FIRST_SEGMENT: u64 = 1;

/// Lays out an empty store and gives its id. The `format` file comes last: a directory without it holds
/// nothing that was ever acknowledged.
pub(super) fn begin(
    storage: &dyn Storage,
    kind: StoreKind,
    data: &Path,
    segment_bytes: u64,
) -> Result<Uuid, OpenError> {
    let folder = data.join(kind.folder());
    let failed = |doing: &'static str| {
        let folder = folder.clone();
        move |error| io_failed(doing, &folder, error)
    };
    refuse_other_log(storage, kind, data)?;
    if !folder.exists() {
        refuse_remains(data)?;
    }
    create_folders(storage, &folder).map_err(failed("creating"))?;
    remove_unused(storage, data, &folder)?;
    refuse_remains(data)?;
    let store_id = identity::new_store_id();
    let end = LogEnd::default();
    create_segment(
        storage,
        &folder,
        store_id,
        FIRST_SEGMENT,
        &end,
        segment_bytes,
        true,
    )
    .map_err(failed("creating the first segment in"))?;
    let marker = Marker {
        store_id,
        segment: FIRST_SEGMENT,
        end,
        clean: false,
    };
    MarkerFile::create(storage, &folder, &marker).map_err(failed("creating the marker in"))?;
    storage.sync_folder(&folder).map_err(failed("syncing"))?;
    identity::create(storage, kind, data, store_id)?;
    Ok(store_id)
}

/// Refuses a directory in which sled remembers a log that is gone.
fn refuse_remains(data: &Path) -> Result<(), OpenError> {
    if !data.join("sled").exists() {
        return Ok(());
    }
    let reason = "it has a `sled` folder, and neither `format` nor a log: restore those from a backup, or begin in an empty directory";
    Err(OpenError::NotADirectory {
        path: data.to_path_buf(),
        reason: reason.to_owned(),
    })
}

/// Refuses a directory that held something, although its `format` file is gone. What a beginning that was
/// cut short leaves behind, one empty segment and a marker, is removed: made anew, their names are durable
/// even if the sync that failed was theirs.
fn remove_unused(storage: &dyn Storage, data: &Path, folder: &Path) -> Result<(), OpenError> {
    let found = find_segments(storage, folder, Uuid::nil())?;
    for segment in &found {
        let file = storage
            .open(&segment.path, OpenMode::Read)
            .map_err(|error| io_failed("opening", &segment.path, error))?;
        let mut first_frame = [0; 8];
        file.read_at(&mut first_frame, SEGMENT_HEADER_BYTES)
            .map_err(|error| io_failed("reading", &segment.path, error))?;
        if segment.number != FIRST_SEGMENT || first_frame != [0; 8] {
            let path = segment.path.display();
            return Err(was_used(data, format!("{path} is not empty")));
        }
    }
    let marker = folder.join(marker::FILE);
    let known = MarkerFile::open(storage, folder)
        .map_err(|error| io_failed("reading", &marker, error))?
        .and_then(|(_, found)| found.marker);
    if let Some(known) = known
        && known.end.sequence > LogSequence::ZERO
    {
        let (path, commits) = (marker.display(), known.end.sequence);
        let reason = format!("{path} tells of {commits} commits that were here");
        return Err(was_used(data, reason));
    }
    let unused = found.into_iter().map(|segment| segment.path);
    for path in unused.chain([marker]) {
        match storage.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_failed("removing", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a directory that holds the log of another kind of store, although its `format` file is gone.
fn refuse_other_log(storage: &dyn Storage, kind: StoreKind, data: &Path) -> Result<(), OpenError> {
    for other in StoreKind::ALL.into_iter().filter(|other| *other != kind) {
        let folder = data.join(other.folder());
        match storage.list(&folder) {
            Ok(names) if names.is_empty() => {}
            Ok(_) => {
                let (folder, store) = (folder.display(), other.store());
                return Err(was_used(
                    data,
                    format!("{folder} holds the log of a {store}"),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_failed("listing", &folder, error)),
        }
    }
    Ok(())
}

fn was_used(data: &Path, sign: String) -> OpenError {
    OpenError::NotADirectory {
        path: data.to_path_buf(),
        reason: format!(
            "its `format` file is missing, and {sign}: use a backup, or let `chronicler repair` write it again"
        ),
    }
}
