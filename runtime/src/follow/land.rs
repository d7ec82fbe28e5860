//! What becomes of what a follower had under way, and what it is asked to do with what is parked.

use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::StreamId;
use chronicler_store::AppendError;

use super::consumer::{Consumer, Planned, Trouble};
use super::handle::{Order, Verb};
use super::ledger::Place;
use super::parked::{ParkedEvent, SetAside, forget_parked, record_parked};
use super::run::Run;
use super::work::{Done, Origin, Task};
use crate::workers::WorkerError;

impl<C: Consumer> Run<C> {
    /// When a place is tried again after so many tries: what lasts only when somebody asks.
    pub(super) fn again(&self, trouble: &Trouble, tries: u32) -> (SetAside, Option<Instant>) {
        match trouble {
            Trouble::Lasting(_) => (SetAside::Parked, None),
            Trouble::Passing(_) => {
                let core = &self.shared.core;
                let wait = self.shared.spec.retry.wait(tries, &core.jitter);
                (
                    SetAside::Retrying,
                    Some(crate::clock::after(core.clock.as_ref(), wait)),
                )
            }
        }
    }

    /// Takes in what became of something that was under way.
    pub(super) async fn land(&mut self, done: Done<C::Item>) -> Result<(), WorkerError> {
        match done {
            Done::Taken {
                key,
                tasks,
                count,
                trouble,
            } => self.land_tasks(key, tasks, count, trouble).await,
            Done::TakenUp {
                place,
                taken,
                failed,
            } => self.land_parked(place, taken, failed).await,
            Done::Planned {
                place,
                event,
                planned,
            } => self.land_plan(place, event, planned).await,
        }
    }

    pub(super) async fn land_tasks(
        &mut self,
        key: Arc<str>,
        tasks: Vec<Task<C::Item>>,
        count: usize,
        trouble: Option<Trouble>,
    ) -> Result<(), WorkerError> {
        let place = Place::Key(Arc::clone(&key));
        let mut due = Some(self.shared.core.clock.monotonic());
        if let Some(trouble) = trouble {
            let lane = self.lanes.remove(&key);
            let waiting = lane.map(|lane| lane.waiting).unwrap_or_default();
            let left = tasks
                .get(count..)
                .unwrap_or_default()
                .iter()
                .chain(&waiting);
            let mut aside = Vec::new();
            for task in left {
                let cause = match aside.first() {
                    None => self.again(&trouble, 1).0,
                    Some(ParkedEvent { position, .. }) => SetAside::Held { behind: *position },
                };
                let event = self.parked_task(&key, task, cause);
                let at = event.at;
                aside.push(match aside.is_empty() {
                    true => event.failed(trouble.reason(), 1, at),
                    false => event,
                });
            }
            trouble.log(&self.shared.spec.name, &key, aside.first());
            due = self.again(&trouble, 1).1;
            self.park(aside).await?;
            for task in &waiting {
                self.resolve(task).await?;
            }
        } else if let Some(lane) = self.lanes.get_mut(&key) {
            lane.since = None;
            if lane.waiting.is_empty() {
                self.lanes.remove(&key);
            } else {
                self.ready.push_back(Arc::clone(&key));
            }
        }
        for task in &tasks {
            self.resolve(task).await?;
        }
        if !self.lanes.contains_key(&key) && !self.ledger.is_empty() {
            self.ledger.next_at(&place, due);
        }
        Ok(())
    }

    /// Notes that an event needs nothing more under one of its keys.
    pub(super) async fn resolve(&mut self, task: &Task<C::Item>) -> Result<(), WorkerError> {
        let position = task.position;
        match task.origin {
            Origin::Log => {
                if let Some((count, _)) = self.outstanding.get_mut(&position) {
                    *count -= 1;
                    if *count == 0 {
                        self.outstanding.remove(&position);
                    }
                }
            }
            Origin::Late => {
                if let Some((count, place)) = self.late.get_mut(&position) {
                    *count -= 1;
                    if *count == 0 {
                        let place = place.clone();
                        self.late.remove(&position);
                        self.late_is_done(&place).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The first event of a stream's place was taken by all whom it concerns, or is parked under their keys.
    pub(super) async fn late_is_done(&mut self, place: &Place) -> Result<(), WorkerError> {
        let first = self.ledger.head(place, 1);
        self.forget(&first).await?;
        let now = self.shared.core.clock.monotonic();
        self.ledger.next_at(place, Some(now));
        Ok(())
    }

    pub(super) async fn land_parked(
        &mut self,
        place: Place,
        taken: Vec<ParkedEvent>,
        trouble: Option<(ParkedEvent, Trouble)>,
    ) -> Result<(), WorkerError> {
        self.forget(&taken).await?;
        let due = self.tried(&place, trouble).await?;
        self.ledger.next_at(&place, due);
        Ok(())
    }

    /// Notes a failed try of a parked event, and when it is tried next.
    pub(super) async fn tried(
        &mut self,
        place: &Place,
        trouble: Option<(ParkedEvent, Trouble)>,
    ) -> Result<Option<Instant>, WorkerError> {
        let now = self.shared.core.clock.monotonic();
        let Some((event, trouble)) = trouble else {
            return Ok(Some(now));
        };
        // Somebody may have dropped it by now.
        if !self.ledger.holds(place, event.position) {
            return Ok(Some(now));
        }
        let tries = event.tries.saturating_add(1);
        let (cause, due) = self.again(&trouble, tries);
        let last = self.shared.core.clock.now();
        let mut event = event.failed(trouble.reason(), tries, last);
        event.cause = cause;
        trouble.log(&self.shared.spec.name, &event.key, Some(&event));
        self.park(vec![event]).await?;
        Ok(due)
    }

    pub(super) async fn land_plan(
        &mut self,
        place: Place,
        event: ParkedEvent,
        planned: Result<Vec<Planned<C::Item>>, Trouble>,
    ) -> Result<(), WorkerError> {
        if !self.ledger.holds(&place, event.position) {
            let now = self.shared.core.clock.monotonic();
            self.ledger.next_at(&place, Some(now));
            return Ok(());
        }
        let planned = match planned {
            Ok(planned) => planned,
            Err(trouble) => {
                let due = self.tried(&place, Some((event, trouble))).await?;
                self.ledger.next_at(&place, due);
                return Ok(());
            }
        };
        let (mut aside, mut count) = (Vec::new(), 0);
        for Planned { key, item } in planned {
            let task = Task {
                item,
                position: event.position,
                stream_key: Arc::clone(&event.stream_key),
                origin: Origin::Late,
            };
            count += usize::from(self.admit(key, task, &mut aside));
        }
        self.park(aside).await?;
        match count {
            0 => self.late_is_done(&place).await,
            _ => {
                self.late.insert(event.position, (count, place));
                Ok(())
            }
        }
    }

    /// An instance was released from quarantine; `None`: some were.
    pub(super) fn release(&mut self, stream: Option<StreamId>) {
        let now = self.shared.core.clock.monotonic();
        let key = stream.as_ref().map(|stream| stream.key());
        self.ledger
            .make_due(now, |event| key.is_none_or(|key| *event.key == *key));
    }

    pub(super) async fn heed(&mut self, order: Order) -> Result<(), WorkerError> {
        let now = self.shared.core.clock.monotonic();
        let selection = order.selection;
        let answer = match order.verb {
            Verb::Retry => Ok(self.ledger.make_due(now, |event| selection.names(event))),
            Verb::Drop => {
                let chosen = self.ledger.selected(&selection);
                let dropped = self.drop_parked(&chosen).await;
                dropped.map(|()| chosen.len())
            }
        };
        // Whoever asked may have gone; it is done all the same.
        drop(order.answer.send(answer));
        Ok(())
    }

    /// Leaves parked events out for good. Those that the recorded cursor has not passed stay known until it has.
    pub(super) async fn drop_parked(&mut self, chosen: &[ParkedEvent]) -> Result<(), AppendError> {
        let (passed, later): (Vec<_>, Vec<_>) = chosen
            .iter()
            .cloned()
            .partition(|event| event.position <= self.recorded);
        let later: Vec<_> = later
            .into_iter()
            .map(|event| ParkedEvent {
                cause: SetAside::Skipped,
                ..event
            })
            .collect();
        let core = &self.shared.core;
        let (store, clock, name) = (
            core.store.as_ref(),
            core.clock.as_ref(),
            &self.shared.spec.name,
        );
        record_parked(store, clock, name, &later).await?;
        forget_parked(store, clock, name, &passed).await?;
        let now = core.clock.monotonic();
        for event in chosen {
            tracing::warn!(follower = name, position = %event.position, key = &*event.key, "a parked event is dropped");
            let place = Place::of(event);
            self.ledger.remove(&place, std::iter::once(event.position));
        }
        self.dropped.extend(
            later
                .into_iter()
                .map(|event| ((event.position, Place::of(&event)), event)),
        );
        let chosen_of = |event: &ParkedEvent| chosen.iter().any(|other| other.key == event.key);
        self.ledger
            .make_due(now, |event| !event.has_failed() && chosen_of(event));
        Ok(())
    }
}
