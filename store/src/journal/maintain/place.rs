//! An empty directory that is to become a data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::{MaintenanceError, io_failed};
use crate::journal::disk::{Storage, create_folders};
use crate::journal::identity::{self, StoreKind};
use crate::journal::lock::DirectoryLock;
use crate::journal::marker::{LogEnd, Marker, MarkerFile};

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
    /// Takes a directory that is missing or empty.
    ///
    /// # Errors
    /// [`MaintenanceError::Refused`] when something is in it.
    pub(super) fn take(storage: &dyn Storage, data: &Path) -> Result<Self, MaintenanceError> {
        let was_missing = !data.exists();
        create_folder(storage, data)?;
        let is_empty = storage
            .list(data)
            .map_err(io_failed("listing", data))?
            .is_empty();
        if !is_empty {
            let reason = "it is not empty: name a directory that is, or that is not there yet";
            return Err(MaintenanceError::refused(data, reason));
        }
        let lock = DirectoryLock::take(data)?;
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
        // Last: without this file it is no data directory.
        identity::create(storage, KIND, &self.data, store_id)?;
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
            fs::remove_dir_all(&self.folder).and_then(|()| fs::remove_file(self.data.join("lock")))
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.data.display(), %error, "what was begun could not be removed again");
        }
    }
}

/// Creates a folder, and makes its name durable.
pub(super) fn create_folder(storage: &dyn Storage, path: &Path) -> Result<(), MaintenanceError> {
    create_folders(storage, path).map_err(io_failed("creating", path))
}
