//! What a follower reads: each event waits for its turn under each of its keys, or is parked.

use std::collections::VecDeque;
use std::sync::Arc;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::EventRef;

use super::consumer::{Consumer, Planned};
use super::ledger::Place;
use super::parked::{ParkedEvent, SetAside, forget_parked, record_parked};
use super::run::{Lane, Run, SLOW_AFTER, failed};
use super::work::{Origin, Task};
use crate::contain::contain;
use crate::subscription::Batch;
use crate::workers::WorkerError;

impl<C: Consumer> Run<C> {
    /// Takes a batch in: each event waits for its turn under each of its keys, or is parked.
    pub(super) async fn give(&mut self, batch: &Batch) -> Result<(), WorkerError> {
        let mut aside = Vec::new();
        for commit in &batch.commits {
            for event in commit.events() {
                self.give_one(&event, &mut aside);
            }
        }
        self.park(aside).await
    }

    pub(super) fn give_one(&mut self, event: &EventRef<'_>, aside: &mut Vec<ParkedEvent>) {
        let position = event.position();
        let stream_key = event.part().stream_key();
        if !(self.ledger.is_empty() && self.dropped.is_empty()) {
            let place = Place::Stream(stream_key.into());
            if self.is_settled(&place, position) {
                return;
            }
            if let Some(behind) = self.ledger.first(&place) {
                let cause = SetAside::Held { behind };
                return aside.push(self.parked(position, stream_key, stream_key, cause));
            }
        }
        // Those that were parked by this very batch are not in the ledger yet.
        let held = aside
            .iter()
            .find(|first| first.item.is_none() && &*first.stream_key == stream_key);
        if let Some(first) = held {
            let cause = SetAside::Held {
                behind: first.position,
            };
            return aside.push(self.parked(position, stream_key, stream_key, cause));
        }
        let planned = contain(|| self.consumer.plan(event, false));
        let planned = planned.unwrap_or_else(|said| Err(format!("it panicked: {said}")));
        match planned {
            Ok(planned) => self.enqueue(position, stream_key, event.timestamp(), planned, aside),
            Err(reason) => {
                tracing::error!(follower = self.shared.spec.name, %position, reason, "an event is parked");
                let parked = self.parked(position, stream_key, stream_key, SetAside::Parked);
                let at = parked.at;
                aside.push(parked.failed(&reason, 1, at));
            }
        }
    }

    /// Whether an event is parked at a place already, or was dropped from it.
    pub(super) fn is_settled(&self, place: &Place, position: GlobalPosition) -> bool {
        let is_dropped = || self.dropped.contains_key(&(position, place.clone()));
        self.ledger.holds(place, position) || is_dropped()
    }

    pub(super) fn enqueue(
        &mut self,
        position: GlobalPosition,
        stream_key: &str,
        at: Timestamp,
        planned: Vec<Planned<C::Item>>,
        aside: &mut Vec<ParkedEvent>,
    ) {
        if planned.is_empty() {
            return;
        }
        let stream_key: Arc<str> = stream_key.into();
        let mut count = 0;
        for Planned { key, item } in planned {
            let task = Task {
                item,
                position,
                stream_key: Arc::clone(&stream_key),
                origin: Origin::Log,
            };
            count += usize::from(self.admit(key, task, aside));
        }
        if count > 0 {
            self.outstanding.insert(position, (count, at));
        }
    }

    /// Has a task wait for its turn; `false` if it is parked instead, or was dealt with before.
    pub(super) fn admit(
        &mut self,
        key: Arc<str>,
        task: Task<C::Item>,
        aside: &mut Vec<ParkedEvent>,
    ) -> bool {
        let place = Place::Key(Arc::clone(&key));
        if !(self.ledger.is_empty() && self.dropped.is_empty()) {
            if self.is_settled(&place, task.position) {
                return false;
            }
            if let Some(behind) = self.ledger.first(&place) {
                let cause = SetAside::Held { behind };
                aside.push(self.parked_task(&key, &task, cause));
                return false;
            }
        }
        match self.lanes.get_mut(&key) {
            Some(lane) => lane.waiting.push_back(task),
            None => {
                let lane = Lane {
                    waiting: VecDeque::from([task]),
                    since: None,
                };
                self.lanes.insert(Arc::clone(&key), lane);
                self.ready.push_back(key);
            }
        }
        true
    }

    pub(super) fn parked(
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

    /// Records events as parked, durably, and then takes them into the ledger.
    pub(super) async fn park(&mut self, events: Vec<ParkedEvent>) -> Result<(), WorkerError> {
        if events.is_empty() {
            return Ok(());
        }
        let core = &self.shared.core;
        let (store, clock) = (core.store.as_ref(), core.clock.as_ref());
        let recorded = record_parked(store, clock, &self.shared.spec.name, &events).await;
        recorded.map_err(failed)?;
        for event in events {
            self.ledger.insert(event);
        }
        Ok(())
    }

    pub(super) async fn forget(&mut self, events: &[ParkedEvent]) -> Result<(), WorkerError> {
        let core = &self.shared.core;
        let (store, clock) = (core.store.as_ref(), core.clock.as_ref());
        let forgotten = forget_parked(store, clock, &self.shared.spec.name, events).await;
        forgotten.map_err(failed)?;
        for event in events {
            let place = Place::of(event);
            self.ledger.remove(&place, std::iter::once(event.position));
        }
        Ok(())
    }

    /// Parks what waits for a slow key, so that it does not keep everybody else from being read.
    pub(super) async fn spill(&mut self) -> Result<(), WorkerError> {
        let now = self.shared.core.clock.monotonic();
        let is_slow = |lane: &Lane<C::Item>| {
            let since = lane
                .since
                .is_some_and(|since| now.saturating_duration_since(since) >= SLOW_AFTER);
            since && !lane.waiting.is_empty()
        };
        let slow = self.lanes.iter().filter(|(_, lane)| is_slow(lane));
        let mut slow: Vec<_> = slow.map(|(key, _)| Arc::clone(key)).collect();
        slow.sort();
        for key in slow {
            let lane = self.lanes.get_mut(&key);
            let waiting = lane.map(|lane| std::mem::take(&mut lane.waiting));
            let waiting = waiting.unwrap_or_default();
            let behind = self.through().next();
            let held = |task| self.parked_task(&key, task, SetAside::Held { behind });
            let aside = waiting.iter().map(held).collect();
            self.park(aside).await?;
            for task in &waiting {
                self.resolve(task).await?;
            }
        }
        Ok(())
    }
}
