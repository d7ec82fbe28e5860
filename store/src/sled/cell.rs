//! Values of any size over rows of limited size: short ones lie in their row, long ones in numbered chunks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use super::database::Database;
use super::row::{self, RowChange, Tally, TreeId};
use crate::frame::varint::{self, Cursor};
use crate::index::IndexError;

/// The longest value that lies in its own row, and the length of a chunk, in bytes.
///
/// sled keeps up to 16 rows in one leaf and writes a leaf as one item; an item over a quarter of its
/// segment (128 KiB) would go to a blob file, which is never synced. 16 rows of this size with keys of
/// 1 KiB stay below.
pub(super) const CHUNK_BYTES: usize = 4_096;

/// The trees of one kind of value: its rows, and the chunks of those that are long.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellTrees {
    pub(super) rows: TreeId,
    pub(super) chunks: TreeId,
}

const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// Changes of rows that belong together, sorted by tree and key, each row at most once.
#[derive(Debug, Default)]
pub(super) struct Plan {
    changes: BTreeMap<(TreeId, Vec<u8>), Option<Vec<u8>>>,
}

impl Plan {
    pub(super) fn change(&mut self, change: RowChange) {
        self.changes
            .insert((change.tree, change.key), change.stored);
    }

    /// Sets a value of any size.
    pub(super) fn set_cell(
        &mut self,
        db: &Database,
        trees: CellTrees,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), IndexError> {
        let before = self.chunks_now(db, trees, key)?;
        let mut after = 0;
        if value.len() <= CHUNK_BYTES {
            let mut body = Vec::with_capacity(value.len() + 5);
            body.push(INLINE);
            body.extend_from_slice(value);
            self.change(RowChange::set(trees.rows, key, body));
        } else {
            for (chunk, number) in value.chunks(CHUNK_BYTES).zip(0_u32..) {
                let key = chunk_key(key, number);
                self.change(RowChange::set(trees.chunks, key, chunk.to_vec()));
                after = number + 1;
            }
            let mut body = vec![CHUNKED];
            varint::put(&mut body, value.len() as u64);
            body.extend_from_slice(&crc32c::crc32c(value).to_le_bytes());
            self.change(RowChange::set(trees.rows, key, body));
        }
        for number in after..before {
            self.change(RowChange::remove(trees.chunks, chunk_key(key, number)));
        }
        Ok(())
    }

    /// Removes a value and its chunks; nothing happens if there is none.
    pub(super) fn remove_cell(
        &mut self,
        db: &Database,
        trees: CellTrees,
        key: &[u8],
    ) -> Result<(), IndexError> {
        for number in 0..self.chunks_now(db, trees, key)? {
            self.change(RowChange::remove(trees.chunks, chunk_key(key, number)));
        }
        self.change(RowChange::remove(trees.rows, key));
        Ok(())
    }

    /// What the plan does to the tally of the rows that `of` accepts.
    pub(super) fn tally(
        &self,
        db: &Database,
        mut tally: Tally,
        of: impl Fn(TreeId, &[u8]) -> bool,
    ) -> Result<Tally, IndexError> {
        for ((tree, key), stored) in &self.changes {
            if !of(*tree, key) {
                continue;
            }
            if let Some(before) = db.get_stored(*tree, key)? {
                tally.take(*tree, key, &before);
            }
            if let Some(after) = stored {
                tally.add(*tree, key, after);
            }
        }
        Ok(tally)
    }

    /// The keys within `first..=last` that are there once the plan is carried out, ascending.
    pub(super) fn keys(
        &self,
        db: &Database,
        tree: TreeId,
        first: &[u8],
        last: &[u8],
    ) -> Result<Vec<Vec<u8>>, IndexError> {
        let mut keys = BTreeSet::new();
        let (from, to) = (Bound::Included(first), Bound::Included(last));
        db.scan(tree, from, to, &mut |key, _| {
            keys.insert(key.to_vec());
            ControlFlow::Continue(())
        })?;
        let planned = (tree, first.to_vec())..=(tree, last.to_vec());
        for ((_, key), stored) in self.changes.range(planned) {
            if stored.is_some() {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// What is to be written, in this order: chunks before the rows that say where they are, and their removal after
    /// it. A process that dies in the middle leaves no row without its chunks.
    pub(super) fn into_changes(self) -> Vec<RowChange> {
        let of = |((tree, key), stored)| RowChange { tree, key, stored };
        let mut changes: Vec<_> = self.changes.into_iter().map(of).collect();
        changes.sort_by_key(
            |change| match (change.tree.holds_chunks(), &change.stored) {
                (true, Some(_)) => 0,
                (false, _) => 1,
                (true, None) => 2,
            },
        );
        changes
    }

    /// How many chunks the value has, with what is planned so far.
    fn chunks_now(&self, db: &Database, trees: CellTrees, key: &[u8]) -> Result<u32, IndexError> {
        let planned = self.changes.get(&(trees.rows, key.to_vec()));
        let stored = match planned {
            Some(stored) => stored.clone(),
            None => db.get_stored(trees.rows, key)?,
        };
        // A damaged row is about to be replaced; chunks it may have had only take room.
        let body = stored
            .as_deref()
            .and_then(|stored| row::body(trees.rows, key, stored).ok());
        Ok(body
            .and_then(CellBody::read)
            .map_or(0, |body| body.chunks()))
    }
}

/// What the row of a value says: the value, or where to find it.
#[derive(Clone, Copy, Debug)]
enum CellBody<'a> {
    Inline(&'a [u8]),
    Chunked { bytes: usize, crc: u32 },
}

impl<'a> CellBody<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        match cursor.byte()? {
            INLINE => Some(Self::Inline(cursor.rest())),
            CHUNKED => {
                let bytes = usize::try_from(cursor.varint()?).ok()?;
                // The chunk's number has 32 bits.
                u32::try_from(bytes.div_ceil(CHUNK_BYTES)).ok()?;
                let crc = u32::from_le_bytes(cursor.array()?);
                cursor.is_empty().then_some(Self::Chunked { bytes, crc })
            }
            _ => None,
        }
    }

    fn chunks(self) -> u32 {
        match self {
            Self::Inline(_) => 0,
            Self::Chunked { bytes, .. } => {
                u32::try_from(bytes.div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Reads a value whose row is at hand; `None` if it was removed meanwhile.
///
/// A long value that is being replaced at this moment looks damaged: row and chunks are of two batches. So
/// what looks damaged is looked at once more when no batch is being written.
pub(super) fn read_cell(
    db: &Database,
    trees: CellTrees,
    key: &[u8],
    stored: &[u8],
) -> Result<Option<Vec<u8>>, IndexError> {
    if let Ok(value) = assemble(db, trees, key, stored) {
        return Ok(Some(value));
    }
    db.between_batches(|| {
        db.get_stored(trees.rows, key)?
            .map(|stored| assemble(db, trees, key, &stored))
            .transpose()
    })
}

/// Looks a value up.
pub(super) fn get_cell(
    db: &Database,
    trees: CellTrees,
    key: &[u8],
) -> Result<Option<Vec<u8>>, IndexError> {
    match db.get_stored(trees.rows, key)? {
        Some(stored) => read_cell(db, trees, key, &stored),
        None => Ok(None),
    }
}

fn assemble(
    db: &Database,
    trees: CellTrees,
    key: &[u8],
    stored: &[u8],
) -> Result<Vec<u8>, IndexError> {
    let damaged = || row::damaged(trees.rows, key);
    let body = CellBody::read(row::body(trees.rows, key, stored)?).ok_or_else(damaged)?;
    match body {
        CellBody::Inline(value) => Ok(value.to_vec()),
        CellBody::Chunked { bytes, crc } => {
            let mut value = Vec::new();
            for number in 0..body.chunks() {
                let key = chunk_key(key, number);
                let stored = db.get_stored(trees.chunks, &key)?.ok_or_else(damaged)?;
                value.extend_from_slice(row::body(trees.chunks, &key, &stored)?);
            }
            if value.len() == bytes && crc32c::crc32c(&value) == crc {
                Ok(value)
            } else {
                Err(damaged())
            }
        }
    }
}

/// Two different values never share a chunk's key: it is four bytes longer than theirs, so keys of equal
/// length would have to be equal.
fn chunk_key(key: &[u8], number: u32) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_after_its_chunks_and_gone_before_them() {
        let (rows, chunks) = (TreeId::Views, TreeId::ViewChunks);
        let mut plan = Plan::default();
        plan.change(RowChange::remove(chunks, b"b1"));
        plan.change(RowChange::set(rows, b"a", vec![1]));
        plan.change(RowChange::set(chunks, b"a1", vec![1]));
        plan.change(RowChange::remove(rows, b"b"));
        let order: Vec<_> = plan.into_changes().into_iter().map(|c| c.key).collect();
        assert_eq!(
            order,
            [b"a1".to_vec(), b"a".to_vec(), b"b".to_vec(), b"b1".to_vec()]
        );
    }
}
