//! The reading end of a durable subscription, and the acknowledging one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use chronicler_domain::GlobalPosition;
use chronicler_store::{FactKind, Filter, RecordedCommit};
use parking_lot::Mutex;
use tokio::sync::Notify;

#[cfg(doc)]
use super::CheckpointPolicy;
use super::cursor::{Claim, Claims, barrier, cursor, key, position};
use super::delivery::{Delivery, take};
use super::options::{Begin, Confirmation, DurableOptions, SubscribeError};
use super::progress::{Progress, Shared};
use crate::core::Core;
use crate::subscription::{Subscription, SubscriptionOptions};

/// Events passed over by a filter after which the cursor is recorded even under load.
const PASSED_OVER_MAX: u64 = 4_096;
/// The shortest time from one try to record a cursor that nobody waits for to the next.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// Follows the log under a name, with one consumer at a time.
///
/// Every event that passes the filter is given at least once, in order and without gaps: from wherever it begins,
/// an event is left out only when it, or a later one, was acknowledged. After a crash the events begin again
/// after the last acknowledgement that was recorded. There is no queue to overflow; a slow consumer reads later.
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
    due: Option<Instant>,
    /// Not before this time.
    again: Instant,
}

/// The end of a subscription: from then on nothing is acknowledged in its name, and the name is free.
struct Ending {
    shared: Arc<Shared>,
    _claim: Claim,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Before the claim: whoever takes the name waits for what was handed in, and nothing comes after that.
        self.shared.end();
    }
}

/// Acknowledges what a [`DurableSubscription`] gave, for as long as that lives. Cheap to clone.
#[derive(Clone)]
pub struct Acknowledger(Arc<Shared>);

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
        let again = clock.monotonic();
        let shared = Arc::new(Shared {
            key: key(name),
            store,
            clock,
            policy: options.checkpoint,
            progress: Mutex::new(Progress::after(after)),
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
            again,
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
            let now = shared.clock.monotonic();
            let due = match (behind, self.due) {
                (0, _) => None,
                (_, Some(due)) => Some(due),
                (_, None) => now.checked_add(shared.policy.idle),
            };
            self.due = due;
            let is_due = behind >= PASSED_OVER_MAX || due.is_some_and(|due| due <= now);
            if is_due && now >= self.again {
                // Again in a while, whether it succeeds or not.
                self.again = now + RECORD_AGAIN;
                self.due = now.checked_add(shared.policy.idle.max(RECORD_AGAIN));
                shared.record_if_possible();
                continue;
            }
            let until = due.unwrap_or(now).max(self.again);
            let idle = shared.clock.sleep(until.saturating_duration_since(now));
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
