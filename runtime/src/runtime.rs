//! The handle of a running runtime: who to send to, and how to stop.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chronicler_domain::{Aggregate, AggregateId, CommandId, GlobalPosition, StreamId, Tenant};
use chronicler_store::{AppendError, Head, Store};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::aggregate::AggregateEntity;
use crate::backoff::Jitter;
use crate::clock::{Clock, after};
use crate::contain::{contain, panicked};
use crate::core::Core;
use crate::directory::AnyDirectory;
use crate::dispatch::{EntityHandle, SendOptions, StateOf};
use crate::durable::{self, Claims, DurableOptions, DurableSubscription, SubscribeError};
use crate::effects::EffectDispatcher;
use crate::entity::Entity;
use crate::envelope::Says;
use crate::error::{DispatchError, SendError};
use crate::failing::FailingInstance;
use crate::fingerprint::{self, fingerprint};
use crate::ids::Ids;
use crate::quarantine::QuarantinedInstance;
use crate::receipt::Receipt;
use crate::subscription::{Subscription, SubscriptionOptions};
use crate::timers::Timers;
use crate::workers::Workers;

/// A running runtime. Cheap to clone; made by [`RuntimeBuilder`](crate::RuntimeBuilder).
///
/// When the last clone is dropped without [`stop`](Self::stop), everything of it ends where it is, as in a crash: what
/// was answered is in the log, and what was not may be.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) core: Arc<Core>,
    pub(crate) parts: Arc<Parts>,
}

/// What hangs together with the core, but not with its instances.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) handles: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    pub(crate) directories: Vec<Arc<dyn AnyDirectory>>,
    pub(crate) effects: EffectDispatcher,
    pub(crate) workers: Workers,
    pub(crate) timers: Timers,
    pub(crate) subscribers: Claims,
}

impl Parts {
    /// Ends everything that would keep the store open, in the middle of its work. From any thread; idempotent.
    fn abandon(&self) {
        self.core.stopping.store(true, Ordering::Release);
        self.core.ended.cancel();
        self.workers.abandon();
        self.timers.forget_handlers();
        self.core.tasks.abandon();
        self.core.supervisor.stop();
        for directory in &self.directories {
            directory.end();
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// How long background tasks may take to end after everything else has: snapshots that are being saved.
const TASKS_LIMIT: Duration = Duration::from_secs(5);

/// How to stop.
#[derive(Clone, Copy, Debug)]
pub struct StopOptions {
    /// How long workers and commands under way may take to end. Default 30 s. What has not ended then is ended where it
    /// is; snapshots that are being saved get 5 s more.
    pub deadline: Duration,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
        }
    }
}

/// What was done by the time a runtime stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Commands that were taken in since the start.
    pub commands: u64,
    /// Commands that were still under way when the deadline passed; their senders get errors.
    pub abandoned: usize,
    /// Workers that were still at work when the deadline passed: timers, projections, routers, services' calls. Each is
    /// named in a warning. What they had committed is taken up at the next start.
    pub workers_abandoned: usize,
    /// What sagas were carrying out when they stopped; it is in the log, and taken up at the next start.
    pub effects_left: usize,
    /// Whether the store was closed to its end in time. If not, it goes on closing, and the directory is free after that.
    pub closed: bool,
    /// Instances that were alive when stopping began.
    pub passivated: usize,
    /// The durable end of the log.
    pub head: Head,
}

impl Runtime {
    /// Sends a command to an aggregate; see [`EntityHandle::send`].
    ///
    /// # Errors
    /// [`SendError`]: the domain's no, or why the machinery failed and what became of the command.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back.
    pub async fn send<A: Aggregate>(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        command: A::Command,
        options: SendOptions,
    ) -> Result<Receipt<A::Reply>, SendError<A::Rejection>> {
        let command_id = options.command_id.map(CommandId::as_uuid);
        let unseen = |error: DispatchError| error.unless_sent_before(command_id);
        let handle = self.aggregate::<A>().map_err(unseen)?;
        let says = match command_id {
            // Remembered commands are told apart by what they say, not only by their id.
            Some(_) => Some(Says {
                fingerprint: contain(|| fingerprint(&command))
                    .map_err(|said| {
                        let stream = StreamId::new(tenant, handle.entity().category(), id);
                        unseen(panicked("encoding the command", &stream, said))
                    })?
                    .map_err(|error| unseen(error.into()))?,
                older: fingerprint::older,
            }),
            None => None,
        };
        handle
            .send_fingerprinted(tenant, id, command, options, says)
            .await
    }

    /// An aggregate's state, when everything in it is durable; see [`EntityHandle::query`].
    ///
    /// # Errors
    /// [`DispatchError`] when it cannot be recovered, too much is under way, or
    /// [`RuntimeOptions::deadline`](crate::RuntimeOptions::deadline) is over.
    pub async fn state<A: Aggregate>(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
    ) -> Result<StateOf<A>, DispatchError> {
        self.aggregate::<A>()?
            .query(tenant, id, |state: &A, _| state.clone())
            .await
    }

    /// The instances of an aggregate type, if it is registered.
    ///
    /// # Errors
    /// [`DispatchError::NotRegistered`].
    pub fn aggregate<A: Aggregate>(
        &self,
    ) -> Result<&EntityHandle<AggregateEntity<A>>, DispatchError> {
        let category = || DispatchError::NotRegistered {
            category: A::CATEGORY.to_owned(),
        };
        self.entity::<AggregateEntity<A>>().ok_or_else(category)
    }

    /// The instances of an entity, if it is registered.
    #[doc(hidden)]
    pub fn entity<E: Entity>(&self) -> Option<&EntityHandle<E>> {
        self.parts.handles.get(&TypeId::of::<E>())?.downcast_ref()
    }

    /// Carries effects out.
    #[doc(hidden)]
    pub fn effects(&self) -> &EffectDispatcher {
        &self.parts.effects
    }

    /// Follows the log.
    pub fn subscribe(&self, options: SubscriptionOptions) -> Subscription {
        let store = Arc::clone(&self.core.store);
        Subscription::new(store, options, self.core.ended.clone())
    }

    /// Follows the log under a name: what was acknowledged is remembered, and what was not comes again.
    ///
    /// # Errors
    /// [`SubscribeError`]: among others when somebody follows under this name already.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a new name registered, with nothing acknowledged.
    pub async fn subscribe_durably(
        &self,
        name: &str,
        options: DurableOptions,
    ) -> Result<DurableSubscription, SubscribeError> {
        DurableSubscription::begin(&self.parts.subscribers, &self.core, name, options).await
    }

    /// The durable subscriptions that the log remembers, by name, and up to where everything is recorded as done.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn durable_subscriptions(
        &self,
    ) -> Result<Vec<(String, GlobalPosition)>, SubscribeError> {
        durable::list(self.core.store.as_ref()).await
    }

    /// Forgets a durable subscription that nobody is following: under its name a new one begins.
    ///
    /// # Errors
    /// [`SubscribeError::InUse`] and [`SubscribeError::Unknown`]; when the log does not take it.
    ///
    /// # Cancel safety
    /// Dropping the future does not take it back.
    pub async fn forget_subscription(&self, name: &str) -> Result<(), SubscribeError> {
        let (store, clock) = (self.core.store.as_ref(), self.core.clock.as_ref());
        durable::forget(&self.parts.subscribers, store, clock, name).await
    }

    /// Starts supervised workers.
    pub fn workers(&self) -> &Workers {
        &self.parts.workers
    }

    /// Durable timers.
    pub fn timers(&self) -> &Timers {
        &self.parts.timers
    }

    /// The durable end of the log.
    pub fn head(&self) -> Head {
        self.core.store.head()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.core.store
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.core.clock
    }

    /// Chance for the waits between attempts, the same again from the same
    /// [`id_seed`](crate::RuntimeOptions::id_seed).
    pub fn jitter(&self) -> &Jitter {
        &self.core.jitter
    }

    /// A new id, ordered by time.
    pub fn new_id(&self) -> uuid::Uuid {
        Ids::next(self.core.clock.now())
    }

    /// Instances that were set aside, by stream.
    pub fn quarantined(&self) -> Vec<QuarantinedInstance> {
        self.core.quarantine.list()
    }

    /// Whether an instance was set aside.
    pub fn is_quarantined(&self, stream: &StreamId) -> bool {
        self.core.quarantine.reason(stream).is_some()
    }

    /// Tells of each instance that is [released](Self::release) from now on. Who is 256 of them behind is told that it is.
    pub fn releases(&self) -> tokio::sync::broadcast::Receiver<StreamId> {
        self.core.quarantine.releases()
    }

    /// Instances that cannot be recovered at present, for a reason that may pass, by stream. Nothing is set aside: the next
    /// command to one tries again.
    pub fn failing(&self) -> Vec<FailingInstance> {
        self.core.failing.list()
    }

    /// Lets an instance go from quarantine; `false` if it is not in it.
    ///
    /// # Errors
    /// When the log does not take it; it then stays quarantined.
    pub async fn release(&self, stream: &StreamId) -> Result<bool, AppendError> {
        let (core, stream) = (Arc::clone(&self.core), stream.clone());
        // Carried out as a whole: released in the log and not in memory, it would wait for the next start.
        let released = self.carry_out(async move {
            let (store, clock) = (core.store.as_ref(), core.clock.as_ref());
            core.quarantine.release(store, clock, &stream).await
        });
        released.await.unwrap_or(Err(AppendError::Lost))
    }

    /// Carries work out to its end, although whoever waits for it goes: what takes several commits is not left half done.
    /// [`stop`](Self::stop) waits for it as for other background tasks. `None` if it panicked, or was ended in the middle.
    ///
    /// # Cancel safety
    /// The work goes on when the wait is dropped. It begins with the first look at the wait.
    #[doc(hidden)]
    pub async fn carry_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, is_done) = oneshot::channel();
        let task = async move {
            // Whoever asked may have gone.
            let _ = done.send(work.await);
        };
        self.core.tasks.spawn(task.in_current_span());
        is_done.await.ok()
    }

    /// Waits until everything has ended that could still commit: at the end of [`stop`](Self::stop), or
    /// [abandoned](Self::abandon).
    ///
    /// # Cancel safety
    /// Nothing changes when the wait is dropped.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.core.ended.clone().cancelled_owned()
    }

    /// Ends everything in the middle of its work, at once and from any thread, as when the last clone is dropped. For
    /// who holds a store that is to be closed without [`stop`](Self::stop). Idempotent.
    pub fn abandon(&self) {
        self.parts.abandon();
    }

    /// Stops: takes no more commands, lets those under way end, ends workers and instances, and reports. The
    /// store stays open; it is the caller's. Comes back after the deadline and 5 s at the latest.
    ///
    /// # Cancel safety
    /// Stopping goes on with the next call.
    pub async fn stop(&self, options: StopOptions) -> StopReport {
        let core = &self.core;
        let deadline = after(core.clock.as_ref(), options.deadline);
        let workers_abandoned = self.parts.workers.stop(deadline).await;
        core.stopping.store(true, Ordering::Release);
        let left = deadline.saturating_duration_since(core.clock.monotonic());
        let mut over = core.clock.sleep(left);
        loop {
            let drained = core.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if core.in_flight() == 0 {
                break;
            }
            tokio::select! {
                biased;
                () = drained => {}
                () = &mut over => break,
            }
        }
        let abandoned = core.in_flight();
        let live =
            |directories: &[Arc<dyn AnyDirectory>]| directories.iter().map(|d| d.live()).sum();
        let passivated: usize = live(&self.parts.directories);
        for directory in &self.parts.directories {
            directory.passivate_all();
        }
        core.residents.too_many.notify_one();
        let left = deadline.saturating_duration_since(core.clock.monotonic());
        tokio::select! {
            biased;
            () = core.tasks.join() => {}
            () = core.clock.sleep(left.saturating_add(TASKS_LIMIT)) => {
                tracing::warn!("background tasks did not end in time, and were ended in the middle of their work");
            }
        }
        self.parts.abandon();
        StopReport {
            commands: core.commands.load(Ordering::Relaxed),
            abandoned,
            workers_abandoned,
            effects_left: 0,
            closed: false,
            passivated,
            head: core.store.head(),
        }
    }
}
