//! Where the bytes of the log go: segments into pages of sled, everything else into files beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::index::IndexError;
use crate::journal::{Created, OpenMode, RealStorage, Storage, StorageFile};
use crate::sled::{PagedFile, PagedFiles};

/// What the names of those files end with that lie in sled: segments, and a segment in the making.
const PAGED: [&str; 2] = [".seg", ".new"];

/// A file system of which the segments of one folder lie in sled.
///
/// The head marker stays a file. sled that was cut short comes up with less and says nothing; the marker is how
/// it is found out. What was cut off is kept aside in files, too, so that it can be looked at.
#[derive(Clone, Debug)]
pub(crate) struct PageStorage {
    folder: PathBuf,
    files: PagedFiles,
}

impl PageStorage {
    /// With the segments of the log in `folder`, which is also that of the database.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            files: PagedFiles::new(&folder),
            folder,
        }
    }

    /// The name of a file that lies in sled.
    fn paged<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let name = path.file_name()?.to_str()?;
        let is_ours = path.parent() == Some(&self.folder);
        (is_ours && PAGED.iter().any(|end| name.ends_with(end))).then_some(name)
    }

    fn failed(&self, error: IndexError) -> io::Error {
        if error.is_held() {
            return io::Error::new(io::ErrorKind::ResourceBusy, error.reason);
        }
        io::Error::other(format!(
            "{error} (the log lies in sled, in {}: if opening again does not help, restore the directory from a backup)",
            self.folder.display()
        ))
    }
}

impl Storage for PageStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let Some(name) = self.paged(path) else {
            return RealStorage.open(path, mode);
        };
        let opened = match mode {
            OpenMode::Create => self.files.create(name).map(Some),
            OpenMode::Read | OpenMode::Write => self.files.open(name),
        };
        let file = opened.map_err(|error| self.failed(error))?;
        Ok(Arc::new(InPages {
            file: file.ok_or(io::ErrorKind::NotFound)?,
            storage: self.clone(),
        }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Created> {
        RealStorage.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = RealStorage.list(folder)?;
        if folder == self.folder {
            names.extend(self.files.names().map_err(|error| self.failed(error))?);
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match (self.paged(from), self.paged(to)) {
            (Some(from), Some(to)) => {
                let renamed = self.files.rename(from, to);
                found(renamed.map_err(|error| self.failed(error))?)
            }
            _ => RealStorage.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.paged(path) {
            Some(name) => found(
                self.files
                    .remove(name)
                    .map_err(|error| self.failed(error))?,
            ),
            None => RealStorage.remove(path),
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if folder == self.folder {
            self.files.sync().map_err(|error| self.failed(error))?;
        }
        RealStorage.sync_folder(folder)
    }

    fn close(&self) {
        self.files.close();
    }
}

fn found(there: bool) -> io::Result<()> {
    there.then_some(()).ok_or(io::ErrorKind::NotFound.into())
}

/// A file that lies in sled.
#[derive(Debug)]
struct InPages {
    file: PagedFile,
    storage: PageStorage,
}

impl InPages {
    fn done<T>(&self, result: Result<T, IndexError>) -> io::Result<T> {
        result.map_err(|error| self.storage.failed(error))
    }
}

impl StorageFile for InPages {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.done(self.file.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.done(self.file.write_at(bytes, offset))
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.done(self.file.reserve(bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.done(self.file.sync())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.done(self.file.truncate(bytes))
    }

    fn is_whole_at(&self, _: &Path, _: u64) -> io::Result<bool> {
        // It has its place in sled; but sled's own file may have been deleted.
        self.storage.folder.join("db").try_exists()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len())
    }
}
