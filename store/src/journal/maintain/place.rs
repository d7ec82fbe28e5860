//! An empty directory that is to become a data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::{MaintenanceError, io_failed};
use crate::journal::disk::{Storage, create_folders};
use crate::journal::identity::{self, StoreKind};
use crate::journal::lock::{self, DirectoryLock};
use crate::journal::marker::{LogEnd, Marker, MarkerFile};
use crate::journal::open::{foreign, told};
use crate::journal::unfinished::{self, Work};

/// The directories that maintenance knows: sled is not copied while it is written.
pub(super) const KIND: StoreKind = StoreKind::Journal;

/// An empty directory that is to become a data directory, under its lock. Dropped before it is one, it is emptied
/// again.
#[derive(Debug)]
pub(super) struct EmptyPlace {
    data: PathBuf,
    pub folder: PathBuf,
    was_missing: bool,
    is_done: bool,
    _lock: DirectoryLock,
}

impl EmptyPlace {
    /// Takes a directory that is missing or empty, and marks it as unfinished until [`settle`](Self::settle). What every
    /// folder may hold is let be.
    ///
    /// # Errors
    /// [`MaintenanceError::Refused`] when something else is in it.
    pub(super) fn take(
        storage: &dyn Storage,
        data: &Path,
        work: Work,
    ) -> Result<Self, MaintenanceError> {
        let was_missing = !data.exists();
        if !was_missing {
            // Before anything is made in it.
            refuse_others(storage, data)?;
        }
        create_folder(storage, data)?;
        let lock = DirectoryLock::take(data)?;
        // Nobody makes anything in it any more.
        refuse_others(storage, data)?;
        unfinished::begin(storage, data, work)?;
        let folder = data.join(KIND.folder());
        let place = Self {
            data: data.to_path_buf(),
            folder: folder.clone(),
            was_missing,
            is_done: false,
            _lock: lock,
        };
        create_folder(storage, &folder)?;
        Ok(place)
    }

    /// Makes it a data directory whose log ends here, in this segment.
    pub(super) fn settle(
        mut self,
        storage: &dyn Storage,
        store_id: Uuid,
        end: LogEnd,
        segment: u64,
    ) -> Result<(), MaintenanceError> {
        let marker = Marker {
            store_id,
            segment,
            end,
            clean: false,
        };
        MarkerFile::create(storage, &self.folder, &marker)
            .and_then(|_| storage.sync_folder(&self.folder))
            .map_err(io_failed("writing the head marker in", &self.folder))?;
        // Without this file it is no data directory, and with the mark no whole one.
        identity::create(storage, KIND, &self.data, store_id)?;
        unfinished::end(storage, &self.data)?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for EmptyPlace {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let removed = if self.was_missing {
            fs::remove_dir_all(&self.data)
        } else {
            // The mark goes last.
            let files = [identity::FILE, unfinished::FILE, lock::FILE];
            let files = files.map(|name| self.data.join(name));
            let mut each = files.iter().map(|file| gone(fs::remove_file(file)));
            gone(fs::remove_dir_all(&self.folder)).and_then(|()| each.try_for_each(|done| done))
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.data.display(), %error, "what was begun could not be removed again");
        }
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses a directory that something is in.
fn refuse_others(storage: &dyn Storage, data: &Path) -> Result<(), MaintenanceError> {
    unfinished::refuse(storage, data, None)?;
    let mut names = storage.list(data).map_err(io_failed("listing", data))?;
    let of_a_log = |name: &String| StoreKind::ALL.iter().any(|kind| name == kind.folder());
    let logs: Vec<String> = names.extract_if(.., |name| of_a_log(name)).collect();
    let mut found = foreign(names);
    found.extend(logs);
    if found.is_empty() {
        return Ok(());
    }
    let reason = format!("it is not empty: {}", told(&found));
    Err(MaintenanceError::refused(data, reason))
}

/// Creates a folder, and makes its name durable.
pub(super) fn create_folder(storage: &dyn Storage, path: &Path) -> Result<(), MaintenanceError> {
    create_folders(storage, path).map_err(io_failed("creating", path))
}
