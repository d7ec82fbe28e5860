//! What the journal asks of a file system, and nothing more.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// An existing file, to be read.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// A new file, to be read and written; an existing one is emptied.
    Create,
}

/// What became of a folder that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    New,
    /// The folder was there.
    Existing,
}

/// Creates a folder and those above it that are missing, and makes their names durable. The one way in which folders are
/// made: what is acknowledged in one is lost with its name, or with that of any folder above it.
///
/// The deepest folder that was there is taken for one whose name may not be durable yet: whoever created it may have died
/// before it was.
pub(crate) fn create_folders(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    let (mut missing, mut at) = (Vec::new(), path);
    let deepest = loop {
        match storage.create_folder(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(at);
                at = parent(at).ok_or(error)?;
            }
            created => break created?,
        }
    };
    match sync_name(storage, at) {
        // It is somebody else's folder in which this one was found.
        Err(error)
            if deepest == Created::Existing && error.kind() == io::ErrorKind::PermissionDenied => {}
        synced => synced?,
    }
    for folder in missing.into_iter().rev() {
        storage.create_folder(folder)?;
        sync_name(storage, folder)?;
    }
    Ok(())
}

fn sync_name(storage: &dyn Storage, folder: &Path) -> io::Result<()> {
    parent(folder).map_or(Ok(()), |parent| storage.sync_folder(parent))
}

/// The folder that one lies in. That of "data" is the one that we are in.
fn parent(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    })
}

/// A file system. All calls block.
pub(crate) trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;

    /// Creates a folder in one that is there; an existing one is fine. Its name is durable only once the folder
    /// that it lies in is synced: see [`create_folders`].
    fn create_folder(&self, path: &Path) -> io::Result<Created>;

    /// The names in a folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes created, renamed and removed names of a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives back what it holds open itself, once the log has ended; idempotent. A file system holds nothing.
    fn close(&self);
}

/// An open file. Closed when dropped. All calls block.
pub(crate) trait StorageFile: fmt::Debug + Send + Sync + 'static {
    /// Reads from `offset` until `buffer` is full or the file ends; how many bytes were read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, or fails having written any part of it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves room up to `bytes`, which reads as zeros. Where that is not supported the file only becomes
    /// longer.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes the file's bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Sets the length.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Whether this is the file that lies at `path`, and is at least so many bytes long. What is written to one that
    /// nobody can find is lost, and so is what was in one that somebody cut.
    fn is_whole_at(&self, path: &Path, bytes: u64) -> io::Result<bool>;

    /// The length.
    fn len(&self) -> io::Result<u64>;
}
