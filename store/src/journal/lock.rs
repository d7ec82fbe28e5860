//! The directory lock: one writing process at a time, and one store in it.
//!
//! Two things are locked, the folder itself first. Everything that a store is lies in it, so nobody can open the
//! directory beside its holder by taking one of its files away. The `lock` file is locked as well, for releases that
//! know nothing else, and says who holds the directory. ADR 15 has the reasons.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, flock, statx};
use rustix::io::Errno;

use crate::error::OpenError;

/// Its name in the data directory.
pub(crate) const FILE: &str = "lock";
/// What is read of the holder's name.
const HOLDER_BYTES_MAX: u64 = 128;
/// What the holder's name ends with once it gives the directory back.
const CLOSING: &str = ", which is closing it";
/// How long an opener waits for a holder that is closing. A close writes what was accepted and the index, which takes
/// a second at most where the disk answers.
const CLOSING_WAIT: Duration = Duration::from_secs(10);
/// How often it looks whether the holder has closed.
const CLOSING_LOOK: Duration = Duration::from_millis(5);
/// How often a lock is taken again whose file was replaced in that moment. On a file system that does not tell files
/// apart by their numbers the last one is kept as it is.
const TRIES: u32 = 16;

/// Held as long as it, or a clone of it, lives. The kernel lets go of it when the process ends, however it ends.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryLock {
    held: Arc<Held>,
}

/// A lock that is given back when the last part of a store has ended.
pub(crate) type LockOfParts = Arc<Mutex<Option<DirectoryLock>>>;

#[derive(Debug)]
struct Held {
    data: PathBuf,
    /// `None` where the file system does not lock folders: some that lie behind a network.
    folder: Option<LockedFile>,
    file: Mutex<LockedFile>,
    /// Whether the file system tells that what is at a path is what was locked there.
    places_are_told: bool,
}

/// An open file or folder with a lock on it.
#[derive(Debug)]
struct LockedFile {
    open: File,
    identity: Identity,
}

/// Which file it is: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u32, u32, u64);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // A child that another thread is just starting has the open file, too, until it runs its own program: closing it
        // here alone would leave the lock with the child for that long.
        let _closing_unlocks = flock(&self.open, FlockOperation::Unlock);
    }
}

/// What taking the lock came upon.
enum Attempt {
    Taken(DirectoryLock),
    /// Somebody has it.
    Busy,
    /// What was locked was replaced in that moment.
    Replaced(DirectoryLock),
}

impl DirectoryLock {
    /// Takes the lock of a data directory. Waits for a holder that is closing, for at most 10 s.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, or another store in this one.
    pub(crate) fn take(data: &Path) -> Result<Self, OpenError> {
        let failed = |source: io::Error| OpenError::Io {
            operation: format!("locking {}", data.display()),
            source,
        };
        let begun = Instant::now();
        let mut replaced = 0;
        loop {
            match Self::attempt(data).map_err(failed)? {
                Attempt::Taken(lock) => {
                    lock.held.file.lock().name_holder(&holder(""));
                    return Ok(lock);
                }
                Attempt::Replaced(mut lock) => {
                    replaced += 1;
                    if replaced < TRIES {
                        continue;
                    }
                    if let Some(held) = Arc::get_mut(&mut lock.held) {
                        held.places_are_told = false;
                    }
                    tracing::warn!(path = %data.display(), "the file system does not tell one file from another: the directory is not watched while it is in use");
                    lock.held.file.lock().name_holder(&holder(""));
                    return Ok(lock);
                }
                Attempt::Busy => {
                    let holder = holder_of(data);
                    let is_closing = holder
                        .as_ref()
                        .is_some_and(|holder| holder.ends_with(CLOSING));
                    if is_closing && begun.elapsed() < CLOSING_WAIT {
                        std::thread::sleep(CLOSING_LOOK);
                        continue;
                    }
                    return Err(OpenError::Locked {
                        path: PathBuf::from(data),
                        holder: holder.unwrap_or_else(|| "another process".to_owned()),
                    });
                }
            }
        }
    }

    fn attempt(data: &Path) -> io::Result<Attempt> {
        let folder = match LockedFile::take(File::open(data)?) {
            Ok(Some(folder)) => Some(folder),
            Ok(None) => return Ok(Attempt::Busy),
            Err(error) if cannot_lock_folders(&error) => None,
            Err(error) => return Err(error),
        };
        let Some(file) = LockedFile::take(open_file(data)?)? else {
            return Ok(Attempt::Busy);
        };
        let held = Arc::new(Held {
            data: data.to_path_buf(),
            folder,
            file: Mutex::new(file),
            places_are_told: true,
        });
        let in_place = held.folder_is_in_place()? && held.file_is_in_place()?;
        let lock = Self { held };
        Ok(if in_place {
            Attempt::Taken(lock)
        } else {
            Attempt::Replaced(lock)
        })
    }

    /// Whether what was locked is still what lies at its path: whoever opens the directory now, by any release, is
    /// refused. A `lock` file that was taken away is made again, as long as nobody else has come in by it.
    ///
    /// # Errors
    /// What has happened to the directory. Nothing may be written to it any more.
    pub(crate) fn check(&self) -> io::Result<()> {
        if !self.held.places_are_told {
            return Ok(());
        }
        if !self.held.folder_is_in_place()? {
            let reason = "the directory was moved, replaced or deleted while in use";
            return Err(io::Error::other(reason));
        }
        if !self.held.file_is_in_place()? {
            self.held.make_file_again()?;
        }
        Ok(())
    }

    /// Says to whoever wants the directory that it will be free in a moment.
    pub(crate) fn announce_close(&self) {
        self.held.file.lock().name_holder(&holder(CLOSING));
    }
}

impl Held {
    fn folder_is_in_place(&self) -> io::Result<bool> {
        let Some(folder) = &self.folder else {
            return Ok(true);
        };
        Ok(identity_at(CWD, &self.data)? == Some(folder.identity))
    }

    fn file_is_in_place(&self) -> io::Result<bool> {
        let found = match &self.folder {
            Some(folder) => identity_at(&folder.open, Path::new(FILE))?,
            None => identity_at(CWD, &self.data.join(FILE))?,
        };
        Ok(found == Some(self.file.lock().identity))
    }

    /// With the folder locked nobody of this release was let in. One that knows only the `lock` file holds the new one,
    /// or has changed the log, which the writer notices by itself.
    fn make_file_again(&self) -> io::Result<()> {
        let gone = "its `lock` file was deleted, moved or replaced while in use";
        if self.folder.is_none() {
            return Err(io::Error::other(gone));
        }
        let Some(again) = LockedFile::take(open_file(&self.data)?)? else {
            let holder = holder_of(&self.data).unwrap_or_else(|| "another process".to_owned());
            return Err(io::Error::other(format!(
                "{gone}, and {holder} has come in"
            )));
        };
        again.name_holder(&holder(""));
        *self.file.lock() = again;
        tracing::warn!(path = %self.data.display(), "its `lock` file was deleted while in use, and has been made again");
        Ok(())
    }
}

impl LockedFile {
    /// Locks an open file; `None` if somebody else has. The lock belongs to the open file, so it also keeps apart two
    /// stores in one process.
    fn take(open: File) -> io::Result<Option<Self>> {
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let found = statx(&open, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
        let identity = Identity(found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
        Ok(Some(Self { open, identity }))
    }

    /// For people, and for whoever waits: a name that is not written harms nobody.
    fn name_holder(&self, holder: &str) {
        let line = format!("{holder}\n");
        // In this order a reader finds a whole first line at any moment.
        let written = self.open.write_all_at(line.as_bytes(), 0);
        if let Err(error) = written.and_then(|()| self.open.set_len(line.len() as u64)) {
            tracing::debug!(%error, "the holder of the directory could not be written down");
        }
    }
}

fn holder(closing: &str) -> String {
    format!("process {}{closing}", std::process::id())
}

/// Who holds the directory, as far as its `lock` file says.
fn holder_of(data: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(data.join(FILE)).ok()?;
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let first = text.lines().next()?.trim_end();
    (!first.is_empty()).then(|| first.to_owned())
}

fn open_file(data: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(data.join(FILE))
}

/// Which file lies at a path, if there is one.
fn identity_at(from: impl rustix::fd::AsFd, path: &Path) -> io::Result<Option<Identity>> {
    match statx(from, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => Ok(Some(Identity(
            found.stx_dev_major,
            found.stx_dev_minor,
            found.stx_ino,
        ))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// NFS locks files that are open for writing, and no folder is.
fn cannot_lock_folders(error: &io::Error) -> bool {
    let Some(number) = Errno::from_io_error(error) else {
        return false;
    };
    [
        Errno::BADF,
        Errno::INVAL,
        Errno::ISDIR,
        Errno::NOLCK,
        Errno::NOSYS,
        Errno::OPNOTSUPP,
        Errno::PERM,
    ]
    .contains(&number)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let as_a_child_has_it = first.held.file.lock().open.try_clone().unwrap();
        let folder_as_well = first.held.folder.as_ref().unwrap().open.try_clone();
        drop(first);
        DirectoryLock::take(folder.path()).unwrap();
        drop((as_a_child_has_it, folder_as_well));
    }

    #[test]
    fn l1_no_file_that_is_taken_away_lets_a_second_one_in() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(folder.path()).unwrap();
        for replaced in [false, true] {
            fs::remove_file(folder.path().join(FILE)).unwrap();
            if replaced {
                fs::write(folder.path().join(FILE), "process 1\n").unwrap();
            }
            DirectoryLock::take(folder.path()).unwrap_err();
            first.check().unwrap();
            // And the file keeps out, again, who knows nothing else.
            assert!(as_the_release_before(folder.path()).is_none());
        }
        drop(first);
        assert!(as_the_release_before(folder.path()).is_some());
    }

    #[test]
    fn l1_a_process_of_the_release_before_keeps_this_one_out_and_ends_its_writes_once_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let before = as_the_release_before(folder.path()).unwrap();
        DirectoryLock::take(folder.path()).unwrap_err();
        drop(before);
        let lock = DirectoryLock::take(folder.path()).unwrap();
        fs::remove_file(folder.path().join(FILE)).unwrap();
        let _in = as_the_release_before(folder.path()).unwrap();
        let error = lock.check().unwrap_err().to_string();
        assert!(error.contains("has come in"), "{error}");
    }

    #[test]
    fn l1_a_directory_that_was_moved_or_replaced_is_not_ours_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        fs::create_dir(&data).unwrap();
        let lock = DirectoryLock::take(&data).unwrap();
        fs::rename(&data, &other).unwrap();
        lock.check().unwrap_err();
        // It is the same directory wherever it lies.
        DirectoryLock::take(&other).unwrap_err();
        fs::create_dir(&data).unwrap();
        fs::rename(other.join(FILE), data.join(FILE)).unwrap();
        let error = lock.check().unwrap_err().to_string();
        assert!(error.contains("moved, replaced"), "{error}");
    }

    #[test]
    fn l1_where_folders_cannot_be_locked_the_file_is_all_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = DirectoryLock::take(folder.path()).unwrap();
        Arc::get_mut(&mut lock.held).unwrap().folder = None;
        lock.check().unwrap();
        fs::remove_file(folder.path().join(FILE)).unwrap();
        let error = lock.check().unwrap_err().to_string();
        assert!(error.contains("`lock` file was deleted"), "{error}");
    }

    #[test]
    fn l2_whoever_comes_while_it_is_being_closed_waits_for_that() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(folder.path()).unwrap();
        first.announce_close();
        let data = folder.path().to_path_buf();
        let second = std::thread::spawn(move || DirectoryLock::take(&data).map(drop));
        drop(first);
        second.join().unwrap().unwrap();
    }

    /// The lock as it was taken before folders were.
    fn as_the_release_before(data: &Path) -> Option<LockedFile> {
        LockedFile::take(open_file(data).unwrap()).unwrap()
    }
}
