//! One copy of a view in memory, and what is folded into it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::GlobalPosition;
use chronicler_store::RecordedCommit;

use crate::failure::{EventFailure, FailureReason};
use crate::fold::{Aside, Line, LineEnd, Scope, visit, visit_one};
use crate::handlers::Handlers;
use crate::projection::Projection;

/// A copy of the view and how far it has come.
pub(super) struct ViewCopy<V> {
    pub(super) view: V,
    pub(super) position: GlobalPosition,
    /// Events folded into it since the last publication.
    pub(super) unpublished: u64,
}

impl<P: Projection> ViewCopy<P> {
    /// Folds the events of these commits after its position, up to and including `until`, into it. After an
    /// error it may be torn. An event that does not come so far as its handler leaves it whole, and is set aside.
    pub(super) fn fold(
        &mut self,
        handlers: &Handlers<P>,
        scope: &Scope,
        commits: &[RecordedCommit],
        until: GlobalPosition,
        aside: &mut Aside,
    ) -> Result<(), EventFailure> {
        // The whole batch is caught as one: the position is kept outside, and nothing torn is used afterwards.
        let mut at = self.position;
        let folding = AssertUnwindSafe(|| {
            for commit in commits {
                if commit.first_position() > until {
                    break;
                }
                let visited = visit(handlers, commit, self.position, |handler, event| {
                    if event.position() > until {
                        return ControlFlow::Continue(());
                    }
                    at = event.position();
                    if aside.admits(scope, event) {
                        match handler.handle(&mut self.view, event) {
                            Ok(()) => self.unpublished += 1,
                            Err(reason) if reason.is_before_the_handler() && !scope.stops() => {
                                aside.fail(scope, scope.failure(commits, at, reason));
                            }
                            Err(reason) => return ControlFlow::Break(reason),
                        }
                    }
                    ControlFlow::Continue(())
                });
                if let ControlFlow::Break(reason) = visited {
                    return Err(reason);
                }
                self.position = self.position.max(commit.last_position().min(until));
            }
            Ok(())
        });
        let folded = catch_unwind(folding);
        folded
            .unwrap_or_else(|panic| Err(FailureReason::panicked(&*panic)))
            .map_err(|reason| scope.failure(commits, at, reason))
    }

    /// Folds the rest of these commits into a torn copy, only to see which events fail.
    pub(super) fn see_failures(
        mut self,
        handlers: &Handlers<P>,
        scope: &Scope,
        commits: &[RecordedCommit],
        aside: &mut Aside,
    ) {
        let all = GlobalPosition::MAX;
        loop {
            let at = commits.partition_point(|commit| commit.last_position() <= self.position);
            let rest = commits.get(at..).unwrap_or_default();
            let Err(failure) = self.fold(handlers, scope, rest, all, aside) else {
                return;
            };
            self.position = failure.position;
            let is_certain = failure.reason.is_before_the_handler();
            let failure = EventFailure {
                is_certain,
                ..failure
            };
            aside.fail(scope, failure);
        }
    }

    /// Folds the first `most` events of a line.
    pub(super) fn fold_line(
        &mut self,
        handlers: &Handlers<P>,
        line: &Line,
        most: usize,
    ) -> LineEnd {
        let mut taken = 0;
        for event in line.events.iter().take(most) {
            let folding = AssertUnwindSafe(|| {
                visit_one(handlers, event, |handler, event| {
                    match handler.handle(&mut self.view, event) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(reason) => ControlFlow::Break(reason),
                    }
                })
            });
            let folded = catch_unwind(folding);
            let folded =
                folded.unwrap_or_else(|panic| ControlFlow::Break(FailureReason::panicked(&*panic)));
            if let ControlFlow::Break(reason) = folded {
                let failed = Some(reason);
                return LineEnd { taken, failed };
            }
            self.unpublished += 1;
            taken += 1;
        }
        LineEnd {
            taken,
            failed: None,
        }
    }
}
