//! Events folded into a table, on a thread that may block: a batch in order, or lines of what was set aside.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::GlobalPosition;
use chronicler_store::{EventRef, RecordedCommit};

use super::changes::{Table, TableFault};
use super::row::RowFault;
use crate::error::RunError;
use crate::failure::FailureReason;
use crate::fold::{Aside, FoldEnd, Line, LineEnd, Scope, visit, visit_one};
use crate::handlers::{Handle, Handlers};
use crate::projection::TableProjection;

/// Changed rows after which no more lines are taken up at a time: they are written at once, and twice.
const TAKEN_ROWS_MAX: usize = 1_024;

/// One batch, folded on a thread that may block.
pub(super) struct Pass<'a, T: TableProjection> {
    pub(super) table: &'a mut Table<T::Row>,
    pub(super) handlers: &'a Handlers<Table<T::Row>>,
    pub(super) scope: &'a Scope,
    pub(super) position: GlobalPosition,
    pub(super) folded: u64,
    pub(super) aside: Aside,
    /// Changed rows at which it ends after a whole commit.
    pub(super) rows_max: usize,
}

impl<T: TableProjection> Pass<'_, T> {
    pub(super) fn run(&mut self, commits: &[RecordedCommit]) -> FoldEnd {
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
    // The changes of a handler that panics are only staged, and forgotten below.
    let handling = AssertUnwindSafe(|| handler.handle(table, event));
    let handled = catch_unwind(handling);
    let handled = handled.unwrap_or_else(|panic| Err(FailureReason::panicked(&*panic)));
    let (reason, fault) = match handled {
        Ok(()) => (None, table.keep(position).err()),
        Err(reason) => (Some(reason), table.forget()),
    };
    match fault {
        // The handler saw a row that could not be read, so what it did means nothing.
        Some(TableFault::Row(fault)) => match table.is_to_end(&fault) {
            true => Err(fault),
            false => Ok(Some(FailureReason::unwritable(&fault.to_string()))),
        },
        Some(TableFault::Unwritable(error)) => {
            Ok(Some(FailureReason::unwritable(&error.to_string())))
        }
        Some(TableFault::Misuse(rule)) => Ok(Some(FailureReason::refused(&rule))),
        None => Ok(reason),
    }
}

/// Folds lines, as of the table's position, until so many rows are changed that they should be written.
pub(super) fn take_up<T: TableProjection>(
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
            fault => Self::Row(fault.to_string().into()),
        }
    }
}
