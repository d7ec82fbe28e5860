//! The rows of a file's bytes: how they are cut, found, and put together again.

use std::ops::{Bound, ControlFlow};

use crate::index::IndexError;
use crate::sled::database::Database;
use crate::sled::row::{self, RowChange, TreeId};

/// The tree of these rows.
pub(super) const TREE: TreeId = TreeId::LogPages;
/// The longest page, in bytes; the reason is that of the chunks of [`cell`](crate::sled::cell): sixteen of
/// them in one leaf stay below what sled puts into a file that it never syncs.
pub(super) const PAGE_BYTES: usize = 4_096;

/// A page as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

impl Page {
    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// Its bytes from an offset on; nothing if it ends before.
    pub(super) fn from(&self, offset: u64) -> &[u8] {
        let skip = usize::try_from(offset.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.bytes.get(skip..).unwrap_or_default()
    }

    /// Its bytes up to an offset.
    pub(super) fn until(&self, offset: u64) -> &[u8] {
        let keep = usize::try_from(offset.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.bytes.get(..keep).unwrap_or(&self.bytes)
    }
}

/// Bytes as pages from an offset on.
pub(super) fn cut(number: u64, at: u64, bytes: &[u8]) -> impl Iterator<Item = RowChange> {
    let starts = (at..).step_by(PAGE_BYTES);
    let pages = bytes.chunks(PAGE_BYTES).zip(starts);
    pages.map(move |(bytes, at)| set(number, at, bytes))
}

pub(super) fn set(number: u64, at: u64, bytes: &[u8]) -> RowChange {
    RowChange {
        tree: TREE,
        key: key(number, at).to_vec(),
        stored: Some(bytes.to_vec()),
    }
}

pub(super) fn remove(number: u64, at: u64) -> RowChange {
    RowChange::remove(TREE, key(number, at))
}

/// The last page of a file that begins at `at` or before.
pub(super) fn at_or_before(
    db: &Database,
    number: u64,
    at: u64,
) -> Result<Option<Page>, IndexError> {
    let (first, last) = (key(number, 0), key(number, at));
    let mut found = None;
    let (from, to) = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    db.scan_back(TREE, from, to, &mut |key, stored| {
        found = Some(page_of(key, stored));
        ControlFlow::Break(())
    })?;
    found.transpose()
}

/// Visits the pages of a file that begin within `from..to`, ascending, until it is told to stop.
pub(super) fn visit(
    db: &Database,
    number: u64,
    from: u64,
    to: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    if from >= to {
        return Ok(());
    }
    let (first, end) = (key(number, from), key(number, to));
    let mut damaged = None;
    let (from, to) = (Bound::Included(&first[..]), Bound::Excluded(&end[..]));
    db.scan(TREE, from, to, &mut |key, stored| match place(key) {
        Some((_, at)) => visit(at, stored),
        None => {
            damaged = Some(row::damaged(TREE, key));
            ControlFlow::Break(())
        }
    })?;
    damaged.map_or(Ok(()), Err)
}

/// The number of the first file at or after `number` that has pages.
pub(super) fn next_file(db: &Database, number: u64) -> Result<Option<u64>, IndexError> {
    let first = key(number, 0);
    let mut found = None;
    let from = Bound::Included(&first[..]);
    db.scan(TREE, from, Bound::Unbounded, &mut |key, _| {
        found = Some(place(key).ok_or_else(|| row::damaged(TREE, key)));
        ControlFlow::Break(())
    })?;
    Ok(found.transpose()?.map(|(number, _)| number))
}

fn page_of(key: &[u8], stored: &[u8]) -> Result<Page, IndexError> {
    let (_, at) = place(key).ok_or_else(|| row::damaged(TREE, key))?;
    Ok(Page {
        at,
        bytes: stored.to_vec(),
    })
}

/// Big-endian, so that rows are in the order of files and offsets.
fn key(number: u64, at: u64) -> [u8; 16] {
    ((u128::from(number) << 64) | u128::from(at)).to_be_bytes()
}

fn place(key: &[u8]) -> Option<(u64, u64)> {
    let place = u128::from_be_bytes(key.try_into().ok()?);
    Some(((place >> 64) as u64, place as u64))
}
