//! A new index for a log that is whole.

use std::path::{Path, PathBuf};

use super::error::{MaintenanceError, io_failed};
use super::place::KIND;
use crate::error::OpenError;
use crate::journal::disk::RealStorage;
use crate::journal::identity;
use crate::journal::lock::DirectoryLock;
use crate::sled::set_aside;

/// Sets aside what sled remembers: stream heads, facts, snapshots and views. The next opening builds the index, and
/// the application its snapshots and views. Takes the lock of the directory. Where it is now.
///
/// # Errors
/// [`MaintenanceError`]: an application has the directory, it is none, or sled's folders cannot be renamed.
pub fn set_index_aside(data: &Path) -> Result<Vec<PathBuf>, MaintenanceError> {
    if identity::read(&RealStorage, KIND, data)?.is_none() {
        return Err(OpenError::NotADirectory {
            path: data.to_path_buf(),
            reason: "it has no `format` file".to_owned(),
        }
        .into());
    }
    let _lock = DirectoryLock::take(data)?;
    set_aside(data).map_err(io_failed("setting sled aside in", data))
}
