//! Events that were set aside: the facts about them in the log, and the ledger that the fold consults.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{Clock, ParkedEvent, SetAside, forget_parked, parked_events};
use chronicler_store::Store;

use crate::error::RunError;
use crate::event_info::EventInfo;
use crate::options::OrderKey;

/// The most events that one projection sets aside. More mean that it is the projection which is broken, and
/// it stops.
pub const PARKED_EVENTS_MAX: usize = 10_000;

/// What is to be done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Fold it.
    Fold,
    /// It is already set aside.
    Aside,
    /// It has to be set aside behind this one.
    Behind(GlobalPosition),
}

/// What one projection has set aside, as the fold consults it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    aside: BTreeMap<GlobalPosition, SetAside>,
    /// The first parked event of each key.
    blocked: HashMap<Arc<str>, GlobalPosition>,
    /// Facts of another shape of the projection, to be removed once the events have been folded.
    stale: Vec<GlobalPosition>,
}

impl Ledger {
    /// Reads what was set aside under this fingerprint.
    pub(crate) async fn load(
        store: &dyn Store,
        name: &str,
        fingerprint: u64,
    ) -> Result<Self, RunError> {
        let mut ledger = Self::default();
        for event in parked_events(store, name).await? {
            if event.fingerprint == fingerprint {
                ledger.note(&event);
            } else {
                ledger.stale.push(event.position);
            }
        }
        Ok(ledger)
    }

    /// Takes an event into the ledger.
    pub(crate) fn note(&mut self, event: &ParkedEvent) {
        self.aside.insert(event.position, event.cause);
        if event.cause == SetAside::Parked {
            let first = self
                .blocked
                .entry(event.key.clone())
                .or_insert(event.position);
            *first = (*first).min(event.position);
        }
    }

    /// What is to be done with an event. Costs nothing while nothing is set aside.
    pub(crate) fn place(&self, info: &EventInfo<'_>, order_key: &OrderKey) -> Place {
        if self.aside.is_empty() {
            return Place::Fold;
        }
        let position = info.position();
        if self.aside.contains_key(&position) {
            return Place::Aside;
        }
        if self.blocked.is_empty() {
            return Place::Fold;
        }
        match self.blocked.get(&order_key.of(info)) {
            Some(first) if *first < position => Place::Behind(*first),
            _ => Place::Fold,
        }
    }

    /// How many events it holds: parked (held ones included) and skipped.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let is_skipped = |cause: &&SetAside| **cause == SetAside::Skipped;
        let skipped = self.aside.values().filter(is_skipped).count();
        ((self.aside.len() - skipped) as u64, skipped as u64)
    }

    /// Whether it can take `more` events.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.aside.len().saturating_add(more) <= PARKED_EVENTS_MAX
    }

    /// The facts that a view at `position` no longer needs: those of `before`, or of another shape, that this
    /// ledger does not hold.
    pub(crate) fn resolved(
        &mut self,
        before: Option<&Self>,
        position: GlobalPosition,
    ) -> Vec<GlobalPosition> {
        let mut gone = std::mem::take(&mut self.stale);
        if let Some(before) = before {
            gone.extend(before.aside.keys());
            gone.extend(&before.stale);
        }
        gone.retain(|at| !self.aside.contains_key(at));
        let (gone, later) = gone.into_iter().partition(|at| *at <= position);
        self.stale = later;
        gone
    }
}

/// Removes the facts about the events at these positions. Durable when it returns.
pub(crate) async fn forget(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    positions: &[GlobalPosition],
) -> Result<(), RunError> {
    let event = |position: &GlobalPosition| {
        let (cause, at) = (SetAside::Parked, clock.now());
        ParkedEvent::new(*position, "".into(), "".into(), cause, at)
    };
    let events: Vec<_> = positions.iter().map(event).collect();
    Ok(forget_parked(store, clock, name, &events).await?)
}
