//! The durable store as one thing: the journal with its index, snapshots and views in sled.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamId, StreamVersion};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::counters::SyncStats;
use super::disk::{RealStorage, Storage};
use super::identity::StoreKind;
use super::lock::{DirectoryLock, LockOfParts};
use super::log::{JournalLog, LogEnding};
use super::open::OpenReport;
use super::options::JournalOptions;
use super::shared::Shared;
use crate::append::{Append, Completion};
use crate::error::{OpenError, ReadError, StoreError};
use crate::frame::FactKind;
use crate::index::{Index, IndexError, Watermark};
use crate::log::{EventLog, FactEntry, Head, Health, HeldBack, StreamHead};
use crate::query::{AllQuery, CommitStream, FactQuery, StreamQuery};
use crate::sled::{DerivedStore, DurableEnd, Expectation, SledIndex};
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::threads;
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

/// The durable store: a journal in segment files, and sled for what is derived from it. The same with the journal in
/// sled, too, is opened by [`SledStore`](crate::SledStore).
///
/// Dropping it closes it, and waits for that; [`close`](EventLog::close) does so without blocking.
pub struct JournalStore {
    log: JournalLog,
    index: Arc<SledIndex>,
    derived: Arc<DerivedStore>,
    /// Who opens the directory next finds sled closed, and the log with it where that lies in sled.
    lock: LockOfParts,
    report: OpenReport,
}

impl JournalStore {
    /// Opens the store of a data directory, or begins one where there is none. Blocks: for milliseconds
    /// after a clean close, for as long as reading the journal takes when the index has to be rebuilt.
    ///
    /// # Errors
    /// [`OpenError`]: another process has the directory, a newer release wrote it, or what is known to have
    /// been durable is damaged.
    pub fn open(path: impl AsRef<Path>, options: JournalOptions) -> Result<Self, OpenError> {
        let storage = Arc::new(RealStorage);
        let path = absolute(path.as_ref())?;
        Self::open_on(StoreKind::Journal, &path, options, storage, None)
    }

    /// Opens the store of a directory whose lock is held: nobody else gets in between.
    pub(crate) fn open_held(
        lock: DirectoryLock,
        data: &Path,
        options: JournalOptions,
    ) -> Result<Self, OpenError> {
        let storage = Arc::new(RealStorage);
        Self::open_on(StoreKind::Journal, data, options, storage, Some(lock))
    }

    /// Opens a store whose log lies somewhere else than in files.
    pub(crate) fn open_on(
        kind: StoreKind,
        data: &Path,
        options: JournalOptions,
        storage: Arc<dyn Storage>,
        held: Option<DirectoryLock>,
    ) -> Result<Self, OpenError> {
        let opened_index = parking_lot::Mutex::new(None);
        let open_index = |store_id: Uuid,
                          end: LogSequence,
                          holds: &dyn Fn(&Watermark) -> Result<(), String>,
                          report: &mut OpenReport| {
            let expected = Expectation {
                store_id,
                end,
                holds,
            };
            let opened = SledIndex::open(data, &expected);
            let (index, found) = opened.map_err(|error| sled_failed(data, error))?;
            report.index_set_aside = found.set_aside.map(|aside| aside.reason);
            let index = Arc::new(index);
            *opened_index.lock() = Some(index.clone());
            Ok(index as Arc<dyn Index>)
        };
        let (log, mut report) = JournalLog::open(kind, data, options, storage, &open_index, held)?;
        let index = opened_index.into_inner().ok_or_else(|| {
            let error = IndexError {
                operation: "open",
                reason: "it was not opened".to_owned(),
            };
            sled_failed(data, error)
        })?;
        let derived = open_derived(data, log.shared(), &mut report)?;
        let lock = Arc::new(Mutex::new(log.lock()));
        Ok(Self {
            log,
            index,
            derived: Arc::new(derived),
            lock,
            report,
        })
    }

    /// What opening found and did.
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// What the store has done since it was opened, in numbers.
    pub fn sync_stats(&self) -> SyncStats {
        self.log.shared().counters.stats()
    }
}

impl JournalStore {
    /// What ends it, from any thread and whatever becomes of this.
    pub(crate) fn ending(&self) -> StoreEnding {
        StoreEnding {
            log: self.log.ending(),
            derived: self.derived.clone(),
            index: self.index.clone(),
            storage: self.log.shared().storage.clone(),
            lock: self.lock.clone(),
        }
    }
}

/// Ends a store.
#[derive(Clone)]
pub(crate) struct StoreEnding {
    log: LogEnding,
    derived: Arc<DerivedStore>,
    index: Arc<SledIndex>,
    storage: Arc<dyn Storage>,
    lock: LockOfParts,
}

impl StoreEnding {
    /// Takes no more, and tells whoever wants the directory that it is being closed.
    pub(crate) fn begin(&self) {
        self.log.begin();
    }

    /// Ends it. Blocks, never on a thread of its own; idempotent.
    pub(crate) fn close_blocking(&self) {
        // Before sled's own handles go: the writer still writes to the storage, and the follower to the index.
        self.log.close_blocking();
        self.derived.close();
        self.index.close();
        self.storage.close();
        drop(self.lock.lock().take());
    }
}

/// The process may go to another folder later.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    std::path::absolute(path).map_err(|source| OpenError::Io {
        operation: format!("finding {}", path.display()),
        source,
    })
}

fn open_derived(
    data: &Path,
    shared: &Arc<Shared>,
    report: &mut OpenReport,
) -> Result<DerivedStore, OpenError> {
    let (view, store_id) = (shared.view(), shared.store_id);
    let holds = |watermark: &Watermark| super::open::holds(&view, store_id, watermark);
    let expected = Expectation {
        store_id,
        end: view.end.sequence,
        holds: &holds,
    };
    let end: DurableEnd = {
        let shared = shared.clone();
        Arc::new(move || shared.durable_end())
    };
    let opened = DerivedStore::open(data, &expected, end);
    let (derived, found) = opened.map_err(|error| sled_failed(data, error))?;
    report.derived_set_aside = found.set_aside.map(|aside| aside.reason);
    Ok(derived)
}

fn sled_failed(data: &Path, error: IndexError) -> OpenError {
    if error.is_held() {
        return OpenError::Locked {
            path: data.to_path_buf(),
            holder: format!("a process that does not hold its lock ({})", error.reason),
        };
    }
    OpenError::Io {
        operation: format!("opening the sled folder ({})", error.operation),
        source: std::io::Error::other(error.reason),
    }
}

impl EventLog for JournalStore {
    fn submit(&self, append: Append, done: Completion) {
        self.log.submit(append, done);
    }

    fn offer(&self, append: Append, done: Completion) -> Result<(), Box<HeldBack>> {
        self.log.offer(append, done)
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        self.log.room()
    }

    fn barrier(&self, done: Box<dyn FnOnce() + Send>) {
        self.log.barrier(done);
    }

    fn head(&self) -> Head {
        self.log.head()
    }

    fn watch_head(&self) -> watch::Receiver<Head> {
        self.log.watch_head()
    }

    fn watch_health(&self) -> watch::Receiver<Health> {
        self.log.watch_health()
    }

    fn stream_head(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<Option<StreamHead>, ReadError>> {
        self.log.stream_head(stream)
    }

    fn read_stream(&self, query: StreamQuery) -> CommitStream {
        self.log.read_stream(query)
    }

    fn read_all(&self, query: AllQuery) -> CommitStream {
        self.log.read_all(query)
    }

    fn fact(
        &self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>> {
        self.log.fact(kind, key)
    }

    fn facts(&self, query: FactQuery) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>> {
        self.log.facts(query)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let ending = self.ending();
        // At once, so that nothing submitted after this call is taken.
        ending.begin();
        Box::pin(threads::close_apart(move || ending.close_blocking()))
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        let ending = self.ending();
        ending.begin();
        threads::close(move || ending.close_blocking());
    }
}

impl std::fmt::Debug for JournalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalStore")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl SnapshotStore for JournalStore {
    fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.derived.save_snapshot(stream, snapshot)
    }

    fn load_snapshot(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<Option<Snapshot>, StoreError>> {
        self.derived.load_snapshot(stream, at_most)
    }

    fn delete_snapshots(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.derived.delete_snapshots(stream, at_most)
    }
}

impl ViewStore for JournalStore {
    fn view_generations(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<(ViewName, ViewCheckpoint)>, StoreError>> {
        self.derived.view_generations(name)
    }

    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.derived.write_view(view, rows, checkpoint)
    }

    fn view_row(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<ViewRow>, StoreError>> {
        self.derived.view_row(view, key)
    }

    fn view_row_blocking(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> Result<Option<ViewRow>, StoreError> {
        self.derived.view_row_blocking(view, key)
    }

    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>> {
        self.derived.view_rows(view, after, limit)
    }

    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>> {
        self.derived.drop_view(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::{SledOptions, SledStore};

    #[test]
    fn k7_the_lock_is_kept_until_sled_has_closed() {
        kept_until_sled_has_closed(|data| JournalStore::open(data, JournalOptions::default()));
    }

    #[test]
    fn k7_the_lock_is_kept_until_the_log_in_sled_has_closed() {
        kept_until_sled_has_closed(|data| SledStore::open(data, SledOptions::default()));
    }

    fn kept_until_sled_has_closed(open: fn(&Path) -> Result<JournalStore, OpenError>) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        store.log.ending().close_blocking();
        DirectoryLock::take(folder.path()).unwrap_err();
        open(folder.path()).unwrap_err();
        store.ending().close_blocking();
        drop(DirectoryLock::take(folder.path()).unwrap());
        // Whoever comes next finds sled closed, although the store is still there.
        open(folder.path()).unwrap();
    }
}
