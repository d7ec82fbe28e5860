//! A new index for a log that is whole.

use std::path::{Path, PathBuf};

use super::error::{MaintenanceError, io_failed};
use super::place::KIND;
use crate::error::OpenError;
use crate::journal::disk::RealStorage;
use crate::journal::lock::DirectoryLock;
use crate::journal::{JournalOptions, JournalReader, JournalStore, OpenReport, identity};
use crate::sled::set_aside;

/// Sets aside what sled remembers (stream heads, facts, snapshots and views) and builds the index again from the
/// journal; the application builds its snapshots and views. Holds the lock of the directory throughout. Where the old
/// folders are now, and what the opening did.
///
/// # Errors
/// [`MaintenanceError`]: an application has the directory, it is none, its log is damaged, or sled's folders cannot be
/// renamed.
pub fn rebuild_index(
    data: &Path,
    options: JournalOptions,
) -> Result<(Vec<PathBuf>, OpenReport), MaintenanceError> {
    if identity::read(&RealStorage, KIND, data)?.is_none() {
        return Err(OpenError::NotADirectory {
            path: data.to_path_buf(),
            reason: "it has no `format` file".to_owned(),
        }
        .into());
    }
    let lock = DirectoryLock::take(data)?;
    // Damage is an error before anything is changed, not after.
    JournalReader::open(data)?;
    let aside = set_aside(data).map_err(io_failed("setting sled aside in", data))?;
    let store = JournalStore::open_held(lock, data, options)?;
    Ok((aside, store.open_report().clone()))
}
