//! What becomes of what a follower had under way, and what it is asked to do with what is parked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::{GlobalPosition, StreamId};

use super::consumer::{Consumer, Plan, Planned, Trouble};
use super::ledger::Place;
use super::parked::{Fact, ParkedEvent, SetAside};
use super::run::Run;
use super::shared::{Order, Verb};
use super::work::{Done, Origin, Task};

impl<C: Consumer> Run<C> {
    /// When a place is tried again after so many tries: what lasts only when somebody asks.
    fn again(&self, trouble: &Trouble, tries: u32) -> (SetAside, Option<Instant>) {
        match trouble {
            Trouble::Lasting(_) => (SetAside::Parked, None),
            Trouble::Passing(_) => {
                let core = &self.shared.core;
                let wait = self.shared.spec.retry.wait(tries, &core.jitter);
                let due = crate::clock::after(core.clock.as_ref(), wait);
                (SetAside::Retrying, Some(due))
            }
        }
    }

    /// Takes in what became of something that was under way.
    pub(super) fn land(&mut self, done: Done<C::Item>) {
        match done {
            Done::Taken {
                key,
                tasks,
                count,
                trouble,
            } => self.land_tasks(key, &tasks, count, trouble),
            Done::TakenUp {
                place,
                taken,
                failed,
            } => {
                self.has_tried(&place);
                for event in taken {
                    self.forget(event);
                }
                let due = self.tried(&place, failed);
                self.next_at(&place, due);
            }
            Done::Planned {
                place,
                event,
                planned,
            } => {
                self.has_tried(&place);
                self.land_plan(place, event, planned);
            }
            Done::Slow { place, trying } => {
                self.trying -= 1;
                self.slow.insert(place);
                self.under_way.push(trying);
            }
        }
    }

    /// A try has ended: others may have its place, if it had not given it back.
    fn has_tried(&mut self, place: &Place) {
        self.trying -= usize::from(!self.slow.remove(place));
    }

    /// The end of tasks of one key, of which the first `count` were taken.
    fn land_tasks(
        &mut self,
        key: Arc<str>,
        tasks: &[Task<C::Item>],
        count: usize,
        trouble: Option<Trouble>,
    ) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if lane.is_parked {
            return self.land_parked(key, tasks, count, trouble);
        }
        self.taking -= 1;
        match trouble {
            Some(trouble) => {
                let left = tasks.get(count..).unwrap_or_default();
                self.park_lane(&key, left, &trouble);
            }
            None if lane.waiting.is_empty() => {
                self.lanes.remove(&key);
                self.woken.remove(&key);
            }
            None => {
                lane.since = None;
                self.ready.push_back(key);
            }
        }
        self.resolve(tasks);
    }

    /// The end of tasks that took so long that all of the key is in the ledger by now: what was taken leaves it.
    fn land_parked(
        &mut self,
        key: Arc<str>,
        tasks: &[Task<C::Item>],
        count: usize,
        trouble: Option<Trouble>,
    ) {
        let place = Place::Key(Arc::clone(&key));
        let lane = self.lanes.remove(&key);
        let (taken, left) = tasks.split_at_checked(count).unwrap_or((tasks, &[]));
        for task in taken {
            let event = self.parked_task(&key, task, SetAside::Retrying);
            self.forget(event);
        }
        let failed = left.first().zip(trouble);
        let failed = failed
            .map(|(task, trouble)| (self.parked_task(&key, task, SetAside::Retrying), trouble));
        let due = self.tried(&place, failed);
        self.next_at(&place, due);
        // What came after somebody had dropped all of that.
        for task in lane.map(|lane| lane.waiting).unwrap_or_default() {
            let resolved = (task.position, task.origin);
            if !self.admit(Arc::clone(&key), task) {
                self.resolved.push(resolved);
            }
        }
    }

    /// Parks what is left of a key after a task that failed: that with its trouble, the others behind it.
    fn park_lane(&mut self, key: &Arc<str>, left: &[Task<C::Item>], trouble: &Trouble) {
        let lane = self.lanes.remove(key);
        let waiting = lane.map(|lane| lane.waiting).unwrap_or_default();
        let (cause, due) = self.again(trouble, 1);
        let mut first = None;
        for task in left.iter().chain(&waiting) {
            let Some(behind) = first else {
                first = Some(task.position);
                let event = self.parked_task(key, task, cause);
                let at = event.at;
                let event = event.failed(trouble.reason(), 1, at);
                trouble.log(&self.shared.spec.name, key, Some(&event));
                self.park(event);
                continue;
            };
            let event = self.parked_task(key, task, SetAside::Held { behind });
            self.park(event);
        }
        self.resolve(&waiting);
        self.next_at(&Place::Key(Arc::clone(key)), due);
    }

    /// Notes that tasks need nothing more once the facts so far are durable.
    fn resolve<'t>(&mut self, tasks: impl IntoIterator<Item = &'t Task<C::Item>>)
    where
        C::Item: 't,
    {
        let resolved = tasks.into_iter().map(|task| (task.position, task.origin));
        self.resolved.extend(resolved);
    }

    /// Notes when a place is tried next; at once if its instance was released while it was tried.
    fn next_at(&mut self, place: &Place, due: Option<Instant>) {
        let (Place::Key(key) | Place::Stream(key)) = place;
        let due = match self.woken.remove(key) {
            true => Some(self.shared.core.clock.monotonic()),
            false => due,
        };
        self.ledger.next_at(place, due);
    }

    /// An event needs nothing more under one of its keys, durably.
    pub(super) fn is_resolved(&mut self, position: GlobalPosition, origin: Origin) {
        match origin {
            Origin::Log => {
                if let Some((count, _)) = self.outstanding.get_mut(&position) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.outstanding.remove(&position);
                    }
                }
            }
            Origin::Late => {
                if let Some((count, _)) = self.late.get_mut(&position) {
                    *count = count.saturating_sub(1);
                    if *count == 0
                        && let Some((_, place)) = self.late.remove(&position)
                    {
                        self.late_is_done(&place, position);
                    }
                }
            }
            Origin::Beside => {}
        }
    }

    /// An event that was parked under its stream was taken by all whom it concerns, or is parked under their keys.
    fn late_is_done(&mut self, place: &Place, position: GlobalPosition) {
        if let Some(event) = self.ledger.find(place, position).cloned() {
            self.forget(event);
        }
        self.forget_dropped();
        let now = self.shared.core.clock.monotonic();
        self.next_at(place, Some(now));
    }

    /// Notes a failed try of a parked event; gives when its place is tried next.
    fn tried(&mut self, place: &Place, failed: Option<(ParkedEvent, Trouble)>) -> Option<Instant> {
        let now = self.shared.core.clock.monotonic();
        let Some((event, trouble)) = failed else {
            return Some(now);
        };
        // Somebody may have dropped it by now.
        let Some(event) = self.ledger.find(place, event.position).cloned() else {
            return Some(now);
        };
        let tries = event.tries.saturating_add(1);
        let (cause, due) = self.again(&trouble, tries);
        let last = self.shared.core.clock.now();
        let mut event = event.failed(trouble.reason(), tries, last);
        event.cause = cause;
        trouble.log(&self.shared.spec.name, &event.key, Some(&event));
        self.park(event);
        due
    }

    fn land_plan(
        &mut self,
        place: Place,
        event: ParkedEvent,
        planned: Result<Plan<C::Item>, Trouble>,
    ) {
        let position = event.position;
        let Plan { items, failed } = match planned {
            Ok(plan) => plan,
            Err(trouble) => {
                let due = self.tried(&place, Some((event, trouble)));
                return self.next_at(&place, due);
            }
        };
        // As long as it also concerns somebody who cannot be, it stays where it is.
        let origin = match failed {
            Some(_) => Origin::Beside,
            None => Origin::Late,
        };
        let mut count = 0;
        for Planned { key, item } in items {
            let task = Task {
                item,
                position,
                stream_key: Arc::clone(&event.stream_key),
                origin,
            };
            count += usize::from(self.admit(key, task));
        }
        if let Some((_, reason)) = failed {
            let due = self.tried(&place, Some((event, Trouble::Lasting(reason))));
            return self.next_at(&place, due);
        }
        if count == 0 {
            return self.late_is_done(&place, position);
        }
        self.late.insert(position, (count, place));
    }

    /// An instance was released from quarantine; `None`: some were.
    pub(super) fn release(&mut self, stream: Option<&StreamId>) {
        let now = self.shared.core.clock.monotonic();
        let Some(stream) = stream else {
            self.ledger.make_due(now, |_| true);
            self.woken.extend(self.ledger.being_tried());
            return self.woken.extend(self.lanes.keys().cloned());
        };
        let key: Arc<str> = stream.key().into();
        let is_idle = self.ledger.make_one_due(&Place::Key(Arc::clone(&key)), now);
        if !is_idle || self.lanes.contains_key(&key) {
            // Its try under way may have begun before the release, and what comes of that is of then.
            self.woken.insert(key);
        }
    }

    pub(super) fn heed(&mut self, order: Order) {
        let now = self.shared.core.clock.monotonic();
        let selection = order.selection;
        let count = match order.verb {
            Verb::Retry => {
                let wanted = |event: &ParkedEvent| event.has_failed() && selection.names(event);
                self.ledger.make_due(now, wanted)
            }
            Verb::Drop => {
                let chosen = self.ledger.selected(&selection);
                let count = chosen.len();
                self.drop_parked(chosen);
                count
            }
        };
        self.answers.push((order.answer, count));
    }

    /// Leaves parked events out for good. Those that may come again stay known until they cannot.
    fn drop_parked(&mut self, chosen: Vec<ParkedEvent>) {
        let mut keys = HashSet::new();
        for event in chosen {
            let (follower, position, key) = (&self.shared.spec.name, event.position, &*event.key);
            tracing::warn!(follower, %position, key, "a parked event is dropped");
            let place = Place::of(&event);
            keys.insert(Arc::clone(&event.key));
            self.ledger.remove(&place, position);
            let mut skipped = event;
            skipped.cause = SetAside::Skipped;
            self.facts.push(Fact::Set(skipped.clone()));
            self.dropped.insert((position, place), skipped);
        }
        self.forget_dropped();
        let now = self.shared.core.clock.monotonic();
        let waited = |event: &ParkedEvent| !event.has_failed() && keys.contains(&event.key);
        self.ledger.make_due(now, waited);
    }

    /// Forgets dropped events that cannot come again: the recorded cursor has passed them, and they are not parked under
    /// their streams, from where they would be planned once more.
    pub(super) fn forget_dropped(&mut self) {
        let gone = self.dropped.iter().filter(|((position, _), _)| {
            *position <= self.recorded && !self.ledger.holds_unread(*position)
        });
        let gone: Vec<_> = gone
            .map(|(place, event)| (place.clone(), event.clone()))
            .collect();
        for (place, event) in gone {
            self.dropped.remove(&place);
            self.facts.push(Fact::Removed(event));
        }
    }
}
