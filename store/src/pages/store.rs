//! The store in sled as one thing: a log in pages, with its index, snapshots and views.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{StreamId, StreamVersion};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::options::SledOptions;
use super::storage::PageStorage;
use crate::append::{Append, Completion};
use crate::error::{OpenError, ReadError, StoreError};
use crate::frame::FactKind;
use crate::journal::{self, JournalStore, LockOfParts, OpenReport, StoreKind, SyncStats};
use crate::log::{EventLog, FactEntry, Head, Health, HeldBack, StreamHead};
use crate::query::{AllQuery, CommitStream, FactQuery, StreamQuery};
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::threads;
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

/// A durable store in sled alone: the log, its index, snapshots and views are sled databases.
///
/// **Use [`JournalStore`] unless you want everything in sled.** Both hold to the same contract, write the same
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
/// Dropping it closes it, and waits for that; [`close`](EventLog::close) does so without blocking.
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
pub struct SledStore {
    store: JournalStore,
    storage: PageStorage,
    /// Who opens the directory next finds the log closed, too.
    lock: LockOfParts,
}

impl SledStore {
    /// Opens the store of a data directory, or begins one where there is none. Blocks: about a second per
    /// million pages.
    ///
    /// # Errors
    /// [`OpenError`]: another process has the directory, it is one of a [`JournalStore`], a newer release wrote
    /// it, or what is known to have been durable is damaged.
    pub fn open(path: impl AsRef<Path>, options: SledOptions) -> Result<Self, OpenError> {
        let data = &journal::absolute(path.as_ref())?;
        let storage = PageStorage::new(data.join(StoreKind::Pages.folder()));
        let in_pages = Arc::new(storage.clone());
        let opened = JournalStore::open_on(StoreKind::Pages, data, options.journal, in_pages, None);
        match opened {
            Ok(store) => {
                let lock = Arc::new(Mutex::new(store.lock()));
                Ok(Self {
                    store,
                    storage,
                    lock,
                })
            }
            Err(error) => {
                // Who tries again in this process must find sled closed.
                storage.close();
                Err(match error {
                    OpenError::Io { source, .. } if source.kind() == ErrorKind::ResourceBusy => {
                        OpenError::Locked {
                            path: data.clone(),
                            holder: format!("a process that does not hold its lock ({source})"),
                        }
                    }
                    other => other,
                })
            }
        }
    }

    /// What opening found and did.
    pub fn open_report(&self) -> &OpenReport {
        self.store.open_report()
    }

    /// What the store has done since it was opened, in numbers.
    pub fn sync_stats(&self) -> SyncStats {
        self.store.sync_stats()
    }
}

impl EventLog for SledStore {
    fn submit(&self, append: Append, done: Completion) {
        self.store.submit(append, done);
    }

    fn offer(&self, append: Append, done: Completion) -> Result<(), Box<HeldBack>> {
        self.store.offer(append, done)
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        self.store.room()
    }

    fn barrier(&self, done: Box<dyn FnOnce() + Send>) {
        self.store.barrier(done);
    }

    fn head(&self) -> Head {
        self.store.head()
    }

    fn watch_head(&self) -> watch::Receiver<Head> {
        self.store.watch_head()
    }

    fn watch_health(&self) -> watch::Receiver<Health> {
        self.store.watch_health()
    }

    fn stream_head(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<Option<StreamHead>, ReadError>> {
        self.store.stream_head(stream)
    }

    fn read_stream(&self, query: StreamQuery) -> CommitStream {
        self.store.read_stream(query)
    }

    fn read_all(&self, query: AllQuery) -> CommitStream {
        self.store.read_all(query)
    }

    fn fact(
        &self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>> {
        self.store.fact(kind, key)
    }

    fn facts(&self, query: FactQuery) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>> {
        self.store.facts(query)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let (ending, storage, lock) =
            (self.store.ending(), self.storage.clone(), self.lock.clone());
        // At once, so that nothing submitted after this call is taken.
        ending.begin();
        Box::pin(threads::close_apart(move || {
            ending.close_blocking();
            storage.close();
            drop(lock.lock().take());
        }))
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let (ending, storage, lock) =
            (self.store.ending(), self.storage.clone(), self.lock.clone());
        ending.begin();
        threads::close(move || {
            // The log ends first: it still writes.
            ending.close_blocking();
            storage.close();
            drop(lock.lock().take());
        });
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore")
            .field("log", &self.store)
            .finish_non_exhaustive()
    }
}

impl SnapshotStore for SledStore {
    fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.save_snapshot(stream, snapshot)
    }

    fn load_snapshot(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<Option<Snapshot>, StoreError>> {
        self.store.load_snapshot(stream, at_most)
    }

    fn delete_snapshots(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.delete_snapshots(stream, at_most)
    }
}

impl ViewStore for SledStore {
    fn view_generations(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<(ViewName, ViewCheckpoint)>, StoreError>> {
        self.store.view_generations(name)
    }

    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.write_view(view, rows, checkpoint)
    }

    fn view_row(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<ViewRow>, StoreError>> {
        self.store.view_row(view, key)
    }

    fn view_row_blocking(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> Result<Option<ViewRow>, StoreError> {
        self.store.view_row_blocking(view, key)
    }

    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>> {
        self.store.view_rows(view, after, limit)
    }

    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.drop_view(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_the_lock_is_kept_until_the_log_in_sled_has_closed() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), SledOptions::default()).unwrap();
        store.store.ending().close_blocking();
        SledStore::open(folder.path(), SledOptions::default()).unwrap_err();
        drop(store);
        SledStore::open(folder.path(), SledOptions::default()).unwrap();
    }
}
