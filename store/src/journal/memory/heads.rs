//! The heads of streams in memory: those that the index does not have yet, and some of those it has.

use std::collections::HashMap;
use std::sync::Arc;

use chronicler_domain::LogSequence;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::dirty::{Sequenced, Versions};
use crate::error::ReadError;
use crate::index::HeadRow;

/// How many heads are kept that the index has, too; about 25 MB. The heads that it does not have are not
/// bounded here but by the follower's distance: one per stream touched in 64 MiB of journal, while sled keeps up. One takes
/// 170 to 270 bytes with a key of 30, as full as the map is, and 72 more while it is on its way.
const CLEAN_HEADS_MAX: usize = 131_072;
/// How many rows are collected for the index under one lock: about 0.1 ms during which the writer waits.
const COLLECTED_AT_ONCE: usize = 512;

/// Heads by stream.
#[derive(Debug, Default)]
pub(crate) struct HeadTable(Mutex<Heads>);

#[derive(Debug, Default)]
struct Heads {
    /// The hasher is seeded at random, and several times quicker than that of the standard library.
    entries: HashMap<Arc<str>, Entry, RandomState>,
    /// The streams whose entry is dirty, each once.
    dirty: Vec<Arc<str>>,
    clean: usize,
}

#[derive(Debug)]
struct Entry {
    versions: Versions<HeadRow>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The index has it.
    Clean,
    /// The index does not have it.
    Dirty,
    /// It is on its way into the index.
    Applying,
}

impl Sequenced for HeadRow {
    fn sequence(&self) -> LogSequence {
        self.sequence
    }
}

impl HeadTable {
    /// The head as accepted; asks `index` for one that is not in memory, and remembers it.
    pub(crate) fn newest(
        &self,
        key: &str,
        index: impl FnOnce(&str) -> Result<Option<HeadRow>, ReadError>,
    ) -> Result<Option<HeadRow>, ReadError> {
        if let Some(entry) = self.0.lock().entries.get(key) {
            return Ok(Some(*entry.versions.newest()));
        }
        // Only the writer adds accepted heads, and it is the caller, so none can appear meanwhile.
        let found = index(key)?;
        if let Some(row) = found {
            self.0.lock().remember(key, row);
        }
        Ok(found)
    }

    /// The head as durable, if memory knows; `None` if the index has to be asked. The inner `None`: the
    /// stream is staged only.
    /// `durable` is asked while no value can be forgotten: one that was asked before may be older than all that is kept.
    pub(crate) fn durable(
        &self,
        key: &str,
        durable: impl FnOnce() -> LogSequence,
    ) -> Option<Option<HeadRow>> {
        let heads = self.0.lock();
        let entry = heads.entries.get(key)?;
        Some(entry.versions.durable(durable()).copied())
    }

    /// Accepts a new head after `previous`.
    pub(crate) fn set(
        &self,
        key: &str,
        row: HeadRow,
        previous: Option<HeadRow>,
        durable: LogSequence,
    ) {
        self.0.lock().set(key, row, previous, durable);
    }

    /// Takes the durable value of every dirty head, to be put into the index. `durable` may move meanwhile.
    pub(crate) fn collect(&self, durable: impl Fn() -> LogSequence) -> Vec<(Arc<str>, HeadRow)> {
        let mut waiting = std::mem::take(&mut self.0.lock().dirty);
        let (mut rows, mut still_staged) = (Vec::with_capacity(waiting.len()), Vec::new());
        while !waiting.is_empty() {
            let some = waiting.split_off(waiting.len().saturating_sub(COLLECTED_AT_ONCE));
            let mut heads = self.0.lock();
            let durable = durable();
            for key in some {
                let Some(entry) = heads.entries.get_mut(&key) else {
                    continue;
                };
                if let Some(row) = entry.versions.durable(durable) {
                    rows.push((Arc::clone(&key), *row));
                }
                if entry.versions.newest().sequence > durable {
                    still_staged.push(key);
                } else {
                    entry.state = State::Applying;
                    entry.versions.settle(durable);
                }
            }
        }
        self.0.lock().dirty.append(&mut still_staged);
        rows
    }

    /// The collected rows did not get into the index: it does not have them yet.
    pub(crate) fn not_applied(&self, rows: &[(Arc<str>, HeadRow)]) {
        let mut heads = self.0.lock();
        let heads = &mut *heads;
        for (key, _) in rows {
            if let Some(entry) = heads.entries.get_mut(key.as_ref())
                && entry.state == State::Applying
            {
                entry.state = State::Dirty;
                heads.dirty.push(Arc::clone(key));
            }
        }
    }

    /// The collected rows are in the index.
    pub(crate) fn applied(&self, rows: &[(Arc<str>, HeadRow)]) {
        for some in rows.chunks(COLLECTED_AT_ONCE) {
            let mut heads = self.0.lock();
            for (key, _) in some {
                if let Some(entry) = heads.entries.get_mut(key.as_ref())
                    && entry.state == State::Applying
                {
                    entry.state = State::Clean;
                    heads.clean += 1;
                }
            }
            heads.forget_beyond_limit();
        }
    }
}

impl Heads {
    fn remember(&mut self, key: &str, row: HeadRow) {
        let entry = Entry {
            versions: Versions::new(row),
            state: State::Clean,
        };
        self.entries.insert(key.into(), entry);
        self.clean += 1;
        self.forget_beyond_limit();
    }

    fn set(&mut self, key: &str, row: HeadRow, previous: Option<HeadRow>, durable: LogSequence) {
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.versions.set(row, durable);
                if entry.state == State::Dirty {
                    return;
                }
                if entry.state == State::Clean {
                    self.clean -= 1;
                }
                entry.state = State::Dirty;
                if let Some((key, _)) = self.entries.get_key_value(key) {
                    self.dirty.push(key.clone());
                }
            }
            None => {
                // Either the stream is new, or its clean head was forgotten since it was looked up.
                let key: Arc<str> = key.into();
                self.dirty.push(key.clone());
                let entry = Entry {
                    versions: Versions::after(previous, row),
                    state: State::Dirty,
                };
                self.entries.insert(key, entry);
            }
        }
    }

    /// Forgets an eighth of the clean heads when there are too many, in the order of the map: as good as
    /// by chance, and no book-keeping on every use.
    fn forget_beyond_limit(&mut self) {
        if self.clean <= CLEAN_HEADS_MAX {
            return;
        }
        let mut surplus = CLEAN_HEADS_MAX / 8;
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            let forget = surplus > 0 && entry.state == State::Clean;
            if forget {
                surplus -= 1;
            }
            !forget
        });
        self.clean -= before - self.entries.len();
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::{StreamVersion, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_dirty_head_is_a_row_and_little_more() {
        assert!(size_of::<Entry>() <= size_of::<HeadRow>() + 16);
    }

    #[test]
    fn what_is_durable_is_asked_while_no_older_value_can_be_forgotten() {
        let heads = HeadTable::default();
        let row = |sequence| HeadRow {
            version: StreamVersion::new(sequence),
            sequence: LogSequence::new(sequence),
            log_offset: 0,
            commit_id: Uuid::from_u128(1),
            first_at: Timestamp::default(),
            last_at: Timestamp::default(),
        };
        heads.set("account/a", row(1), None, LogSequence::ZERO);
        heads.set("account/a", row(2), Some(row(1)), LogSequence::new(1));
        // The second one becomes durable, and the first is forgotten, before a reader has the lock.
        heads.collect(|| LogSequence::new(2));
        let seen = heads.durable("account/a", || {
            assert!(heads.0.is_locked());
            LogSequence::new(2)
        });
        assert_eq!(seen.flatten().map(|row| row.version.get()), Some(2));
    }

    #[test]
    fn what_was_collected_and_not_applied_is_collected_again() {
        let heads = HeadTable::default();
        let one = LogSequence::new(1);
        let row = HeadRow {
            version: StreamVersion::new(1),
            sequence: one,
            log_offset: 0,
            commit_id: Uuid::from_u128(1),
            first_at: Timestamp::default(),
            last_at: Timestamp::default(),
        };
        heads.set("account/a", row, None, LogSequence::ZERO);
        let collected = heads.collect(|| one);
        assert_eq!(collected.len(), 1);
        heads.not_applied(&collected);
        let collected = heads.collect(|| one);
        assert_eq!(collected.len(), 1);
        heads.applied(&collected);
        assert!(heads.collect(|| one).is_empty());
    }
}
