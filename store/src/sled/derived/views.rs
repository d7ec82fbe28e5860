//! Rows of views: by view and key, each with the position folded into it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use chronicler_domain::GlobalPosition;

use super::checkpoint::{self, ViewNumber, ViewState};
use crate::frame::varint::{self, Cursor};
use crate::index::IndexError;
use crate::log::Head;
use crate::sled::cell::{self, CellTrees, Plan};
use crate::sled::database::Database;
use crate::sled::row::{self, RowChange, Tally, TreeId};
use crate::view::{ViewName, ViewRow};

/// The longest key of a view's row, in bytes. A leaf of sled's tree holds 16 keys, and must stay short.
pub(super) const KEY_BYTES_MAX: usize = 1_024;

const ROWS: CellTrees = CellTrees {
    rows: TreeId::ViewRows,
    chunks: TreeId::ViewChunks,
};
/// The trees of a view's rows; in both, keys begin with the view's number.
const TREES: [TreeId; 2] = [TreeId::ViewRows, TreeId::ViewChunks];

/// The views that exist, and the first number no row has.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) views: BTreeMap<ViewName, ViewState>,
    pub(super) next_number: ViewNumber,
    /// Numbers of views that were dropped, whose rows may still be there.
    pub(super) dropped: BTreeSet<ViewNumber>,
    /// Removals of checkpoints that are damaged.
    pub(super) damaged: Vec<RowChange>,
    /// Views that were found damaged, and whose owners do not know it yet.
    pub(super) lost: BTreeSet<ViewName>,
}

impl Registry {
    /// Reads which views there are. A view whose checkpoint is damaged is one that was dropped.
    pub(super) fn read(db: &Database) -> Result<Self, IndexError> {
        let mut views = BTreeMap::new();
        let mut damaged = Vec::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        db.scan(TreeId::Views, all.0, all.1, &mut |key, stored| {
            match checkpoint::read(key, stored) {
                Ok((view, state)) => drop(views.insert(view, state)),
                Err(error) => {
                    tracing::warn!(%error, "a view is lost and will be built again");
                    damaged.push(RowChange::remove(TreeId::Views, key));
                }
            }
            ControlFlow::Continue(())
        })?;
        let known: BTreeSet<ViewNumber> = views.values().map(|state| state.number).collect();
        let mut numbers = BTreeSet::new();
        for tree in TREES {
            numbers.append(&mut numbers_in(db, tree)?);
        }
        let last = known.iter().chain(&numbers).max();
        Ok(Self {
            next_number: last.map_or(ViewNumber(1), |last| last.next()),
            dropped: numbers.difference(&known).copied().collect(),
            views,
            damaged,
            lost: BTreeSet::new(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty() && self.dropped.is_empty() && self.damaged.is_empty()
    }

    /// The view, if it exists.
    ///
    /// # Errors
    /// When it was lost: what its owner believes to be there is not.
    pub(super) fn find(&self, view: &ViewName) -> Result<Option<&ViewState>, IndexError> {
        if self.lost.contains(view) {
            return Err(IndexError {
                operation: "use view",
                reason: "it was damaged and is gone: ask for its generations, and build it again"
                    .to_owned(),
            });
        }
        Ok(self.views.get(view))
    }
}

/// Each number is one step: the next one is looked for beyond all rows of the last.
fn numbers_in(db: &Database, tree: TreeId) -> Result<BTreeSet<ViewNumber>, IndexError> {
    let mut numbers = BTreeSet::new();
    let mut from = ViewNumber(0);
    loop {
        let mut found = None;
        db.scan(
            tree,
            Bound::Included(&from.first_key()),
            Bound::Unbounded,
            &mut |key, _| {
                found = ViewNumber::of_row(key);
                ControlFlow::Break(())
            },
        )?;
        let Some(number) = found else {
            return Ok(numbers);
        };
        numbers.insert(number);
        if number == ViewNumber(u32::MAX) {
            return Ok(numbers);
        }
        from = number.next();
    }
}

/// Plans to set a row.
pub(super) fn plan_row(
    plan: &mut Plan,
    db: &Database,
    number: ViewNumber,
    view_row: &ViewRow,
) -> Result<(), IndexError> {
    let key = number.row_key(&view_row.key);
    let payload = view_row.value.as_deref().unwrap_or_default();
    let mut value = Vec::with_capacity(payload.len() + 11);
    varint::put(&mut value, view_row.position.get());
    value.push(u8::from(view_row.value.is_some()));
    value.extend_from_slice(payload);
    plan.set_cell(db, ROWS, &key, &value)
}

/// Plans to remove a row.
pub(super) fn plan_removal(
    plan: &mut Plan,
    db: &Database,
    number: ViewNumber,
    key: &[u8],
) -> Result<(), IndexError> {
    plan.remove_cell(db, ROWS, &number.row_key(key))
}

/// What the rows of a view add up to when the plan is carried out.
pub(super) fn planned_tally(
    plan: &Plan,
    db: &Database,
    state: &ViewState,
) -> Result<Tally, IndexError> {
    let number = Some(state.number);
    plan.tally(db, state.tally, |tree, key| {
        TREES.contains(&tree) && ViewNumber::of_row(key) == number
    })
}

/// Whether every row of the view is there and whole, and none beyond the log.
pub(super) fn verify(db: &Database, state: &ViewState, durable: Head) -> Result<(), IndexError> {
    let refused = |reason| IndexError {
        operation: "verify",
        reason,
    };
    if state.checkpoint.position > durable.position {
        return Err(refused("it is beyond the log".to_owned()));
    }
    let mut tally = Tally::default();
    for tree in TREES {
        let mut damaged = None;
        scan_view(db, tree, state.number, &mut |key, stored| {
            tally.add(tree, key, stored);
            damaged = row::body(tree, key, stored).err();
            if damaged.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if let Some(error) = damaged {
            return Err(error);
        }
    }
    if tally == state.tally {
        return Ok(());
    }
    Err(refused(format!(
        "it has {} rows, and its checkpoint promises {} with another hash",
        tally.rows, state.tally.rows
    )))
}

/// Up to `limit` rows of a view that is no more, to be removed.
pub(super) fn rows_to_sweep(
    db: &Database,
    number: ViewNumber,
    limit: usize,
) -> Result<Vec<RowChange>, IndexError> {
    let mut rows = Vec::new();
    for tree in TREES {
        if rows.len() >= limit {
            break;
        }
        scan_view(db, tree, number, &mut |key, _| {
            rows.push(RowChange::remove(tree, key));
            if rows.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    }
    Ok(rows)
}

/// One row.
pub(super) fn get(
    db: &Database,
    number: ViewNumber,
    key: &[u8],
) -> Result<Option<ViewRow>, IndexError> {
    let row_key = number.row_key(key);
    match cell::get_cell(db, ROWS, &row_key)? {
        Some(value) => decode(&row_key, value).map(Some),
        None => Ok(None),
    }
}

/// Rows by ascending key.
pub(super) fn get_many(
    db: &Database,
    number: ViewNumber,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<ViewRow>, IndexError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let first = number.row_key(after.unwrap_or_default());
    let from = match after {
        Some(_) => Bound::Excluded(first.as_slice()),
        None => Bound::Included(first.as_slice()),
    };
    let mut found = Vec::new();
    let end = end_of(number);
    db.scan(
        TreeId::ViewRows,
        from,
        end_bound(&end),
        &mut |key, stored| {
            found.push((key.to_vec(), stored.to_vec()));
            if found.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    )?;
    let mut rows = Vec::with_capacity(found.len());
    for (row_key, stored) in found {
        if let Some(value) = cell::read_cell(db, ROWS, &row_key, &stored)? {
            rows.push(decode(&row_key, value)?);
        }
    }
    Ok(rows)
}

fn decode(row_key: &[u8], value: Vec<u8>) -> Result<ViewRow, IndexError> {
    let read = || {
        let (_, key) = row_key.split_first_chunk::<4>()?;
        let mut cursor = Cursor::new(&value);
        let position = GlobalPosition::new(cursor.varint()?);
        let present = cursor.byte()? != 0;
        Some((key, position, present, value.len() - cursor.rest().len()))
    };
    let (key, position, present, start) =
        read().ok_or_else(|| row::damaged(TreeId::ViewRows, row_key))?;
    Ok(ViewRow {
        key: Bytes::copy_from_slice(key),
        position,
        value: present.then(|| Bytes::from(value).slice(start..)),
    })
}

fn scan_view(
    db: &Database,
    tree: TreeId,
    number: ViewNumber,
    visit: &mut crate::sled::handles::Visit<'_>,
) -> Result<(), IndexError> {
    let end = end_of(number);
    let first = number.first_key();
    db.scan(tree, Bound::Included(&first), end_bound(&end), visit)
}

/// The first key beyond a view's rows; none if it has the largest number.
fn end_of(number: ViewNumber) -> Option<[u8; 4]> {
    let next = number.next();
    (next != number).then(|| next.first_key())
}

fn end_bound(end: &Option<[u8; 4]>) -> Bound<&[u8]> {
    end.as_ref()
        .map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_slice()))
}
