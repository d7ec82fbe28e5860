//! One run of a follower: from the cursor to the stop.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use chronicler_store::{Append, AppendError, EventRef, FactKind, SideRecord};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future};
use tokio::sync::broadcast;

use super::consumer::{Consumer, Planned, Trouble};
use super::handle::{Order, Shared, Verb};
use super::ledger::{Ledger, Place};
use super::parked::{ParkedEvent, SetAside, forget_parked, parked_events, record_parked};
use super::work::{Done, Origin, Task, plan_again, take_in_order, take_up};
use crate::contain::contain;
use crate::dispatch::Ids;
use crate::subscription::{Batch, Subscription, SubscriptionOptions};
use crate::workers::{WorkerContext, WorkerError};

/// Positions after which the cursor is recorded under load.
const CURSOR_EVERY: u64 = 4_096;
/// The time after which it is recorded in any case.
const CURSOR_WITHIN: Duration = Duration::from_secs(1);
/// Parked events of one place that are taken up in one go.
const TAKEN_UP_MAX: usize = 64;
/// The part of all outstanding events that one slow key may hold when no more may be read; its further ones are parked.
const SLOW_KEY_SHARE: usize = 8;

/// One run of a follower.
pub(super) struct Run<C: Consumer> {
    shared: Arc<Shared>,
    consumer: Arc<C>,
    subscription: Subscription,
    ledger: Ledger,
    /// What is taken, and what waits for that, by key.
    lanes: HashMap<Arc<str>, VecDeque<Task<C::Item>>>,
    /// Keys that wait for a place among those that are taken.
    ready: VecDeque<Arc<str>>,
    under_way: FuturesUnordered<BoxFuture<'static, Done<C::Item>>>,
    /// Events that are neither taken nor parked: under how many keys, and when they happened.
    outstanding: BTreeMap<GlobalPosition, (usize, Timestamp)>,
    /// Events that were parked under their streams, and whose items are on their way: under how many keys.
    late: HashMap<GlobalPosition, (usize, Place)>,
    /// Parked events that somebody dropped, and that the recorded cursor has not passed.
    dropped: BTreeMap<(GlobalPosition, Place), ParkedEvent>,
    /// Up to where the log holds the cursor.
    recorded: GlobalPosition,
    recording: Option<BoxFuture<'static, Result<GlobalPosition, AppendError>>>,
    due_to_record: Option<BoxFuture<'static, ()>>,
    due_to_retry: Option<(Instant, BoxFuture<'static, ()>)>,
    released: broadcast::Receiver<chronicler_domain::StreamId>,
}

fn failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError(error.to_string())
}

impl<C: Consumer> Run<C> {
    pub(super) async fn new(shared: &Arc<Shared>, consumer: Arc<C>) -> Result<Self, WorkerError> {
        let (core, name) = (&shared.core, &shared.spec.name);
        let released = core.quarantine.releases();
        let key = Bytes::copy_from_slice(name.as_bytes());
        let fact = core.store.fact(FactKind::CURSOR, key).await;
        let fact = fact.map_err(failed)?;
        let recorded: GlobalPosition = match fact {
            Some(fact) => decode(CodecId::BINCODE, &fact.value).map_err(failed)?,
            None => GlobalPosition::ZERO,
        };
        let parked = parked_events(core.store.as_ref(), name).await;
        let (dropped, parked): (Vec<_>, Vec<_>) = parked
            .map_err(failed)?
            .into_iter()
            .partition(|event| event.cause == SetAside::Skipped);
        let following = SubscriptionOptions {
            after: recorded,
            filter: shared.spec.filter.clone(),
        };
        let dropped = dropped.into_iter();
        Ok(Self {
            consumer,
            subscription: Subscription::new(Arc::clone(&core.store), following, core.ended.clone()),
            ledger: Ledger::new(parked, core.clock.monotonic()),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            outstanding: BTreeMap::new(),
            late: HashMap::new(),
            dropped: dropped
                .map(|event| ((event.position, Place::of(&event)), event))
                .collect(),
            recorded,
            recording: None,
            due_to_record: None,
            due_to_retry: None,
            released,
            shared: Arc::clone(shared),
        })
    }

    /// Follows until the worker is to stop.
    pub(super) async fn follow(mut self, context: WorkerContext) -> Result<(), WorkerError> {
        let stopping = context.stopping();
        let shared = Arc::clone(&self.shared);
        let mut orders = shared.given.lock().await;
        loop {
            self.begin_what_can().await;
            self.tell();
            let has_room = self.has_room();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.land(done).await?;
                    // What else has ended costs no further look at everything.
                    while let Some(Some(done)) = self.under_way.next().now_or_never() {
                        self.land(done).await?;
                    }
                }
                recorded = until(&mut self.recording) => self.record_ended(recorded).await?,
                Some(order) = orders.recv() => self.heed(order).await?,
                released = self.released.recv() => self.release(released.ok()),
                () = until(&mut self.due_to_record) => {
                    self.due_to_record = None;
                    self.record();
                }
                () = until_due(&mut self.due_to_retry) => self.due_to_retry = None,
                batch = self.subscription.next(), if has_room => self.give(&batch.map_err(failed)?).await?,
            }
        }
        // What is under way ends where it is, and comes again.
        self.under_way.clear();
        if let Some(recording) = self.recording.take() {
            self.recorded = recording.await.map_err(failed)?;
        }
        if self.through() > self.recorded {
            self.record();
            let recorded = until(&mut self.recording).await;
            self.record_ended(recorded).await?;
        }
        Ok(())
    }

    /// Everything up to here was taken or is parked.
    fn through(&self) -> GlobalPosition {
        let first = self.outstanding.keys().next();
        first.map_or(self.subscription.through(), |first| first.previous())
    }

    fn has_room(&self) -> bool {
        let spec = &self.shared.spec;
        self.outstanding.len() < spec.outstanding_max.max(1) && self.ledger.len() < spec.parked_max
    }

    /// Says where it is.
    fn tell(&mut self) {
        let (through, is_busy) = (self.through(), self.ledger.is_busy());
        self.consumer.progressed(through, is_busy);
        {
            let mut status = self.shared.status.lock();
            status.through = through;
            status.outstanding = self.outstanding.len();
            status.oldest = self.outstanding.values().next().map(|(_, at)| *at);
            status.parked = self.ledger.len();
            status.is_retrying = is_busy;
            status.is_full = self.ledger.len() >= self.shared.spec.parked_max;
        }
        if through.get() >= self.recorded.get() + CURSOR_EVERY {
            self.record();
        } else if through > self.recorded && self.due_to_record.is_none() {
            self.due_to_record = Some(self.shared.core.clock.sleep(CURSOR_WITHIN));
        }
    }

    /// Begins what there are places for: events of keys, and what is parked and due.
    async fn begin_what_can(&mut self) {
        let lanes_max = self.shared.spec.lanes_max.max(1);
        while self.under_way.len() < lanes_max
            && let Some(key) = self.ready.pop_front()
        {
            if let Some(waiting) = self.lanes.get_mut(&key) {
                let tasks = std::mem::take(waiting).into();
                let taking = take_in_order(Arc::clone(&self.consumer), key, tasks);
                self.under_way.push(taking.boxed());
            }
        }
        let now = self.shared.core.clock.monotonic();
        while self.under_way.len() < lanes_max
            && let Some(place) = self.ledger.begin(now)
        {
            self.begin_parked(place);
        }
        let due = self
            .ledger
            .next_due()
            .filter(|_| self.under_way.len() < lanes_max);
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
                self.under_way
                    .push(take_up(store, consumer, place, events).boxed());
            }
            Place::Stream(_) => {
                let first = self.ledger.head(&place, 1).into_iter().next();
                if let Some(event) = first {
                    self.under_way
                        .push(plan_again(store, consumer, place, event).boxed());
                }
            }
        }
    }

    /// Takes a batch in: each event waits for its turn under each of its keys, or is parked.
    async fn give(&mut self, batch: &Batch) -> Result<(), WorkerError> {
        let mut aside = Vec::new();
        for commit in &batch.commits {
            for event in commit.events() {
                self.give_one(&event, &mut aside);
            }
        }
        self.park(aside).await?;
        if self.outstanding.len() >= self.shared.spec.outstanding_max {
            self.spill().await?;
        }
        Ok(())
    }

    fn give_one(&mut self, event: &EventRef<'_>, aside: &mut Vec<ParkedEvent>) {
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
    fn is_settled(&self, place: &Place, position: GlobalPosition) -> bool {
        let is_dropped = || self.dropped.contains_key(&(position, place.clone()));
        self.ledger.holds(place, position) || is_dropped()
    }

    fn enqueue(
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
    fn admit(&mut self, key: Arc<str>, task: Task<C::Item>, aside: &mut Vec<ParkedEvent>) -> bool {
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
            Some(waiting) => waiting.push_back(task),
            None => {
                self.lanes.insert(Arc::clone(&key), VecDeque::from([task]));
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

    fn parked_task(&self, key: &Arc<str>, task: &Task<C::Item>, cause: SetAside) -> ParkedEvent {
        let mut event = self.parked(task.position, &task.stream_key, key, cause);
        event.item = Some(contain(|| self.consumer.keep(&task.item)).unwrap_or_default());
        event
    }

    /// Records events as parked, durably, and then takes them into the ledger.
    async fn park(&mut self, events: Vec<ParkedEvent>) -> Result<(), WorkerError> {
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

    async fn forget(&mut self, events: &[ParkedEvent]) -> Result<(), WorkerError> {
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

    /// When a place is tried again after so many tries: what lasts only when somebody asks.
    fn again(&self, trouble: &Trouble, tries: u32) -> (SetAside, Option<Instant>) {
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
    async fn land(&mut self, done: Done<C::Item>) -> Result<(), WorkerError> {
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

    async fn land_tasks(
        &mut self,
        key: Arc<str>,
        tasks: Vec<Task<C::Item>>,
        count: usize,
        trouble: Option<Trouble>,
    ) -> Result<(), WorkerError> {
        let place = Place::Key(Arc::clone(&key));
        let mut due = Some(self.shared.core.clock.monotonic());
        if let Some(trouble) = trouble {
            let waiting = self.lanes.remove(&key).unwrap_or_default();
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
        } else if self.lanes.get(&key).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(&key);
        } else {
            self.ready.push_back(Arc::clone(&key));
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
    async fn resolve(&mut self, task: &Task<C::Item>) -> Result<(), WorkerError> {
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
    async fn late_is_done(&mut self, place: &Place) -> Result<(), WorkerError> {
        let first = self.ledger.head(place, 1);
        self.forget(&first).await?;
        let now = self.shared.core.clock.monotonic();
        self.ledger.next_at(place, Some(now));
        Ok(())
    }

    async fn land_parked(
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
    async fn tried(
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

    async fn land_plan(
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

    /// Parks what waits for a slow key, so that it does not keep everybody else from being read.
    async fn spill(&mut self) -> Result<(), WorkerError> {
        let share = (self.shared.spec.outstanding_max / SLOW_KEY_SHARE).max(1);
        let slow = self
            .lanes
            .iter()
            .filter(|(_, waiting)| waiting.len() >= share);
        let mut slow: Vec<_> = slow.map(|(key, _)| Arc::clone(key)).collect();
        slow.retain(|key| !self.ready.contains(key));
        slow.sort();
        for key in slow {
            let waiting = self
                .lanes
                .get_mut(&key)
                .map(std::mem::take)
                .unwrap_or_default();
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

    /// An instance was released from quarantine; `None`: some were.
    fn release(&mut self, stream: Option<chronicler_domain::StreamId>) {
        let now = self.shared.core.clock.monotonic();
        let key = stream.as_ref().map(|stream| stream.key());
        self.ledger
            .make_due(now, |event| key.is_none_or(|key| *event.key == *key));
    }

    async fn heed(&mut self, order: Order) -> Result<(), WorkerError> {
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
    async fn drop_parked(&mut self, chosen: &[ParkedEvent]) -> Result<(), AppendError> {
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

    /// Hands the cursor to the log.
    fn record(&mut self) {
        let through = self.through();
        if self.recording.is_some() || through <= self.recorded {
            return;
        }
        let core = &self.shared.core;
        let record = SideRecord::Fact {
            kind: FactKind::CURSOR,
            key: Bytes::copy_from_slice(self.shared.spec.name.as_bytes()),
            value: encode(PayloadCodec::Bincode, &through).ok(),
        };
        let now = core.clock.now();
        let append = Append::new(Ids::next(now), now).record(record);
        let store = Arc::clone(&core.store);
        let recording = async move { store.append(append).await.map(|_| through) };
        self.recording = Some(recording.boxed());
    }

    async fn record_ended(
        &mut self,
        recorded: Result<GlobalPosition, AppendError>,
    ) -> Result<(), WorkerError> {
        self.recording = None;
        self.recorded = recorded.map_err(failed)?;
        let later = self
            .dropped
            .iter()
            .filter(|((position, _), _)| *position <= self.recorded);
        let passed: Vec<_> = later.map(|(_, event)| event.clone()).collect();
        self.forget(&passed).await?;
        let recorded = self.recorded;
        self.dropped.retain(|(position, _), _| *position > recorded);
        Ok(())
    }
}

/// Waits for what may be there; for ever if it is not.
async fn until<T>(waiting: &mut Option<BoxFuture<'static, T>>) -> T {
    match waiting {
        Some(waiting) => waiting.await,
        None => future::pending().await,
    }
}

async fn until_due(waiting: &mut Option<(Instant, BoxFuture<'static, ()>)>) {
    match waiting {
        Some((_, waiting)) => waiting.await,
        None => future::pending().await,
    }
}
