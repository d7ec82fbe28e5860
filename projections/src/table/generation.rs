//! One generation of a table: its rows in the store, and over them those that are not written yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_store::test_points::{Promise, is_broken};
use chronicler_store::{Store, StoreError, ViewCheckpoint, ViewName, ViewRow};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use serde::de::DeserializeOwned;

use super::row::{self, EncodedRow, RowFault, Versioned};
use super::taken;
use crate::error::RunError;

/// A row that was changed since the table was last written.
pub(super) struct Dirty<R> {
    pub(super) row: Arc<Versioned<R>>,
    /// The same in bytes: encoded when the event was folded that made it, so that no event shows a row that cannot be
    /// written. For each event and not for each batch: batches differ from run to run, and what fails must not.
    pub(super) now: EncodedRow,
    /// What it was when the table was last written.
    pub(super) earlier: EncodedRow,
}

/// The rows that are published and not written, and where the table stands.
pub(super) struct Overlay<R> {
    pub(super) dirty: BTreeMap<Bytes, Dirty<R>>,
    /// Everything up to here shows.
    pub(super) position: GlobalPosition,
    /// Everything up to here is in the store.
    pub(super) written: GlobalPosition,
    /// How often the overlay was emptied into the store.
    pub(super) flushes: u64,
    /// Rows whose removal is written, and whose last value is still beside it.
    removed: Vec<(Bytes, GlobalPosition)>,
}

/// One generation of a table.
pub(super) struct Generation<R> {
    pub(super) name: ViewName,
    pub(super) store: Arc<dyn Store>,
    fingerprint: u64,
    /// True if this process began the generation: all its rows are then of the type that a row is now.
    is_new: bool,
    /// True once a row was met that is not of the type that a row is now.
    is_unreadable: AtomicBool,
    overlay: RwLock<Overlay<R>>,
    /// A write was begun and its answer is not known: it must be done again as it was before anything else
    /// is folded, since its checkpoint may or may not be in the store.
    is_in_doubt: AtomicBool,
    is_dropped: AtomicBool,
    /// Events that were taken up, from when they show until the log has forgotten them as set aside.
    taken: Mutex<Vec<GlobalPosition>>,
    /// Held while the store is asked whether it still has it: readers wait for the answer.
    looking: tokio::sync::RwLock<()>,
}

/// What a flush wrote.
pub(super) struct Flushed<R> {
    pub(super) rows: Vec<(Bytes, Arc<Versioned<R>>)>,
    pub(super) bytes: usize,
}

impl<R> Generation<R> {
    /// A generation that stands in the store at `written`; `None`: one that begins now.
    pub(super) fn new(
        store: Arc<dyn Store>,
        name: ViewName,
        fingerprint: u64,
        written: Option<GlobalPosition>,
    ) -> Self {
        let is_new = written.is_none();
        let written = written.unwrap_or(GlobalPosition::ZERO);
        Self {
            name,
            store,
            fingerprint,
            is_new,
            is_unreadable: AtomicBool::new(false),
            overlay: RwLock::new(Overlay {
                dirty: BTreeMap::new(),
                position: written,
                written,
                flushes: 0,
                removed: Vec::new(),
            }),
            is_in_doubt: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
            taken: Mutex::default(),
            looking: tokio::sync::RwLock::default(),
        }
    }

    pub(super) fn overlay(&self) -> RwLockReadGuard<'_, Overlay<R>> {
        self.overlay.read()
    }

    /// A row that is not written yet.
    pub(super) fn unwritten(&self, key: &[u8]) -> Option<Arc<Versioned<R>>> {
        let overlay = self.overlay.read();
        overlay.dirty.get(key).map(|dirty| dirty.row.clone())
    }

    /// Whether a row is not written yet.
    pub(super) fn holds(&self, key: &[u8]) -> bool {
        self.overlay.read().dirty.contains_key(key)
    }

    /// Shows these changes; each comes with what the row was before, as the store has it.
    pub(super) fn publish(&self, changes: &mut HashMap<Bytes, Dirty<R>>, position: GlobalPosition) {
        let mut overlay = self.overlay.write();
        for (key, change) in changes.drain() {
            match overlay.dirty.get_mut(&key) {
                Some(dirty) => {
                    dirty.row = change.row;
                    dirty.now = change.now;
                }
                None => drop(overlay.dirty.insert(key, change)),
            }
        }
        overlay.position = position;
    }

    /// All generations that the store has.
    ///
    /// # Errors
    /// [`RunError::Lost`] when this one is not among them as this process left it. From then on the store takes
    /// it for one that never was, so its readers must not believe what they do not find.
    pub(super) async fn found(&self) -> Result<Vec<(ViewName, ViewCheckpoint)>, RunError> {
        let _looking = self.looking.write().await;
        let found = self.store.view_generations(&self.name.name).await?;
        let ours = found.iter().find(|(view, _)| *view == self.name);
        let overlay = self.overlay.read();
        let is_as_left = |position| {
            position == overlay.written || self.is_in_doubt() && position == overlay.position
        };
        if ours.is_some_and(|(_, checkpoint)| is_as_left(checkpoint.position)) {
            drop(overlay);
            return Ok(found);
        }
        self.is_dropped.store(true, Ordering::Release);
        Err(RunError::Lost)
    }

    /// Whether what was just read from the store means nothing, because it was or is being removed there.
    pub(super) async fn is_gone(&self) -> bool {
        drop(self.looking.read().await);
        self.is_dropped.load(Ordering::Acquire)
    }

    /// Notes a row that cannot be read, and says whether that means that the rows were written by another release, and are
    /// to be made again from the events. Rows of a generation that this process began are of no other shape: made again they
    /// would be the same.
    pub(super) fn is_of_another_shape(&self, fault: &RowFault) -> bool {
        let is_so = !self.is_new && matches!(fault, RowFault::Codec(_) | RowFault::Layout);
        if is_so {
            self.is_unreadable.store(true, Ordering::Release);
        }
        is_so
    }

    /// True once a row of another shape was met.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable.load(Ordering::Acquire)
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt.load(Ordering::Acquire)
    }

    /// Removes it from the store. Readers who still have it look again in the one that took its place.
    pub(super) async fn discard(&self) -> Result<(), RunError> {
        self.is_dropped.store(true, Ordering::Release);
        Ok(self.store.drop_view(&self.name).await?)
    }

    /// Writes the checkpoint alone, so that the generation is found at the next start, whatever happens.
    pub(super) async fn register(&self) -> Result<(), RunError> {
        let checkpoint = self.checkpoint(GlobalPosition::ZERO);
        let written = self.store.write_view(&self.name, Vec::new(), checkpoint);
        Ok(written.await?)
    }

    /// Notes events that were taken up, and show from now on.
    pub(super) fn has_taken(&self, positions: &[GlobalPosition]) {
        self.taken.lock().extend_from_slice(positions);
    }

    /// Forgets what was taken up, in the store, too.
    pub(super) async fn clear_taken(&self) -> Result<(), RunError> {
        let position = self.overlay.read().position;
        let cleared = vec![taken::cleared(position)];
        let checkpoint = self.checkpoint(position);
        self.store
            .write_view(&self.name, cleared, checkpoint)
            .await?;
        self.taken.lock().clear();
        Ok(())
    }

    fn checkpoint(&self, position: GlobalPosition) -> ViewCheckpoint {
        ViewCheckpoint {
            position,
            fingerprint: self.fingerprint,
        }
    }
}

impl<R> Overlay<R> {
    /// True if the store keeps rows only for a crash before the present checkpoint.
    pub(super) fn is_unswept(&self) -> bool {
        !self.removed.is_empty()
    }
}

impl<R> Generation<R> {
    /// Writes what is published: rows, then the checkpoint. Nothing may be published meanwhile, and after an
    /// error this must succeed before anything else is.
    pub(super) async fn flush(&self) -> Result<Flushed<R>, RunError> {
        let (rows, position) = self.unwritten_rows();
        let size = |row: &ViewRow| row.key.len() + row.value.as_ref().map_or(0, Bytes::len);
        let bytes = rows.iter().map(size).sum();
        self.is_in_doubt.store(true, Ordering::Release);
        let checkpoint = self.checkpoint(position);
        if is_broken(Promise::RowsBeforeCheckpoint) {
            let early = checkpoint.clone();
            self.store.write_view(&self.name, Vec::new(), early).await?;
        }
        self.store.write_view(&self.name, rows, checkpoint).await?;
        self.is_in_doubt.store(false, Ordering::Release);

        let mut overlay = self.overlay.write();
        let dirty = std::mem::take(&mut overlay.dirty);
        overlay.written = position;
        overlay.flushes += 1;
        overlay.removed = dirty
            .iter()
            .filter(|(_, dirty)| dirty.now.bytes.is_none() && dirty.earlier.bytes.is_some())
            .map(|(key, dirty)| (key.clone(), dirty.row.position))
            .collect();
        drop(overlay);
        let rows = dirty.into_iter().map(|(key, dirty)| (key, dirty.row));
        Ok(Flushed {
            rows: rows.collect(),
            bytes,
        })
    }

    /// Removes what is kept of rows that were removed before the table was last written: nobody falls back to it any more.
    pub(super) async fn sweep(&self) -> Result<(), RunError> {
        let (rows, position) = {
            let overlay = self.overlay.read();
            let removed = overlay.removed.iter();
            let rows = removed.map(|(key, at)| row::removed(key.clone(), *at));
            (rows.collect::<Vec<_>>(), overlay.written)
        };
        if !rows.is_empty() {
            let checkpoint = self.checkpoint(position);
            self.store.write_view(&self.name, rows, checkpoint).await?;
            self.overlay.write().removed.clear();
        }
        Ok(())
    }

    /// Writes what was taken up: first the mark with the positions and all rows, which is one row and so written whole or
    /// not at all, then the rows. The table must have been written right before that.
    pub(super) async fn write_taken(&self) -> Result<Flushed<R>, RunError> {
        let (rows, position) = self.unwritten_rows();
        let positions = self.taken.lock().clone();
        let mark = vec![taken::mark(&positions, &rows, position)?];
        let checkpoint = self.checkpoint(position);
        self.store.write_view(&self.name, mark, checkpoint).await?;
        self.flush().await
    }

    /// Finishes what an earlier life has begun to write of events that it took up, and gives those.
    pub(super) async fn settle_taken(&self) -> Result<Vec<GlobalPosition>, RunError> {
        let positions = self.taken.lock().clone();
        if !positions.is_empty() {
            self.write_taken().await?;
            return Ok(positions);
        }
        let mark = self.store.view_row(&self.name, taken::KEY).await?;
        let mark = taken::read(mark).inspect_err(|_| {
            self.is_unreadable.store(true, Ordering::Release);
        });
        let Some((positions, rows)) = mark? else {
            return Ok(Vec::new());
        };
        let checkpoint = self.checkpoint(self.overlay.read().position);
        self.store.write_view(&self.name, rows, checkpoint).await?;
        Ok(positions)
    }

    fn unwritten_rows(&self) -> (Vec<ViewRow>, GlobalPosition) {
        let overlay = self.overlay.read();
        let mut rows = Vec::with_capacity(overlay.dirty.len() + overlay.removed.len());
        // The checkpoint is past these removals, so nobody falls back to their last values any more.
        let settled = overlay.removed.iter();
        let settled = settled.filter(|(key, _)| !overlay.dirty.contains_key(key));
        rows.extend(settled.map(|(key, at)| row::removed(key.clone(), *at)));
        let changed = overlay.dirty.iter();
        rows.extend(changed.map(|(key, row)| row::to_store(key.clone(), &row.now, &row.earlier)));
        (rows, overlay.position)
    }
}

impl<R: DeserializeOwned> Generation<R> {
    /// A row as the store has it at the table's checkpoint. For readers.
    pub(super) async fn written_row(&self, key: Bytes) -> Result<Versioned<R>, RowFault> {
        self.as_written(self.store.view_row(&self.name, key).await)
    }

    /// The same for the fold, whose thread may block, and may be the last one that may.
    pub(super) fn written_row_blocking(&self, key: Bytes) -> Result<Versioned<R>, RowFault> {
        self.as_written(self.store.view_row_blocking(&self.name, key))
    }

    fn as_written(
        &self,
        stored: Result<Option<ViewRow>, StoreError>,
    ) -> Result<Versioned<R>, RowFault> {
        // Asked only now: a row that was written meanwhile must not pass for one ahead of the checkpoint.
        let written = self.overlay.read().written;
        row::from_store(stored.map_err(RowFault::Store)?, written)
    }
}

/// The generation that answers.
pub(crate) struct Current<R> {
    generation: RwLock<Option<Arc<Generation<R>>>>,
    /// True once a table was found with rows that cannot be read: from then on each row is read back before it counts.
    is_doubted: AtomicBool,
}

impl<R> Current<R> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            generation: RwLock::new(None),
            is_doubted: AtomicBool::new(false),
        }
    }

    /// Notes that a table had rows that cannot be read.
    pub(super) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Release);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted.load(Ordering::Acquire)
    }

    pub(super) fn get(&self) -> Option<Arc<Generation<R>>> {
        self.generation.read().clone()
    }

    pub(super) fn set(&self, generation: Arc<Generation<R>>) {
        *self.generation.write() = Some(generation);
    }
}
