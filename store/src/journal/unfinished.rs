//! The file that says that a directory is not whole yet: written before anything else of a work that is not done in one
//! step, and removed after everything else.

use std::io;
use std::path::Path;

use super::disk::{OpenMode, Storage};
use super::open::io_failed;
use crate::error::OpenError;

/// Its name in the data directory.
pub(crate) const FILE: &str = "unfinished";
/// What its first line says.
const TITLE: &str = "chronicler unfinished work";
/// The longest content that is looked at.
const FILE_BYTES_MAX: usize = 1 << 10;

/// A work that leaves a directory unusable where it is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Import,
    Restore,
    Repair,
    /// Of another release, or the file was damaged.
    Other,
}

impl Work {
    const ALL: [Self; 4] = [Self::Import, Self::Restore, Self::Repair, Self::Other];

    fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Restore => "restore",
            Self::Repair => "repair",
            Self::Other => "work of another release",
        }
    }

    fn to_do(self) -> &'static str {
        match self {
            Self::Import => "delete the directory, and import into it again",
            Self::Restore => "delete the directory, and restore into it again",
            Self::Repair => "run `chronicler repair` on it again",
            Self::Other => "use the release that began it",
        }
    }

    fn refusal(self, data: &Path) -> OpenError {
        OpenError::Unfinished {
            path: data.to_path_buf(),
            work: self.name(),
            to_do: self.to_do(),
        }
    }
}

/// Marks a directory, durably.
pub(crate) fn begin(storage: &dyn Storage, data: &Path, work: Work) -> Result<(), OpenError> {
    let path = data.join(FILE);
    let write = || -> io::Result<()> {
        let file = storage.open(&path, OpenMode::Create)?;
        let text = format!("{TITLE}\n{}\n{}\n", work.name(), work.to_do());
        file.write_at(text.as_bytes(), 0)?;
        file.sync_data()?;
        storage.sync_folder(data)
    };
    write().map_err(|error| io_failed("writing", &path, error))
}

/// Says that the directory is whole; nothing happens if it was not marked.
pub(crate) fn end(storage: &dyn Storage, data: &Path) -> Result<(), OpenError> {
    let path = data.join(FILE);
    match storage.remove(&path) {
        Ok(()) => storage
            .sync_folder(data)
            .map_err(|error| io_failed("syncing", data, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_failed("removing", &path, error)),
    }
}

/// What a directory was marked for.
pub(crate) fn read(storage: &dyn Storage, data: &Path) -> Result<Option<Work>, OpenError> {
    let path = data.join(FILE);
    let failed = |error| io_failed("reading", &path, error);
    let file = match storage.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = vec![0; FILE_BYTES_MAX];
    let length = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(length);
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let named = (lines.next() == Some(TITLE))
        .then(|| lines.next())
        .flatten();
    let known = Work::ALL
        .into_iter()
        .find(|work| named == Some(work.name()));
    Ok(Some(known.unwrap_or(Work::Other)))
}

/// Refuses a directory that is marked, unless the work is this one, which is then gone on with.
///
/// # Errors
/// [`OpenError::Unfinished`].
pub(crate) fn refuse(
    storage: &dyn Storage,
    data: &Path,
    but: Option<Work>,
) -> Result<(), OpenError> {
    match read(storage, data)? {
        Some(work) if Some(work) != but => Err(work.refusal(data)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::RealStorage;

    #[test]
    fn a_mark_is_read_back_and_whatever_else_lies_there_is_no_whole_directory() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert_eq!(read(&RealStorage, data).unwrap(), None);
        for work in [Work::Import, Work::Restore, Work::Repair] {
            begin(&RealStorage, data, work).unwrap();
            assert_eq!(read(&RealStorage, data).unwrap(), Some(work));
            refuse(&RealStorage, data, Some(work)).unwrap();
            let error = refuse(&RealStorage, data, None).unwrap_err().to_string();
            assert!(error.contains(work.name()) && error.contains(work.to_do()));
        }
        for damaged in ["", "chronicler unfinished work", "\u{0}\u{0}"] {
            std::fs::write(data.join(FILE), damaged).unwrap();
            assert_eq!(read(&RealStorage, data).unwrap(), Some(Work::Other));
        }
        end(&RealStorage, data).unwrap();
        assert_eq!(read(&RealStorage, data).unwrap(), None);
        end(&RealStorage, data).unwrap();
    }
}
