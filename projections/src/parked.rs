//! Events that were set aside: the facts about them in the log, and the ledger that the fold consults.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_runtime::Clock;
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use chronicler_store::{Append, FactKind, FactQuery, ReadError, SideRecord, Store};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::RunError;
use crate::event_info::EventInfo;
use crate::options::OrderKey;

/// The most events that one projection sets aside. More mean that it is the projection which is broken, and
/// it stops.
pub const PARKED_EVENTS_MAX: usize = 10_000;
/// Facts in one commit, and in one page when they are read. Each has at most about 3 KiB.
const FACTS_PER_COMMIT: usize = 128;
/// The space of the ids of commits that hold such facts.
const COMMIT_IDS: Uuid = Uuid::from_u128(0x9d6f_1c0a_57a2_4c1e_8b6e_0d6b_2f3a_7c41);

/// An event that a projection has set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// Its place in the log.
    pub position: GlobalPosition,
    /// The key of its stream.
    pub stream_key: Arc<str>,
    /// The key within which order is kept; the stream's, unless the options say otherwise.
    pub key: Arc<str>,
    /// Why it was set aside.
    pub cause: SetAside,
    /// What the last try failed with; empty for an event that is only held back.
    pub reason: Arc<str>,
    /// How often it was tried.
    pub tries: u32,
    /// When it was set aside.
    pub at: Timestamp,
    /// The shape of the projection that could not take it. Another shape tries it again.
    pub(crate) fingerprint: u64,
}

/// Why an event was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SetAside {
    /// It failed, and waits for a person.
    Parked,
    /// An earlier event of its key is parked.
    Held {
        /// That event.
        behind: GlobalPosition,
    },
    /// It failed, and is left out for good.
    Skipped,
}

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

/// Everything that a projection has set aside, by position.
pub(crate) async fn parked_events(
    store: &dyn Store,
    name: &str,
) -> Result<Vec<ParkedEvent>, ReadError> {
    let mut found = Vec::new();
    let mut query = FactQuery {
        prefix: prefix(name),
        limit: FACTS_PER_COMMIT,
        ..FactQuery::all(FactKind::PARKED)
    };
    loop {
        let page = store.facts(query.clone()).await?;
        let full = page.len() >= FACTS_PER_COMMIT;
        query.after = page.last().map(|entry| entry.key.clone());
        for entry in page {
            // What a later release wrote differently is not for this one to judge: the event is tried again.
            if let Ok(event) = decode::<ParkedEvent>(CodecId::BINCODE, &entry.value) {
                found.push(event);
            }
        }
        if !full {
            return Ok(found);
        }
    }
}

/// Writes facts about these events into the log. Durable when it returns.
pub(crate) async fn record(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    events: &[ParkedEvent],
) -> Result<(), RunError> {
    for chunk in events.chunks(FACTS_PER_COMMIT) {
        let mut facts = Vec::with_capacity(chunk.len());
        for event in chunk {
            let value = encode(PayloadCodec::Bincode, event)
                .map_err(|error| RunError::Row(error.to_string().into()))?;
            facts.push((event.position, Some(value)));
        }
        commit(store, clock, name, facts).await?;
    }
    Ok(())
}

/// Removes the facts about the events at these positions. Durable when it returns.
pub(crate) async fn forget(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    positions: &[GlobalPosition],
) -> Result<(), RunError> {
    for chunk in positions.chunks(FACTS_PER_COMMIT) {
        let facts = chunk.iter().map(|position| (*position, None));
        commit(store, clock, name, facts.collect()).await?;
    }
    Ok(())
}

async fn commit(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
    facts: Vec<(GlobalPosition, Option<Bytes>)>,
) -> Result<(), RunError> {
    let at = clock.now();
    let head = store.head().sequence;
    let seed = format!("{name}\0{head}\0{facts:?}");
    let mut append = Append::new(Uuid::new_v5(&COMMIT_IDS, seed.as_bytes()), at);
    for (position, value) in facts {
        append = append.record(SideRecord::Fact {
            kind: FactKind::PARKED,
            key: key(name, position),
            value,
        });
    }
    store.append(append).await?;
    Ok(())
}

fn prefix(name: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(name.len() + 1);
    key.put_slice(name.as_bytes());
    key.put_u8(0);
    key.freeze()
}

/// The projection's name, NUL, the position in eight bytes, big-endian: ordered by position.
fn key(name: &str, position: GlobalPosition) -> Bytes {
    let mut key = BytesMut::with_capacity(name.len() + 9);
    key.put_slice(name.as_bytes());
    key.put_u8(0);
    key.put_u64(position.get());
    key.freeze()
}
