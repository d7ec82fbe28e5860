//! A view that is built from the beginning, to take the place of the one that answers.

use chronicler_domain::GlobalPosition;
use chronicler_runtime::ParkedEvent;

use super::setup::Setup;
use super::track::Track;
use crate::error::RunError;
use crate::fold::Fold;
use crate::ledger::Ledger;

/// A rebuild this close behind the running view goes first until it takes over, so that a view which is
/// written to without pause is overtaken, too. A few batches: the running view waits that long at most.
const OVERTAKE_EVENTS: u64 = 16_384;

/// A view that is built from the beginning, to take the place of the one that answers.
pub(super) struct Rebuild<F> {
    pub(super) track: Track<F>,
    /// Where it first showed as much as the main view. From then on it waits for what failed before that and may still
    /// work.
    caught_up: Option<GlobalPosition>,
}

impl<F: Fold> Rebuild<F> {
    pub(super) fn new(track: Track<F>) -> Self {
        Self {
            track,
            caught_up: None,
        }
    }

    /// True if the rebuild goes before the main view, which has come to `ahead`. A rebuild that waits for its retries does not.
    pub(super) fn goes_first(&self, ahead: GlobalPosition) -> bool {
        let at = self.track.fold.position();
        let is_close = ahead.get().saturating_sub(at.get()) <= OVERTAKE_EVENTS;
        is_close && !self.is_waiting() && !self.track.is_stopped()
    }

    /// True once the rebuild shows as much as the main view, which has come to `ahead`.
    pub(super) fn has_caught_up(&mut self, ahead: GlobalPosition) -> bool {
        let at = self.track.fold.position();
        if at < ahead {
            return false;
        }
        self.caught_up.get_or_insert(at);
        true
    }

    /// True if the rebuild has caught up once and only waits for events that may still work.
    pub(super) fn is_waiting(&self) -> bool {
        let ledger = &self.track.ledger;
        self.caught_up
            .is_some_and(|caught_up| ledger.is_retrying_through(caught_up))
    }

    /// The first event that it has set aside, if it has folded none and the main view has: a handler that takes nothing any
    /// more must not cost what is there.
    pub(super) fn took_nothing(&self, main: &Ledger) -> Option<ParkedEvent> {
        let (aside, before) = (self.track.ledger.counts(), main.counts());
        let is_worse = aside.0 + aside.1 > before.0 + before.1;
        let first = self.track.ledger.events().next().filter(|_| is_worse);
        first.filter(|_| self.track.fold.unseen() == 0).cloned()
    }

    /// Removes what it has in the store and in the log.
    pub(super) async fn discard(self, setup: &Setup) -> Result<(), RunError> {
        let Track { facts, fold, .. } = self.track;
        fold.discard().await?;
        setup.facts().forget_all(&facts).await
    }
}
