//! Which instances of one category are alive: at most one actor for each stream.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chronicler_domain::StreamId;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::actor;
use crate::core::Core;
use crate::entity::Entity;
use crate::instance::{Home, Instance};
use crate::residents::Leaving;

/// Locks that the directory is spread over, so that senders seldom meet.
const SHARDS: usize = 64;

/// The live instances of one category.
pub(crate) struct Directory<E: Entity> {
    entity: Arc<E>,
    core: Arc<Core>,
    shards: Vec<Mutex<Shard<E>>>,
    hasher: RandomState,
    live: Arc<AtomicUsize>,
}

/// Instances by stream, and in a row, so that somebody can walk along them without looking at all.
struct Shard<E: Entity> {
    /// Where in the row an instance is. Seeded at random, and several times quicker than the hasher of the standard
    /// library.
    places: HashMap<StreamId, usize, RandomState>,
    row: Vec<Arc<Instance<E>>>,
}

impl<E: Entity> Default for Shard<E> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            row: Vec::new(),
        }
    }
}

impl<E: Entity> Shard<E> {
    fn get(&self, stream: &StreamId) -> Option<&Arc<Instance<E>>> {
        self.row.get(*self.places.get(stream)?)
    }

    fn insert(&mut self, instance: Arc<Instance<E>>) {
        self.places.insert(instance.stream.clone(), self.row.len());
        self.row.push(instance);
    }

    /// The last of the row takes its place.
    fn remove(&mut self, stream: &StreamId) -> bool {
        let Some(place) = self.places.remove(stream) else {
            return false;
        };
        self.row.swap_remove(place);
        if let Some(moved) = self.row.get(place) {
            self.places.insert(moved.stream.clone(), place);
        }
        true
    }
}

impl<E: Entity> Directory<E> {
    pub(crate) fn new(entity: Arc<E>, core: Arc<Core>) -> Self {
        Self {
            entity,
            core,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            live: Arc::default(),
        }
    }

    pub(crate) fn entity(&self) -> &Arc<E> {
        &self.entity
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The live instance of a stream. The first caller starts it; the others find it. `None` after the end.
    pub(crate) fn get(self: &Arc<Self>, stream: &StreamId) -> Option<Arc<Instance<E>>> {
        let mut shard = self.shard(stream)?.lock();
        if let Some(found) = shard.get(stream) {
            return Some(Arc::clone(found));
        }
        if self.core.ended.is_cancelled() {
            return None;
        }
        let instance = Arc::new(Instance::new(
            stream.clone(),
            Arc::clone(&self.entity),
            Arc::clone(&self.core),
            Arc::downgrade(self) as Weak<dyn Home>,
            Arc::clone(&self.live),
        ));
        shard.insert(Arc::clone(&instance));
        drop(shard);
        self.live.fetch_add(1, Ordering::Relaxed);
        self.core.residents.one_more(self.core.options.live_max);
        actor::start(&instance);
        Some(instance)
    }

    /// The live instance of a stream, if there is one.
    pub(crate) fn find(&self, stream: &StreamId) -> Option<Arc<Instance<E>>> {
        self.shard(stream)?.lock().get(stream).cloned()
    }

    fn shard(&self, stream: &StreamId) -> Option<&Mutex<Shard<E>>> {
        let hash = self.hasher.hash_one(stream) as usize;
        self.shards.get(hash % SHARDS)
    }
}

impl<E: Entity> Home for Directory<E> {
    fn leave(&self, stream: &StreamId) {
        let Some(shard) = self.shard(stream) else {
            return;
        };
        if shard.lock().remove(stream) {
            self.live.fetch_sub(1, Ordering::Relaxed);
            self.core.residents.one_less();
        }
    }
}

/// A directory of any entity, as the sweeper and the runtime's stop see it.
pub(crate) trait AnyDirectory: Send + Sync + 'static {
    /// How many rows its instances stand in.
    fn rows(&self) -> usize;

    /// Walks along a row, from a place on, past so many instances at most, and asks those to end that may go.
    fn visit(&self, row: usize, from: usize, steps: usize, look: Look<'_>) -> Visit;

    /// Asks all to end, who have nothing to do.
    fn passivate_all(&self);

    /// How many are alive.
    fn live(&self) -> usize;

    /// Ends all of them, after the runtime's supervisor, and answers what waits for them.
    fn end(&self);
}

/// What somebody walks along the instances for.
#[derive(Clone, Copy)]
pub(crate) enum Look<'a> {
    /// Those that nobody used for so long are to end.
    Unused { now: Instant, idle: Duration },
    /// So many are to end, whoever was not used since the last such walk.
    Beyond { wanted: usize, leaving: &'a Leaving },
}

/// What a walk along a row came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visit {
    /// Instances that were passed.
    pub(crate) seen: usize,
    /// Those of them that were asked to end.
    pub(crate) asked: usize,
    /// The row ends there.
    pub(crate) is_end: bool,
}

impl<E: Entity> AnyDirectory for Directory<E> {
    fn rows(&self) -> usize {
        self.shards.len()
    }

    fn visit(&self, row: usize, from: usize, steps: usize, look: Look<'_>) -> Visit {
        let Some(shard) = self.shards.get(row) else {
            return Visit::default();
        };
        let shard = shard.lock();
        let passed: Vec<_> = shard.row.iter().skip(from).take(steps).cloned().collect();
        let is_end = from + passed.len() >= shard.row.len();
        drop(shard);
        let mut visit = Visit {
            seen: 0,
            asked: 0,
            is_end,
        };
        for instance in passed {
            if let Look::Beyond { wanted, .. } = look
                && visit.asked >= wanted
            {
                visit.is_end = false;
                break;
            }
            visit.seen += 1;
            let guard = match look {
                Look::Unused { now, idle } if instance.unused_for(now) >= idle => None,
                Look::Beyond { leaving, .. } if !instance.was_used() => Some(leaving.one()),
                _ => continue,
            };
            visit.asked += 1;
            // One that has just ended needs no asking.
            drop(instance.ask_to_end(guard));
        }
        visit
    }

    fn passivate_all(&self) {
        for shard in &self.shards {
            let all = shard.lock().row.clone();
            for instance in all {
                drop(instance.ask_to_end(None));
            }
        }
    }

    fn live(&self) -> usize {
        self.live()
    }

    fn end(&self) {
        for shard in &self.shards {
            let instances = std::mem::take(&mut *shard.lock());
            self.live.fetch_sub(instances.row.len(), Ordering::Relaxed);
            for instance in instances.row {
                self.core.residents.one_less();
                instance.end();
            }
        }
    }
}
