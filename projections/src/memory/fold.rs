//! Folding into a view in memory without ever showing, or losing, a whole copy.
//!
//! Readers hold one copy of the view and the fold works on another. A handler that fails may leave the copy
//! it worked on torn, so that copy is thrown away, and the fold begins again from the last whole one, now without the event
//! that failed: the published copy, or, while nothing is published yet, a safety copy taken every [`SAFETY_EVENTS`] events.
//!
//! Where many events fail, beginning again for each would cost more than everything else. After the first
//! [`CERTAIN_FAILURES`] of a batch the fold goes on with the torn copy once, only to see which events fail, and sets all
//! those aside. Such a failure is not certain: the event may have met the torn copy. So it counts as no try.
//!
//! After a publication the copy that readers had before is not thrown away: once they have let go of it, the
//! events that it lacks are folded into it, too, and it is the next one to be published. So a view of any size
//! is published after every batch without cloning it, at the price of folding each live event twice. While
//! catching up nobody reads, and events are folded once; after a failure the same is done for some batches there, so that
//! the next failure need not begin far back.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::RecordedCommit;

use super::copy::ViewCopy;
use super::view::Published;
use crate::error::RunError;
use crate::failure::EventFailure;
use crate::fold::{Aside, Commits, Fold, FoldEnd, Folded, Line, LineEnd, Scope};
use crate::handlers::Handlers;
use crate::projection::Projection;

/// Events folded between two safety copies while nothing is published. A quarter of a million are folded
/// again in less than a second.
const SAFETY_EVENTS: u64 = 262_144;
/// Failures of one batch for each of which it is folded again with a whole copy.
const CERTAIN_FAILURES: usize = 4;
/// Batches after a failure for which a view that nobody sees keeps a whole copy that is no more than a batch behind.
const CAREFUL_BATCHES: u32 = 4;

/// A view in memory as its worker sees it.
pub(crate) struct MemoryFold<P> {
    handlers: Arc<Handlers<P>>,
    initial: Arc<P>,
    published: Arc<Published<P>>,
    is_visible: bool,
    generation: u64,
    /// The last whole copy.
    base: ViewCopy<Arc<P>>,
    /// The copy that is being folded into; none right after a publication or a failure.
    working: Option<ViewCopy<P>>,
    /// The copy that was the last whole one before, and the commits it lacks.
    spare: Option<(ViewCopy<Arc<P>>, Commits)>,
    /// An event that failed before and after which nothing may be folded: a whole copy is taken right before it.
    suspect: Option<GlobalPosition>,
    /// Batches for which a whole copy is kept at hand.
    careful: u32,
}

impl<P: Projection> MemoryFold<P> {
    /// The view that answers, as readers see it, or one from nothing if they do not see it yet.
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
            generation: published.generation(),
            handlers,
            initial,
            published,
            is_visible,
            base: ViewCopy {
                view,
                position,
                unpublished: 0,
            },
            working: None,
            spare: None,
            suspect: None,
            careful: 0,
        }
    }

    /// A copy to fold into, at the position of the last whole one.
    fn take_working(&mut self, scope: &Scope) -> ViewCopy<P> {
        if let Some(working) = self.working.take() {
            return working;
        }
        self.take_spare(scope).unwrap_or_else(|| self.clone_base())
    }

    fn clone_base(&self) -> ViewCopy<P> {
        ViewCopy {
            view: P::clone(&self.base.view),
            position: self.base.position,
            unpublished: self.base.unpublished,
        }
    }

    /// The copy from before the last whole one, brought up to it; `None` if a reader still has it, or if an event that was
    /// folded before now fails.
    fn take_spare(&mut self, scope: &Scope) -> Option<ViewCopy<P>> {
        let (spare, commits) = self.spare.take()?;
        let mut copy = ViewCopy {
            view: Arc::try_unwrap(spare.view).ok()?,
            position: spare.position,
            unpublished: 0,
        };
        let all = GlobalPosition::MAX;
        let mut aside = Aside::default();
        let folded = copy.fold(&self.handlers, scope, &commits, all, &mut aside);
        copy.position = self.base.position;
        copy.unpublished = self.base.unpublished;
        let is_same = folded.is_ok() && aside.failed.is_empty();
        is_same.then_some(copy)
    }

    /// Keeps a whole copy of what is folded so far.
    fn keep(&mut self, working: &ViewCopy<P>) {
        self.spare = None;
        self.base = ViewCopy {
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
        aside: &mut Aside,
    ) -> FoldEnd {
        if scope.stops() {
            return match self.fold_in_order(scope, commits, through, aside) {
                Ok(()) => FoldEnd::All,
                Err(failure) => FoldEnd::Failed(failure),
            };
        }
        let from = self.position();
        loop {
            let mut working = self.take_working(scope);
            self.keep_in_time(&working);
            let all = GlobalPosition::MAX;
            let folded = working.fold(&self.handlers, scope, commits, all, aside);
            let Err(failure) = folded else {
                working.position = through;
                self.working = Some(working);
                return FoldEnd::All;
            };
            let is_far_back = self.base.position < from;
            working.position = failure.position;
            aside.fail(scope, failure);
            self.careful = CAREFUL_BATCHES;
            if is_far_back || aside.failed.len() >= CERTAIN_FAILURES {
                working.see_failures(&self.handlers, scope, commits, aside);
            }
            if is_far_back {
                return FoldEnd::Back;
            }
            aside.again();
        }
    }

    /// Folds a batch where nothing may be folded after an event that failed.
    fn fold_in_order(
        &mut self,
        scope: &Scope,
        commits: &[RecordedCommit],
        through: GlobalPosition,
        aside: &mut Aside,
    ) -> Result<(), EventFailure> {
        let mut working = self.take_working(scope);
        self.keep_in_time(&working);
        let suspect = self.suspect.filter(|suspect| *suspect <= through);
        let handlers = Arc::clone(&self.handlers);
        let folded = suspect.map_or(Ok(()), |suspect| {
            let before = suspect.previous();
            working.fold(&handlers, scope, commits, before, aside)?;
            self.keep(&working);
            Ok(())
        });
        let all = GlobalPosition::MAX;
        let folded = folded.and_then(|()| working.fold(&handlers, scope, commits, all, aside));
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

    /// While nobody sees the view, keeps a whole copy from time to time.
    fn keep_in_time(&mut self, working: &ViewCopy<P>) {
        let since_kept = working.unpublished - self.base.unpublished;
        if !self.is_visible && since_kept >= SAFETY_EVENTS {
            self.keep(working);
        }
    }

    /// Makes what is folded the last whole copy, and keeps the one before as the spare.
    fn settle(&mut self, working: ViewCopy<P>, commits: &Commits, unpublished: u64) {
        let base = ViewCopy {
            view: Arc::new(working.view),
            position: working.position,
            unpublished,
        };
        let before = std::mem::replace(&mut self.base, base);
        self.spare = Some((before, commits.clone()));
    }

    /// Folds lines into a copy of the last whole one. Stops after the first that fails and leaves the copy torn.
    fn fold_lines(&self, lines: &[Line]) -> (ViewCopy<P>, Vec<LineEnd>, bool) {
        let mut copy = self.clone_base();
        let mut ends = Vec::new();
        for line in lines {
            let end = copy.fold_line(&self.handlers, line, line.events.len());
            let torn = end.failed.as_ref();
            let is_torn = torn.is_some_and(|reason| !reason.is_before_the_handler());
            ends.push(end);
            if is_torn {
                return (copy, ends, true);
            }
        }
        (copy, ends, false)
    }
}

impl<P: Projection> Fold for MemoryFold<P> {
    const OUTLIVES: bool = false;

    fn generation(&self) -> u64 {
        self.generation
    }

    fn position(&self) -> GlobalPosition {
        let working = self.working.as_ref().map(|working| working.position);
        working.unwrap_or(self.base.position)
    }

    async fn fold(&mut self, scope: &Scope, commits: &Commits, through: GlobalPosition) -> Folded {
        let mut aside = Aside::default();
        if commits.is_empty() {
            // Nothing up to here concerns the view, so no copy is needed to say so.
            match &mut self.working {
                Some(working) => working.position = through,
                None => self.base.position = through,
            }
            let end = FoldEnd::All;
            return Folded { aside, end };
        }
        let end = self.fold_batch(scope, commits, through, &mut aside);
        Folded { aside, end }
    }

    fn publish(&mut self, commits: &Commits) -> u64 {
        if !self.is_visible && self.careful == 0 {
            return 0;
        }
        let Some(working) = self.working.take() else {
            if self.is_visible {
                self.published.move_on(self.base.position);
            }
            return 0;
        };
        if !self.is_visible {
            self.careful -= 1;
            let unpublished = working.unpublished;
            self.settle(working, commits, unpublished);
            return 0;
        }
        let newly = working.unpublished;
        if newly == 0 {
            // Nothing concerned the view, so both copies are as good as before.
            self.published.move_on(working.position);
            self.base.position = working.position;
            self.working = Some(working);
            return 0;
        }
        self.settle(working, commits, 0);
        // Whoever reads the old one still has it; else it is the spare's alone from here on.
        let (view, position) = (self.base.view.clone(), self.base.position);
        drop(self.published.replace(view, position));
        newly
    }

    async fn take_up(&mut self, lines: Vec<Line>) -> Result<Vec<LineEnd>, RunError> {
        if let Some(working) = self.working.take() {
            let unpublished = working.unpublished;
            self.spare = None;
            self.base = ViewCopy {
                view: Arc::new(working.view),
                position: working.position,
                unpublished,
            };
        }
        let (mut copy, ends, is_torn) = self.fold_lines(&lines);
        if ends.iter().all(|end| end.taken == 0) {
            return Ok(ends);
        }
        if is_torn {
            copy = self.clone_base();
            for (line, end) in lines.iter().zip(&ends) {
                let again = copy.fold_line(&self.handlers, line, end.taken);
                if again.failed.is_some() {
                    // It does not do twice the same. All of them are tried another time.
                    return Ok(Vec::new());
                }
            }
        }
        self.spare = None;
        self.working = Some(copy);
        Ok(ends)
    }

    fn show_taken(&mut self, positions: &[GlobalPosition]) -> u64 {
        let Some(working) = self.working.take() else {
            return 0;
        };
        let newly = working.unpublished;
        let view = Arc::new(working.view);
        if self.is_visible {
            self.published.replace_with_taken(view.clone(), positions);
        }
        self.base = ViewCopy {
            view,
            position: working.position,
            unpublished: if self.is_visible { 0 } else { newly },
        };
        if self.is_visible { newly } else { 0 }
    }

    async fn write_taken(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    async fn clear_taken(&mut self) -> Result<(), RunError> {
        if self.is_visible {
            self.published.clear_taken();
        }
        Ok(())
    }

    async fn settle_taken(&mut self) -> Result<Vec<GlobalPosition>, RunError> {
        Ok(self.published.taken())
    }

    fn unseen(&self) -> u64 {
        let working = self.working.as_ref();
        working.map_or(self.base.unpublished, |working| working.unpublished)
    }

    fn take_over(&mut self) -> u64 {
        let newly = self.unseen();
        let copy = match self.working.take() {
            Some(working) => ViewCopy {
                view: Arc::new(working.view),
                position: working.position,
                unpublished: 0,
            },
            None => ViewCopy {
                view: self.base.view.clone(),
                position: self.base.position,
                unpublished: 0,
            },
        };
        self.published
            .take_over(copy.view.clone(), copy.position, self.generation);
        self.base = copy;
        self.spare = None;
        self.is_visible = true;
        newly
    }

    fn is_unwritten(&self) -> bool {
        false
    }

    fn is_unswept(&self) -> bool {
        false
    }

    fn wants_flush(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    async fn look(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    async fn fresh(&mut self) -> Result<Self, RunError> {
        let fresh = Self::new(
            self.handlers.clone(),
            self.initial.clone(),
            self.published.clone(),
            false,
        );
        Ok(Self {
            generation: self.generation + 1,
            ..fresh
        })
    }

    async fn discard(self) -> Result<(), RunError> {
        Ok(())
    }

    async fn discard_others(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}
