//! The store in sled alone: the journal's, opened over pages of sled.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::options::SledOptions;
use super::storage::PageStorage;
use crate::error::OpenError;
use crate::journal::{self, JournalStore, Storage, StoreKind};

/// A durable store in sled alone: the log, its index, snapshots and views are sled databases. What [`open`](Self::open)
/// gives is a [`JournalStore`] whose log lies in pages of sled instead of files; there are no values of this type.
///
/// **Use [`JournalStore::open`] unless you want everything in sled.** Both hold to the same contract, write the same
/// frames, and lose nothing they have acknowledged when the process is killed or the power goes: behind sled's
/// `flush`, which on Linux is no sync, comes an `fdatasync` of our own before anything is answered. But the log of
/// this one is only as sound as sled's file:
///
/// - One flipped bit or a file that was cut can cost everything in it. A journal says which segment, and the
///   others can still be read; sled mostly does not open at all. It is noticed in any case: up to the head marker,
///   a file beside sled, what is missing or wrong is an error, with segment and position where sled can be read.
/// - It cannot be repaired, read while it is open, copied while it is written, or looked at with the command
///   line's tools. A backup is a copy of the directory while the store is closed.
/// - It takes more room and more memory, longer for a commit that comes alone, and longer to open: sled reads through
///   its whole file.
/// - sled panics where others return errors. Panics, and calls that never come back, become errors here: nothing can be
///   written or read then until the store is opened again. With `panic = "abort"` a damaged file ends the process.
/// - After a write that sled refused (no room, a failed sync), sled may also refuse to read what lies in the same page.
///   Other reads go on.
///
/// # Examples
///
/// ```
/// use chronicler_store::{EventLog, SledOptions, SledStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), chronicler_store::OpenError> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let data = folder.path();
/// let store = SledStore::open(data, SledOptions::default())?;
/// assert_eq!(store.head().sequence.get(), 0);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum SledStore {}

impl SledStore {
    /// Opens the store of a data directory, or begins one where there is none. Blocks: about a second per
    /// million pages.
    ///
    /// # Errors
    /// [`OpenError`]: another process has the directory, it is one of [`JournalStore::open`], a newer release wrote
    /// it, or what is known to have been durable is damaged.
    pub fn open(path: impl AsRef<Path>, options: SledOptions) -> Result<JournalStore, OpenError> {
        let data = &journal::absolute(path.as_ref())?;
        let storage = Arc::new(PageStorage::new(data.join(StoreKind::Pages.folder())));
        let in_pages = storage.clone();
        let opened = JournalStore::open_on(StoreKind::Pages, data, options.journal, in_pages, None);
        opened.map_err(|error| {
            // Who tries again in this process must find sled closed.
            storage.close();
            match error {
                OpenError::Io { source, .. } if source.kind() == ErrorKind::ResourceBusy => {
                    OpenError::Locked {
                        path: data.clone(),
                        holder: format!("a process that does not hold its lock ({source})"),
                    }
                }
                other => other,
            }
        })
    }
}
