//! What a follower reads: each event waits for its turn under each of its keys, or is parked.

use std::collections::VecDeque;
use std::sync::Arc;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::EventRef;

use super::consumer::{Consumer, Plan, Planned, Trouble};
use super::ledger::Place;
use super::parked::{Fact, ParkedEvent, SetAside};
use super::run::{Lane, Run};
use super::work::{Origin, Task};
use crate::contain::contain;
use crate::subscription::Batch;

impl<C: Consumer> Run<C> {
    /// Takes a batch in.
    pub(super) fn give(&mut self, batch: &Batch) {
        for commit in &batch.commits {
            for event in commit.events() {
                if self.shared.spec.filter.wants(&event) {
                    self.give_one(&event);
                }
            }
        }
    }

    fn give_one(&mut self, event: &EventRef<'_>) {
        let (position, at) = (event.position(), event.timestamp());
        let stream_key = event.part().stream_key();
        if self.remembers_anything() {
            let place = Place::Stream(stream_key.into());
            let older = Place::Stream(format!("at {position}").into());
            if self.is_settled(&place, position) || self.is_settled(&older, position) {
                return;
            }
            if let Some(behind) = self.ledger.first(&place) {
                let cause = SetAside::Held { behind };
                let held = self.parked(position, stream_key, stream_key, cause);
                return self.park_unread(held, at);
            }
        }
        let planned = contain(|| self.consumer.plan(event, false));
        let planned = planned.unwrap_or_else(|said| Err(format!("it panicked: {said}")));
        match planned {
            Ok(Plan { items, failed }) => {
                self.enqueue(position, stream_key, at, items);
                if let Some((key, reason)) = failed
                    && !self.is_settled(&Place::Stream(Arc::clone(&key)), position)
                {
                    self.park_failed(position, stream_key, &key, reason, at);
                }
            }
            Err(reason) => self.park_failed(position, stream_key, stream_key, reason, at),
        }
    }

    /// Whether there is anything parked or dropped that an event may have to do with.
    fn remembers_anything(&self) -> bool {
        !(self.ledger.is_empty() && self.dropped.is_empty())
    }

    /// Whether an event is parked at a place already, or was dropped from it.
    fn is_settled(&self, place: &Place, position: GlobalPosition) -> bool {
        let is_dropped = || self.dropped.contains_key(&(position, place.clone()));
        self.ledger.find(place, position).is_some() || is_dropped()
    }

    fn park_failed(
        &mut self,
        position: GlobalPosition,
        stream_key: &str,
        key: &str,
        reason: String,
        at: Timestamp,
    ) {
        let parked = self.parked(position, stream_key, key, SetAside::Parked);
        let now = parked.at;
        let parked = parked.failed(&reason, 1, now);
        Trouble::Lasting(reason).log(&self.shared.spec.name, key, Some(&parked));
        self.park_unread(parked, at);
    }

    /// Parks an event that nothing waits for yet: it is outstanding until that is durable.
    fn park_unread(&mut self, event: ParkedEvent, at: Timestamp) {
        let position = event.position;
        self.outstanding.entry(position).or_insert((0, at)).0 += 1;
        self.resolved.push((position, Origin::Log));
        self.park(event);
    }

    fn enqueue(
        &mut self,
        position: GlobalPosition,
        stream_key: &str,
        at: Timestamp,
        items: Vec<Planned<C::Item>>,
    ) {
        if items.is_empty() {
            return;
        }
        let stream_key: Arc<str> = stream_key.into();
        for Planned { key, item } in items {
            let task = Task {
                item,
                position,
                stream_key: Arc::clone(&stream_key),
                origin: Origin::Log,
            };
            if self.admit(key, task) {
                self.outstanding.entry(position).or_insert((0, at)).0 += 1;
            }
        }
    }

    /// Has a task wait for its turn, or parks it: it is resolved at some time. `false` if it was dealt with before.
    pub(super) fn admit(&mut self, key: Arc<str>, task: Task<C::Item>) -> bool {
        let place = Place::Key(Arc::clone(&key));
        if self.remembers_anything() {
            if self.is_settled(&place, task.position) {
                return false;
            }
            if let Some(behind) = self.ledger.first(&place) {
                let held = self.parked_task(&key, &task, SetAside::Held { behind });
                self.park(held);
                self.resolved.push((task.position, task.origin));
                return true;
            }
        }
        match self.lanes.get_mut(&key) {
            Some(lane) => lane.waiting.push_back(task),
            None => {
                let lane = Lane::of(VecDeque::from([task]));
                self.lanes.insert(Arc::clone(&key), lane);
                self.ready.push_back(key);
            }
        }
        true
    }

    fn parked(
        &self,
        position: GlobalPosition,
        stream: &str,
        key: &str,
        cause: SetAside,
    ) -> ParkedEvent {
        let at = self.shared.core.clock.now();
        ParkedEvent::new(position, stream.into(), key.into(), cause, at)
    }

    pub(super) fn parked_task(
        &self,
        key: &Arc<str>,
        task: &Task<C::Item>,
        cause: SetAside,
    ) -> ParkedEvent {
        let mut event = self.parked(task.position, &task.stream_key, key, cause);
        event.item = Some(contain(|| self.consumer.keep(&task.item)).unwrap_or_default());
        event
    }

    /// Takes an event into the ledger, or what is now known of it. The log hears of it with the next facts.
    pub(super) fn park(&mut self, event: ParkedEvent) {
        self.facts.push(Fact::Set(event.clone()));
        self.ledger.insert(event);
    }

    /// Takes an event out of the ledger.
    pub(super) fn forget(&mut self, event: ParkedEvent) {
        self.ledger.remove(&Place::of(&event), event.position);
        self.facts.push(Fact::Removed(event));
    }

    /// Parks what slow keys have under way and what waits for them, so that they hold neither the cursor nor anybody else.
    /// What is under way goes on.
    pub(super) fn spill(&mut self) {
        let now = self.shared.core.clock.monotonic();
        let limit = self.slow_after();
        let is_slow = |lane: &Lane<C::Item>| {
            let is_long = |since| now.saturating_duration_since(since) >= limit;
            !lane.is_parked && lane.since.is_some_and(is_long)
        };
        let slow = self.lanes.iter().filter(|(_, lane)| is_slow(lane));
        let mut slow: Vec<_> = slow.map(|(key, _)| Arc::clone(key)).collect();
        slow.sort();
        for key in slow {
            let Some(lane) = self.lanes.get_mut(&key) else {
                continue;
            };
            lane.is_parked = true;
            self.taking -= 1;
            let (taken, waiting) = (Arc::clone(&lane.taken), std::mem::take(&mut lane.waiting));
            let mut first = None;
            for task in taken.iter().chain(&waiting) {
                let parked = match first {
                    Some(behind) => self.parked_task(&key, task, SetAside::Held { behind }),
                    None => {
                        let parked = self.parked_task(&key, task, SetAside::Retrying);
                        let at = parked.at;
                        parked.failed("it takes long, and is still being taken", 1, at)
                    }
                };
                first = first.or(Some(task.position));
                self.park(parked);
                self.resolved.push((task.position, task.origin));
            }
        }
    }
}
