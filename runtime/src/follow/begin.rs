//! Places of a follower: what begins, and who has none any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::consumer::Consumer;
use super::ledger::Place;
use super::run::{Run, SLOW_AFTER_FULL};
use super::work::{Done, plan_again, take_in_order, take_up, until_slow};

/// Parked events of one place that are taken up in one go.
const TAKEN_UP_MAX: usize = 64;
/// Events of one key that are taken in one go.
const TAKEN_MAX: usize = 64;
/// Keys that have been taking for so long hold the cursor, and are parked while they go on. While no more may be read it is
/// [`SLOW_AFTER_FULL`].
const SLOW_AFTER: Duration = Duration::from_secs(60);
/// A try of what is parked goes on without a place when it has taken so long.
const TRIED_WITH_A_PLACE: Duration = Duration::from_secs(1);

impl<C: Consumer> Run<C> {
    /// How long a key may take before it counts as slow.
    pub(super) fn slow_after(&self) -> Duration {
        let is_waited_for = !self.ready.is_empty() && !self.has_a_place();
        match self.has_room() && !is_waited_for {
            true => SLOW_AFTER,
            false => SLOW_AFTER_FULL,
        }
    }

    /// Whether one more may be taken or tried. What only goes on although it is parked has no place: as many keys that hang
    /// as there are places would keep all others from theirs.
    fn has_a_place(&self) -> bool {
        self.taking + self.trying < self.shared.spec.lanes_max.max(1)
    }

    /// Whether one more that is parked may be tried: half of the places are for what was not tried yet.
    fn has_a_place_to_try(&self) -> bool {
        let most = (self.shared.spec.lanes_max / 2).max(1);
        self.has_a_place() && self.trying < most
    }

    /// Begins what there are places for: events of keys, and what is parked and due.
    pub(super) fn begin_what_can(&mut self) {
        while self.has_a_place()
            && let Some(key) = self.ready.pop_front()
        {
            if let Some(lane) = self.lanes.get_mut(&key) {
                let count = lane.waiting.len().min(TAKEN_MAX);
                let tasks: Arc<Vec<_>> = Arc::new(lane.waiting.drain(..count).collect());
                lane.taken = Arc::clone(&tasks);
                lane.since = Some(self.shared.core.clock.monotonic());
                let taking = take_in_order(Arc::clone(&self.consumer), key, tasks);
                self.under_way.push(taking.boxed());
                self.taking += 1;
            }
        }
        let now = self.shared.core.clock.monotonic();
        if self
            .reads_first
            .is_some_and(|last| last <= self.subscription.through())
        {
            self.reads_first = None;
            // The code may have been mended since they were parked. Of those of an older release it is not known who has taken
            // them: they wait for a person.
            self.ledger
                .make_due(now, |event| !event.stream_key.is_empty());
        }
        if self.reads_first.is_some() {
            return;
        }
        while self.has_a_place_to_try()
            && let Some(place) = self.ledger.begin(now)
        {
            self.begin_parked(place);
        }
        let due = self.ledger.next_due().filter(|_| self.has_a_place_to_try());
        if self.due_to_retry.as_ref().map(|(at, _)| *at) != due {
            let sleep = |due: Instant| {
                self.shared
                    .core
                    .clock
                    .sleep(due.saturating_duration_since(now))
            };
            self.due_to_retry = due.map(|due| (due, sleep(due)));
        }
    }

    fn begin_parked(&mut self, place: Place) {
        let store = Arc::clone(&self.shared.core.store);
        let consumer = Arc::clone(&self.consumer);
        match &place {
            // Its earlier events are still being taken: what waits for them is tried when they are.
            Place::Key(key) if self.lanes.contains_key(key) => self.ledger.next_at(&place, None),
            Place::Key(key) if !self.consumer.can_take(key) => self.ledger.next_at(&place, None),
            Place::Key(_) => {
                let events = self.ledger.head(&place, TAKEN_UP_MAX);
                self.try_parked(
                    &place,
                    take_up(store, consumer, place.clone(), events).boxed(),
                );
            }
            Place::Stream(_) => {
                let first = self.ledger.head(&place, 1).into_iter().next();
                if let Some(event) = first {
                    let planning = plan_again(store, consumer, place.clone(), event);
                    self.try_parked(&place, planning.boxed());
                }
            }
        }
    }

    fn try_parked(&mut self, place: &Place, trying: BoxFuture<'static, Done<C::Item>>) {
        let sleep = self.shared.core.clock.sleep(TRIED_WITH_A_PLACE);
        self.under_way
            .push(until_slow(place.clone(), trying, sleep).boxed());
        self.trying += 1;
    }
}
