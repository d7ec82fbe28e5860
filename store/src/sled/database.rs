//! One sled database: opened, read and written behind the guard, each batch wholly or not at all.

use std::ops::Bound;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;

use super::guard::{self, Worker};
use super::handles::{Batch, Handles, Visit, failed};
use super::row::{self, RowChange, TreeId};
use crate::index::IndexError;

/// How long an open may take. It takes about 0.75 s per million rows, on a slow disk several times that;
/// what takes longer than this and [`OPEN_LIMIT_PER_MIB`] together hangs.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// What each MiB of the file adds to [`OPEN_LIMIT`].
const OPEN_LIMIT_PER_MIB: Duration = Duration::from_millis(200);
/// How long a batch may take: thousands of rows take tens of milliseconds, and a disk may stall for a while.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// What each row adds to [`WRITE_LIMIT`].
const WRITE_LIMIT_PER_ROW: Duration = Duration::from_micros(200);
/// How long closing may take: what is left to write is at most one buffer.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    /// Gone only while it is being dropped.
    handles: Option<Handles>,
    /// The number of the last batch; held while one is written.
    sealed: Mutex<u64>,
    /// Set by the first failure that leaves sled in a state we know nothing of; nothing enters it then.
    broken: OnceLock<IndexError>,
    /// Set by the first write of a log that sled refused with an error of its own: what it holds can still be
    /// read, and nothing is written any more.
    refused: OnceLock<IndexError>,
    /// Opened it, writes to it and closes it.
    worker: Worker,
}

impl Database {
    /// Opens or creates it, and completes a batch that a crash interrupted.
    pub(super) fn open(folder: &Path, trees: &'static [TreeId]) -> Result<Self, IndexError> {
        let bytes = std::fs::metadata(folder.join("db")).map_or(0, |metadata| metadata.len());
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        let limit = OPEN_LIMIT.saturating_add(OPEN_LIMIT_PER_MIB.saturating_mul(mib));
        Self::open_within(folder, trees, limit)
    }

    fn open_within(
        folder: &Path,
        trees: &'static [TreeId],
        limit: Duration,
    ) -> Result<Self, IndexError> {
        let folder = folder.to_owned();
        let worker = Worker::new()?;
        let (handles, sealed) = worker.within("open", limit, move || {
            let handles = Handles::open(&folder, trees)?;
            let sealed = handles.complete_interrupted()?;
            Ok((handles, sealed))
        })?;
        Ok(Self {
            handles: Some(handles),
            sealed: Mutex::new(sealed),
            broken: OnceLock::new(),
            refused: OnceLock::new(),
            worker,
        })
    }

    /// Whether a failure has left sled in a state we know nothing of: every call is an error now.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// The stored bytes of a row, unchecked.
    pub(super) fn get_stored(
        &self,
        tree: TreeId,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, IndexError> {
        self.enter("read", |handles| handles.get(tree, key))
    }

    /// The body of a row.
    pub(super) fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.get_stored(tree, key)?
            .map(|stored| row::body(tree, key, &stored).map(<[u8]>::to_vec))
            .transpose()
    }

    /// Visits the rows of a range of keys by ascending key, until it is told to stop.
    pub(super) fn scan(
        &self,
        tree: TreeId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.enter("scan", |handles| {
            handles.visit(handles.tree(tree)?.range::<&[u8], _>((from, to)), visit)
        })
    }

    /// The same by descending key.
    pub(super) fn scan_back(
        &self,
        tree: TreeId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.enter("scan", |handles| {
            handles.visit(
                handles.tree(tree)?.range::<&[u8], _>((from, to)).rev(),
                visit,
            )
        })
    }

    /// Runs something while no batch is being written.
    pub(super) fn between_batches<T>(&self, run: impl FnOnce() -> T) -> T {
        let _held = self.sealed.lock();
        run()
    }

    /// Writes a batch; when this returns it is durable. One that is [not begun](IndexError::is_not_begun) leaves everything
    /// as it was.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), IndexError> {
        let mut sealed = self.sealed.lock();
        let number = sealed.saturating_add(1);
        let rows = batch.loose.len() + batch.rows.len() + batch.seal.len();
        let limit = write_limit(rows);
        let handles = self.usable()?.clone();
        let together = !(batch.rows.is_empty() && batch.seal.is_empty());
        let written = self.worker.within("write", limit, move || {
            if together {
                handles.commit(number, batch)
            } else {
                handles.put(&batch.loose)?;
                handles.sync()
            }
        });
        written.map_err(|error| {
            if error.is_not_begun() {
                error
            } else {
                self.broke(error)
            }
        })?;
        if together {
            *sealed = number;
        }
        Ok(())
    }

    /// Writes rows that a crash may leave out, any of them, until they are synced. After a failure nothing is
    /// written any more, and reads go on where sled still can.
    pub(super) fn put(&self, rows: Vec<RowChange>) -> Result<(), IndexError> {
        let limit = write_limit(rows.len());
        self.write("write", limit, move |handles| handles.put(&rows))
    }

    /// Makes everything durable that was put.
    pub(super) fn sync(&self) -> Result<(), IndexError> {
        self.write("sync", WRITE_LIMIT, Handles::sync)
    }

    fn write(
        &self,
        operation: &'static str,
        limit: Duration,
        write: impl FnOnce(&Handles) -> Result<(), IndexError> + Send + 'static,
    ) -> Result<(), IndexError> {
        let handles = self.usable()?.clone();
        if let Some(error) = self.refused.get() {
            return Err(error.clone());
        }
        // A panic or a hang leaves sled in a state we know nothing of, and an error only without what was to be
        // written.
        let ended = self
            .worker
            .within(operation, limit, move || Ok(write(&handles)));
        let written = ended.map_err(|error| self.broke(error))?;
        written.map_err(|error| self.refused.get_or_init(|| error).clone())
    }

    /// Writes what a crash may leave of a batch: its intent, and the first of its rows and seal.
    #[cfg(test)]
    pub(super) fn commit_interrupted(&self, batch: &Batch, rows: usize) -> Result<(), IndexError> {
        let number = *self.sealed.lock() + 1;
        let handles = self.usable()?;
        handles.announce(number, &batch.rows, &batch.seal)?;
        let all = [batch.rows.as_slice(), &batch.seal].concat();
        handles.put(all.get(..rows).unwrap_or(&all))?;
        handles.sync()
    }

    /// Runs a read. One that panics leaves sled in a state we know nothing of. One that it refuses does so, too,
    /// unless a refused write came before: then it is only this read that needs what was not written.
    fn enter<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Handles) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let handles = self.usable()?;
        let ended = guard::guarded(operation, || Ok(read(handles)));
        match ended.map_err(|error| self.broke(error))? {
            Err(error) if self.refused.get().is_none() => Err(self.broke(error)),
            result => result,
        }
    }

    fn usable(&self) -> Result<&Handles, IndexError> {
        match (self.broken.get(), &self.handles) {
            (None, Some(handles)) => Ok(handles),
            (Some(error), _) => Err(error.clone()),
            (None, None) => Err(failed("use", "it is closed")),
        }
    }

    fn broke(&self, error: IndexError) -> IndexError {
        self.broken.get_or_init(|| error).clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(handles) = self.handles.take() else {
            return;
        };
        if self.broken.get().is_some() {
            // Closing flushes, which may hang or panic. What a broken sled holds is lost to this process.
            std::mem::forget(handles);
            return;
        }
        let closed = self.worker.within("close", CLOSE_LIMIT, move || {
            drop(handles);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "sled could not be closed; what it holds is left behind");
        }
    }
}

fn write_limit(rows: usize) -> Duration {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    WRITE_LIMIT.saturating_add(WRITE_LIMIT_PER_ROW.saturating_mul(rows))
}

#[cfg(test)]
mod tests;
