//! One sled database: opened, read and written behind the guard, each batch wholly or not at all.

use std::fs::File;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::guard;
use super::intent::IntentFile;
use super::row::{self, RowChange, TreeId};
use crate::index::IndexError;
use crate::test_points::{CrashPlace, reached};

/// What sled may keep of pages in memory, in bytes. What it does not keep it reads from its file, which the
/// operating system caches, in 2 µs. With this, an open index of 100,000 heads takes 30 MB in all and one of
/// 1,000,000 heads 130 MB, most of it sled's table of pages.
const CACHE_BYTES: u64 = 16 << 20;
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
/// How long to wait for sled's own threads to let go of the file after a close in the same process.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// The row that holds the number of the last batch that was sealed.
const SEALED: &[u8] = b"sealed";

/// Rows of a range in order, each visited with its key and stored bytes.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Rows to be written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Rows that stand for themselves: a crash may leave any of them out.
    pub(super) loose: Vec<RowChange>,
    /// Rows that are written all or none.
    pub(super) rows: Vec<RowChange>,
    /// Rows that are written after all others are durable, all or none together with `rows`.
    pub(super) seal: Vec<RowChange>,
}

impl Batch {
    pub(super) fn loose(loose: Vec<RowChange>) -> Self {
        Self {
            loose,
            ..Self::default()
        }
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    /// Gone only while it is being dropped.
    handles: Option<Handles>,
    /// The number of the last batch; held while one is written.
    sealed: Mutex<u64>,
    /// Set by the first failure that leaves sled in a state we know nothing of; nothing enters it then.
    broken: OnceLock<IndexError>,
}

#[derive(Clone, Debug)]
struct Handles {
    db: ::sled::Db,
    trees: Arc<[(TreeId, ::sled::Tree)]>,
    /// Our own descriptor of sled's file: `flush` hands bytes to the kernel, and this one syncs them.
    file: Arc<File>,
    intent: Arc<IntentFile>,
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
        let (handles, sealed) = guard::within("open", limit, move || {
            let handles = Handles::open(&folder, trees)?;
            let sealed = handles.complete_interrupted()?;
            Ok((handles, sealed))
        })?;
        Ok(Self {
            handles: Some(handles),
            sealed: Mutex::new(sealed),
            broken: OnceLock::new(),
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

    /// Writes a batch; when this returns it is durable.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), IndexError> {
        let mut sealed = self.sealed.lock();
        let number = sealed.saturating_add(1);
        let rows = batch.loose.len() + batch.rows.len() + batch.seal.len();
        let limit = write_limit(rows);
        let handles = self.usable()?.clone();
        let together = !(batch.rows.is_empty() && batch.seal.is_empty());
        let written = guard::within("write", limit, move || {
            if together {
                handles.commit(number, batch)
            } else {
                handles.put(&batch.loose)?;
                handles.sync()
            }
        });
        written.map_err(|error| self.broke(error))?;
        if together {
            *sealed = number;
        }
        Ok(())
    }

    /// Writes rows that a crash may leave out, any of them, until they are synced.
    pub(super) fn put(&self, rows: Vec<RowChange>) -> Result<(), IndexError> {
        let limit = write_limit(rows.len());
        let handles = self.usable()?.clone();
        let written = guard::within("write", limit, move || handles.put(&rows));
        written.map_err(|error| self.broke(error))
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&self) -> Result<(), IndexError> {
        let handles = self.usable()?.clone();
        let synced = guard::within("sync", WRITE_LIMIT, move || handles.sync());
        synced.map_err(|error| self.broke(error))
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

    /// Runs a read. One that panics leaves sled in a state we know nothing of.
    fn enter<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Handles) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let handles = self.usable()?;
        guard::guarded(operation, || read(handles)).map_err(|error| self.broke(error))
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
        let closed = guard::within("close", CLOSE_LIMIT, move || {
            drop(handles);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "sled could not be closed; what it holds is left behind");
        }
    }
}

impl Handles {
    fn open(folder: &Path, trees: &[TreeId]) -> Result<Self, IndexError> {
        let during = |what: &'static str| {
            move |error: io::Error| failed("open", &format!("{what}: {error}"))
        };
        std::fs::create_dir_all(folder).map_err(during("create the folder"))?;
        let db = open_sled(folder)?;
        let trees = trees
            .iter()
            .map(|tree| {
                Ok((
                    *tree,
                    db.open_tree([tree.number()]).map_err(sled_error("open"))?,
                ))
            })
            .collect::<Result<Arc<[_]>, IndexError>>()?;
        let file = File::open(folder.join("db")).map_err(during("open db"))?;
        let intent = IntentFile::open(folder).map_err(during("open intent"))?;
        let handles = Self {
            db,
            trees,
            file: Arc::new(file),
            intent: Arc::new(intent),
        };
        handles.sync()?;
        sync_folder(folder).map_err(during("sync the folder"))?;
        Ok(handles)
    }

    /// Writes the rows of a batch again whose seal is missing. Returns the number of the last sealed batch.
    fn complete_interrupted(&self) -> Result<u64, IndexError> {
        let sealed = match self.get(TreeId::Meta, SEALED)? {
            Some(stored) => number_of(row::body(TreeId::Meta, SEALED, &stored)?)
                .ok_or_else(|| row::damaged(TreeId::Meta, SEALED))?,
            None => 0,
        };
        let found = self.intent.read().map_err(io_error("read intent"))?;
        let Some(intent) = found else {
            return Ok(sealed);
        };
        // A batch is announced only when the one before is sealed, durably.
        let announced_after = intent.number.saturating_sub(1);
        if sealed < announced_after || (intent.rows.is_empty() && sealed < intent.number) {
            let reason = format!("sled has lost batches {} to {announced_after}", sealed + 1);
            return Err(failed("open", &reason));
        }
        if sealed >= intent.number {
            return Ok(sealed);
        }
        tracing::info!(rows = intent.rows.len(), "completing an interrupted batch");
        self.put(&intent.rows)?;
        self.sync()?;
        Ok(intent.number)
    }

    fn commit(&self, number: u64, batch: Batch) -> Result<(), IndexError> {
        let Batch {
            loose,
            rows,
            mut seal,
        } = batch;
        seal.push(RowChange::set(
            TreeId::Meta,
            SEALED,
            number.to_le_bytes().to_vec(),
        ));
        self.announce(number, &rows, &seal)?;
        self.put(&loose)?;
        self.put(&rows)?;
        self.sync()?;
        reached(CrashPlace::RowsWritten);
        self.put(&seal)?;
        self.sync()?;
        self.intent.trim(number).map_err(io_error("trim intent"))
    }

    fn announce(
        &self,
        number: u64,
        rows: &[RowChange],
        seal: &[RowChange],
    ) -> Result<(), IndexError> {
        self.intent
            .write(number, &[rows, seal])
            .map_err(io_error("write intent"))
    }

    fn put(&self, rows: &[RowChange]) -> Result<(), IndexError> {
        for change in rows {
            let tree = self.tree(change.tree)?;
            match &change.stored {
                Some(stored) => tree.insert(&change.key, stored.as_slice()),
                None => tree.remove(&change.key),
            }
            .map_err(sled_error("write"))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), IndexError> {
        self.db.flush().map_err(sled_error("flush"))?;
        self.file.sync_data().map_err(io_error("fdatasync"))
    }

    fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let stored = self.tree(tree)?.get(key).map_err(sled_error("read"))?;
        Ok(stored.map(|stored| stored.to_vec()))
    }

    fn visit(
        &self,
        rows: impl Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        for row in rows {
            let (key, stored) = row.map_err(sled_error("scan"))?;
            if visit(&key, &stored).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn tree(&self, id: TreeId) -> Result<&::sled::Tree, IndexError> {
        self.trees
            .iter()
            .find(|(tree, _)| *tree == id)
            .map(|(_, tree)| tree)
            .ok_or_else(|| failed("use", "this database has no such tree"))
    }
}

/// Without sled's own periodic flush: it would write, collect garbage and sync behind our back, and closing
/// waits for ever when its thread has panicked. Segments are used again without it: a file that is written
/// over and over stays at about five times its rows. `Mode` stays as it is, since nothing in 0.34.7 reads it.
///
/// sled's lock goes with its last thread that holds the file, which may be after a close has returned.
fn open_sled(folder: &Path) -> Result<::sled::Db, IndexError> {
    let config = ::sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    let mut waited = Duration::ZERO;
    loop {
        match config.open() {
            Err(::sled::Error::Io(error))
                if waited < LOCK_LIMIT && error.to_string().contains("could not acquire lock") =>
            {
                std::thread::sleep(LOCK_RETRY);
                waited += LOCK_RETRY;
            }
            opened => return opened.map_err(sled_error("open")),
        }
    }
}

/// Makes the names of the files in a folder durable, the folder's own name, and the files that sled does
/// not sync itself.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder.join("conf"))?.sync_all()?;
    let parent: Option<PathBuf> = folder.parent().map(Path::to_path_buf);
    for folder in std::iter::once(folder.to_owned()).chain(parent) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn write_limit(rows: usize) -> Duration {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    WRITE_LIMIT.saturating_add(WRITE_LIMIT_PER_ROW.saturating_mul(rows))
}

fn number_of(body: &[u8]) -> Option<u64> {
    body.try_into().ok().map(u64::from_le_bytes)
}

fn failed(operation: &'static str, reason: &str) -> IndexError {
    IndexError {
        operation,
        reason: reason.to_owned(),
    }
}

fn sled_error(operation: &'static str) -> impl Fn(::sled::Error) -> IndexError {
    move |error| failed(operation, &error.to_string())
}

fn io_error(operation: &'static str) -> impl Fn(io::Error) -> IndexError {
    move |error| failed(operation, &error.to_string())
}

#[cfg(test)]
mod tests;
