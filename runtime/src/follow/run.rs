//! One run of a follower: from the cursor to the stop.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, StreamId, Timestamp};
use chronicler_store::codec::{CodecId, PayloadCodec, decode, encode};
use chronicler_store::{Append, AppendError, FactKind, SideRecord};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::consumer::Consumer;
use super::ledger::{Ledger, Place};
use super::parked::{Fact, ParkedEvent, SetAside, append_with_patience, parked_events, write};
use super::shared::{Order, Shared};
use super::work::{Done, Origin, Task};
use crate::ids::Ids;
use crate::subscription::{Subscription, SubscriptionOptions};
use crate::workers::{WorkerContext, WorkerError};

/// Positions after which the cursor is recorded under load.
const CURSOR_EVERY: u64 = 4_096;
/// The time after which it is recorded in any case.
const CURSOR_WITHIN: Duration = Duration::from_secs(1);
/// Keys that have been taking for so long, while no more may be read or others wait for their places, hold the others, and
/// are parked while they go on.
pub(super) const SLOW_AFTER_FULL: Duration = Duration::from_secs(5);

/// The events of one key that are on their way.
pub(super) struct Lane<I> {
    pub(super) waiting: VecDeque<Task<I>>,
    /// What is being taken, and since when; `None`: it waits for a place.
    pub(super) taken: Arc<Vec<Task<I>>>,
    pub(super) since: Option<Instant>,
    /// Whether it took so long that all of it was parked.
    pub(super) is_parked: bool,
}

impl<I> Lane<I> {
    pub(super) fn of(waiting: VecDeque<Task<I>>) -> Self {
        Self {
            waiting,
            taken: Arc::default(),
            since: None,
            is_parked: false,
        }
    }
}

/// Facts that became durable, and what waited for that.
pub(super) struct Written {
    resolved: Vec<(GlobalPosition, Origin)>,
    answers: Vec<Answer>,
}

/// Who asked for something, and what is answered when it is durable.
type Answer = (oneshot::Sender<Result<usize, AppendError>>, usize);

/// One run of a follower.
pub(super) struct Run<C: Consumer> {
    pub(super) shared: Arc<Shared>,
    pub(super) consumer: Arc<C>,
    pub(super) subscription: Subscription,
    pub(super) ledger: Ledger,
    pub(super) lanes: HashMap<Arc<str>, Lane<C::Item>>,
    /// Keys that wait for a place among those that are taken.
    pub(super) ready: VecDeque<Arc<str>>,
    pub(super) under_way: FuturesUnordered<BoxFuture<'static, Done<C::Item>>>,
    /// Keys among them that have a place: those that are not parked.
    pub(super) taking: usize,
    /// Tries of what is parked among them that have a place.
    pub(super) trying: usize,
    /// Tries that took so long that they gave theirs back.
    pub(super) slow: HashSet<Place>,
    /// Events that are neither taken nor parked: under how many keys, and when they happened.
    pub(super) outstanding: BTreeMap<GlobalPosition, (usize, Timestamp)>,
    /// Events that were parked under their streams, and whose items are on their way: under how many keys.
    pub(super) late: HashMap<GlobalPosition, (usize, Place)>,
    /// Parked events that somebody dropped, and that the recorded cursor has not passed.
    pub(super) dropped: BTreeMap<(GlobalPosition, Place), ParkedEvent>,
    /// Up to where the log holds the cursor.
    pub(super) recorded: GlobalPosition,
    /// Until everything up to here was read, nothing parked is tried: events between the cursor and the last that was parked
    /// may come before those of their key that are parked.
    pub(super) reads_first: Option<GlobalPosition>,
    /// Keys whose instances were released while they were being tried.
    pub(super) woken: HashSet<Arc<str>>,
    /// What the log is to hear of, and what waits for that.
    pub(super) facts: Vec<Fact>,
    pub(super) resolved: Vec<(GlobalPosition, Origin)>,
    pub(super) answers: Vec<Answer>,
    pub(super) writing: Option<BoxFuture<'static, Result<Written, AppendError>>>,
    pub(super) recording: Option<BoxFuture<'static, Result<GlobalPosition, AppendError>>>,
    pub(super) due_to_record: Option<BoxFuture<'static, ()>>,
    pub(super) due_to_spill: Option<BoxFuture<'static, ()>>,
    pub(super) due_to_retry: Option<(Instant, BoxFuture<'static, ()>)>,
    pub(super) released: broadcast::Receiver<StreamId>,
}

pub(super) fn failed(error: impl std::fmt::Display) -> WorkerError {
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
        let last = parked.iter().map(|event| event.position).max();
        Ok(Self {
            consumer,
            subscription: Subscription::new(Arc::clone(&core.store), following, core.ended.clone()),
            ledger: Ledger::new(parked),
            reads_first: Some(last.unwrap_or_default()),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            taking: 0,
            trying: 0,
            slow: HashSet::new(),
            outstanding: BTreeMap::new(),
            late: HashMap::new(),
            dropped: dropped
                .map(|event| ((event.position, Place::of(&event)), event))
                .collect(),
            recorded,
            woken: HashSet::new(),
            facts: Vec::new(),
            resolved: Vec::new(),
            answers: Vec::new(),
            writing: None,
            recording: None,
            due_to_record: None,
            due_to_spill: None,
            due_to_retry: None,
            released,
            shared: Arc::clone(shared),
        })
    }

    /// Follows until the worker is to stop.
    pub(super) async fn follow(
        mut self,
        orders: &mut mpsc::Receiver<Order>,
        context: WorkerContext,
    ) -> Result<(), WorkerError> {
        let stopping = context.stopping();
        loop {
            // What is resolved at once may be more to begin and to write.
            while self.write() {}
            self.begin_what_can();
            self.publish();
            let has_room = self.has_room();
            if self.due_to_spill.is_none() && !self.lanes.is_empty() {
                self.due_to_spill = Some(self.shared.core.clock.sleep(SLOW_AFTER_FULL));
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.land(done);
                    // What else has ended costs no further look at everything, and shares a commit.
                    while let Some(Some(done)) = self.under_way.next().now_or_never() {
                        self.land(done);
                    }
                }
                written = until(&mut self.writing) => self.written(written.map_err(failed)?),
                recorded = until(&mut self.recording) => self.record_ended(recorded)?,
                Some(order) = orders.recv() => self.heed(order),
                released = self.released.recv() => self.release(released.ok().as_ref()),
                () = until(&mut self.due_to_record) => {
                    self.due_to_record = None;
                    self.record();
                }
                () = until(&mut self.due_to_spill) => {
                    self.due_to_spill = None;
                    self.spill();
                }
                () = until_due(&mut self.due_to_retry) => self.due_to_retry = None,
                batch = self.subscription.next(), if has_room => self.give(&batch.map_err(failed)?),
            }
        }
        // What is under way ends where it is, and comes again.
        self.under_way.clear();
        while self.write() || self.writing.is_some() {
            if self.writing.is_some() {
                let written = until(&mut self.writing).await;
                self.written(written.map_err(failed)?);
            }
        }
        if let Some(recording) = self.recording.take() {
            self.recorded = recording.await.map_err(failed)?;
        }
        if self.through() > self.recorded {
            self.record();
            let recorded = until(&mut self.recording).await;
            self.record_ended(recorded)?;
        }
        Ok(())
    }

    /// Hands the log what it is to hear of, unless it is still busy with the last of that. `true` if it need not be waited
    /// for.
    fn write(&mut self) -> bool {
        let is_idle = self.facts.is_empty() && self.resolved.is_empty() && self.answers.is_empty();
        if is_idle || self.writing.is_some() {
            return false;
        }
        let facts = std::mem::take(&mut self.facts);
        let written = Written {
            resolved: std::mem::take(&mut self.resolved),
            answers: std::mem::take(&mut self.answers),
        };
        if facts.is_empty() {
            self.written(written);
            return true;
        }
        let shared = Arc::clone(&self.shared);
        let writing = async move {
            let core = &shared.core;
            let (store, clock) = (core.store.as_ref(), core.clock.as_ref());
            write(store, clock, &shared.spec.name, &facts).await?;
            Ok(written)
        };
        self.writing = Some(writing.boxed());
        false
    }

    /// Facts are durable: what waited for that goes on.
    fn written(&mut self, written: Written) {
        self.writing = None;
        for (position, origin) in written.resolved {
            self.is_resolved(position, origin);
        }
        // Whoever asked looks where it is after the answer.
        self.publish();
        for (answer, count) in written.answers {
            // Whoever asked may have gone; it is done all the same.
            drop(answer.send(Ok(count)));
        }
    }

    /// Everything up to here was taken or is parked.
    pub(super) fn through(&self) -> GlobalPosition {
        let first = self.outstanding.keys().next();
        first.map_or(self.subscription.through(), |first| first.previous())
    }

    pub(super) fn has_room(&self) -> bool {
        let spec = &self.shared.spec;
        let may_park = self.reads_first.is_some() || self.ledger.len() < spec.parked_max;
        self.outstanding.len() < spec.outstanding_max.max(1) && may_park
    }

    /// Says where it is.
    fn publish(&mut self) {
        let (through, is_busy) = (self.through(), self.ledger.is_busy());
        let is_busy = is_busy || self.reads_first.is_some();
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
        let (store, clock) = (Arc::clone(&core.store), Arc::clone(&core.clock));
        let recording = async move {
            let recorded = append_with_patience(store.as_ref(), clock.as_ref(), append).await;
            recorded.map(|()| through)
        };
        self.recording = Some(recording.boxed());
    }

    fn record_ended(
        &mut self,
        recorded: Result<GlobalPosition, AppendError>,
    ) -> Result<(), WorkerError> {
        self.recording = None;
        self.recorded = recorded.map_err(failed)?;
        self.forget_dropped();
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
