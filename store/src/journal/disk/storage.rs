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

/// A file system. All calls block.
pub(crate) trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;

    /// Creates a folder and those above it; an existing one is fine.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes created, renamed and removed names of a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
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
