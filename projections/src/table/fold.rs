//! Folding into a table: event by event on a thread that may block, published by the batch, written by policy.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::Clock;
use chronicler_store::{EventRef, RecordedCommit, Store, ViewCheckpoint, ViewName};

use super::changes::{Table, TableFault};
use super::generation::{Current, Flushed, Generation};
use super::row::{RowFault, from_store};
use super::taken;
use crate::error::RunError;
use crate::failure::FailureReason;
use crate::fold::{Aside, Commits, Fold, FoldEnd, Folded, Line, LineEnd, Scope, visit, visit_one};
use crate::handlers::{Handle, Handlers};
use crate::options::FlushPolicy;
use crate::parked::Facts;
use crate::progress::Progress;
use crate::projection::TableProjection;

/// What does not change from one run of a table's worker to the next.
pub(crate) struct TableParts<T: TableProjection> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
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
            clock: self.clock.clone(),
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

/// Changed rows after which no more lines are taken up at a time: they are written at once, and twice.
const TAKEN_ROWS_MAX: usize = 1_024;

/// Assumed until rows have been written.
const ROW_BYTES_ASSUMED: usize = 256;

impl<T: TableProjection> TableParts<T> {
    fn facts(&self) -> Facts<'_> {
        Facts {
            store: &*self.store,
            clock: &*self.clock,
            projection: T::NAME,
            fingerprint: self.fingerprint,
        }
    }
}

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
        // Facts of an earlier layout may be of another view than this one. Nobody can tell, so it is built again.
        let is_doubtful = parts.facts().are_unowned().await?;
        if is_doubtful {
            tracing::warn!(
                projection = T::NAME,
                "an earlier release has set events of a table aside, and the table is built again, once"
            );
        }
        let mut ours = found
            .into_iter()
            .filter(|(_, checkpoint)| checkpoint.fingerprint == fingerprint && !is_doubtful);
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
        let mut rows = rows.into_iter().filter(|row| row.key != taken::KEY);
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
struct Pass<'a, T: TableProjection> {
    table: &'a mut Table<T::Row>,
    handlers: &'a Handlers<Table<T::Row>>,
    scope: &'a Scope,
    position: GlobalPosition,
    folded: u64,
    aside: Aside,
    /// Changed rows at which it ends after a whole commit.
    rows_max: usize,
}

impl<T: TableProjection> Pass<'_, T> {
    fn run(&mut self, commits: &[RecordedCommit]) -> FoldEnd {
        let handlers = self.handlers;
        for commit in commits {
            let after = self.position;
            let visited = visit(handlers, commit, after, |handler, event| {
                self.event(commits, handler, event)
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

    /// Folds one event, or sets it aside: the changes of an event that fails are forgotten, so that the table is whole.
    fn event(
        &mut self,
        commits: &[RecordedCommit],
        handler: &dyn Handle<Table<T::Row>>,
        event: &EventRef<'_>,
    ) -> ControlFlow<FoldEnd> {
        let position = event.position();
        if self.aside.admits(self.scope, event) {
            match handle::<T>(self.table, handler, event, position) {
                Err(fault) => return ControlFlow::Break(FoldEnd::Broken(fault.into())),
                Ok(None) => self.folded += 1,
                Ok(Some(reason)) => {
                    let failed = self.scope.failure(commits, position, reason);
                    if self.scope.stops() {
                        return ControlFlow::Break(FoldEnd::Failed(failed));
                    }
                    self.aside.fail(self.scope, failed);
                }
            }
        }
        self.position = position;
        ControlFlow::Continue(())
    }
}

/// Folds one event, as of a position, and gives why its handler could not take it.
fn handle<T: TableProjection>(
    table: &mut Table<T::Row>,
    handler: &dyn Handle<Table<T::Row>>,
    event: &EventRef<'_>,
    position: GlobalPosition,
) -> Result<Option<FailureReason>, RowFault> {
    // What a panicking handler has changed is staged, and forgotten below.
    let handling = AssertUnwindSafe(|| handler.handle(table, event));
    let handled = catch_unwind(handling);
    let handled = handled.unwrap_or_else(|panic| Err(FailureReason::panicked(&*panic)));
    let (reason, fault) = match handled {
        Ok(()) => (None, table.keep(position).err()),
        Err(reason) => (Some(reason), table.forget()),
    };
    match fault {
        // The handler saw a row that could not be read, so what it did means nothing.
        Some(TableFault::Row(fault)) => Err(fault),
        Some(TableFault::Misuse(rule)) => Ok(Some(FailureReason::refused(&rule))),
        None => Ok(reason),
    }
}

/// Folds lines, as of the table's position, until so many rows are changed that they should be written.
fn take_up<T: TableProjection>(
    table: &mut Table<T::Row>,
    handlers: &Handlers<Table<T::Row>>,
    lines: &[Line],
    position: GlobalPosition,
) -> Result<Vec<LineEnd>, RunError> {
    let mut ends = Vec::new();
    for line in lines {
        let mut end = LineEnd {
            taken: 0,
            failed: None,
        };
        for event in &line.events {
            let visited = visit_one(handlers, event, |handler, event| {
                match handle::<T>(table, handler, event, position) {
                    Ok(None) => ControlFlow::Continue(()),
                    Ok(Some(reason)) => ControlFlow::Break(Ok(reason)),
                    Err(fault) => ControlFlow::Break(Err(fault)),
                }
            });
            if let ControlFlow::Break(failed) = visited {
                end.failed = Some(failed?);
                break;
            }
            end.taken += 1;
        }
        ends.push(end);
        if table.changed_rows() >= TAKEN_ROWS_MAX {
            break;
        }
    }
    Ok(ends)
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
        aside: Aside::default(),
        end: FoldEnd::Broken(error),
    }
}
