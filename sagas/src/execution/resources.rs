//! Resources, which only so many effects may use at a time.

use std::collections::HashMap;
use std::sync::Arc;

use chronicler_domain::LogSequence;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Rooms = Mutex<HashMap<String, Arc<Resource>>>;

/// The resources that effects of all sagas of this process share, by name. Of several limits under one name the one that
/// was decided last holds. A resource that nobody uses or waits for is forgotten.
#[derive(Default)]
pub(crate) struct Resources(Arc<Rooms>);

struct Resource {
    room: Arc<Semaphore>,
    limit: Mutex<Limit>,
}

struct Limit {
    count: u32,
    decided_at: LogSequence,
    /// Places beyond the limit that are taken: they are not given back.
    excess: u32,
}

/// A place at a resource, until this is dropped.
pub(crate) struct Place {
    name: String,
    rooms: Arc<Rooms>,
    /// Until this is dropped.
    resource: Option<Arc<Resource>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Resources {
    /// Waits until there is room, and says whether it had to wait. `count` is the limit as the commit at `decided_at`
    /// has it.
    ///
    /// # Cancel safety
    /// A wait that is dropped holds nothing.
    pub(crate) async fn take(
        &self,
        name: &str,
        count: u32,
        decided_at: LogSequence,
    ) -> (Place, bool) {
        let resource = {
            let mut all = self.0.lock();
            let found = all.entry(name.to_owned());
            Arc::clone(found.or_insert_with(|| Arc::new(Resource::new(count, decided_at))))
        };
        resource.limit_to(count, decided_at);
        let room = Arc::clone(&resource.room);
        // Who waits is counted as well: a dropped wait forgets the resource as the end of a use does.
        let mut place = Place {
            name: name.to_owned(),
            rooms: Arc::clone(&self.0),
            resource: Some(resource),
            permit: None,
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                place.permit = Some(permit);
                (place, false)
            }
            Err(_) => {
                // It is never closed.
                place.permit = room.acquire_owned().await.ok();
                (place, true)
            }
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

impl Resource {
    fn new(count: u32, decided_at: LogSequence) -> Self {
        let places = usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS);
        let limit = Limit {
            count,
            decided_at,
            excess: 0,
        };
        Self {
            room: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            limit: Mutex::new(limit),
        }
    }

    fn limit_to(&self, count: u32, decided_at: LogSequence) {
        let mut limit = self.limit.lock();
        if decided_at < limit.decided_at {
            return;
        }
        limit.decided_at = decided_at;
        if count > limit.count {
            let more = count - limit.count;
            let kept = more.min(limit.excess);
            limit.excess -= kept;
            self.room
                .add_permits(usize::try_from(more - kept).unwrap_or(0));
        } else {
            let fewer = limit.count - count;
            let free = self
                .room
                .forget_permits(usize::try_from(fewer).unwrap_or(0));
            limit.excess += fewer.saturating_sub(u32::try_from(free).unwrap_or(fewer));
        }
        limit.count = count;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(permit), Some(resource)) = (self.permit.take(), &self.resource) {
            let mut limit = resource.limit.lock();
            if limit.excess > 0 {
                limit.excess -= 1;
                permit.forget();
            } else {
                // Before the limit is let go: who lowers it then finds the permit free.
                drop(permit);
            }
        }
        let mut all = self.rooms.lock();
        // Within the lock, so that of several that end at once the last one is known.
        drop(self.resource.take());
        let is_last = |resource: &Arc<Resource>| Arc::strong_count(resource) == 1;
        if all.get(&self.name).is_some_and(is_last) {
            all.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn at(sequence: u64) -> LogSequence {
        LogSequence::new(sequence)
    }

    #[test]
    fn the_limit_that_was_decided_last_holds() {
        let all = Resources::default();
        let take = |count, decided| all.take("gateway", count, at(decided)).now_or_never();
        let first = take(1, 1).unwrap();
        assert!(take(1, 1).is_none(), "one at a time");
        let second = take(3, 2).unwrap();
        let third = take(1, 1).unwrap();
        assert!(
            take(3, 2).is_none(),
            "what was decided before does not lower it again"
        );
        assert!(take(1, 3).is_none());
        drop((first, second));
        assert!(take(1, 3).is_none(), "the third still has the only place");
        drop(third);
        assert!(take(1, 3).is_some());
    }

    #[test]
    fn a_resource_that_nobody_uses_or_waits_for_is_forgotten() {
        let all = Resources::default();
        let held = all.take("a", 1, at(1)).now_or_never();
        let mut waiting = Box::pin(all.take("a", 1, at(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(all.count(), 1, "somebody waits");
        drop(waiting);
        assert_eq!(all.count(), 0);
    }

    #[test]
    fn a_resource_is_forgotten_when_all_who_use_it_end_at_once() {
        let all = Resources::default();
        for _ in 0..500 {
            let places = [1, 2, 3, 4].map(|_| all.take("a", 4, at(1)).now_or_never());
            let together = std::sync::Barrier::new(places.len());
            std::thread::scope(|scope| {
                for place in places {
                    scope.spawn(|| {
                        together.wait();
                        drop(place);
                    });
                }
            });
            assert_eq!(all.count(), 0);
        }
    }
}
