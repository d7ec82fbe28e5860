//! sled itself: the handles of an open database, entered only through the guard.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::intent::IntentFile;
use super::row::{self, RowChange, TreeId};
use crate::index::{ANNOUNCE, BEGIN, HELD, IndexError};
use crate::journal::{RealStorage, create_folders};
use crate::test_points::{CrashPlace, reached};

/// What sled may keep of pages in memory, in bytes. What it does not keep it reads from its file, which the
/// operating system caches, in 2 µs. With this, an open index of 100,000 heads takes 30 MB in all and one of
/// 1,000,000 heads 130 MB, most of it sled's table of pages.
const CACHE_BYTES: u64 = 16 << 20;
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

/// What an open database holds. Clones are the same database.
#[derive(Clone, Debug)]
pub(super) struct Handles {
    db: ::sled::Db,
    trees: Arc<[(TreeId, ::sled::Tree)]>,
    /// Our own descriptor of sled's file: `flush` hands bytes to the kernel, and this one syncs them.
    file: Arc<File>,
    intent: Arc<IntentFile>,
}

impl Handles {
    pub(super) fn open(folder: &Path, trees: &[TreeId]) -> Result<Self, IndexError> {
        let during = |what: &'static str| {
            move |error: io::Error| opening(&error, &format!("{what}: {error}"))
        };
        create_folders(&RealStorage, folder).map_err(during("create the folder"))?;
        let db = open_sled(folder)?;
        let trees = trees
            .iter()
            .map(|tree| {
                Ok((
                    *tree,
                    db.open_tree([tree.number()])
                        .map_err(opening_sled("open"))?,
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
        handles.sync_or(|during, error| opening_sled(during)(error))?;
        sync_folder(folder).map_err(during("sync the folder"))?;
        Ok(handles)
    }

    /// Writes the rows of a batch again whose seal is missing. Returns the number of the last sealed batch.
    pub(super) fn complete_interrupted(&self) -> Result<u64, IndexError> {
        let sealed = match self.get(TreeId::Meta, SEALED)? {
            Some(stored) => number_of(row::body(TreeId::Meta, SEALED, &stored)?)
                .ok_or_else(|| row::damaged(TreeId::Meta, SEALED))?,
            None => 0,
        };
        let found = self.intent.read();
        let found = found.map_err(|error| opening(&error, &format!("read intent: {error}")))?;
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
        // What is written of it now is written once more at the next opening, for as long as its seal is missing.
        self.put_or(&intent.rows, opening_sled("write"))?;
        self.sync_or(|during, error| opening_sled(during)(error))?;
        Ok(intent.number)
    }

    pub(super) fn commit(&self, number: u64, batch: Batch) -> Result<(), IndexError> {
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

    pub(super) fn announce(
        &self,
        number: u64,
        rows: &[RowChange],
        seal: &[RowChange],
    ) -> Result<(), IndexError> {
        let written = self.intent.write(number, &[rows, seal]);
        written.map_err(|error| match self.intent.forget() {
            Ok(()) => io_error(ANNOUNCE)(error),
            Err(again) => io_error("forget intent")(again),
        })
    }

    /// Whether no batch can be announced, as where the disk is full.
    #[cfg(test)]
    pub(super) fn fail_announcements(&self, fails: bool) {
        self.intent
            .fails
            .store(fails, std::sync::atomic::Ordering::SeqCst);
    }

    pub(super) fn put(&self, rows: &[RowChange]) -> Result<(), IndexError> {
        self.put_or(rows, sled_error("write"))
    }

    fn put_or(
        &self,
        rows: &[RowChange],
        failed: impl Fn(::sled::Error) -> IndexError,
    ) -> Result<(), IndexError> {
        for change in rows {
            let tree = self.tree(change.tree)?;
            match &change.stored {
                Some(stored) => tree.insert(&change.key, stored.as_slice()),
                None => tree.remove(&change.key),
            }
            .map_err(&failed)?;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), IndexError> {
        self.sync_or(|during, error| match error {
            ::sled::Error::Io(error) => io_error(during)(error),
            error => sled_error(during)(error),
        })
    }

    fn sync_or(
        &self,
        failed: impl Fn(&'static str, ::sled::Error) -> IndexError,
    ) -> Result<(), IndexError> {
        self.db.flush().map_err(|error| failed("flush", error))?;
        let synced = self.file.sync_data();
        synced.map_err(|error| failed("fdatasync", ::sled::Error::Io(error)))
    }

    pub(super) fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let stored = self.tree(tree)?.get(key).map_err(sled_error("read"))?;
        Ok(stored.map(|stored| stored.to_vec()))
    }

    pub(super) fn visit(
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

    pub(super) fn tree(&self, id: TreeId) -> Result<&::sled::Tree, IndexError> {
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
                if error.to_string().contains("could not acquire lock") =>
            {
                if waited >= LOCK_LIMIT {
                    return Err(held(folder));
                }
                std::thread::sleep(LOCK_RETRY);
                waited += LOCK_RETRY;
            }
            opened => return opened.map_err(opening_sled("open")),
        }
    }
}

/// Waits until nobody has the database of a folder open: sled's own lock is on its file for as long as somebody has.
/// The caller has the lock of the data directory, so nobody comes after that.
///
/// # Errors
/// One that [is held](IndexError::is_held), when somebody still has it after 5 s.
pub(super) fn wait_until_free(folder: &Path) -> Result<(), IndexError> {
    let path = folder.join("db");
    let is_file = std::fs::metadata(&path).is_ok_and(|found| found.is_file());
    let Some(file) = is_file.then(|| File::open(&path).ok()).flatten() else {
        // There is none, or sled will say what is wrong with it. Opening a pipe would wait for its other end, for ever.
        return Ok(());
    };
    let mut waited = Duration::ZERO;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if waited >= LOCK_LIMIT => return Err(held(folder)),
            Err(Errno::WOULDBLOCK) => {
                std::thread::sleep(LOCK_RETRY);
                waited += LOCK_RETRY;
            }
            // Where nothing can be locked sled cannot open it either, and says so.
            _ => {
                let _closing_unlocks = flock(&file, FlockOperation::Unlock);
                return Ok(());
            }
        }
    }
}

fn held(folder: &Path) -> IndexError {
    let reason = format!(
        "somebody has {} open, or it broke in this process and is free when that has ended",
        folder.display()
    );
    failed(HELD, &reason)
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

fn number_of(body: &[u8]) -> Option<u64> {
    body.try_into().ok().map(u64::from_le_bytes)
}

pub(super) fn failed(operation: &'static str, reason: &str) -> IndexError {
    IndexError {
        operation,
        reason: reason.to_owned(),
    }
}

/// Why a database could not be opened. Want of descriptors, memory or room says nothing about what lies there.
fn opening(error: &io::Error, reason: &str) -> IndexError {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let of_number = matches!(
        errno,
        Some(
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::NOSPC | Errno::DQUOT
        )
    );
    // An error that sled keeps and gives once more has lost its number.
    let of_kind = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
    );
    let is_want = of_number || of_kind;
    failed(if is_want { BEGIN } else { "open" }, reason)
}

/// The same, of what sled says during an opening.
fn opening_sled(during: &'static str) -> impl Fn(::sled::Error) -> IndexError {
    move |error| match &error {
        ::sled::Error::Io(of_system) => opening(of_system, &format!("{during}: {of_system}")),
        _ => failed("open", &format!("{during}: {error}")),
    }
}

fn sled_error(operation: &'static str) -> impl Fn(::sled::Error) -> IndexError {
    move |error| failed(operation, &error.to_string())
}

fn io_error(operation: &'static str) -> impl Fn(io::Error) -> IndexError {
    move |error| failed(operation, &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x4_want_says_nothing_about_a_database_and_any_other_error_does() {
        let wants = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::NOSPC,
            Errno::DQUOT,
        ];
        for errno in wants {
            let error = opening(&errno.into(), "it");
            assert!(error.is_not_begun(), "{errno}");
        }
        for errno in [Errno::IO, Errno::ACCESS, Errno::NOTDIR, Errno::ROFS] {
            let error = opening(&errno.into(), "it");
            assert!(!error.is_not_begun(), "{errno}");
        }
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let kept = ::sled::Error::Io(errno.into()).clone();
            assert!(opening_sled("flush")(kept).is_not_begun(), "{errno}");
        }
    }
}
