//! Folding into a table: event by event on a thread that may block, published by the batch, written by policy.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{ViewCheckpoint, ViewName};

use super::changes::Table;
use super::generation::{Flushed, Generation};
use super::open::{begin, stored, warn_of_another_shape};
use super::parts::TableParts;
use super::pass::{Pass, take_up};
use crate::error::RunError;
use crate::fold::{Aside, Commits, Fold, FoldEnd, Folded, Line, LineEnd, Scope};
use crate::projection::TableProjection;

/// A table as its worker sees it.
pub(crate) struct TableFold<T: TableProjection> {
    parts: TableParts<T>,
    generation: Arc<Generation<T::Row>>,
    /// Away only while a batch is folded on another thread.
    table: Option<Table<T::Row>>,
    position: GlobalPosition,
    unpublished: u64,
    /// Events published while nobody could see them.
    unseen: u64,
    is_visible: bool,
    /// What a row took when the table was last written.
    row_bytes: usize,
}

/// Assumed until rows have been written.
const ROW_BYTES_ASSUMED: usize = 256;

impl<T: TableProjection> TableFold<T> {
    /// The table as its last run left it, or as the store has it. A table that the store has lost begins from nothing, and
    /// does not answer until it is built.
    pub(crate) async fn open(parts: TableParts<T>) -> Result<Self, RunError> {
        if let Some(generation) = parts.current.get() {
            let is_visible = parts.progress.is_ready();
            let mut fold = Self::of(parts.clone(), generation, is_visible);
            match fold.look().await {
                _ if fold.generation.is_unreadable() => {
                    warn_of_another_shape::<T>(&"such a row was met");
                    parts.current.doubt();
                    parts.progress.lost();
                    fold.discard().await?;
                }
                Ok(()) if fold.generation.is_in_doubt() => {
                    fold.flush().await?;
                    return Ok(fold);
                }
                Ok(()) => return Ok(fold),
                Err(RunError::Lost) => fold.discard().await?,
                Err(error) => return Err(error),
            }
        }
        let generation = stored(&parts).await?;
        let generation = Arc::new(generation);
        parts.current.set(generation.clone());
        Ok(Self::of(parts, generation, false))
    }

    fn of(parts: TableParts<T>, generation: Arc<Generation<T::Row>>, is_visible: bool) -> Self {
        let position = generation.overlay().position;
        Self {
            table: Some(Table::new(
                generation.clone(),
                parts.cached_rows,
                parts.current.is_doubted(),
            )),
            parts,
            generation,
            position,
            unpublished: 0,
            unseen: 0,
            is_visible,
            row_bytes: ROW_BYTES_ASSUMED,
        }
    }

    /// Works on the table, on a thread that may block.
    async fn with_table<O: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Table<T::Row>) -> O + Send + 'static,
    ) -> Result<O, RunError> {
        let mut table = self.table.take().ok_or(RunError::Thread)?;
        let working = move || {
            let out = work(&mut table);
            (table, out)
        };
        let (table, out) = if self.parts.in_place {
            working()
        } else {
            // tokio panics when the operating system gives it no thread at all.
            let started = catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(working)));
            let started = started.map_err(|_| RunError::Thread)?;
            started.await.map_err(|_| RunError::Thread)?
        };
        self.table = Some(table);
        Ok(out)
    }

    /// Keeps what was written at hand.
    fn keep_flushed(&mut self, flushed: Flushed<T::Row>) {
        if let Some(each) = flushed.bytes.checked_div(flushed.rows.len()) {
            self.row_bytes = each.max(1);
        }
        if let Some(table) = &mut self.table {
            table.cache(flushed.rows);
        }
    }

    /// All generations that the store has; [`RunError::Lost`] when this one is not among them, and then nobody
    /// is answered from it any more.
    async fn found(&self) -> Result<Vec<(ViewName, ViewCheckpoint)>, RunError> {
        let found = self.generation.found().await;
        let answers = self.parts.current.get();
        let answers = answers.is_some_and(|current| Arc::ptr_eq(&current, &self.generation));
        if answers && matches!(found, Err(RunError::Lost)) {
            tracing::warn!(
                projection = T::NAME,
                "a table is gone from the store and is built again"
            );
            self.parts.progress.lost();
        }
        found
    }
}

impl<T: TableProjection> Fold for TableFold<T> {
    const OUTLIVES: bool = true;

    fn generation(&self) -> u64 {
        self.generation.name.generation
    }

    fn position(&self) -> GlobalPosition {
        self.position
    }

    async fn fold(&mut self, scope: &Scope, commits: &Commits, through: GlobalPosition) -> Folded {
        if commits.is_empty() {
            self.position = through;
            return Folded {
                aside: Aside::default(),
                end: FoldEnd::All,
            };
        }
        let room = self.parts.flush.rows.max(1);
        let dirty = self.generation.overlay().dirty.len();
        let (position, scope) = (self.position, scope.clone());
        let (handlers, commits) = (self.parts.handlers.clone(), commits.clone());
        let folding = self.with_table(move |table| {
            let mut pass = Pass::<T> {
                table,
                handlers: &handlers,
                scope: &scope,
                position,
                folded: 0,
                aside: Aside::default(),
                rows_max: room.saturating_sub(dirty).max(1),
            };
            let end = pass.run(&commits);
            (end, pass.aside, pass.position, pass.folded)
        });
        let (end, aside, position, folded) = match folding.await {
            Ok(folded) => folded,
            Err(error) => return broken(error),
        };
        self.unpublished += folded;
        self.position = match end {
            FoldEnd::All => through,
            _ => position,
        };
        Folded { aside, end }
    }

    fn publish(&mut self, _: &Commits) -> u64 {
        let newly = std::mem::take(&mut self.unpublished);
        if let Some(table) = &mut self.table {
            table.publish(self.position);
        }
        if self.is_visible {
            newly
        } else {
            self.unseen += newly;
            0
        }
    }

    async fn take_up(&mut self, lines: Vec<Line>) -> Result<Vec<LineEnd>, RunError> {
        let (position, handlers) = (self.position, self.parts.handlers.clone());
        let folding =
            self.with_table(move |table| take_up::<T>(table, &handlers, &lines, position));
        let ends = folding.await??;
        let taken: usize = ends.iter().map(|end| end.taken).sum();
        self.unpublished += taken as u64;
        Ok(ends)
    }

    fn show_taken(&mut self, positions: &[GlobalPosition]) -> u64 {
        self.generation.has_taken(positions);
        self.publish(&Commits::default())
    }

    async fn write_taken(&mut self) -> Result<(), RunError> {
        let flushed = self.generation.write_taken().await?;
        self.keep_flushed(flushed);
        Ok(())
    }

    async fn clear_taken(&mut self) -> Result<(), RunError> {
        self.generation.clear_taken().await
    }

    async fn settle_taken(&mut self) -> Result<Vec<GlobalPosition>, RunError> {
        self.generation.settle_taken().await
    }

    fn unseen(&self) -> u64 {
        self.unseen
    }

    fn take_over(&mut self) -> u64 {
        self.parts.current.set(self.generation.clone());
        self.is_visible = true;
        std::mem::take(&mut self.unseen)
    }

    fn is_unwritten(&self) -> bool {
        let overlay = self.generation.overlay();
        overlay.position > overlay.written
    }

    fn is_unswept(&self) -> bool {
        self.generation.overlay().is_unswept()
    }

    fn wants_flush(&self) -> bool {
        let overlay = self.generation.overlay();
        let events = overlay.position.get() - overlay.written.get();
        let rows = overlay.dirty.len();
        let policy = &self.parts.flush;
        events >= policy.events.max(1)
            || rows >= policy.rows.max(1)
            || rows.saturating_mul(self.row_bytes) >= policy.bytes.max(1)
    }

    async fn flush(&mut self) -> Result<(), RunError> {
        let flushed = self.generation.flush().await?;
        self.keep_flushed(flushed);
        Ok(())
    }

    async fn close(&mut self) -> Result<(), RunError> {
        if self.is_unwritten() {
            self.flush().await?;
        }
        self.generation.sweep().await
    }

    async fn look(&mut self) -> Result<(), RunError> {
        self.found().await?;
        if self.generation.is_unreadable() {
            return Err(RunError::Row("a reader met it".into()));
        }
        Ok(())
    }

    async fn fresh(&mut self) -> Result<Self, RunError> {
        let found = self.found().await?;
        let newest = found.last().map_or(0, |(view, _)| view.generation);
        let number = newest.max(self.generation.name.generation) + 1;
        let generation = begin::<T>(&self.parts, number).await?;
        Ok(Self::of(self.parts.clone(), Arc::new(generation), false))
    }

    async fn discard(self) -> Result<(), RunError> {
        self.generation.discard().await
    }

    async fn discard_others(&mut self) -> Result<(), RunError> {
        for (view, _) in self.found().await? {
            if view != self.generation.name {
                self.parts.store.drop_view(&view).await?;
            }
        }
        Ok(())
    }
}

fn broken(error: RunError) -> Folded {
    Folded {
        aside: Aside::default(),
        end: FoldEnd::Broken(error),
    }
}
