//! One file in pages: reading, writing and cutting it.

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::Pages;
use super::name_row::NameRow;
use super::page;
use crate::index::IndexError;

/// How many pages are removed at once.
const REMOVED_AT_ONCE: usize = 4_096;

/// A file in pages. Clones are the same file.
#[derive(Clone, Debug)]
pub(crate) struct PagedFile {
    pub(super) pages: Arc<Pages>,
    pub(super) number: u64,
    pub(super) state: Arc<Mutex<FileState>>,
}

/// What is known of a file without asking sled; held while it is changed.
#[derive(Debug)]
pub(super) struct FileState {
    pub(super) row: NameRow,
    /// Behind its last page: what is written here or beyond changes no other page.
    pub(super) written_to: u64,
    /// Its name went to another file, or it was removed: its row is not written any more.
    pub(super) is_gone: bool,
}

impl PagedFile {
    /// The length.
    pub(crate) fn len(&self) -> u64 {
        self.state.lock().row.length
    }

    /// Reads from `offset` until `buffer` is full or the file ends; how many bytes were read.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, IndexError> {
        let left = self.len().saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        buffer.fill(0);
        let end = offset + wanted as u64;
        self.pages.with(|db| {
            let before = page::at_or_before(db, self.number, offset)?;
            let mut filled = before.map_or(0, |before| copy(buffer, before.from(offset)));
            let next = offset.saturating_add(1);
            page::visit(db, self.number, next, end, &mut |at, bytes| {
                let skip = usize::try_from(at - offset).unwrap_or(usize::MAX);
                // A page ends where the next begins: a crash may have come before it was made shorter.
                if let Some(covered) = buffer.get_mut(skip..filled) {
                    covered.fill(0);
                }
                filled = skip + copy(buffer.get_mut(skip..).unwrap_or_default(), bytes);
                ControlFlow::Continue(())
            })
        })?;
        Ok(wanted)
    }

    /// Writes all of `bytes` at `offset`; durable with the next sync. A crash before it can leave any part of
    /// that written, and nothing else changed.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), IndexError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let end = offset + bytes.len() as u64;
        let mut rows = Vec::with_capacity(bytes.len() / page::PAGE_BYTES + 2);
        if end > state.row.length && !state.is_gone {
            let row = NameRow {
                length: end,
                ..state.row.clone()
            };
            rows.push(row.set(self.number));
        }
        self.pages.with(|db| {
            let written = page::cut(self.number, offset, bytes);
            if offset >= state.written_to {
                rows.extend(written);
                return db.put(rows);
            }
            // What of the old pages lies before and behind the new ones stays. The rest behind goes first:
            // until the page that it was part of is shorter, both say the same.
            let last = page::at_or_before(db, self.number, end.saturating_sub(1))?;
            let rest = last.as_ref().map_or(&[][..], |last| last.from(end));
            rows.extend(page::cut(self.number, end, rest));
            let before = match offset.checked_sub(1) {
                Some(before) => page::at_or_before(db, self.number, before)?,
                None => None,
            };
            rows.extend(written);
            let mut stale = Vec::new();
            page::visit(db, self.number, offset, end, &mut |at, _| {
                if !(at - offset).is_multiple_of(page::PAGE_BYTES as u64) {
                    stale.push(page::remove(self.number, at));
                }
                ControlFlow::Continue(())
            })?;
            rows.extend(stale);
            if let Some(before) = before.filter(|before| before.end() > offset) {
                rows.push(page::set(self.number, before.at, before.until(offset)));
            }
            db.put(rows)
        })?;
        state.row.length = state.row.length.max(end);
        state.written_to = state.written_to.max(end);
        Ok(())
    }

    /// Makes it at least so long; what is added reads as zeros.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), IndexError> {
        let mut state = self.state.lock();
        if bytes > state.row.length {
            self.set_length(&mut state, bytes)?;
        }
        Ok(())
    }

    /// Sets the length.
    pub(crate) fn truncate(&self, bytes: u64) -> Result<(), IndexError> {
        let mut state = self.state.lock();
        if bytes < state.written_to {
            self.pages.with(|db| {
                let last = match bytes.checked_sub(1) {
                    Some(last) => page::at_or_before(db, self.number, last)?,
                    None => None,
                };
                if let Some(last) = last.filter(|last| last.end() > bytes) {
                    db.put(vec![page::set(self.number, last.at, last.until(bytes))])?;
                }
                Ok(())
            })?;
            remove_pages(&self.pages, self.number, bytes)?;
            state.written_to = bytes;
        }
        self.set_length(&mut state, bytes)
    }

    /// Makes everything durable that was written, to any file.
    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        self.pages.with(|db| db.sync())
    }

    fn set_length(&self, state: &mut FileState, bytes: u64) -> Result<(), IndexError> {
        if bytes == state.row.length {
            return Ok(());
        }
        let row = NameRow {
            length: bytes,
            ..state.row.clone()
        };
        if !state.is_gone {
            self.pages.with(|db| db.put(vec![row.set(self.number)]))?;
        }
        state.row = row;
        Ok(())
    }
}

/// Removes the pages of a file that begin at `from` or behind.
pub(super) fn remove_pages(pages: &Pages, number: u64, from: u64) -> Result<(), IndexError> {
    loop {
        let mut rows = Vec::new();
        pages.with(|db| {
            page::visit(db, number, from, u64::MAX, &mut |at, _| {
                rows.push(page::remove(number, at));
                if rows.len() < REMOVED_AT_ONCE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        pages.with(|db| db.put(rows))?;
    }
}

/// Copies as much as both have; how many bytes that is.
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let bytes = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..bytes), from.get(..bytes)) {
        to.copy_from_slice(from);
    }
    bytes
}
