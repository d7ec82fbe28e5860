//! What a worker needs of a view, in memory or in the store: folding, publishing, writing, replacing.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{EventRef, RecordedCommit};

use crate::error::RunError;
use crate::event_info::EventInfo;
use crate::failure::{AfterRetries, EventFailure, FailurePolicy, FailureReason, Verdict};
use crate::handlers::{Handle, Handlers};
use crate::ledger::{Ledger, Place};
use crate::options::OrderKey;

/// Commits as they were read, shared with whatever thread folds them.
pub(crate) type Commits = Arc<Vec<RecordedCommit>>;

/// What a fold consults beside the events.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) order_key: OrderKey,
    pub(crate) failure: FailurePolicy,
}

/// An event that has to wait behind another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldEvent {
    pub(crate) position: GlobalPosition,
    pub(crate) stream_key: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) behind: GlobalPosition,
}

/// What a fold met on its way and did not fold. The events of other keys flow on.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Events that have to wait behind others.
    pub(crate) held: Vec<HeldEvent>,
    /// Events that failed.
    pub(crate) failed: Vec<EventFailure>,
    /// The places of those that failed.
    positions: HashSet<GlobalPosition>,
    /// The first that failed of each key that is not free.
    blocked: HashMap<Arc<str>, GlobalPosition>,
}

/// How far a fold came.
pub(crate) struct Folded {
    pub(crate) aside: Aside,
    pub(crate) end: FoldEnd,
}

/// Why a fold ended.
pub(crate) enum FoldEnd {
    /// Everything is folded, but for what is set aside.
    All,
    /// There is no room for more until the view is published and written.
    Full,
    /// An event failed, and the fold stands before the batch. What failed is known now: read again from there.
    Back,
    /// An event could not be taken, and nothing after it may be. The fold stands at or before the event in front of it.
    Failed(EventFailure),
    /// The machinery failed; the worker has to begin again from what is published.
    Broken(RunError),
}

/// Events of one key that were set aside, in order, with their commits; without one, the log has the event no more.
pub(crate) struct Line {
    pub(crate) events: Vec<(GlobalPosition, Option<RecordedCommit>)>,
}

/// What became of a line: so many of its first events are folded, and then one failed.
pub(crate) struct LineEnd {
    pub(crate) taken: usize,
    pub(crate) failed: Option<FailureReason>,
}

/// A view as its worker sees it.
///
/// The worker folds a batch, as often as it takes, and then publishes it; readers see nothing in between.
/// A view that has not taken over yet is invisible: it belongs to a start or to a rebuild.
///
/// # Events that are taken up
/// An event that was set aside lies before the view's position when it is folded after all. The log forgets it after the
/// view has it, and the view remembers until then that it has: [`take_up`](Self::take_up),
/// [`show_taken`](Self::show_taken), [`write_taken`](Self::write_taken), then the log forgets, then
/// [`clear_taken`](Self::clear_taken). A life that ends in between is made good by the next one, which begins with
/// [`settle_taken`](Self::settle_taken).
pub(crate) trait Fold: Send + Sized + 'static {
    /// Whether the view outlives the process, so that what it has set aside must, too, before it goes past that.
    const OUTLIVES: bool;

    /// The number of this view among those of its projection.
    fn generation(&self) -> u64;

    /// The last position folded, published or not. After a failure it may be anywhere from the last
    /// published position to just before the event that failed.
    fn position(&self) -> GlobalPosition;

    /// Folds the events after [`position`](Self::position) up to `through`.
    fn fold(
        &mut self,
        scope: &Scope,
        commits: &Commits,
        through: GlobalPosition,
    ) -> impl Future<Output = Folded> + Send;

    /// Makes what is folded visible, if the view is, and gives how many events are newly so. `commits` are
    /// those folded since the last publication.
    fn publish(&mut self, commits: &Commits) -> u64;

    /// Folds events that were set aside, line by line, and gives what became of the first lines; those after them were not
    /// tried. Everything folded before must be published and written.
    fn take_up(
        &mut self,
        lines: Vec<Line>,
    ) -> impl Future<Output = Result<Vec<LineEnd>, RunError>> + Send;

    /// Makes what was taken up visible, if the view is, and gives how many events are newly so.
    fn show_taken(&mut self, positions: &[GlobalPosition]) -> u64;

    /// Makes durable what was taken up, rows and positions together.
    fn write_taken(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Forgets which positions were taken up: the log has forgotten them, too.
    fn clear_taken(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// What an earlier life has taken up, and the log may not have forgotten.
    fn settle_taken(
        &mut self,
    ) -> impl Future<Output = Result<Vec<GlobalPosition>, RunError>> + Send;

    /// How many events were folded into it unseen.
    fn unseen(&self) -> u64;

    /// Makes this view the one that answers, and gives how many events were folded into it unseen.
    fn take_over(&mut self) -> u64;

    /// Whether anything is folded that a restart would have to fold again.
    fn is_unwritten(&self) -> bool;

    /// True if the store keeps something of the view only for a crash.
    fn is_unswept(&self) -> bool;

    /// Whether the flush policy wants the view written now.
    fn wants_flush(&self) -> bool;

    /// Writes what is published.
    fn flush(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Writes what is published, and removes what the store keeps only for a crash in between.
    fn close(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Makes sure that the store still has what this view has in it; [`RunError::Lost`] if not.
    fn look(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// A new and invisible view beside this one, with nothing folded.
    fn fresh(&mut self) -> impl Future<Output = Result<Self, RunError>> + Send;

    /// Removes what this view has in the store.
    fn discard(self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Removes whatever other views of this projection there are in the store.
    fn discard_others(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;
}

impl Scope {
    /// Whether nothing may be folded after an event that failed.
    pub(crate) fn stops(&self) -> bool {
        self.failure.then() == AfterRetries::Stop
    }

    /// The failure of the event at `position`, with what the ledger needs to know of it.
    pub(crate) fn failure(
        &self,
        commits: &[RecordedCommit],
        position: GlobalPosition,
        reason: FailureReason,
    ) -> EventFailure {
        let at = commits.partition_point(|commit| commit.last_position() < position);
        let commit = commits.get(at);
        let found = commit.and_then(|commit| {
            let mut events = commit.events();
            events.find(|event| event.position() == position)
        });
        let named = found.map(|event| {
            let info = EventInfo::new(&event);
            let stream_key: Arc<str> = info.stream_key().into();
            (stream_key, self.order_key.of(&info))
        });
        // The position was taken from these commits, so it is found; an empty key would only park it alone.
        let (stream_key, key) = named.unwrap_or_default();
        EventFailure {
            position,
            stream_key,
            key,
            reason,
            is_certain: true,
        }
    }
}

impl Aside {
    /// Whether an event is to be folded; notes it if it has to wait.
    pub(crate) fn admits(&mut self, scope: &Scope, event: &EventRef<'_>) -> bool {
        let info = EventInfo::new(event);
        let behind = match scope.ledger.place(&info, &scope.order_key) {
            Place::Aside => return false,
            Place::Behind(behind) => behind,
            Place::Fold => match self.first_failed(&info, scope) {
                FirstFailed::None => return true,
                FirstFailed::Itself => return false,
                FirstFailed::Before(behind) => behind,
            },
        };
        self.held.push(HeldEvent {
            position: info.position(),
            stream_key: info.stream_key().into(),
            key: scope.order_key.of(&info),
            behind,
        });
        false
    }

    fn first_failed(&self, info: &EventInfo<'_>, scope: &Scope) -> FirstFailed {
        if self.positions.is_empty() {
            return FirstFailed::None;
        }
        let position = info.position();
        if self.positions.contains(&position) {
            return FirstFailed::Itself;
        }
        if self.blocked.is_empty() {
            return FirstFailed::None;
        }
        match self.blocked.get(&scope.order_key.of(info)) {
            Some(first) if *first < position => FirstFailed::Before(*first),
            _ => FirstFailed::None,
        }
    }

    /// Notes an event that failed. Those of its key wait, unless it is left out at once.
    pub(crate) fn fail(&mut self, scope: &Scope, failure: EventFailure) {
        self.positions.insert(failure.position);
        let verdict = scope.failure.after(1, &failure.reason);
        let is_left_out = failure.is_certain && verdict == Verdict::Done(AfterRetries::Skip);
        if !is_left_out {
            let first = self.blocked.entry(Arc::clone(&failure.key));
            first.or_insert(failure.position);
        }
        self.failed.push(failure);
    }

    /// The same commits are folded once more.
    pub(crate) fn again(&mut self) {
        self.held.clear();
    }
}

/// Whether an event of its key has failed in this fold.
enum FirstFailed {
    None,
    Itself,
    Before(GlobalPosition),
}

/// Visits the events of a commit that lie after `after` and have a handler, in order.
pub(crate) fn visit<V: 'static, B>(
    handlers: &Handlers<V>,
    commit: &RecordedCommit,
    after: GlobalPosition,
    mut visitor: impl FnMut(&dyn Handle<V>, &EventRef<'_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    if commit.last_position() <= after {
        return ControlFlow::Continue(());
    }
    for part in commit.parts() {
        let Some(handler) = handlers.find(part.category()) else {
            continue;
        };
        for event in part.events() {
            if event.position() > after {
                visitor(handler, &event)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Visits the one event of a line, if the log still has it and there is still a handler for it.
pub(crate) fn visit_one<V: 'static, B>(
    handlers: &Handlers<V>,
    (position, commit): &(GlobalPosition, Option<RecordedCommit>),
    mut visitor: impl FnMut(&dyn Handle<V>, &EventRef<'_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let Some(commit) = commit else {
        return ControlFlow::Continue(());
    };
    visit(handlers, commit, position.previous(), |handler, event| {
        if event.position() == *position {
            visitor(handler, event)
        } else {
            ControlFlow::Continue(())
        }
    })
}
