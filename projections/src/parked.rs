//! The facts of the log about events that a view has set aside: whose they are, and how they are read, written and removed.
//!
//! Each view has facts of its own: the one that answers, and the one that is built beside it by a rebuild or for another
//! `VERSION`. So whatever becomes of the one says nothing about the other.

use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_runtime::{
    Clock, ParkedEvent, SetAside, forget_parked, parked_events, record_parked,
};
use chronicler_store::{FactKind, FactQuery, Store};

use crate::error::RunError;
use crate::ledger::Ledger;

/// Stands between a projection's name and the number of the view, and is in neither.
const OF_VIEW: char = '\u{1}';
/// The projection that facts are kept for, by the name that they are kept under.
pub fn projection_of_facts(name: &str) -> &str {
    name.split_once(OF_VIEW)
        .map_or(name, |(projection, _)| projection)
}

/// Facts in one commit. Each has at most a few KiB.
const FACTS_PER_COMMIT: usize = 128;
/// Commits that are under way at a time, so that they share a sync.
const COMMITS_AT_A_TIME: usize = 16;
/// Facts that are read at a time.
const PAGE: usize = 1_024;

/// Under which name the facts of a view are kept.
pub(crate) fn facts_name(projection: &str, generation: u64) -> Arc<str> {
    format!("{projection}{OF_VIEW}{generation}").into()
}

/// Where facts are kept, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) projection: &'a str,
    /// The shape of the projection.
    pub(crate) fingerprint: u64,
}

impl Facts<'_> {
    /// What the view that stands at `position` has set aside.
    ///
    /// Facts about events beyond that are of a life that did not come so far with its view: the events come again. Before
    /// the view passes one that it folds then, the fact has to go.
    pub(crate) async fn load(
        &self,
        name: &str,
        position: GlobalPosition,
    ) -> Result<Ledger, RunError> {
        let mut ledger = Ledger::default();
        let mut gone = Vec::new();
        for event in parked_events(self.store, name).await? {
            if event.fingerprint != self.fingerprint {
                gone.push(event.position);
            } else if event.position <= position || event.cause == SetAside::Skipped {
                ledger.note(event);
            } else {
                ledger.remember(event, true);
            }
        }
        self.forget(name, &gone).await?;
        if position == GlobalPosition::ZERO {
            self.inherit(name, &mut ledger).await?;
        }
        Ok(ledger)
    }

    /// Takes over what views before this one of the same shape leave out for good, and what is known of what they had set
    /// aside.
    async fn inherit(&self, name: &str, ledger: &mut Ledger) -> Result<(), RunError> {
        let mut skipped = Vec::new();
        for other in self.names().await? {
            if *other == *name {
                continue;
            }
            let events = parked_events(self.store, &other).await?;
            let ours = events.into_iter();
            for event in ours.filter(|event| event.fingerprint == self.fingerprint) {
                if event.cause == SetAside::Skipped {
                    skipped.push(event);
                } else {
                    ledger.remember(event, false);
                }
            }
        }
        self.record(name, &skipped).await?;
        for event in skipped {
            ledger.note(event);
        }
        Ok(())
    }

    /// Whether facts of an earlier layout, which did not say whose they are, hold back events of a table of this shape.
    pub(crate) async fn are_unowned(&self) -> Result<bool, RunError> {
        let events = parked_events(self.store, self.projection).await?;
        let mut ours = events
            .iter()
            .filter(|event| event.fingerprint == self.fingerprint);
        Ok(ours.any(|event| event.cause != SetAside::Skipped))
    }

    /// Under which names this projection has facts.
    async fn names(&self) -> Result<Vec<Arc<str>>, RunError> {
        let mut names = Vec::new();
        for separator in ['\0', OF_VIEW] {
            let prefix = Bytes::from(format!("{}{separator}", self.projection));
            let mut query = FactQuery {
                prefix,
                limit: PAGE,
                ..FactQuery::all(FactKind::PARKED)
            };
            loop {
                let page = self.store.facts(query.clone()).await?;
                query.after = page.last().map(|fact| fact.key.clone());
                for fact in &page {
                    let name = fact.key.split(|byte| *byte == 0).next();
                    let name = name.and_then(|name| std::str::from_utf8(name).ok());
                    if name != names.last().map(|last: &Arc<str>| &**last) {
                        names.extend(name.map(Arc::from));
                    }
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Removes all facts of this projection but those of one view. Durable when it returns.
    pub(crate) async fn keep_only(&self, name: &str) -> Result<(), RunError> {
        for other in self.names().await? {
            if *other != *name {
                self.forget_all(&other).await?;
            }
        }
        Ok(())
    }

    /// Removes all facts of a view. Durable when it returns.
    pub(crate) async fn forget_all(&self, name: &str) -> Result<(), RunError> {
        let events = parked_events(self.store, name).await?;
        // A follower that has the projection's name says nothing of a shape.
        let ours = events.iter().filter(|event| event.fingerprint != 0);
        let positions: Vec<_> = ours.map(|event| event.position).collect();
        self.forget(name, &positions).await
    }

    /// Writes facts about these events. Durable when it returns.
    pub(crate) async fn record(&self, name: &str, events: &[ParkedEvent]) -> Result<(), RunError> {
        for some in events.chunks(FACTS_PER_COMMIT * COMMITS_AT_A_TIME) {
            let each = some.chunks(FACTS_PER_COMMIT);
            let writing = each.map(|facts| record_parked(self.store, self.clock, name, facts));
            futures::future::try_join_all(writing).await?;
        }
        Ok(())
    }

    /// Removes the facts about the events at these positions. Durable when it returns.
    pub(crate) async fn forget(
        &self,
        name: &str,
        positions: &[GlobalPosition],
    ) -> Result<(), RunError> {
        let at = self.clock.now();
        let event = |position: &GlobalPosition| {
            ParkedEvent::new(*position, "".into(), "".into(), SetAside::Parked, at)
        };
        for some in positions.chunks(FACTS_PER_COMMIT * COMMITS_AT_A_TIME) {
            let each = some.chunks(FACTS_PER_COMMIT);
            let removing = each.map(|positions| async {
                let events: Vec<_> = positions.iter().map(event).collect();
                forget_parked(self.store, self.clock, name, &events).await
            });
            futures::future::try_join_all(removing).await?;
        }
        Ok(())
    }
}
