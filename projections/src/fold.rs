//! What a worker needs of a view, in memory or in the store: folding, publishing, writing, replacing.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{EventRef, RecordedCommit};

use crate::error::RunError;
use crate::event_info::EventInfo;
use crate::failure::{EventFailure, FailureReason};
use crate::handlers::{Handle, Handlers};
use crate::options::OrderKey;
use crate::parked::{Ledger, Place};

/// Commits as they were read, shared with whatever thread folds them.
pub(crate) type Commits = Arc<Vec<RecordedCommit>>;

/// What a fold consults beside the events.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) order_key: OrderKey,
}

/// An event that has to wait behind a parked one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldEvent {
    pub(crate) position: GlobalPosition,
    pub(crate) stream_key: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) behind: GlobalPosition,
}

/// How far a fold came.
pub(crate) struct Folded {
    /// Events met on the way that have to wait behind parked ones.
    pub(crate) held: Vec<HeldEvent>,
    pub(crate) end: FoldEnd,
}

/// Why a fold ended.
pub(crate) enum FoldEnd {
    /// Everything is folded.
    All,
    /// There is no room for more until the view is published and written.
    Full,
    /// An event could not be taken. The fold stands at or before the event in front of it.
    Failed(EventFailure),
    /// The machinery failed; the worker has to begin again from what is published.
    Broken(RunError),
}

/// A view as its worker sees it.
///
/// The worker folds a batch, as often as it takes, and then publishes it; readers see nothing in between.
/// A view that has not taken over yet is invisible: it belongs to a start or to a rebuild.
pub(crate) trait Fold: Send + Sized + 'static {
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

    /// Makes this view the one that answers, and gives how many events were folded into it unseen.
    fn take_over(&mut self) -> u64;

    /// Whether anything is folded that a restart would have to fold again.
    fn is_unwritten(&self) -> bool;

    /// Whether the flush policy wants the view written now.
    fn wants_flush(&self) -> bool;

    /// Writes what is published.
    fn flush(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Makes sure that the store still has what this view has in it; [`RunError::Lost`] if not.
    fn look(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// A new and invisible view beside this one, with nothing folded.
    fn fresh(&mut self) -> impl Future<Output = Result<Self, RunError>> + Send;

    /// Removes what this view has in the store.
    fn discard(self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Removes whatever other views of this projection there are in the store.
    fn discard_others(&mut self) -> impl Future<Output = Result<(), RunError>> + Send;
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

/// Whether an event is to be folded; notes it if it has to wait.
pub(crate) fn admit(scope: &Scope, event: &EventRef<'_>, held: &mut Vec<HeldEvent>) -> bool {
    let info = EventInfo::new(event);
    match scope.ledger.place(&info, &scope.order_key) {
        Place::Fold => true,
        Place::Aside => false,
        Place::Behind(behind) => {
            held.push(HeldEvent {
                position: info.position(),
                stream_key: info.stream_key().into(),
                key: scope.order_key.of(&info),
                behind,
            });
            false
        }
    }
}

/// The failure of the event at `position`, with what the ledger needs to know of it.
pub(crate) fn failure(
    scope: &Scope,
    commits: &[RecordedCommit],
    position: GlobalPosition,
    reason: FailureReason,
) -> EventFailure {
    let found = commits
        .iter()
        .filter(|commit| commit.last_position() >= position)
        .find_map(|commit| commit.events().find(|event| event.position() == position));
    let named = found.map(|event| {
        let info = EventInfo::new(&event);
        let stream_key: Arc<str> = info.stream_key().into();
        (stream_key, scope.order_key.of(&info))
    });
    // The position was taken from these commits, so it is found; an empty key would only park it alone.
    let (stream_key, key) = named.unwrap_or_default();
    EventFailure {
        position,
        stream_key,
        key,
        reason,
    }
}
