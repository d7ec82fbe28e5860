//! What a handler changes: the rows of a table, as of the event it is given.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_store::codec::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cache::Cache;
use super::generation::{Dirty, Generation};
use super::row::{EncodedRow, ROW_KEY_BYTES_MAX, RowFault, Versioned, decode_row};

/// The rows of a table, as of the event that a handler is given.
///
/// What a handler changes counts only if it returns: after a panic or a refusal none of it remains. Rows that
/// are not in memory are read from the store on the spot; handlers run on a thread where that may block.
pub struct Table<R> {
    generation: Arc<Generation<R>>,
    cache: Cache<R>,
    /// Changes that are not published yet.
    changes: HashMap<Bytes, Dirty<R>>,
    /// Changes of the event that is being handled, by key: which of them is read back does not hang on chance.
    staged: BTreeMap<Bytes, Option<R>>,
    fault: Option<TableFault>,
    /// Rows that were encoded.
    encoded: u64,
    /// True once a row could not be read back, in this run or in a table that this process has found.
    reads_all_back: bool,
}

/// The first rows are read back after they are encoded, so many of them; of later ones samples, and all of them once one
/// could not be read: serde lets a type write what it cannot read, and does not say so.
const ROWS_READ_BACK: u64 = 64;

/// Why the changes of an event do not count although its handler returned.
pub(super) enum TableFault {
    /// The handler broke a rule.
    Misuse(String),
    /// A row could not be read.
    Row(RowFault),
    /// A row that the handler made could not be encoded, or not be read back.
    Unwritable(CodecError),
}

impl<R: Serialize + DeserializeOwned + Clone> Table<R> {
    pub(super) fn new(
        generation: Arc<Generation<R>>,
        cached_rows: usize,
        reads_all_back: bool,
    ) -> Self {
        Self {
            generation,
            cache: Cache::new(cached_rows),
            changes: HashMap::new(),
            staged: BTreeMap::new(),
            fault: None,
            encoded: 0,
            reads_all_back,
        }
    }

    /// A row, if there is one. It includes what earlier events, and this handler itself, have changed.
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> Option<R> {
        let key = key.as_ref();
        match self.staged.get(key) {
            Some(row) => row.clone(),
            None => self.settled(key).row.clone(),
        }
    }

    /// Changes a row: `change` gets it, if there is one, and gives what it is to be; `None` removes it.
    ///
    /// Keys have 1 to [`ROW_KEY_BYTES_MAX`] bytes; another one fails the event.
    pub fn update(&mut self, key: impl AsRef<[u8]>, change: impl FnOnce(Option<R>) -> Option<R>) {
        let key = key.as_ref();
        let row = self.get(key);
        if self.fault.is_none() {
            self.stage(key, change(row));
        }
    }

    /// Puts a row in place of whatever was there. Keys as for [`update`](Self::update).
    pub fn set(&mut self, key: impl AsRef<[u8]>, row: R) {
        self.stage(key.as_ref(), Some(row));
    }

    /// Removes a row, if there is one. Keys as for [`update`](Self::update).
    pub fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.stage(key.as_ref(), None);
    }

    fn stage(&mut self, key: &[u8], row: Option<R>) {
        if key.is_empty() || key.len() > ROW_KEY_BYTES_MAX {
            let length = key.len();
            self.fault.get_or_insert(TableFault::Misuse(format!(
                "a row's key has {length} bytes, and 1 to {ROW_KEY_BYTES_MAX} are allowed"
            )));
            return;
        }
        match self.staged.get_mut(key) {
            Some(staged) => *staged = row,
            None => drop(self.staged.insert(Bytes::copy_from_slice(key), row)),
        }
    }

    /// A row without what the present handler has changed.
    fn settled(&mut self, key: &[u8]) -> Arc<Versioned<R>> {
        let changed = self.changes.get(key).map(|change| change.row.clone());
        let known = changed.or_else(|| self.generation.unwritten(key));
        known.unwrap_or_else(|| self.written(key))
    }

    /// A row as the store has it.
    fn written(&mut self, key: &[u8]) -> Arc<Versioned<R>> {
        if let Some(row) = self.cache.get(key) {
            return row;
        }
        let key = Bytes::copy_from_slice(key);
        let row = self.generation.written_row_blocking(key.clone());
        let row = row.unwrap_or_else(|fault| {
            self.fault.get_or_insert(TableFault::Row(fault));
            Versioned::absent()
        });
        let row = Arc::new(row);
        if self.fault.is_none() {
            self.cache.insert(key, row.clone());
        }
        row
    }

    /// Takes what the handler changed, as of this event: all of it, or after an error nothing.
    pub(super) fn keep(&mut self, position: GlobalPosition) -> Result<(), TableFault> {
        if let Some(fault) = self.forget_if_faulty() {
            return Err(fault);
        }
        let staged = std::mem::take(&mut self.staged);
        let mut kept = Vec::with_capacity(staged.len());
        for (key, row) in staged {
            let change = self.change(&key, Versioned { row, position })?;
            kept.push((key, change));
        }
        for (key, change) in kept {
            match self.changes.entry(key) {
                Entry::Occupied(mut before) => {
                    let before = before.get_mut();
                    before.row = change.row;
                    before.now = change.now;
                }
                Entry::Vacant(entry) => drop(entry.insert(change)),
            }
        }
        Ok(())
    }

    /// A row as it is from this event on, in bytes, too.
    fn change(&mut self, key: &Bytes, row: Versioned<R>) -> Result<Dirty<R>, TableFault> {
        let now = self.encode(&row).map_err(TableFault::Unwritable)?;
        let is_known = self.changes.contains_key(key) || self.generation.holds(key);
        // A row that is already unwritten has what it was in the overlay.
        let earlier = if is_known {
            EncodedRow::absent()
        } else {
            let earlier = self.written(key);
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            EncodedRow::of(&earlier).map_err(TableFault::Unwritable)?
        };
        let row = Arc::new(row);
        Ok(Dirty { row, now, earlier })
    }

    /// Encodes a row, and reads samples back.
    fn encode(&mut self, row: &Versioned<R>) -> Result<EncodedRow, CodecError> {
        let encoded = EncodedRow::of(row)?;
        if let Some(bytes) = &encoded.bytes {
            self.encoded += 1;
            let is_sample = self.encoded <= ROWS_READ_BACK || self.encoded.is_power_of_two();
            if (is_sample || self.reads_all_back)
                && let Err(error) = decode_row::<R>(bytes)
            {
                self.reads_all_back = true;
                return Err(unreadable::<R>(error));
            }
        }
        Ok(encoded)
    }

    /// True if a row that could not be read ends the fold: the store failed, or all rows have to be made again.
    pub(super) fn is_to_end(&self, fault: &RowFault) -> bool {
        matches!(fault, RowFault::Store(_)) || self.generation.is_of_another_shape(fault)
    }

    fn forget_if_faulty(&mut self) -> Option<TableFault> {
        self.fault.as_ref()?;
        self.forget()
    }

    /// Forgets what the handler changed, and gives what was wrong beside its own failure.
    pub(super) fn forget(&mut self) -> Option<TableFault> {
        self.staged.clear();
        self.fault.take()
    }

    /// How many rows are changed and not published.
    pub(super) fn changed_rows(&self) -> usize {
        self.changes.len()
    }

    /// Shows the changes.
    pub(super) fn publish(&mut self, position: GlobalPosition) {
        self.generation.publish(&mut self.changes, position);
    }

    /// Keeps rows that were written.
    pub(super) fn cache(&mut self, rows: Vec<(Bytes, Arc<Versioned<R>>)>) {
        for (key, row) in rows {
            self.cache.insert(key, row);
        }
    }
}

/// Says of a type that it hides its shape.
fn unreadable<R>(error: CodecError) -> CodecError {
    CodecError::Unencodable {
        type_name: std::any::type_name::<R>(),
        reason: format!(
            "what was written cannot be read back ({error}): a row needs a type that says its shape, so keep a \
             serde_json::Value as text, and leave out serde's untagged, tag and flatten"
        ),
    }
}

impl<R> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("changed_rows", &self.changes.len())
            .finish_non_exhaustive()
    }
}
