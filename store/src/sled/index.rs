//! Stream heads and facts in sled, checked when they are opened.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::LogSequence;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::cell::{self, CellTrees, Plan};
use super::database::Database;
use super::folder::{Folder, INDEX, SetAside};
use super::handles::Batch;
use super::index_row;
use super::row::{self, RowChange, Tally, TreeId};
use crate::frame::FactKind;
use crate::index::{FactChange, Fill, HeadRow, Index, IndexBatch, IndexError, Watermark};

const TREES: &[TreeId] = &[
    TreeId::Meta,
    TreeId::Heads,
    TreeId::Facts,
    TreeId::FactChunks,
];
/// The trees that the watermark vouches for.
const CHECKED: [TreeId; 3] = [TreeId::Heads, TreeId::Facts, TreeId::FactChunks];
const FACTS: CellTrees = CellTrees {
    rows: TreeId::Facts,
    chunks: TreeId::FactChunks,
};
const WATERMARK: &[u8] = b"watermark";
/// How many rows, and about how many bytes of facts, are written at once: what is written takes some 400 bytes a row until it
/// is durable, and three syncs for so many cost nothing.
const ROWS_AT_ONCE: usize = 4_096;
const FACT_BYTES_AT_ONCE: usize = 4 << 20;

/// The journal that index, snapshots and views must have been made from to be trusted.
pub(crate) struct Expectation<'a> {
    pub store_id: Uuid,
    /// The end of what is durable in the journal: what is ahead of it was not made from it.
    pub end: LogSequence,
    /// Whether the journal holds this frame, by offset, sequence and checksum; the reason if not.
    pub holds: &'a dyn Fn(&Watermark) -> Result<(), String>,
}

impl Expectation<'_> {
    /// Whether a mark is a place in this journal; the reason if not. The beginning of one always is.
    pub(super) fn check(&self, mark: &Watermark) -> Result<(), String> {
        if mark.store_id != self.store_id {
            return Err(format!("it belongs to another store, {}", mark.store_id));
        }
        if mark.sequence > self.end {
            return Err(format!(
                "it has followed up to commit {}, and the journal ends at {}",
                mark.sequence, self.end
            ));
        }
        if mark.sequence == LogSequence::ZERO {
            return Ok(());
        }
        (self.holds)(mark)
    }
}

/// What opening the index found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexReport {
    /// How far the index has followed; `None`: it is empty, and the journal has to be read from its beginning.
    pub watermark: Option<Watermark>,
    /// Its rows, all of them checked.
    pub rows: u64,
    /// Why the index that was there is not used, and where it lies now.
    pub set_aside: Option<SetAside>,
}

/// Heads and facts as of the watermark.
#[derive(Debug)]
pub(crate) struct SledIndex {
    folder: Folder,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// `None` when it was closed, or when no fresh one could be created after a clear.
    db: Option<Database>,
    /// Held while a batch is written.
    mark: Mutex<Mark>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    watermark: Option<Watermark>,
    tally: Tally,
}

impl SledIndex {
    /// Opens `<data>/sled/index`, or begins an empty one when there is none that can be trusted.
    ///
    /// # Errors
    /// When no empty one can be created either: the disk is full, or not writable.
    pub(crate) fn open(
        data: &Path,
        expected: &Expectation<'_>,
    ) -> Result<(Self, IndexReport), IndexError> {
        let folder = Folder::new(data, INDEX);
        let opened = folder.open(TREES, |db| check(db, expected))?;
        let report = IndexReport {
            watermark: opened.found.watermark,
            rows: opened.found.tally.rows,
            set_aside: opened.set_aside,
        };
        let state = State {
            db: Some(opened.db),
            mark: Mutex::new(opened.found),
        };
        let index = Self {
            folder,
            state: RwLock::new(state),
        };
        Ok((index, report))
    }

    /// Gives the files back; every later call is an error.
    pub(crate) fn close(&self) {
        let Some(db) = self.state.write().db.take() else {
            return;
        };
        self.folder.give_back(db);
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&Database, &State) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let state = self.state.read();
        match &state.db {
            Some(db) => read(db, &state),
            None => Err(IndexError {
                operation: "use",
                reason: "it is closed".to_owned(),
            }),
        }
    }
}

impl Drop for SledIndex {
    fn drop(&mut self) {
        self.close();
    }
}

impl Index for SledIndex {
    fn watermark(&self) -> Option<Watermark> {
        self.state.read().mark.lock().watermark
    }

    fn head(&self, stream_key: &str) -> Result<Option<HeadRow>, IndexError> {
        let key = stream_key.as_bytes();
        self.with(|db, _| {
            db.get(TreeId::Heads, key)?
                .map(|body| {
                    index_row::decode_head(&body).ok_or_else(|| row::damaged(TreeId::Heads, key))
                })
                .transpose()
        })
    }

    fn fact(&self, kind: FactKind, key: &[u8]) -> Result<Option<(Bytes, LogSequence)>, IndexError> {
        let key = index_row::fact_key(kind, key);
        self.with(|db, _| {
            cell::get_cell(db, FACTS, &key)?
                .map(|value| {
                    index_row::decode_fact(value).ok_or_else(|| row::damaged(TreeId::Facts, &key))
                })
                .transpose()
        })
    }

    fn facts(
        &self,
        kind: FactKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes, LogSequence)>, IndexError> {
        let first = index_row::fact_key(kind, after.unwrap_or_default());
        let from = match after {
            Some(_) => Bound::Excluded(first.as_slice()),
            None => Bound::Included(first.as_slice()),
        };
        let beyond = kind.number().checked_add(1).map(u16::to_be_bytes);
        let to = beyond
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
        self.with(|db, _| {
            let mut rows = Vec::new();
            if limit > 0 {
                db.scan(TreeId::Facts, from, to, &mut |key, stored| {
                    rows.push((key.to_vec(), stored.to_vec()));
                    if rows.len() < limit {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })?;
            }
            let mut facts = Vec::with_capacity(rows.len());
            for (row_key, stored) in rows {
                let damaged = || row::damaged(TreeId::Facts, &row_key);
                if let Some(value) = cell::read_cell(db, FACTS, &row_key, &stored)? {
                    let key = index_row::fact_key_of(&row_key).ok_or_else(damaged)?;
                    let (value, sequence) = index_row::decode_fact(value).ok_or_else(damaged)?;
                    facts.push((Bytes::copy_from_slice(key), value, sequence));
                }
            }
            Ok(facts)
        })
    }

    /// In pieces, so that its rows are not all in memory three times more. Until the last one is in, the watermark stays:
    /// rows may be newer than it, and reading on from it only repeats them.
    fn apply(&self, batch: &IndexBatch) -> Result<(), IndexError> {
        self.with(|db, state| {
            let mut mark = state.mark.lock();
            let pieces = pieces(batch);
            let last = pieces.len().saturating_sub(1);
            for (at, piece) in pieces.iter().enumerate() {
                let watermark = match mark.watermark {
                    _ if at == last => batch.watermark,
                    Some(before) => before,
                    None => beginning(batch.watermark.store_id),
                };
                let (rows, tally) = rows_of(db, piece, &watermark, mark.tally)?;
                db.commit(rows)?;
                *mark = Mark {
                    watermark: Some(watermark),
                    tally,
                };
            }
            Ok(())
        })
    }

    /// The folder is removed and made again: that takes as long for many rows as for few, and gives back
    /// what the file had grown to.
    fn clear(&self) -> Result<(), IndexError> {
        let mut state = self.state.write();
        state.db = None;
        *state.mark.get_mut() = Mark::default();
        self.folder.remove()?;
        state.db = Some(Database::open(&self.folder.path(), TREES)?);
        Ok(())
    }

    fn rebuild(&self, fill: &mut Fill<'_>) -> Result<(), IndexError> {
        let state = State {
            db: Some(self.folder.replace(TREES)?),
            mark: Mutex::default(),
        };
        let fresh = Self {
            folder: self.folder.clone(),
            state: RwLock::new(state),
        };
        if let Err(error) = fill(&fresh) {
            fresh.close();
            // What was set aside is worth keeping, and half an index is not.
            drop(self.folder.remove());
            return Err(error);
        }
        std::mem::swap(&mut *self.state.write(), &mut *fresh.state.write());
        // The one before was set aside already. To close it here would do that once more, with the folder that is in use now.
        drop(fresh.state.write().db.take());
        Ok(())
    }
}

/// Some of the changes of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Piece<'a> {
    heads: &'a [(Arc<str>, HeadRow)],
    facts: &'a [FactChange],
}

/// A batch in pieces; one at least.
fn pieces(batch: &IndexBatch) -> Vec<Piece<'_>> {
    let heads = batch.heads.chunks(ROWS_AT_ONCE);
    let mut pieces: Vec<_> = heads.map(|heads| Piece { heads, facts: &[] }).collect();
    let mut facts = batch.facts.as_slice();
    while !facts.is_empty() {
        let mut bytes = 0;
        let fitting = facts.iter().take(ROWS_AT_ONCE).take_while(|fact| {
            let fits = bytes < FACT_BYTES_AT_ONCE;
            bytes += fact.key.len() + fact.value.as_ref().map_or(0, Bytes::len);
            fits
        });
        let (piece, rest) = facts
            .split_at_checked(fitting.count())
            .unwrap_or((facts, &[]));
        match pieces.last_mut() {
            // Few changes are one piece.
            Some(last) if last.facts.is_empty() && last.heads.len() < ROWS_AT_ONCE => {
                last.facts = piece;
            }
            _ => pieces.push(Piece {
                heads: &[],
                facts: piece,
            }),
        }
        facts = rest;
    }
    if pieces.is_empty() {
        pieces.push(Piece::default());
    }
    pieces
}

/// The watermark of an index that has followed nothing yet.
fn beginning(store_id: Uuid) -> Watermark {
    Watermark {
        store_id,
        sequence: LogSequence::ZERO,
        log_offset: 0,
        checksum: 0,
    }
}

/// The rows that bring the index to a watermark, and what all rows add up to then.
fn rows_of(
    db: &Database,
    piece: &Piece<'_>,
    watermark: &Watermark,
    before: Tally,
) -> Result<(Batch, Tally), IndexError> {
    let plan = plan(db, piece)?;
    let tally = plan.tally(db, before, |_, _| true)?;
    let watermark = index_row::encode_watermark(watermark, tally);
    let rows = Batch {
        loose: Vec::new(),
        rows: plan.into_changes(),
        seal: vec![RowChange::set(TreeId::Meta, WATERMARK, watermark)],
    };
    Ok((rows, tally))
}

fn plan(db: &Database, piece: &Piece<'_>) -> Result<Plan, IndexError> {
    let mut plan = Plan::default();
    for (stream_key, head) in piece.heads {
        let body = index_row::encode_head(head);
        plan.change(RowChange::set(TreeId::Heads, stream_key.as_bytes(), body));
    }
    for fact in piece.facts {
        let key = index_row::fact_key(fact.kind, &fact.key);
        match &fact.value {
            Some(value) => {
                let value = index_row::encode_fact(value, fact.sequence);
                plan.set_cell(db, FACTS, &key, &value)?;
            }
            None => plan.remove_cell(db, FACTS, &key)?,
        }
    }
    Ok(plan)
}

/// Whether every row is there and whole, and the watermark a place in this journal.
fn check(db: &Database, expected: &Expectation<'_>) -> Result<Mark, String> {
    let mut tally = Tally::default();
    for tree in CHECKED {
        let mut damaged = None;
        db.scan(
            tree,
            Bound::Unbounded,
            Bound::Unbounded,
            &mut |key, stored| {
                tally.add(tree, key, stored);
                match row::body(tree, key, stored) {
                    Ok(_) => ControlFlow::Continue(()),
                    Err(error) => {
                        damaged = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )
        .map_err(|error| error.to_string())?;
        if let Some(error) = damaged {
            return Err(error.to_string());
        }
    }
    let body = db
        .get(TreeId::Meta, WATERMARK)
        .map_err(|error| error.to_string())?;
    let Some(body) = body else {
        return if tally == Tally::default() {
            Ok(Mark::default())
        } else {
            Err(format!("it has {} rows and no watermark", tally.rows))
        };
    };
    let (watermark, promised) = index_row::decode_watermark(&body)
        .ok_or("its watermark is of another format, or damaged")?;
    if tally != promised {
        return Err(format!(
            "it has {} rows, and its watermark promises {} with another hash",
            tally.rows, promised.rows
        ));
    }
    expected.check(&watermark)?;
    Ok(Mark {
        watermark: Some(watermark),
        tally,
    })
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod rebuild_tests;
