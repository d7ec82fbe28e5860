//! The directory lock: one writing process at a time, and one store in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use crate::error::OpenError;

/// Its name in the data directory.
pub(crate) const FILE: &str = "lock";
/// What is read of the holder's name.
const HOLDER_BYTES_MAX: u64 = 64;

/// Held as long as it, or a clone of it, lives. The kernel lets go of it when the process ends, however it ends.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryLock {
    _held: Arc<Held>,
}

/// A lock that is given back when the last part of a store has ended.
pub(crate) type LockOfParts = Arc<Mutex<Option<DirectoryLock>>>;

#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // A child that another thread is just starting has the open file, too, until it runs its own program: closing it
        // here alone would leave the lock with the child for that long.
        let _closing_unlocks = flock(&self.0, FlockOperation::Unlock);
    }
}

impl DirectoryLock {
    /// Takes the lock of a data directory.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, or another store in this one.
    pub(crate) fn take(data: &Path) -> Result<Self, OpenError> {
        let path = data.join(FILE);
        let failed = |source: io::Error| OpenError::Io {
            operation: format!("locking {}", path.display()),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        // flock belongs to the open file, so it also keeps apart two stores in one process.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(locked(data, &mut file)),
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "process {}", std::process::id()).map_err(failed)?;
        let _held = Arc::new(Held(file));
        Ok(Self { _held })
    }
}

fn locked(data: &Path, file: &mut File) -> OpenError {
    let mut holder = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    let holder = match read {
        Ok(bytes) if bytes > 0 => holder.trim_end().to_owned(),
        _ => "another process".to_owned(),
    };
    OpenError::Locked {
        path: PathBuf::from(data),
        holder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_the_second_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(folder.path()).unwrap();
        let error = DirectoryLock::take(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        DirectoryLock::take(folder.path()).unwrap();
    }
    #[test]
    fn k7_a_child_that_is_being_started_does_not_keep_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(folder.path()).unwrap();
        let as_a_child_has_it = first._held.0.try_clone().unwrap();
        drop(first);
        DirectoryLock::take(folder.path()).unwrap();
        drop(as_a_child_has_it);
    }
}
