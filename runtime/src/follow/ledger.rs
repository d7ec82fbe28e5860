//! What a follower has parked, by key, and when it tries that again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::GlobalPosition;

use super::parked::{ParkedEvent, Selection};

/// Where an event is parked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// Under its stream: whom it concerns is not known.
    Stream(Arc<str>),
    /// Under the key of one whom it concerns.
    Key(Arc<str>),
}

/// The parked events of one place, in order.
#[derive(Debug, Default)]
struct Queue {
    events: BTreeMap<GlobalPosition, ParkedEvent>,
    next: Next,
}

/// When the first event of a place is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// When a person or a start says so.
    #[default]
    Asked,
    At(Instant),
    UnderWay,
}

/// What a follower has parked.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    queues: HashMap<Place, Queue>,
    /// The places that are tried at a time, by that.
    schedule: BTreeSet<(Instant, Place)>,
    under_way: usize,
    count: usize,
}

impl Place {
    pub(super) fn of(event: &ParkedEvent) -> Self {
        let key = Arc::clone(&event.key);
        match event.item {
            Some(_) => Self::Key(key),
            None => Self::Stream(key),
        }
    }
}

impl Ledger {
    /// With nothing due.
    pub(super) fn new(events: Vec<ParkedEvent>) -> Self {
        let mut ledger = Self::default();
        for event in events {
            ledger.insert(event);
        }
        ledger
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether an event is parked at a place.
    pub(super) fn holds(&self, place: &Place, position: GlobalPosition) -> bool {
        let queue = self.queues.get(place);
        queue.is_some_and(|queue| queue.events.contains_key(&position))
    }

    /// The event behind which those of a place wait.
    pub(super) fn first(&self, place: &Place) -> Option<GlobalPosition> {
        self.queues.get(place)?.events.keys().next().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Takes an event in, or what is now known of it.
    pub(super) fn insert(&mut self, event: ParkedEvent) {
        let queue = self.queues.entry(Place::of(&event)).or_default();
        let before = queue.events.insert(event.position, event);
        self.count += usize::from(before.is_none());
    }

    /// Removes events of a place; the place is free when none is left.
    pub(super) fn remove(
        &mut self,
        place: &Place,
        positions: impl Iterator<Item = GlobalPosition>,
    ) {
        let Some(queue) = self.queues.get_mut(place) else {
            return;
        };
        for position in positions {
            self.count -= usize::from(queue.events.remove(&position).is_some());
        }
        if queue.events.is_empty() {
            self.set(place, Next::Asked);
            self.queues.remove(place);
        }
    }

    /// The first events of a place, in order.
    pub(super) fn head(&self, place: &Place, limit: usize) -> Vec<ParkedEvent> {
        let events = self.queues.get(place).map(|queue| queue.events.values());
        events.into_iter().flatten().take(limit).cloned().collect()
    }

    /// What of it a verb is about, without what is being tried.
    pub(super) fn selected(&self, selection: &Selection) -> Vec<ParkedEvent> {
        let idle = self
            .queues
            .values()
            .filter(|queue| queue.next != Next::UnderWay);
        let events = idle.flat_map(|queue| queue.events.values());
        let wanted = events.filter(|event| selection.names(event));
        let mut all: Vec<_> = wanted.cloned().collect();
        all.sort_by_key(|event| event.position);
        all
    }

    /// Has the first event of places tried again now: those whose first event passes. Gives their number.
    pub(super) fn make_due(&mut self, now: Instant, which: impl Fn(&ParkedEvent) -> bool) -> usize {
        let chosen = self.queues.iter().filter(|(_, queue)| {
            queue.next != Next::UnderWay && queue.events.values().next().is_some_and(&which)
        });
        let chosen: Vec<_> = chosen.map(|(place, _)| place.clone()).collect();
        for place in &chosen {
            self.set(place, Next::At(now));
        }
        chosen.len()
    }

    /// Notes that a place is not under way any more, and when it is tried next if nobody asks for it.
    pub(super) fn next_at(&mut self, place: &Place, due: Option<Instant>) {
        self.set(place, due.map_or(Next::Asked, Next::At));
    }

    fn set(&mut self, place: &Place, next: Next) {
        let Some(queue) = self.queues.get_mut(place) else {
            return;
        };
        match std::mem::replace(&mut queue.next, next) {
            Next::At(due) => _ = self.schedule.remove(&(due, place.clone())),
            Next::UnderWay => self.under_way -= 1,
            Next::Asked => {}
        }
        match next {
            Next::At(due) => _ = self.schedule.insert((due, place.clone())),
            Next::UnderWay => self.under_way += 1,
            Next::Asked => {}
        }
    }

    /// A place that is due, from now on under way.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Place> {
        let (due, place) = self.schedule.first()?;
        if *due > now {
            return None;
        }
        let place = place.clone();
        self.set(&place, Next::UnderWay);
        Some(place)
    }

    /// When the next place is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// Whether something is tried again, or will be, without a person.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way > 0 || !self.schedule.is_empty()
    }
}

impl Selection {
    /// Whether it is about this event.
    pub fn names(&self, event: &ParkedEvent) -> bool {
        match self {
            Self::All => true,
            Self::Group(failure) => event.has_failed() && event.failure() == *failure,
            Self::Key(key) => event.key == *key,
            Self::Event(position) => event.position == *position,
        }
    }
}
