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
    /// Events that are parked at places of streams: at how many.
    unread: HashMap<GlobalPosition, usize>,
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

    /// An event that is parked at a place.
    pub(super) fn find(&self, place: &Place, position: GlobalPosition) -> Option<&ParkedEvent> {
        self.queues.get(place)?.events.get(&position)
    }

    /// Whether the event at a position is parked without anybody's knowing whom it concerns.
    pub(super) fn holds_unread(&self, position: GlobalPosition) -> bool {
        self.unread.contains_key(&position)
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
        let (place, position) = (Place::of(&event), event.position);
        let is_unread = matches!(place, Place::Stream(_));
        let queue = self.queues.entry(place).or_default();
        if queue.events.insert(position, event).is_none() {
            self.count += 1;
            if is_unread {
                *self.unread.entry(position).or_default() += 1;
            }
        }
    }

    /// Removes an event from a place; the place is free when none is left.
    pub(super) fn remove(&mut self, place: &Place, position: GlobalPosition) {
        let Some(queue) = self.queues.get_mut(place) else {
            return;
        };
        let is_gone = queue.events.remove(&position).is_some();
        let is_free = queue.events.is_empty();
        self.count -= usize::from(is_gone);
        if is_gone && matches!(place, Place::Stream(_)) {
            let left = self.unread.get(&position).map_or(0, |count| count - 1);
            match left {
                0 => _ = self.unread.remove(&position),
                left => _ = self.unread.insert(position, left),
            }
        }
        if is_free {
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

    /// Has the first event of places tried again now: those with an event that passes. Gives their number.
    pub(super) fn make_due(&mut self, now: Instant, which: impl Fn(&ParkedEvent) -> bool) -> usize {
        let chosen = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.next != Next::UnderWay && queue.events.values().any(&which));
        let chosen: Vec<_> = chosen.map(|(place, _)| place.clone()).collect();
        for place in &chosen {
            self.set(place, Next::At(now));
        }
        chosen.len()
    }

    /// Has the first event of one place tried now; `false` if it is being tried.
    pub(super) fn make_one_due(&mut self, place: &Place, now: Instant) -> bool {
        let next = self.queues.get(place).map(|queue| queue.next);
        if matches!(next, Some(Next::Asked | Next::At(_))) {
            self.set(place, Next::At(now));
        }
        next != Some(Next::UnderWay)
    }

    /// The keys that are being tried.
    pub(super) fn being_tried(&self) -> Vec<Arc<str>> {
        let under_way = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.next == Next::UnderWay);
        let keys = under_way.map(|(place, _)| match place {
            Place::Key(key) | Place::Stream(key) => Arc::clone(key),
        });
        keys.collect()
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
