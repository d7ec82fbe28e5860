//! Folding into a table: event by event on a thread that may block, published by the batch, written by policy.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{EventRef, RecordedCommit, Store, ViewCheckpoint, ViewName};

use super::changes::{Table, TableFault};
use super::generation::{Current, Generation};
use super::row::{RowFault, from_store};
use crate::error::RunError;
use crate::failure::FailureReason;
use crate::fold::{Commits, Fold, FoldEnd, Folded, HeldEvent, Scope, admit, failure, visit};
use crate::handlers::{Handle, Handlers};
use crate::options::FlushPolicy;
use crate::progress::Progress;
use crate::projection::TableProjection;

/// What does not change from one run of a table's worker to the next.
pub(crate) struct TableParts<T: TableProjection> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handlers: Arc<Handlers<Table<T::Row>>>,
    pub(crate) current: Arc<Current<T::Row>>,
    pub(crate) fingerprint: u64,
    pub(crate) flush: FlushPolicy,
    pub(crate) cached_rows: usize,
    pub(crate) in_place: bool,
    pub(crate) progress: Arc<Progress>,
}

impl<T: TableProjection> Clone for TableParts<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            handlers: self.handlers.clone(),
            current: self.current.clone(),
            progress: self.progress.clone(),
            ..*self
        }
    }
}

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

/// How many rows are read when a table is opened, to see whether they are what the type is now. Rows of one type differ in
/// which options and variants they have; more would cost time at each start.
const ROWS_LOOKED_AT: usize = 64;

/// Assumed until rows have been written.
const ROW_BYTES_ASSUMED: usize = 256;

impl<T: TableProjection> TableFold<T> {
    /// The table as its last run left it, or as the store has it: the oldest generation of this shape. The
    /// others of this shape are what interrupted rebuilds left behind, and are removed. Those of another shape
    /// stay until this one answers, so that going back to an older release costs nothing. A table that the store
    /// has lost begins from nothing, and does not answer meanwhile.
    pub(crate) async fn open(parts: TableParts<T>) -> Result<Self, RunError> {
        if let Some(generation) = parts.current.get() {
            let is_visible = parts.progress.is_ready();
            let mut fold = Self::of(parts.clone(), generation, is_visible);
            match fold.look().await {
                Ok(()) if fold.generation.is_in_doubt() => {
                    fold.flush().await?;
                    return Ok(fold);
                }
                Ok(()) => return Ok(fold),
                Err(RunError::Lost) => fold.discard().await?,
                Err(error) => return Err(error),
            }
        }
        let found = readable::<T>(&parts).await?;
        let newest = found.last().map_or(0, |(view, _)| view.generation);
        let fingerprint = parts.fingerprint;
        let mut ours = found
            .into_iter()
            .filter(|(_, checkpoint)| checkpoint.fingerprint == fingerprint);
        let generation = match ours.next() {
            Some((name, checkpoint)) => {
                for (leftover, _) in ours {
                    parts.store.drop_view(&leftover).await?;
                }
                let store = parts.store.clone();
                Generation::new(store, name, fingerprint, checkpoint.position)
            }
            None => begin::<T>(&parts, newest + 1).await?,
        };
        let generation = Arc::new(generation);
        parts.current.set(generation.clone());
        Ok(Self::of(parts, generation, false))
    }

    fn of(parts: TableParts<T>, generation: Arc<Generation<T::Row>>, is_visible: bool) -> Self {
        let position = generation.overlay().position;
        Self {
            table: Some(Table::new(generation.clone(), parts.cached_rows)),
            parts,
            generation,
            position,
            unpublished: 0,
            unseen: 0,
            is_visible,
            row_bytes: ROW_BYTES_ASSUMED,
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

/// The generations that the store has, without those of this fingerprint whose rows are not what a row is now: somebody
/// changed the type and left [`ROW_VERSION`](TableProjection::ROW_VERSION) as it was. They are removed, and built again.
async fn readable<T: TableProjection>(
    parts: &TableParts<T>,
) -> Result<Vec<(ViewName, ViewCheckpoint)>, RunError> {
    let mut found = parts.store.view_generations(T::NAME).await?;
    let mut at = 0;
    while let Some((view, checkpoint)) = found.get(at) {
        at += 1;
        if checkpoint.fingerprint != parts.fingerprint {
            continue;
        }
        let rows = parts.store.view_rows(view, None, ROWS_LOOKED_AT).await?;
        let mut rows = rows.into_iter();
        let unreadable =
            rows.find_map(
                |row| match from_store::<T::Row>(Some(row), checkpoint.position) {
                    Err(RowFault::Codec(error)) => Some(error),
                    _ => None,
                },
            );
        if let Some(error) = unreadable {
            tracing::warn!(
                projection = T::NAME,
                %error,
                "a table has rows of another shape and is built again: raise ROW_VERSION with the row's type"
            );
            at -= 1;
            let (view, _) = found.remove(at);
            parts.store.drop_view(&view).await?;
        }
    }
    Ok(found)
}

/// A new generation, known to the store from now on.
async fn begin<T: TableProjection>(
    parts: &TableParts<T>,
    number: u64,
) -> Result<Generation<T::Row>, RunError> {
    let name = ViewName {
        name: T::NAME.into(),
        generation: number,
    };
    let (store, zero) = (parts.store.clone(), GlobalPosition::ZERO);
    let generation = Generation::new(store, name, parts.fingerprint, zero);
    generation.register().await?;
    Ok(generation)
}

impl<T: TableProjection> Fold for TableFold<T> {
    fn position(&self) -> GlobalPosition {
        self.position
    }

    async fn fold(&mut self, scope: &Scope, commits: &Commits, through: GlobalPosition) -> Folded {
        if commits.is_empty() {
            self.position = through;
            return Folded {
                held: Vec::new(),
                end: FoldEnd::All,
            };
        }
        let Some(table) = self.table.take() else {
            return broken(RunError::Thread);
        };
        let room = self.parts.flush.rows.max(1);
        let dirty = self.generation.overlay().dirty.len();
        let mut pass = Pass::<T> {
            table,
            handlers: self.parts.handlers.clone(),
            scope: scope.clone(),
            position: self.position,
            folded: 0,
            held: Vec::new(),
            rows_max: room.saturating_sub(dirty).max(1),
        };
        let commits = commits.clone();
        let folding = move || {
            let end = pass.run(&commits);
            (pass, end)
        };
        let folded = if self.parts.in_place {
            Ok(folding())
        } else {
            tokio::task::spawn_blocking(folding).await
        };
        let Ok((pass, end)) = folded else {
            return broken(RunError::Thread);
        };
        self.table = Some(pass.table);
        self.unpublished += pass.folded;
        self.position = match end {
            FoldEnd::All => through,
            _ => pass.position,
        };
        Folded {
            held: pass.held,
            end,
        }
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

    fn take_over(&mut self) -> u64 {
        self.parts.current.set(self.generation.clone());
        self.is_visible = true;
        std::mem::take(&mut self.unseen)
    }

    fn is_unwritten(&self) -> bool {
        let overlay = self.generation.overlay();
        overlay.position > overlay.written
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
        if let Some(each) = flushed.bytes.checked_div(flushed.rows.len()) {
            self.row_bytes = each.max(1);
        }
        if let Some(table) = &mut self.table {
            table.cache(flushed.rows);
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), RunError> {
        self.found().await.map(drop)
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

/// One batch, folded on a thread that may block.
struct Pass<T: TableProjection> {
    table: Table<T::Row>,
    handlers: Arc<Handlers<Table<T::Row>>>,
    scope: Scope,
    position: GlobalPosition,
    folded: u64,
    held: Vec<HeldEvent>,
    /// Changed rows at which it ends after a whole commit.
    rows_max: usize,
}

impl<T: TableProjection> Pass<T> {
    fn run(&mut self, commits: &[RecordedCommit]) -> FoldEnd {
        let handlers = self.handlers.clone();
        for commit in commits {
            let after = self.position;
            let visited = visit(&handlers, commit, after, |handler, event| {
                match self.event(commits, handler, event) {
                    None => ControlFlow::Continue(()),
                    Some(end) => ControlFlow::Break(end),
                }
            });
            if let ControlFlow::Break(end) = visited {
                return end;
            }
            self.position = self.position.max(commit.last_position());
            if self.table.changed_rows() >= self.rows_max {
                return FoldEnd::Full;
            }
        }
        FoldEnd::All
    }

    /// Folds one event; a reason to end if it cannot be.
    fn event(
        &mut self,
        commits: &[RecordedCommit],
        handler: &dyn Handle<Table<T::Row>>,
        event: &EventRef<'_>,
    ) -> Option<FoldEnd> {
        let position = event.position();
        if admit(&self.scope, event, &mut self.held) {
            // What a panicking handler has changed is staged, and forgotten below.
            let handling = AssertUnwindSafe(|| handler.handle(&mut self.table, event));
            let handled = catch_unwind(handling)
                .unwrap_or_else(|panic| Err(FailureReason::panicked(&*panic)));
            let (reason, fault) = match handled {
                Ok(()) => (None, self.table.keep(position).err()),
                Err(reason) => (Some(reason), self.table.forget()),
            };
            let reason = match fault {
                // The handler saw a row that could not be read, so what it did means nothing.
                Some(TableFault::Row(fault)) => return Some(FoldEnd::Broken(fault.into())),
                Some(TableFault::Misuse(rule)) => Some(FailureReason::refused(&rule)),
                None => reason,
            };
            if let Some(reason) = reason {
                let failed = failure(&self.scope, commits, position, reason);
                return Some(FoldEnd::Failed(failed));
            }
            self.folded += 1;
        }
        self.position = position;
        None
    }
}

impl From<RowFault> for RunError {
    fn from(fault: RowFault) -> Self {
        match fault {
            RowFault::Store(error) => Self::Store(error),
            RowFault::Codec(error) => Self::Row(error.to_string().into()),
            RowFault::Layout => Self::Row("its layout is unknown".into()),
        }
    }
}

fn broken(error: RunError) -> Folded {
    Folded {
        held: Vec::new(),
        end: FoldEnd::Broken(error),
    }
}
