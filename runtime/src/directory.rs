//! Which instances of one category are alive: at most one actor for each stream.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chronicler_domain::{StreamId, Timestamp};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::dispatch::Core;
use crate::entity::Entity;
use crate::inbox::Envelope;
use crate::instance::Instance;

/// Locks that the directory is spread over, so that senders seldom meet.
const SHARDS: usize = 64;

/// Seeded at random, and several times quicker than the hasher of the standard library.
type Shard<E> = Mutex<HashMap<StreamId, Arc<Instance<E>>, RandomState>>;

/// The live instances of one category.
pub(crate) struct Directory<E: Entity> {
    entity: Arc<E>,
    core: Arc<Core>,
    shards: Vec<Shard<E>>,
    hasher: RandomState,
    live: AtomicUsize,
}

impl<E: Entity> Directory<E> {
    pub(crate) fn new(entity: Arc<E>, core: Arc<Core>) -> Self {
        Self {
            entity,
            core,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            live: AtomicUsize::new(0),
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
            Arc::downgrade(self),
        ));
        shard.insert(stream.clone(), Arc::clone(&instance));
        drop(shard);
        if self.live.fetch_add(1, Ordering::Relaxed) >= self.core.options.live_max {
            self.core.sweep.notify_one();
        }
        instance.start();
        Some(instance)
    }

    /// The live instance of a stream, if there is one.
    pub(crate) fn find(&self, stream: &StreamId) -> Option<Arc<Instance<E>>> {
        self.shard(stream)?.lock().get(stream).cloned()
    }

    pub(crate) fn remove(&self, stream: &StreamId) {
        let Some(shard) = self.shard(stream) else {
            return;
        };
        if shard.lock().remove(stream).is_some() {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn all(&self) -> Vec<Arc<Instance<E>>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn shard(&self, stream: &StreamId) -> Option<&Shard<E>> {
        let hash = self.hasher.hash_one(stream) as usize;
        self.shards.get(hash % SHARDS)
    }
}

/// A directory of any entity, as the sweeper and the runtime's stop see it.
pub(crate) trait AnyDirectory: Send + Sync + 'static {
    /// Asks instances to end that nobody used since `unused_since`, and the longest unused beyond `live_max`.
    fn sweep(&self, unused_since: Timestamp, live_max: usize);

    /// How many are alive.
    fn live(&self) -> usize;

    /// Ends all of them, after the runtime's supervisor, and answers what waits for them.
    fn end(&self);
}

impl<E: Entity> AnyDirectory for Directory<E> {
    fn sweep(&self, unused_since: Timestamp, live_max: usize) {
        let mut all = self.all();
        let key = |instance: &Instance<E>| (instance.used_at(), instance.stream.clone());
        all.sort_by_cached_key(|instance| key(instance));
        let beyond = all.len().saturating_sub(live_max);
        for (index, instance) in all.iter().enumerate() {
            let used_at = instance.used_at();
            if index >= beyond && used_at > unused_since {
                break;
            }
            // Asking is no use of it; one that has just ended needs no asking.
            drop(instance.push(Envelope::Passivate(None), used_at));
        }
    }

    fn live(&self) -> usize {
        self.live()
    }

    fn end(&self) {
        for shard in &self.shards {
            let instances = std::mem::take(&mut *shard.lock());
            self.live.fetch_sub(instances.len(), Ordering::Relaxed);
            for instance in instances.values() {
                instance.end();
            }
        }
    }
}
