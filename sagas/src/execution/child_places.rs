//! Places of children: only so many of one limit are alive at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chronicler_domain::StreamId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::instance::id::printed;
use crate::instance::occupancy::{Occupancy, OccupancyChange};

/// How many of those that have places are named to who waits.
const NAMED_MAX: usize = 3;

/// The limits of children that the sagas of this process share, by name, and the children that have places. A child has one
/// place, by its stream, from the attempt that begins it to its end; the log says which are alive, so that those have theirs
/// before anything is begun. Of several limits under one name the one that was decided last holds. A limit that nobody
/// has a place of or waits for is forgotten.
#[derive(Clone, Default)]
pub(crate) struct ChildPlaces(Arc<Mutex<HashMap<String, Limit>>>);

struct Limit {
    latest: Occupancy,
    taken: BTreeMap<String, Child>,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
}

/// A child that has a place.
#[derive(Default)]
struct Child {
    /// It has begun, durably, and not ended.
    is_alive: bool,
    /// Attempts that are about to begin it.
    attempts: u32,
}

struct Waiting {
    child: String,
    tell: oneshot::Sender<ChildPlace>,
}

/// The place of a child that is about to be begun. When this is dropped, the child has the place if it is alive.
pub(crate) struct ChildPlace {
    places: ChildPlaces,
    resource: String,
    child: String,
}

/// A wait in line.
pub(crate) struct ChildWait(oneshot::Receiver<ChildPlace>);

impl Limit {
    fn new(latest: &Occupancy) -> Self {
        Self {
            latest: latest.clone(),
            taken: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    fn has_room_for(&self, child: &str) -> bool {
        let limit = usize::try_from(self.latest.limit).unwrap_or(usize::MAX);
        self.taken.contains_key(child) || self.taken.len() < limit
    }
}

impl ChildPlaces {
    /// A place at once: if the child has one, or there is room and nobody waits. Else a wait in line for it, and why, in words.
    pub(crate) fn take(
        &self,
        child: &StreamId,
        asked: &Occupancy,
    ) -> Result<ChildPlace, (ChildWait, String)> {
        let child = child.key().to_owned();
        let (given, answer) = {
            let mut all = self.0.lock();
            let limit = self.limit(&mut all, asked);
            // A higher limit lets in who waits first.
            let given = self.let_in(limit);
            let is_known = limit.taken.contains_key(&child);
            let is_free = limit.waiting.is_empty() && limit.has_room_for(&child);
            let answer = if is_known || is_free {
                Ok(self.place(limit, child))
            } else {
                let why = reason(limit);
                let (tell, told) = oneshot::channel();
                limit.waiting.push_back(Waiting { child, tell });
                Err((ChildWait(told), why))
            };
            (given, answer)
        };
        tell_all(given);
        answer
    }

    /// A child has begun, or has ended. Called on the log's own thread: it does not block.
    pub(crate) fn change(&self, child: &StreamId, change: &OccupancyChange) {
        let given = {
            let mut all = self.0.lock();
            match change {
                OccupancyChange::Taken(taken) => {
                    let limit = self.limit(&mut all, taken);
                    let child = limit.taken.entry(child.key().to_owned()).or_default();
                    child.is_alive = true;
                    self.let_in(limit)
                }
                OccupancyChange::Left(left) => {
                    let gone = |known: &mut Child| known.is_alive = false;
                    self.leave(&mut all, &left.resource, child.key(), gone)
                }
            }
        };
        tell_all(given);
    }

    fn limit<'a>(&self, all: &'a mut HashMap<String, Limit>, asked: &Occupancy) -> &'a mut Limit {
        let found = all.entry(asked.resource.clone());
        let limit = found.or_insert_with(|| Limit::new(asked));
        if asked.decided_at >= limit.latest.decided_at {
            limit.latest = asked.clone();
        }
        limit
    }

    fn place(&self, limit: &mut Limit, child: String) -> ChildPlace {
        limit.taken.entry(child.clone()).or_default().attempts += 1;
        ChildPlace {
            places: self.clone(),
            resource: limit.latest.resource.clone(),
            child,
        }
    }

    /// Gives the first of those that wait their places while there is room. They are told when the lock is free.
    fn let_in(&self, limit: &mut Limit) -> Vec<(oneshot::Sender<ChildPlace>, ChildPlace)> {
        let mut given = Vec::new();
        while let Some(first) = limit.waiting.pop_front() {
            if first.tell.is_closed() {
                continue;
            }
            if !limit.has_room_for(&first.child) {
                limit.waiting.push_front(first);
                break;
            }
            let place = self.place(limit, first.child);
            given.push((first.tell, place));
        }
        given
    }

    fn leave(
        &self,
        all: &mut HashMap<String, Limit>,
        resource: &str,
        child: &str,
        change: impl FnOnce(&mut Child),
    ) -> Vec<(oneshot::Sender<ChildPlace>, ChildPlace)> {
        let Some(limit) = all.get_mut(resource) else {
            return Vec::new();
        };
        if let Some(known) = limit.taken.get_mut(child) {
            change(known);
            if !known.is_alive && known.attempts == 0 {
                limit.taken.remove(child);
            }
        }
        let given = self.let_in(limit);
        if limit.taken.is_empty() && limit.waiting.is_empty() {
            all.remove(resource);
        }
        given
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// Who does not wait any more gives its place to the next.
fn tell_all(given: Vec<(oneshot::Sender<ChildPlace>, ChildPlace)>) {
    for (tell, place) in given {
        drop(tell.send(place));
    }
}

fn reason(limit: &Limit) -> String {
    let Occupancy {
        resource,
        limit: max,
        ..
    } = &limit.latest;
    let more = limit.taken.len().saturating_sub(NAMED_MAX);
    let named: Vec<_> = limit
        .taken
        .keys()
        .take(NAMED_MAX)
        .map(|key| printed(key))
        .collect();
    let mut named = named.join(", ");
    if more > 0 {
        named = format!("{named} and {more} more");
    }
    format!("at most {max} children at {resource:?} may be alive, and there are: {named}")
}

impl ChildWait {
    /// Waits for the place.
    ///
    /// # Cancel safety
    /// A wait that is dropped holds nothing.
    pub(crate) async fn place(self) -> Option<ChildPlace> {
        // Its sender is dropped unused only when nobody waits any more.
        self.0.await.ok()
    }
}

impl Drop for ChildPlace {
    fn drop(&mut self) {
        let given = {
            let mut all = self.places.0.lock();
            let attempted = |known: &mut Child| known.attempts = known.attempts.saturating_sub(1);
            let (resource, child) = (&self.resource, &self.child);
            self.places.leave(&mut all, resource, child, attempted)
        };
        tell_all(given);
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::LogSequence;
    use futures::FutureExt;

    use super::*;

    fn asked(limit: u32, decided_at: u64) -> Occupancy {
        Occupancy {
            resource: "slot".to_owned(),
            limit,
            decided_at: LogSequence::new(decided_at),
        }
    }

    fn child(id: &str) -> StreamId {
        StreamId::of("saga:child", id).unwrap()
    }

    type Taken = Result<ChildPlace, (ChildWait, String)>;

    fn wait(taken: Taken) -> ChildWait {
        taken.map(|_| ()).unwrap_err().0
    }

    #[test]
    fn g2_a_child_has_one_place_from_its_beginning_to_its_end_however_often_it_is_asked_for() {
        let all = ChildPlaces::default();
        let (one, once) = (asked(1, 1), OccupancyChange::Taken(asked(1, 1)));
        let first = all.take(&child("a"), &one).unwrap_or_else(|_| panic!());
        let again = all.take(&child("a"), &one).unwrap_or_else(|_| panic!());
        let mut second = Box::pin(wait(all.take(&child("b"), &one)).place());
        let third = wait(all.take(&child("c"), &one));
        all.change(&child("a"), &once);
        drop((first, again));
        assert!(second.as_mut().now_or_never().is_none(), "it is alive");
        drop(third);
        all.change(&child("a"), &OccupancyChange::Left(one.clone()));
        let second = second.now_or_never().unwrap().unwrap();
        assert!(all.take(&child("d"), &one).is_err());
        // It was not begun.
        drop(second);
        assert_eq!(all.count(), 0, "who waited gave up");
    }

    #[test]
    fn g2_the_limit_that_was_decided_last_holds_for_those_who_wait_already() {
        let all = ChildPlaces::default();
        let place = |id: &str, limit, at| all.take(&child(id), &asked(limit, at));
        let first = place("a", 1, 1).unwrap_or_else(|_| panic!());
        let mut second = Box::pin(wait(place("b", 1, 1)).place());
        assert!(second.as_mut().now_or_never().is_none());
        let third = place("c", 3, 2).unwrap_or_else(|_| panic!());
        let second = second.now_or_never().unwrap();
        assert!(place("d", 1, 1).is_err(), "an older one does not lower it");
        drop(first);
        // Lowered: those that have places keep them, and nobody gets one until there are fewer.
        let mut last = Box::pin(wait(place("e", 1, 3)).place());
        drop(second);
        assert!(last.as_mut().now_or_never().is_none());
        drop(third);
        assert!(last.now_or_never().is_some());
    }
}
