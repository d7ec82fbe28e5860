//! Following the log under a name: what was acknowledged is remembered, and what was not comes again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::codec::{CodecError, CodecId, PayloadCodec, decode, encode};
use chronicler_store::{
    Append, AppendError, AppendResult, EventRef, FactEntry, FactKind, FactQuery, Filter, ReadError,
    RecordedCommit, SideRecord, Store,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::dispatch::{Core, Ids};
use crate::subscription::{Subscription, SubscriptionOptions};

/// How the key of a subscription's fact begins.
const PREFIX: &[u8] = b"subscription\0";
/// The longest name, in bytes.
const NAME_MAX: usize = 200;
/// Events passed over by a filter after which the cursor is recorded even under load.
const PASSED_OVER_MAX: u64 = 4_096;
/// The shortest time from one try to record a cursor that nobody waits for to the next.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// Where a durable subscription begins when its name is new. Later it goes on behind what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// With the first event.
    #[default]
    First,
    /// With what happens from now on.
    Now,
    /// Behind this position.
    After(GlobalPosition),
}

/// When what was acknowledged is recorded in the log. What was not recorded comes again after a crash.
///
/// It is also recorded when the subscription is [stopped](DurableSubscription::stop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// After so many acknowledged events; 0 and 1 are each. Default 1: an acknowledgement that was answered is
    /// durable.
    pub events: u64,
    /// When something was done for so long without being recorded, and
    /// [`next`](DurableSubscription::next) is being waited for. Default 1 s.
    pub idle: Duration,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self {
            events: 1,
            idle: Duration::from_secs(1),
        }
    }
}

/// What a durable subscription follows, and how.
#[derive(Clone, Debug)]
pub struct DurableOptions {
    /// Where it begins when its name is new.
    pub begin: Begin,
    /// Which events. What an earlier filter under the same name passed over does not come back with another one.
    pub filter: Filter,
    /// How many events may be given and not acknowledged; at least 1. Default 256.
    pub unacknowledged_max: usize,
    /// When what was acknowledged is recorded.
    pub checkpoint: CheckpointPolicy,
}

impl Default for DurableOptions {
    fn default() -> Self {
        Self {
            begin: Begin::First,
            filter: Filter::default(),
            unacknowledged_max: 256,
            checkpoint: CheckpointPolicy::default(),
        }
    }
}

/// What a subscription is told when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Events after this position are given.
    pub after: GlobalPosition,
    /// The durable end of the log.
    pub head: GlobalPosition,
    /// Whether it goes on from an earlier time under the same name.
    pub resumed: bool,
}

/// What is wrong with a durable subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The name is empty or too long.
    #[error("a subscription's name has 1 to {NAME_MAX} bytes, not {0}")]
    Name(usize),
    /// Somebody follows under this name already.
    #[error("the subscription {0:?} is in use: it has one consumer at a time")]
    InUse(String),
    /// The subscription was stopped or dropped; what is acknowledged now would be in the way of the next one.
    #[error("the subscription has ended")]
    Ended,
    /// There is no such subscription.
    #[error("there is no subscription {0:?}")]
    Unknown(String),
    /// A position that the log does not reach was acknowledged, or is to be begun behind.
    #[error("position {position} is beyond the end of the log, {head}")]
    BeyondHead {
        /// The position.
        position: GlobalPosition,
        /// The durable end of the log.
        head: GlobalPosition,
    },
    /// What the log remembers of it is not a position.
    #[error("the cursor of subscription {name:?} is unreadable: {source}")]
    Cursor {
        /// The subscription.
        name: String,
        /// Why.
        source: CodecError,
    },
    /// The log cannot be read. The next call tries again from the same place.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log did not take the cursor. What was acknowledged counts until the process ends.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Events of one commit.
#[derive(Clone, Debug)]
pub struct Delivery {
    commit: RecordedCommit,
    filter: Arc<Filter>,
    first: GlobalPosition,
    last: GlobalPosition,
}

impl Delivery {
    /// The events; at least one.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'_>> {
        let within = |event: &EventRef<'_>| (self.first..=self.last).contains(&event.position());
        let wanted = move |event: &EventRef<'_>| within(event) && self.filter.wants(event);
        self.commit.events().filter(wanted)
    }

    /// The commit that they are of, in which there may be more.
    pub fn commit(&self) -> &RecordedCommit {
        &self.commit
    }

    /// The position to acknowledge when all of them are done.
    pub fn last(&self) -> GlobalPosition {
        self.last
    }
}

/// Follows the log under a name, with one consumer at a time.
///
/// Every event that passes the filter is given at least once, in order and without gaps: from wherever it begins,
/// an event is left out only when it, or a later one, was acknowledged. Behind a crash the events begin again
/// behind the last acknowledgement that was recorded. There is no queue to overflow; a slow consumer reads later.
///
/// # Cancel safety
/// Dropping it loses what was acknowledged and not recorded: that comes again.
pub struct DurableSubscription {
    shared: Arc<Shared>,
    _ending: Ending,
    confirmation: Confirmation,
    subscription: Subscription,
    filter: Arc<Filter>,
    unacknowledged_max: usize,
    /// What was read and not given yet, and how far it goes.
    pending: VecDeque<RecordedCommit>,
    pending_through: GlobalPosition,
    /// When something is to be recorded that no acknowledgement recorded.
    due: Option<Timestamp>,
    /// Not before this time.
    again: Timestamp,
}

/// The end of a subscription: from then on nothing is acknowledged in its name, and the name is free.
struct Ending {
    shared: Arc<Shared>,
    _claim: Claim,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Before the claim: whoever takes the name waits for what was handed in, and nothing comes after that.
        self.shared.progress.lock().has_ended = true;
    }
}

/// Acknowledges what a [`DurableSubscription`] gave, for as long as that lives. Cheap to clone.
#[derive(Clone)]
pub struct Acknowledger(Arc<Shared>);

struct Shared {
    key: Bytes,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: CheckpointPolicy,
    progress: Mutex<Progress>,
    /// Up to where the log holds the cursor for certain.
    durable: Arc<AtomicU64>,
    room: Notify,
}

#[derive(Default)]
struct Progress {
    /// Given and not acknowledged, ascending.
    outstanding: VecDeque<GlobalPosition>,
    /// Everything up to here was given, filtered out or acknowledged.
    through: GlobalPosition,
    /// Events acknowledged since the cursor was recorded.
    unrecorded: u64,
    has_ended: bool,
}

impl Progress {
    /// Everything up to here is done.
    fn done(&self) -> GlobalPosition {
        let first = self.outstanding.front();
        first.map_or(self.through, |first| first.previous())
    }
}

/// Who follows under which name.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<String>>>);

struct Claim {
    claims: Claims,
    name: String,
}

impl Claims {
    fn claim(&self, name: &str) -> Result<Claim, SubscribeError> {
        if !(1..=NAME_MAX).contains(&name.len()) {
            return Err(SubscribeError::Name(name.len()));
        }
        if !self.0.lock().insert(name.to_owned()) {
            return Err(SubscribeError::InUse(name.to_owned()));
        }
        Ok(Claim {
            claims: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().remove(&self.name);
    }
}

fn key(name: &str) -> Bytes {
    [PREFIX, name.as_bytes()].concat().into()
}

fn position(name: &str, fact: &FactEntry) -> Result<GlobalPosition, SubscribeError> {
    decode(CodecId::BINCODE, &fact.value).map_err(|source| SubscribeError::Cursor {
        name: name.to_owned(),
        source,
    })
}

/// What the log remembers of durable subscriptions.
pub(crate) async fn list(
    store: &dyn Store,
) -> Result<Vec<(String, GlobalPosition)>, SubscribeError> {
    let query = FactQuery {
        prefix: Bytes::from_static(PREFIX),
        ..FactQuery::all(FactKind::CURSOR)
    };
    let facts = store.facts(query).await?;
    let entry = |fact: &FactEntry| {
        let name = String::from_utf8_lossy(fact.key.get(PREFIX.len()..).unwrap_or_default());
        Ok((name.to_string(), position(&name, fact)?))
    };
    facts.iter().map(entry).collect()
}

/// Waits until everything handed in before was answered.
async fn barrier(store: &dyn Store) {
    let (reached, answered) = oneshot::channel();
    store.barrier(Box::new(move || _ = reached.send(())));
    drop(answered.await);
}

/// Forgets a subscription: under its name a new one begins.
pub(crate) async fn forget(
    claims: &Claims,
    store: &dyn Store,
    clock: &dyn Clock,
    name: &str,
) -> Result<(), SubscribeError> {
    let _claim = claims.claim(name)?;
    barrier(store).await;
    let fact = store.fact(FactKind::CURSOR, key(name)).await?;
    fact.ok_or_else(|| SubscribeError::Unknown(name.to_owned()))?;
    store.append(cursor(key(name), None, clock.now())).await?;
    Ok(())
}

fn cursor(key: Bytes, position: Option<GlobalPosition>, now: Timestamp) -> Append {
    let encoded = |position| encode(PayloadCodec::Bincode, &position).ok();
    Append::new(Ids::next(now), now).record(SideRecord::Fact {
        kind: FactKind::CURSOR,
        key,
        value: position.and_then(encoded),
    })
}

impl DurableSubscription {
    pub(crate) async fn begin(
        claims: &Claims,
        core: &Core,
        name: &str,
        options: DurableOptions,
    ) -> Result<Self, SubscribeError> {
        let claim = claims.claim(name)?;
        let (store, clock) = (Arc::clone(&core.store), Arc::clone(&core.clock));
        // What an earlier consumer handed in may still be on its way.
        barrier(store.as_ref()).await;
        let fact = store.fact(FactKind::CURSOR, key(name)).await?;
        let head = store.head().position;
        let (after, resumed) = match fact {
            Some(fact) => (position(name, &fact)?, true),
            None => {
                let after = match options.begin {
                    Begin::First => GlobalPosition::ZERO,
                    Begin::Now => head,
                    Begin::After(position) if position > head => {
                        return Err(SubscribeError::BeyondHead { position, head });
                    }
                    Begin::After(position) => position,
                };
                // Where it began holds from the first moment on, whatever happens next.
                store
                    .append(cursor(key(name), Some(after), clock.now()))
                    .await?;
                (after, false)
            }
        };
        let filter = Arc::new(options.filter);
        let following = SubscriptionOptions {
            after,
            filter: Filter::clone(&filter),
        };
        let subscription = Subscription::new(Arc::clone(&store), following, core.ended.clone());
        let progress = Progress {
            through: after,
            ..Progress::default()
        };
        let shared = Arc::new(Shared {
            key: key(name),
            store,
            clock,
            policy: options.checkpoint,
            progress: Mutex::new(progress),
            durable: Arc::new(AtomicU64::new(after.get())),
            room: Notify::new(),
        });
        Ok(Self {
            _ending: Ending {
                shared: Arc::clone(&shared),
                _claim: claim,
            },
            shared,
            confirmation: Confirmation {
                after,
                head,
                resumed,
            },
            subscription,
            filter,
            unacknowledged_max: options.unacknowledged_max.max(1),
            pending: VecDeque::new(),
            pending_through: after,
            due: None,
            again: Timestamp::default(),
        })
    }

    /// Where it began, and where the log ended at that time.
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// Acknowledges what this subscription gives; for another task than the one that reads.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger(Arc::clone(&self.shared))
    }

    /// The next events, all of one commit. Waits while there are none, and while as many as may be are not
    /// acknowledged.
    ///
    /// # Errors
    /// When the log cannot be read. The next call goes on at the same place. A cursor that the log does not take here is
    /// no error: it is tried again later, and with the next acknowledgement.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Delivery, SubscribeError> {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(delivery) = take(
                &mut self.pending,
                self.pending_through,
                &self.filter,
                self.unacknowledged_max,
                &mut self.shared.progress.lock(),
            ) {
                return Ok(delivery);
            }
            let shared = &self.shared;
            let behind = shared.behind();
            let now = shared.clock.now();
            let due = match (behind, self.due) {
                (0, _) => None,
                (_, Some(due)) => Some(due),
                (_, None) => Some(now.plus(shared.policy.idle)),
            };
            self.due = due;
            let is_due = behind >= PASSED_OVER_MAX || due.is_some_and(|due| due <= now);
            if is_due && now >= self.again {
                // Again in a while, whether it succeeds or not.
                self.again = now.plus(RECORD_AGAIN);
                self.due = Some(now.plus(shared.policy.idle.max(RECORD_AGAIN)));
                shared.record_if_possible();
                continue;
            }
            let idle = shared.clock.sleep_until(due.unwrap_or(now).max(self.again));
            tokio::select! {
                biased;
                batch = self.subscription.next(), if self.pending.is_empty() => {
                    let batch = batch?;
                    self.pending = batch.commits.into();
                    self.pending_through = batch.through;
                }
                () = room => {}
                () = idle, if due.is_some() => {}
            }
        }
    }

    /// Everything up to and including this position is done; see [`Acknowledger::acknowledge`].
    ///
    /// # Errors
    /// As [`Acknowledger::acknowledge`].
    ///
    /// # Cancel safety
    /// Once polled it counts; dropping the future does not take it back.
    pub fn acknowledge(
        &self,
        position: GlobalPosition,
    ) -> impl Future<Output = Result<(), SubscribeError>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move { shared.acknowledge(position).await }
    }

    /// Records what was acknowledged, ends, and gives the name back.
    ///
    /// # Errors
    /// When the log did not take the cursor.
    ///
    /// # Cancel safety
    /// Dropping the future stops without waiting for the log's answer.
    pub async fn stop(self) -> Result<(), SubscribeError> {
        self.shared.record().await
    }
}

impl Acknowledger {
    /// Everything up to and including this position is done and does not come again. Below an earlier
    /// acknowledgement it changes nothing.
    ///
    /// Waits until the cursor is durable when the [policy](CheckpointPolicy) says that it is to be recorded.
    ///
    /// # Errors
    /// [`SubscribeError::BeyondHead`]; [`SubscribeError::Ended`]; [`SubscribeError::Append`] when the log did not take the cursor.
    ///
    /// # Cancel safety
    /// Once polled it counts; dropping the future does not take it back.
    pub async fn acknowledge(&self, position: GlobalPosition) -> Result<(), SubscribeError> {
        self.0.acknowledge(position).await
    }
}

/// Takes from what was read as much of one commit as there is room for.
fn take(
    pending: &mut VecDeque<RecordedCommit>,
    pending_through: GlobalPosition,
    filter: &Arc<Filter>,
    unacknowledged_max: usize,
    progress: &mut Progress,
) -> Option<Delivery> {
    while let Some(commit) = pending.front() {
        let room = unacknowledged_max.saturating_sub(progress.outstanding.len());
        if room == 0 {
            return None;
        }
        let through = progress.through;
        let wanted = |event: &EventRef<'_>| event.position() > through && filter.wants(event);
        let events = commit.events().filter(wanted).map(|event| event.position());
        let positions: Vec<_> = events.take(room).collect();
        let (Some(first), Some(last)) = (positions.first().copied(), positions.last().copied())
        else {
            progress.through = progress.through.max(commit.last_position());
            pending.pop_front();
            continue;
        };
        let commit = commit.clone();
        progress.through = last;
        progress.outstanding.extend(positions);
        return Some(Delivery {
            commit,
            filter: Arc::clone(filter),
            first,
            last,
        });
    }
    progress.through = progress.through.max(pending_through);
    None
}

impl Shared {
    async fn acknowledge(&self, position: GlobalPosition) -> Result<(), SubscribeError> {
        let head = self.store.head().position;
        if position > head {
            return Err(SubscribeError::BeyondHead { position, head });
        }
        let recording = {
            let mut progress = self.progress.lock();
            if progress.has_ended {
                return Err(SubscribeError::Ended);
            }
            let before = progress.outstanding.len();
            while progress.outstanding.front().is_some_and(|p| *p <= position) {
                progress.outstanding.pop_front();
            }
            let done = before - progress.outstanding.len();
            // What was not even given is done by its consumer's word, and is not given any more.
            if position > progress.through {
                progress.through = position;
                progress.unrecorded += 1;
            }
            progress.unrecorded += done as u64;
            if progress.unrecorded >= self.policy.events || self.policy.events <= 1 {
                self.submit(&mut progress)
            } else {
                None
            }
        };
        self.room.notify_one();
        self.recorded(recording).await
    }

    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// How many positions are done and not known to be recorded.
    fn behind(&self) -> u64 {
        let progress = self.progress.lock();
        progress.done().get().saturating_sub(self.durable())
    }

    /// Hands the cursor to the log and does not wait: whatever it answers, events can be given.
    fn record_if_possible(&self) {
        let mut progress = self.progress.lock();
        let done = progress.done();
        progress.unrecorded = 0;
        if done.get() <= self.durable() {
            return;
        }
        // Not the whole of `self`: the last one to let go of the store must not be the log's own thread.
        let durable = Arc::clone(&self.durable);
        let recorded = move |result: AppendResult| match result {
            Ok(_) => drop(durable.fetch_max(done.get(), Ordering::AcqRel)),
            Err(error) => {
                tracing::warn!(%error, "the cursor of a subscription was not recorded; it is tried again")
            }
        };
        let append = cursor(self.key.clone(), Some(done), self.clock.now());
        self.store.submit(append, Box::new(recorded));
    }

    /// Records how far everything is done.
    async fn record(&self) -> Result<(), SubscribeError> {
        let recording = self.submit(&mut self.progress.lock());
        self.recorded(recording).await
    }

    /// Hands the cursor to the log, unless that holds it. Under the lock, so that cursors reach the log in ascending
    /// order.
    fn submit(&self, progress: &mut Progress) -> Option<Recording> {
        let done = progress.done();
        progress.unrecorded = 0;
        if done.get() <= self.durable() {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.store.submit(
            cursor(self.key.clone(), Some(done), self.clock.now()),
            Box::new(move |result| drop(answer.send(result))),
        );
        Some(Recording { done, answered })
    }

    async fn recorded(&self, recording: Option<Recording>) -> Result<(), SubscribeError> {
        let Some(Recording { done, answered }) = recording else {
            return Ok(());
        };
        answered.await.unwrap_or(Err(AppendError::Lost))?;
        self.durable.fetch_max(done.get(), Ordering::AcqRel);
        Ok(())
    }
}

/// A cursor on its way into the log.
struct Recording {
    done: GlobalPosition,
    answered: oneshot::Receiver<AppendResult>,
}
