//! What a view has set aside: which events wait, behind which, and when the first of each key is tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{ParkedEvent, Selection, SetAside};

use crate::event_info::EventInfo;
use crate::options::OrderKey;

/// Keys that are looked at to say what is tried again: those that only wait for their turn are passed over.
const LOOKED_AT: usize = 64;

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

/// What one view has set aside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    events: BTreeMap<GlobalPosition, ParkedEvent>,
    /// The events that wait, by key; those that are left out for good are in none.
    queues: HashMap<Arc<str>, Queue>,
    /// The keys whose first event is tried at a time, by that.
    schedule: BTreeSet<(Instant, Arc<str>)>,
    skipped: usize,
    /// What an earlier life has set aside beyond where the view stands: it meets those events again.
    earlier: BTreeMap<GlobalPosition, Earlier>,
}

/// An event that an earlier life of the view has set aside.
#[derive(Clone, Debug)]
struct Earlier {
    event: ParkedEvent,
    /// Whether there is a fact about it under the view's own name.
    is_own: bool,
}

/// The events of one key that wait, in order.
#[derive(Clone, Debug, Default)]
struct Queue {
    positions: BTreeSet<GlobalPosition>,
    /// When the first is tried. `None`: when a person or a start says so.
    due: Option<Instant>,
}

impl Ledger {
    /// Takes an event in, or what is now known of it.
    pub(crate) fn note(&mut self, event: ParkedEvent) {
        self.remove(event.position);
        if event.cause == SetAside::Skipped {
            self.skipped += 1;
        } else {
            let queue = self.queues.entry(Arc::clone(&event.key)).or_default();
            queue.positions.insert(event.position);
        }
        self.events.insert(event.position, event);
    }

    /// Remembers what an earlier life of the view has set aside, and whether that is under the view's own name.
    pub(crate) fn remember(&mut self, event: ParkedEvent, is_own: bool) {
        if is_own || !self.earlier.contains_key(&event.position) {
            let earlier = Earlier { event, is_own };
            self.earlier.insert(earlier.event.position, earlier);
        }
    }

    /// What an earlier life has set aside at a position.
    pub(crate) fn earlier(&self, position: GlobalPosition) -> Option<&ParkedEvent> {
        self.earlier.get(&position).map(|earlier| &earlier.event)
    }

    /// Whether the log says the same of an event already.
    pub(crate) fn is_recorded(&self, event: &ParkedEvent) -> bool {
        let earlier = self.earlier.get(&event.position);
        earlier.is_some_and(|earlier| earlier.is_own && earlier.event == *event)
    }

    /// Whether an earlier life has set aside something up to a position of which nothing is known yet.
    pub(crate) fn has_earlier(&self, through: GlobalPosition) -> bool {
        let first = self.earlier.keys().next();
        first.is_some_and(|first| *first <= through)
    }

    /// Forgets what an earlier life has set aside up to a position: those events were met. Gives those of the view's own
    /// name that are not set aside any more.
    pub(crate) fn met(&mut self, through: GlobalPosition) -> Vec<GlobalPosition> {
        let later = self.earlier.split_off(&through.next());
        let met = std::mem::replace(&mut self.earlier, later);
        let own = met.into_iter().filter(|(_, earlier)| earlier.is_own);
        own.map(|(position, _)| position)
            .filter(|position| !self.events.contains_key(position))
            .collect()
    }

    /// Forgets an event: it is folded now, or its place is taken.
    pub(crate) fn remove(&mut self, position: GlobalPosition) {
        let Some(event) = self.events.remove(&position) else {
            return;
        };
        if event.cause == SetAside::Skipped {
            self.skipped -= 1;
        }
        let Some(queue) = self.queues.get_mut(&event.key) else {
            return;
        };
        queue.positions.remove(&position);
        if queue.positions.is_empty() {
            self.set_due(&event.key, None);
            self.queues.remove(&event.key);
        }
    }

    /// What is to be done with an event. Costs nothing while nothing is set aside.
    pub(crate) fn place(&self, info: &EventInfo<'_>, order_key: &OrderKey) -> Place {
        if self.events.is_empty() {
            return Place::Fold;
        }
        let position = info.position();
        if self.events.contains_key(&position) {
            return Place::Aside;
        }
        if self.queues.is_empty() {
            return Place::Fold;
        }
        match self.first(&order_key.of(info)) {
            Some(first) if first < position => Place::Behind(first),
            _ => Place::Fold,
        }
    }

    /// The event behind which those of a key wait.
    pub(crate) fn first(&self, key: &str) -> Option<GlobalPosition> {
        self.queues.get(key)?.positions.first().copied()
    }

    /// How many events it holds: those that wait (held ones included), and those that are left out.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let waiting = self.events.len() - self.skipped;
        (waiting as u64, self.skipped as u64)
    }

    /// How many more events a view at a position can set aside where `most` may wait, and as many be left out.
    pub(crate) fn room(&self, most: usize, position: GlobalPosition) -> usize {
        let waiting = self.events.len() - self.skipped;
        most.saturating_sub(waiting.max(self.skipped_through(most, position)))
    }

    /// True if as many events wait as may, for a view at a position. While one of these events lies ahead of the view the
    /// ledger is not full: the view meets that event again, and needs no room for it.
    pub(crate) fn is_waiting_full(&self, most: usize, position: GlobalPosition) -> bool {
        let waiting = self.events.len() - self.skipped;
        let is_ahead = || {
            let mut ahead = self.events.range(position.next()..);
            ahead.any(|(_, event)| event.cause != SetAside::Skipped)
        };
        waiting >= most && !is_ahead()
    }

    /// True if a view at a position has left out as many events as may be. An earlier life of the view left out the events
    /// ahead of that position, and they do not count before the view has come to them.
    pub(crate) fn is_skipped_full(&self, most: usize, position: GlobalPosition) -> bool {
        self.skipped_through(most, position) >= most
    }

    /// How many events are left out up to a position; no fewer are looked for than `most`.
    fn skipped_through(&self, most: usize, position: GlobalPosition) -> usize {
        if self.skipped < most {
            return self.skipped;
        }
        let ahead = self.events.range(position.next()..);
        let ahead = ahead.filter(|(_, event)| event.cause == SetAside::Skipped);
        self.skipped - ahead.count()
    }

    /// Everything that it holds, by position.
    pub(crate) fn events(&self) -> impl Iterator<Item = &ParkedEvent> {
        self.events.values()
    }

    /// The events that wait and that a verb is about.
    pub(crate) fn selected(&self, selection: &Selection) -> Vec<ParkedEvent> {
        let waiting = |event: &&ParkedEvent| event.cause != SetAside::Skipped;
        let chosen = self.events().filter(waiting);
        chosen
            .filter(|event| selection.names(event))
            .cloned()
            .collect()
    }

    /// Has the first event of keys tried now: those whose first event passes. Gives the keys.
    pub(crate) fn make_due(
        &mut self,
        now: Instant,
        which: impl Fn(&ParkedEvent) -> bool,
    ) -> Vec<Arc<str>> {
        let first_passes = |queue: &Queue| {
            let first = queue.positions.first();
            let first = first.and_then(|first| self.events.get(first));
            first.is_some_and(&which)
        };
        let chosen = self
            .queues
            .iter()
            .filter(|(_, queue)| first_passes(queue))
            .map(|(key, _)| Arc::clone(key));
        let mut chosen: Vec<_> = chosen.collect();
        // A map has no order, and a simulation must be able to run again.
        chosen.sort();
        for key in &chosen {
            self.set_due(key, Some(now));
        }
        chosen
    }

    /// Notes when the first event of a key is tried; `None`: when somebody asks for it.
    pub(crate) fn set_due(&mut self, key: &Arc<str>, due: Option<Instant>) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut queue.due, due) {
            self.schedule.remove(&(before, Arc::clone(key)));
        }
        if let Some(due) = due {
            self.schedule.insert((due, Arc::clone(key)));
        }
    }

    /// When the next key is tried of a view at a position. A key whose first event lies ahead of that waits until the view
    /// has come there: what came before the event is not folded yet.
    pub(crate) fn next_due(&self, position: GlobalPosition) -> Option<Instant> {
        let mut keys = self.schedule.iter();
        let next = keys.find(|(_, key)| self.first(key).is_some_and(|first| first <= position));
        next.map(|(due, _)| *due)
    }

    /// The first events of the keys that are due, up to the position of the view: of at most `keys` keys and `each` events
    /// of one.
    pub(crate) fn due(
        &self,
        now: Instant,
        position: GlobalPosition,
        keys: usize,
        each: usize,
    ) -> Vec<Vec<ParkedEvent>> {
        let due = self.schedule.iter().take_while(|(due, _)| *due <= now);
        let queues = due.filter_map(|(_, key)| self.queues.get(key));
        let reached = queues.filter(|queue| queue.positions.first() <= Some(&position));
        let events = reached.take(keys).map(|queue| {
            let positions = queue.positions.range(..=position).take(each);
            let events = positions.filter_map(|position| self.events.get(position));
            events.cloned().collect()
        });
        events.collect()
    }

    /// The event that is tried again next, among the first that are due.
    pub(crate) fn retrying(&self) -> Option<&ParkedEvent> {
        let keys = self.schedule.iter().map(|(_, key)| key).take(LOOKED_AT);
        let mut firsts = keys.filter_map(|key| self.events.get(&self.first(key)?));
        firsts.find(|event| event.tries > 0)
    }

    /// Whether an event at or before this position is going to be tried without a person.
    pub(crate) fn is_retrying_through(&self, position: GlobalPosition) -> bool {
        let keys = self.schedule.iter().map(|(_, key)| key);
        let mut firsts = keys.filter_map(|key| self.first(key));
        firsts.any(|first| first <= position)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chronicler_domain::Timestamp;

    use super::*;

    fn event(position: u64, key: &str, cause: SetAside) -> ParkedEvent {
        let position = GlobalPosition::new(position);
        ParkedEvent::new(position, key.into(), key.into(), cause, Timestamp::EPOCH)
    }

    #[test]
    fn n12_a_key_is_tried_at_its_time_and_in_order_and_is_free_when_nothing_waits() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let mut ledger = Ledger::default();
        let (behind, end) = (GlobalPosition::new(2), GlobalPosition::new(9));
        ledger.note(event(4, "a", SetAside::Held { behind }));
        ledger.note(event(2, "a", SetAside::Retrying));
        ledger.note(event(3, "b", SetAside::Parked));
        ledger.note(event(5, "c", SetAside::Skipped));
        assert_eq!(ledger.counts(), (3, 1));
        assert!(ledger.due(later, end, 9, 9).is_empty(), "nobody asked");
        ledger.set_due(&"a".into(), Some(later));
        assert!(ledger.due(now, end, 9, 9).is_empty());
        let due = ledger.due(later, end, 9, 9);
        let positions: Vec<_> = due[0].iter().map(|event| event.position.get()).collect();
        assert_eq!((due.len(), positions), (1, vec![2, 4]));
        assert!(ledger.is_retrying_through(GlobalPosition::new(2)));
        assert!(!ledger.is_retrying_through(GlobalPosition::new(1)));
        // A verb about an event that waits for another one changes nothing.
        let held = Selection::Event(GlobalPosition::new(4));
        assert!(ledger.make_due(now, |event| held.names(event)).is_empty());
        assert_eq!(ledger.make_due(now, |_| true).len(), 2);
        assert_eq!(ledger.next_due(end), Some(now));
        ledger.remove(GlobalPosition::new(2));
        ledger.remove(GlobalPosition::new(4));
        ledger.remove(GlobalPosition::new(3));
        assert_eq!(ledger.next_due(end), None);
        assert_eq!(ledger.counts(), (0, 1));
        assert_eq!(ledger.first("a"), None);
    }

    #[test]
    fn b1_nothing_ahead_of_the_view_is_due_and_it_holds_up_nobody() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let at = GlobalPosition::new;
        let mut ledger = Ledger::default();
        let behind = at(7);
        ledger.note(event(7, "ahead", SetAside::Retrying));
        ledger.note(event(8, "ahead", SetAside::Held { behind }));
        ledger.note(event(3, "reached", SetAside::Retrying));
        ledger.set_due(&"ahead".into(), Some(now));
        ledger.set_due(&"reached".into(), Some(later));
        assert_eq!(
            (ledger.next_due(at(2)), ledger.next_due(at(6))),
            (None, Some(later))
        );
        let due = |position| ledger.due(later, at(position), 1, 9);
        assert!(due(2).is_empty());
        assert_eq!(due(6)[0][0].position, at(3));
        assert_eq!((due(7)[0].len(), due(8)[0].len()), (1, 2));
    }
}
