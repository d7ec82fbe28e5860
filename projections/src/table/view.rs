//! What readers of a table get: rows as published, written or not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_store::{StoreError, ViewRow};

use super::generation::{Current, Generation};
use super::row::{self, RowFault};
use super::taken;
use crate::error::{ViewError, WaitError};
use crate::options::WAIT_DEFAULT;
use crate::progress::Progress;
use crate::projection::TableProjection;
use crate::worker::Control;

/// The most rows that one [`TableView::scan`] gives.
pub const SCAN_ROWS_MAX: usize = 1_000;

/// A table of rows. Cheap to clone.
pub struct TableView<T: TableProjection> {
    current: Arc<Current<T::Row>>,
    progress: Arc<Progress>,
    control: Arc<Control>,
}

/// Some rows of a table, by ascending key, all as of one position.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TablePage<R> {
    /// Keys and rows.
    pub rows: Vec<(Bytes, R)>,
    /// The last position they show.
    pub position: GlobalPosition,
    /// Where to go on: the `after` of the next scan. `None` at the end.
    pub next: Option<Bytes>,
}

impl<T: TableProjection> TableView<T> {
    pub(crate) fn new(
        current: Arc<Current<T::Row>>,
        progress: Arc<Progress>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            current,
            progress,
            control,
        }
    }

    /// The last position that the table shows.
    pub fn position(&self) -> GlobalPosition {
        self.progress.published()
    }

    /// A row, if there is one.
    ///
    /// # Errors
    /// [`ViewError::Rebuilding`] until the table has reached the head found at open.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T::Row>, ViewError> {
        let key = key.as_ref();
        loop {
            let generation = self.generation()?;
            if let Some(row) = generation.unwritten(key) {
                return Ok(row.row.clone());
            }
            let row = generation.written_row(Bytes::copy_from_slice(key)).await;
            // A rebuilt table may have taken its place, and its rows may be gone.
            if !generation.is_gone().await {
                return Ok(row.map_err(|fault| self.error(&generation, fault))?.row);
            }
        }
    }

    /// Rows whose key begins with `prefix` and comes after `after`: at most `limit`, and never more than
    /// [`SCAN_ROWS_MAX`]. A page may have fewer than asked for, and has none only at the end; [`TablePage::next`] says whether
    /// there are more.
    ///
    /// The rows of one page are as of one position; those of several pages need not be.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn scan(
        &self,
        prefix: impl AsRef<[u8]>,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<TablePage<T::Row>, ViewError> {
        let prefix = prefix.as_ref();
        let limit = limit.clamp(1, SCAN_ROWS_MAX);
        let mut after = after;
        loop {
            let generation = self.generation()?;
            let flushes = generation.overlay().flushes;
            let stored = stored_rows(&generation, prefix, after.clone(), limit).await;
            let is_gone = generation.is_gone().await;
            let overlay = generation.overlay();
            // Rows may have moved from the overlay to the store after the store was read.
            if is_gone || overlay.flushes != flushes {
                continue;
            }
            let stored = stored.map_err(|error| self.error(&generation, RowFault::Store(error)))?;
            let last = stored.last().filter(|_| stored.len() >= limit);
            let until = last.map(|row| row.key.clone());
            let until = until.filter(|key| key.starts_with(prefix));
            let is_wanted = |key: &Bytes| {
                *key != taken::KEY
                    && key.starts_with(prefix)
                    && after.as_ref().is_none_or(|after| key > after)
                    && until.as_ref().is_none_or(|until| key <= until)
            };
            let mut rows = BTreeMap::new();
            for row in stored.into_iter().filter(|row| is_wanted(&row.key)) {
                let key = row.key.clone();
                let row = row::from_store(Some(row), overlay.written);
                rows.insert(
                    key,
                    row.map_err(|fault| self.error(&generation, fault))?.row,
                );
            }
            let unwritten = overlay
                .dirty
                .range(Bytes::copy_from_slice(prefix)..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .filter(|(key, _)| is_wanted(key));
            for (key, dirty) in unwritten {
                rows.insert(key.clone(), dirty.row.row.clone());
            }
            let position = overlay.position;
            drop(overlay);
            let page = page(rows, position, until, limit);
            if !page.rows.is_empty() || page.next.is_none() {
                return Ok(page);
            }
            // All rows of this stretch were removed.
            after = page.next;
        }
    }

    /// The table once it shows everything up to `position`, waiting at most [`WAIT_DEFAULT`].
    ///
    /// # Errors
    /// [`WaitError`]; a position beyond the log's end is an error at once.
    ///
    /// # Cancel safety
    /// Dropping the future only ends the wait.
    pub async fn at_least(&self, position: GlobalPosition) -> Result<&Self, WaitError> {
        self.at_least_within(position, WAIT_DEFAULT).await
    }

    /// The same, waiting at most `within` as the runtime's clock measures it.
    ///
    /// # Errors
    /// As [`at_least`](Self::at_least).
    ///
    /// # Cancel safety
    /// Dropping the future only ends the wait.
    pub async fn at_least_within(
        &self,
        position: GlobalPosition,
        within: Duration,
    ) -> Result<&Self, WaitError> {
        self.progress.reach(position, within).await?;
        Ok(self)
    }

    fn generation(&self) -> Result<Arc<Generation<T::Row>>, ViewError> {
        self.progress.answers()?;
        // There is one before the projection is ready.
        let generation = self.current.get();
        generation.ok_or_else(|| self.progress.not_ready())
    }

    fn error(&self, generation: &Generation<T::Row>, fault: RowFault) -> ViewError {
        let name = self.progress.name.clone();
        if generation.is_of_another_shape(&fault) {
            self.control.doubt();
        }
        match fault {
            RowFault::Store(source) => {
                self.control.doubt();
                ViewError::Store { name, source }
            }
            fault => ViewError::Undecodable {
                name,
                reason: fault.to_string().into(),
            },
        }
    }
}

/// Rows of the store from the prefix on, those beyond it included.
async fn stored_rows<R>(
    generation: &Generation<R>,
    prefix: &[u8],
    after: Option<Bytes>,
    limit: usize,
) -> Result<Vec<ViewRow>, StoreError> {
    let (store, name) = (&generation.store, &generation.name);
    let from = Bytes::copy_from_slice(prefix);
    match after {
        Some(after) if after >= from => store.view_rows(name, Some(after), limit).await,
        _ if prefix.is_empty() => store.view_rows(name, None, limit).await,
        _ => {
            // The store reads from after a key, and the prefix may be one itself.
            let mut rows = Vec::from_iter(store.view_row(name, from.clone()).await?);
            let rest = limit.saturating_sub(rows.len());
            rows.extend(store.view_rows(name, Some(from), rest).await?);
            Ok(rows)
        }
    }
}

fn page<R>(
    rows: BTreeMap<Bytes, Option<R>>,
    position: GlobalPosition,
    until: Option<Bytes>,
    limit: usize,
) -> TablePage<R> {
    let mut present = rows
        .into_iter()
        .filter_map(|(key, row)| row.map(|row| (key, row)));
    let rows: Vec<_> = present.by_ref().take(limit).collect();
    let next = if present.next().is_some() {
        rows.last().map(|(key, _)| key.clone())
    } else {
        until
    };
    TablePage {
        rows,
        position,
        next,
    }
}

impl<T: TableProjection> Clone for TableView<T> {
    fn clone(&self) -> Self {
        Self {
            current: self.current.clone(),
            progress: self.progress.clone(),
            control: self.control.clone(),
        }
    }
}

impl<T: TableProjection> fmt::Debug for TableView<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableView({:?})", self.progress.name)
    }
}
