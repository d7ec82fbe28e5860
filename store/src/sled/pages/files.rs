//! All files in pages of one database: opened when first used, looked up by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::catalogue::{Catalogue, KnownFile};
use super::file::{PagedFile, remove_pages};
use super::name_row::{self, NameRow};
use super::page;
use crate::index::IndexError;
use crate::sled::database::Database;
use crate::sled::row::TreeId;

const TREES: &[TreeId] = &[TreeId::Meta, name_row::TREE, page::TREE];

/// All files in pages of one database. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct PagedFiles {
    pages: Arc<Pages>,
    /// Held while files come, go, or change their names.
    catalogue: Arc<Mutex<Option<Catalogue>>>,
}

/// The database that the pages lie in.
#[derive(Debug)]
pub(super) struct Pages {
    folder: PathBuf,
    /// `None` before the first use and after the end.
    db: RwLock<Option<Database>>,
}

impl Pages {
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        match &*self.db.read() {
            Some(db) => run(db),
            None => Err(IndexError {
                operation: "use",
                reason: "the database of the log is closed".to_owned(),
            }),
        }
    }
}

impl PagedFiles {
    /// The files of the database in a folder, which is not touched yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            pages: Arc::new(Pages {
                folder: folder.to_owned(),
                db: RwLock::default(),
            }),
            catalogue: Arc::default(),
        }
    }

    /// An existing file; `None` if there is none of that name.
    pub(crate) fn open(&self, name: &str) -> Result<Option<PagedFile>, IndexError> {
        self.with_catalogue(|catalogue| {
            let known = catalogue.files.get(name);
            Ok(known.map(|known| self.file(known)))
        })
    }

    /// A new, empty file; one of that name is gone with the same row.
    pub(crate) fn create(&self, name: &str) -> Result<PagedFile, IndexError> {
        self.with_catalogue(|catalogue| {
            let new = catalogue.new_file(name);
            let row = new.state.lock().row.set(new.number);
            self.pages.with(|db| db.put(vec![row]))?;
            let replaced = catalogue.files.insert(name.to_owned(), new.clone());
            self.forget(replaced)?;
            Ok(self.file(&new))
        })
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Result<Vec<String>, IndexError> {
        self.with_catalogue(|catalogue| Ok(catalogue.files.keys().cloned().collect()))
    }

    /// Gives a file another name; one of that name is gone with the same row. Whether there is such a file.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<bool, IndexError> {
        self.with_catalogue(|catalogue| {
            let Some(file) = catalogue.files.get(from).cloned() else {
                return Ok(false);
            };
            if from == to {
                return Ok(true);
            }
            let named = catalogue.name_now();
            let mut state = file.state.lock();
            let row = NameRow {
                named,
                name: to.to_owned(),
                ..state.row.clone()
            };
            self.pages.with(|db| db.put(vec![row.set(file.number)]))?;
            state.row = row;
            drop(state);
            catalogue.files.remove(from);
            let replaced = catalogue.files.insert(to.to_owned(), file);
            self.forget(replaced)?;
            Ok(true)
        })
    }

    /// Removes a file. Whether there was one.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, IndexError> {
        self.with_catalogue(|catalogue| {
            let file = catalogue.files.remove(name);
            let was_there = file.is_some();
            self.forget(file)?;
            Ok(was_there)
        })
    }

    /// Makes everything durable that was written, names included.
    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        self.with_catalogue(|_| self.pages.with(Database::sync))
    }

    /// Gives the database back; every later call is an error.
    pub(crate) fn close(&self) {
        let closed = self.pages.db.write().take();
        drop(closed);
    }

    /// Runs something with the catalogue, which is read when it is first asked for.
    fn with_catalogue<T>(
        &self,
        run: impl FnOnce(&mut Catalogue) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let mut catalogue = self.catalogue.lock();
        match &mut *catalogue {
            Some(catalogue) => run(catalogue),
            unread => run(unread.insert(self.load()?)),
        }
    }

    fn load(&self) -> Result<Catalogue, IndexError> {
        *self.pages.db.write() = Some(Database::open(&self.pages.folder, TREES)?);
        let loaded = self.pages.with(Catalogue::load)?;
        for number in loaded.left_behind {
            self.erase(number)?;
        }
        Ok(loaded.catalogue)
    }

    fn file(&self, known: &KnownFile) -> PagedFile {
        PagedFile {
            pages: self.pages.clone(),
            number: known.number,
            state: known.state.clone(),
        }
    }

    /// Removes what is left of a file that has no name any more.
    fn forget(&self, file: Option<KnownFile>) -> Result<(), IndexError> {
        let Some(file) = file else {
            return Ok(());
        };
        file.state.lock().is_gone = true;
        self.erase(file.number)
    }

    /// The row first: pages without one are nobody's.
    fn erase(&self, number: u64) -> Result<(), IndexError> {
        let row = NameRow::remove(number);
        self.pages.with(|db| db.put(vec![row]))?;
        remove_pages(&self.pages, number, 0)
    }
}
