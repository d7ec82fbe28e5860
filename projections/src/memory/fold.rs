//! Folding into a view in memory without ever showing, or losing, a whole copy.
//!
//! Readers hold one copy of the view and the fold works on another. A handler that panics may leave the copy
//! it worked on torn, so that copy is thrown away, and the fold begins again from the last whole one: the
//! published copy, or, while nothing is published yet, a safety copy taken every [`SAFETY_EVENTS`] events. The
//! event that failed is then met once more, with a whole copy taken right before it, so that trying it
//! again (and going on without it) costs one clone and not a replay.
//!
//! After a publication the copy that readers had before is not thrown away: once they have let go of it, the
//! events that it lacks are folded into it, too, and it is the next one to be published. So a view of any size
//! is published after every batch without cloning it, at the price of folding each live event twice. While
//! catching up nobody reads, and events are folded once.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::RecordedCommit;

use super::view::Published;
use crate::error::RunError;
use crate::failure::{EventFailure, FailureReason};
use crate::fold::{Commits, Fold, FoldEnd, Folded, HeldEvent, Scope, admit, failure, visit};
use crate::handlers::Handlers;
use crate::projection::Projection;

/// Events folded between two safety copies while nothing is published. A quarter of a million are folded
/// again in less than a second.
const SAFETY_EVENTS: u64 = 262_144;

/// A copy of the view and how far it has come.
struct Copy<V> {
    view: V,
    position: GlobalPosition,
    /// Events folded into it since the last publication.
    unpublished: u64,
}

/// A view in memory as its worker sees it.
pub(crate) struct MemoryFold<P> {
    handlers: Arc<Handlers<P>>,
    initial: Arc<P>,
    published: Arc<Published<P>>,
    is_visible: bool,
    /// The last whole copy.
    base: Copy<Arc<P>>,
    /// The copy that is being folded into; none right after a publication or a failure.
    working: Option<Copy<P>>,
    /// The copy that was published before, and the commits it lacks.
    spare: Option<(Copy<Arc<P>>, Commits)>,
    /// An event that failed before: a whole copy is taken right before it.
    suspect: Option<GlobalPosition>,
}

impl<P: Projection> MemoryFold<P> {
    /// A view that begins where readers see it, or from nothing if they do not see it yet.
    pub(crate) fn new(
        handlers: Arc<Handlers<P>>,
        initial: Arc<P>,
        published: Arc<Published<P>>,
        is_visible: bool,
    ) -> Self {
        let (view, position) = if is_visible {
            published.get()
        } else {
            (initial.clone(), GlobalPosition::ZERO)
        };
        Self {
            handlers,
            initial,
            published,
            is_visible,
            base: Copy {
                view,
                position,
                unpublished: 0,
            },
            working: None,
            spare: None,
            suspect: None,
        }
    }

    /// A copy to fold into, at the position of the last whole one.
    fn take_working(&mut self, scope: &Scope) -> Copy<P> {
        if let Some(working) = self.working.take() {
            return working;
        }
        self.take_spare(scope).unwrap_or_else(|| Copy {
            view: P::clone(&self.base.view),
            position: self.base.position,
            unpublished: self.base.unpublished,
        })
    }

    /// The copy published before, brought up to the last whole one; `None` if a reader still has it, if it is
    /// of another time, or if an event that was folded before now fails.
    fn take_spare(&mut self, scope: &Scope) -> Option<Copy<P>> {
        let (spare, commits) = self.spare.take()?;
        if self.base.unpublished > 0 {
            return None;
        }
        let mut copy = Copy {
            view: Arc::try_unwrap(spare.view).ok()?,
            position: spare.position,
            unpublished: 0,
        };
        let mut held = Vec::new();
        let all = GlobalPosition::MAX;
        let folded = fold_until(&self.handlers, scope, &mut copy, &commits, all, &mut held);
        copy.position = self.base.position;
        copy.unpublished = 0;
        folded.is_ok().then_some(copy)
    }

    /// Keeps a whole copy of what is folded so far.
    fn keep(&mut self, working: &Copy<P>) {
        self.base = Copy {
            view: Arc::new(working.view.clone()),
            position: working.position,
            unpublished: working.unpublished,
        };
    }

    fn fold_batch(
        &mut self,
        scope: &Scope,
        commits: &[RecordedCommit],
        through: GlobalPosition,
        held: &mut Vec<HeldEvent>,
    ) -> Result<(), EventFailure> {
        let mut working = self.take_working(scope);
        let since_kept = working.unpublished - self.base.unpublished;
        if !self.is_visible && since_kept >= SAFETY_EVENTS {
            self.keep(&working);
        }
        let suspect = self.suspect.filter(|suspect| *suspect <= through);
        let folded = suspect.map_or(Ok(()), |suspect| {
            let before = suspect.previous();
            self.fold_until(scope, &mut working, commits, before, held)?;
            self.keep(&working);
            Ok(())
        });
        let all = GlobalPosition::MAX;
        let folded = folded.and_then(|()| self.fold_until(scope, &mut working, commits, all, held));
        match folded {
            Err(failure) => {
                self.suspect = Some(failure.position);
                Err(failure)
            }
            Ok(()) => {
                self.suspect = self.suspect.filter(|suspect| *suspect > through);
                working.position = through;
                self.working = Some(working);
                Ok(())
            }
        }
    }

    fn fold_until(
        &self,
        scope: &Scope,
        copy: &mut Copy<P>,
        commits: &[RecordedCommit],
        until: GlobalPosition,
        held: &mut Vec<HeldEvent>,
    ) -> Result<(), EventFailure> {
        fold_until(&self.handlers, scope, copy, commits, until, held)
    }
}

impl<P: Projection> Fold for MemoryFold<P> {
    fn position(&self) -> GlobalPosition {
        let working = self.working.as_ref().map(|working| working.position);
        working.unwrap_or(self.base.position)
    }

    async fn fold(&mut self, scope: &Scope, commits: &Commits, through: GlobalPosition) -> Folded {
        let mut held = Vec::new();
        if commits.is_empty() {
            // Nothing up to here concerns the view, so no copy is needed to say so.
            match &mut self.working {
                Some(working) => working.position = through,
                None => self.base.position = through,
            }
            let end = FoldEnd::All;
            return Folded { held, end };
        }
        let end = match self.fold_batch(scope, commits, through, &mut held) {
            Ok(()) => FoldEnd::All,
            Err(failure) => FoldEnd::Failed(failure),
        };
        Folded { held, end }
    }

    fn publish(&mut self, commits: &Commits) -> u64 {
        if !self.is_visible {
            return 0;
        }
        let Some(working) = self.working.take() else {
            self.published.move_on(self.base.position);
            return 0;
        };
        let newly = working.unpublished;
        if newly == 0 {
            // Nothing concerned the view, so both copies are as good as before.
            self.published.move_on(working.position);
            self.base.position = working.position;
            self.working = Some(working);
            return 0;
        }
        let view = Arc::new(working.view);
        let before = self.published.get().1;
        let old = self.published.replace(view.clone(), working.position);
        self.spare = Some((
            Copy {
                view: old,
                position: before,
                unpublished: 0,
            },
            commits.clone(),
        ));
        self.base = Copy {
            view,
            position: working.position,
            unpublished: 0,
        };
        newly
    }

    fn take_over(&mut self) -> u64 {
        let working = self.working.as_ref();
        let newly = working.map_or(self.base.unpublished, |working| working.unpublished);
        let copy = match self.working.take() {
            Some(working) => Copy {
                view: Arc::new(working.view),
                position: working.position,
                unpublished: 0,
            },
            None => Copy {
                view: self.base.view.clone(),
                position: self.base.position,
                unpublished: 0,
            },
        };
        self.published.replace(copy.view.clone(), copy.position);
        self.base = copy;
        self.spare = None;
        self.is_visible = true;
        newly
    }

    fn is_unwritten(&self) -> bool {
        false
    }

    fn wants_flush(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    async fn look(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    async fn fresh(&mut self) -> Result<Self, RunError> {
        Ok(Self::new(
            self.handlers.clone(),
            self.initial.clone(),
            self.published.clone(),
            false,
        ))
    }

    async fn discard(self) -> Result<(), RunError> {
        Ok(())
    }

    async fn discard_others(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}

/// Folds the events of these commits after the copy's position, up to and including `until`, into it. After an
/// error the copy may be torn.
fn fold_until<P: Projection>(
    handlers: &Handlers<P>,
    scope: &Scope,
    copy: &mut Copy<P>,
    commits: &[RecordedCommit],
    until: GlobalPosition,
    held: &mut Vec<HeldEvent>,
) -> Result<(), EventFailure> {
    // One frame for the whole batch: where it was is kept outside, and nothing torn is used afterwards.
    let mut at = copy.position;
    let folding = AssertUnwindSafe(|| {
        for commit in commits {
            if commit.first_position() > until {
                break;
            }
            let visited = visit(handlers, commit, copy.position, |handler, event| {
                if event.position() > until {
                    return ControlFlow::Continue(());
                }
                at = event.position();
                if admit(scope, event, held) {
                    if let Err(reason) = handler.handle(&mut copy.view, event) {
                        return ControlFlow::Break(reason);
                    }
                    copy.unpublished += 1;
                }
                ControlFlow::Continue(())
            });
            if let ControlFlow::Break(reason) = visited {
                return Err(reason);
            }
            copy.position = copy.position.max(commit.last_position().min(until));
        }
        Ok(())
    });
    let folded = catch_unwind(folding);
    folded
        .unwrap_or_else(|panic| Err(FailureReason::panicked(&*panic)))
        .map_err(|reason| failure(scope, commits, at, reason))
}
