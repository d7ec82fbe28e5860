//! Setting a database's folder aside: what cannot be trusted is renamed, kept for a while and never used.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::database::Database;
use super::handles::{Batch, wait_until_free};
use super::row::TreeId;
use crate::index::IndexError;
use crate::journal::{RealStorage, Storage};

/// The folder of all databases within a data directory.
pub(super) const SLED: &str = "sled";
/// The databases within it.
pub(super) const INDEX: &str = "index";
pub(super) const DERIVED: &str = "derived";
/// How many folders that were set aside are kept: the newest. They are there to be looked at, nothing more.
const SET_ASIDE_MAX: usize = 3;
const SET_ASIDE_PREFIX: &str = "sled.set-aside-";

/// Where a database lies, and a place to put it when it cannot be trusted.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    data: PathBuf,
    name: &'static str,
}

/// A database that can be trusted.
#[derive(Debug)]
pub(super) struct Opened<T> {
    pub(super) db: Database,
    /// What its check found.
    pub(super) found: T,
    /// What became of the one that was there, if it could not be trusted.
    pub(super) set_aside: Option<SetAside>,
}

/// A database that could not be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub reason: String,
    /// Where it lies now; `None` if there was nothing to keep.
    pub path: Option<PathBuf>,
}

/// Sets all databases of a data directory aside, whose lock is held. Where they are now.
///
/// # Errors
/// When somebody has one of them open all the same: then none is moved.
pub(crate) fn set_aside(data: &Path) -> io::Result<Vec<PathBuf>> {
    let folders = [INDEX, DERIVED].map(|name| Folder::new(data, name));
    for folder in &folders {
        wait_until_free(&folder.path()).map_err(io::Error::other)?;
    }
    let moved = folders.iter().map(Folder::set_aside);
    moved.filter_map(Result::transpose).collect()
}

/// Gives the index another name, to be built anew: it may know commits that are in the log no more.
pub(crate) fn set_index_aside(data: &Path) -> io::Result<Option<PathBuf>> {
    let folder = Folder::new(data, INDEX);
    wait_until_free(&folder.path()).map_err(io::Error::other)?;
    folder.set_aside()
}

/// Why a database cannot be trusted.
enum Trouble {
    Open(IndexError),
    Check(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Check(reason) => f.write_str(reason),
        }
    }
}

impl Folder {
    pub(super) fn new(data: &Path, name: &'static str) -> Self {
        Self {
            data: data.to_owned(),
            name,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.data.join(SLED).join(self.name)
    }

    /// Opens the database and checks it; one that cannot be trusted is set aside and an empty one begun,
    /// which has to pass the same check.
    ///
    /// # Errors
    /// When somebody has it open, who is believed, or there is no thread, descriptor or room to open it with: nothing is touched.
    /// When it cannot be set aside, or no empty one be created.
    pub(super) fn open<T>(
        &self,
        trees: &'static [TreeId],
        check: impl Fn(&Database) -> Result<T, String>,
    ) -> Result<Opened<T>, IndexError> {
        // Before anything of it is read: from here on whatever keeps it from being opened is not another opener.
        wait_until_free(&self.path())?;
        let attempt = || {
            let db = Database::open(&self.path(), trees).map_err(Trouble::Open)?;
            let found = check(&db).map_err(Trouble::Check)?;
            Ok((db, found))
        };
        let reason = match attempt() {
            Ok((db, found)) => {
                return Ok(Opened {
                    db,
                    found,
                    set_aside: None,
                });
            }
            Err(Trouble::Open(error)) if error.is_held() || error.is_not_begun() => {
                return Err(error);
            }
            Err(trouble) => trouble.to_string(),
        };
        let path = self.set_aside().map_err(|error| {
            self.failed(&format!(
                "cannot be set aside ({error}), and must: {reason}"
            ))
        })?;
        tracing::warn!(database = self.name, %reason, path = ?path, "set aside; it will be built again");
        let (db, found) = attempt().map_err(|again| {
            self.failed(&format!(
                "an empty one cannot be created ({again}); the one before: {reason}"
            ))
        })?;
        Ok(Opened {
            db,
            found,
            set_aside: Some(SetAside { reason, path }),
        })
    }

    /// Sets the database aside, which nobody has open but its owner, in whose hands it broke, and begins an empty one.
    pub(super) fn replace(&self, trees: &'static [TreeId]) -> Result<Database, IndexError> {
        self.set_aside()
            .map_err(|error| self.failed(&format!("cannot be set aside: {error}")))?;
        Database::open(&self.path(), trees)
    }

    /// Writes the first rows of a database that was opened; if that fails, it is given back.
    pub(super) fn begin(&self, db: Database, first: Batch) -> Result<Database, IndexError> {
        match db.commit(first) {
            Ok(()) => Ok(db),
            Err(error) => {
                self.give_back(db);
                Err(error)
            }
        }
    }

    /// Closes the database. One that broke is set aside.
    pub(super) fn give_back(&self, db: Database) {
        let is_broken = db.is_broken();
        drop(db);
        if is_broken {
            self.set_broken_aside();
        }
    }

    /// Sets aside what broke: this process cannot let go of it, and whoever opens the directory next would take that for
    /// somebody who has it open.
    pub(super) fn set_broken_aside(&self) {
        if let Err(error) = self.set_aside() {
            tracing::warn!(database = self.name, %error, "what broke could not be set aside: this directory can be opened when the process has ended");
        }
    }

    /// Removes it, as far as it is there.
    pub(super) fn remove(&self) -> Result<(), IndexError> {
        match std::fs::remove_dir_all(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(&format!("cannot be removed: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Renames it to `sled.set-aside-<n>` and says what it is called now; `None` if there was nothing.
    /// Older ones are removed when there are more than a few.
    pub(super) fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        let parent = self.data.join(SLED);
        let unusable = match std::fs::symlink_metadata(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            // Something else took the name of the folder: that goes instead.
            Ok(metadata) if !metadata.is_dir() => parent,
            Ok(_) => self.path(),
        };
        if std::fs::symlink_metadata(&unusable).is_err() {
            return Ok(None);
        }
        let mut kept = self.numbers()?;
        let number = kept.last().map_or(1, |last| last.saturating_add(1));
        let aside = self.numbered(number);
        std::fs::rename(&unusable, &aside)?;
        // After a power cut it is either where it was or aside, and not where a new one has been begun since.
        for folder in [unusable.parent(), Some(self.data.as_path())] {
            folder.map_or(Ok(()), |folder| RealStorage.sync_folder(folder))?;
        }
        kept.push(number);
        let excess = kept.len().saturating_sub(SET_ASIDE_MAX);
        for old in kept.into_iter().take(excess) {
            remove(&self.numbered(old));
        }
        Ok(Some(aside))
    }

    fn failed(&self, reason: &str) -> IndexError {
        IndexError {
            operation: "open",
            reason: format!("{}: {reason}", self.path().display()),
        }
    }

    /// The numbers of the folders that were set aside, ascending.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.data)? {
            numbers.extend(number_of(&entry?.file_name()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn numbered(&self, number: u64) -> PathBuf {
        self.data.join(format!("{SET_ASIDE_PREFIX}{number}"))
    }
}

fn number_of(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix(SET_ASIDE_PREFIX)?.parse().ok()
}

fn remove(old: &Path) {
    let removed = if old.is_dir() {
        std::fs::remove_dir_all(old)
    } else {
        std::fs::remove_file(old)
    };
    if let Err(error) = removed {
        tracing::warn!(path = %old.display(), %error, "an old set-aside folder could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sled::row::RowChange;

    const TREES: &[TreeId] = &[TreeId::Meta, TreeId::Heads];

    #[test]
    fn x3_a_database_that_breaks_as_it_is_begun_does_not_stand_in_the_way_of_the_next() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(data.path(), DERIVED);
        let row = |tree| Batch::loose(vec![RowChange::set(tree, "a", vec![1])]);
        let db = Database::open(&folder.path(), TREES).unwrap();
        folder
            .begin(db, row(TreeId::Views))
            .expect_err("there is no such tree");
        let opened = folder.open(TREES, |_| Ok(())).unwrap();
        assert_eq!(opened.set_aside, None);
        // One that breaks later, and is closed before another one was begun, does neither.
        opened.db.get(TreeId::Views, b"a").unwrap_err();
        folder.give_back(opened.db);
        let opened = folder.open(TREES, |_| Ok(())).unwrap();
        // A whole one is kept.
        let db = folder.begin(opened.db, row(TreeId::Heads)).unwrap();
        folder.give_back(db);
        let kept = folder.open(TREES, |db| {
            let row = db.get(TreeId::Heads, b"a");
            row.map_err(|error| error.to_string())
        });
        assert_eq!(kept.unwrap().found, Some(vec![1]));
    }

    #[test]
    fn the_newest_few_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(data.path(), "index");
        assert_eq!(folder.set_aside().unwrap(), None);
        for number in 1..=5 {
            std::fs::create_dir_all(folder.path()).unwrap();
            std::fs::write(folder.path().join("db"), "x").unwrap();
            let aside = folder.set_aside().unwrap().unwrap();
            assert_eq!(aside, data.path().join(format!("sled.set-aside-{number}")));
            assert!(aside.join("db").exists());
            assert!(!folder.path().exists());
        }
        assert_eq!(folder.numbers().unwrap(), [3, 4, 5]);
    }

    #[test]
    fn a_file_that_took_the_name_goes_too() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(SLED), "garbage").unwrap();
        let folder = Folder::new(data.path(), "index");
        assert!(folder.set_aside().unwrap().unwrap().is_file());
        std::fs::create_dir_all(data.path().join(SLED)).unwrap();
        std::fs::write(folder.path(), "garbage").unwrap();
        assert!(folder.set_aside().unwrap().unwrap().is_file());
    }
}
