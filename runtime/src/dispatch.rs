//! How commands and queries get to their instance: admitted, stamped, queued, awaited.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chronicler_domain::{
    AggregateId, CommandId, Context, GlobalPosition, Metadata, Principal, StreamId, StreamVersion,
    Tenant, Timestamp,
};
use chronicler_store::{Outcome, Store};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backoff::Jitter;
use crate::clock::Clock;
use crate::contain::{self, contain, panicked};
use crate::dedup::Rules;
use crate::directory::Directory;
use crate::entity::Entity;
use crate::error::{DispatchError, SendError};
use crate::failing::Failing;
use crate::inbox::{Body, CommandEnvelope, Envelope, Identity, Query, Says, Searched};
use crate::instance::Refused;
use crate::options::RuntimeOptions;
use crate::quarantine::Quarantine;
use crate::receipt::Receipt;
use crate::residents::Residents;
use crate::supervision::Supervisor;
use crate::tasks::Tasks;

/// What all instances of a runtime share.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: RuntimeOptions,
    pub(crate) tasks: Tasks,
    pub(crate) supervisor: Supervisor,
    pub(crate) quarantine: Quarantine,
    pub(crate) failing: Failing,
    pub(crate) jitter: Arc<Jitter>,
    pub(crate) recoveries: Semaphore,
    /// Places for those who look in the log for commands: however long they look, they take none of a recovery.
    pub(crate) look_ups: Semaphore,
    pub(crate) memory: Arc<Rules>,
    /// Places for snapshots that wait to be saved.
    pub(crate) snapshots: Arc<Semaphore>,
    /// How many instances are alive, over all types.
    pub(crate) residents: Residents,
    pub(crate) stopping: AtomicBool,
    /// It has stopped: whoever waits for events waits in vain.
    pub(crate) ended: CancellationToken,
    pub(crate) commands: AtomicU64,
    in_flight: AtomicUsize,
    pub(crate) drained: Notify,
}

impl Core {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: RuntimeOptions,
        supervisor: Supervisor,
        quarantine: Quarantine,
    ) -> Self {
        let places = || Semaphore::new(options.recoveries_max.max(1));
        let (recoveries, look_ups) = (places(), places());
        let memory = Arc::new(Rules::new(&options));
        let jitter = Arc::new(Jitter::new(options.id_seed));
        let snapshots = Arc::new(Semaphore::new(options.snapshots_waiting_max.max(1)));
        Self {
            store,
            clock,
            options,
            tasks: Tasks::new(),
            supervisor,
            quarantine,
            failing: Failing::default(),
            jitter,
            recoveries,
            look_ups,
            memory,
            snapshots,
            residents: Residents::default(),
            stopping: AtomicBool::new(false),
            ended: CancellationToken::new(),
            commands: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            drained: Notify::new(),
        }
    }

    /// Commands and queries under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Takes one more command in, or says why not.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admitted, DispatchError> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::AcqRel);
        let admitted = Admitted(Arc::clone(self));
        if self.stopping.load(Ordering::Acquire) {
            return Err(DispatchError::Stopped);
        }
        let in_flight_max = self.options.in_flight_max;
        if in_flight >= in_flight_max {
            let what = "in all".to_owned();
            return Err(DispatchError::Overloaded {
                what,
                in_flight,
                in_flight_max,
            });
        }
        Ok(admitted)
    }

    /// Quarantines an instance; if the log does not take it, it holds in memory.
    pub(crate) async fn set_aside(&self, stream: &StreamId, reason: &str) {
        let (store, clock) = (self.store.as_ref(), self.clock.as_ref());
        if let Err(error) = self
            .quarantine
            .set_aside(store, clock, stream, reason)
            .await
        {
            tracing::error!(%stream, %error, "the quarantine could not be journaled");
        }
    }
}

/// The right of one command to be under way; given back when dropped.
pub(crate) struct Admitted(Arc<Core>);

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.drained.notify_waiters();
        }
    }
}

/// New ids: version 7, from the runtime's clock and a generator of each thread's own.
pub(crate) struct Ids;

thread_local! {
    /// Where this thread's generator is, and its step.
    static IDS: Cell<(u64, u64)> = Cell::new({
        let seed = RandomState::new();
        (seed.hash_one(1_u8), seed.hash_one(2_u8) | 1)
    });
}

impl Ids {
    /// Begins anew from a seed, on this thread.
    pub(crate) fn seed(seed: u64) {
        IDS.set((seed, seed.rotate_left(17) | 1));
    }

    pub(crate) fn next(now: Timestamp) -> Uuid {
        // splitmix64 over a counter with a random start and a random odd step: cheap, and two threads or
        // processes meet no more often than random numbers do.
        let mix = |mut z: u64| {
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let (high, low) = IDS.with(|state| {
            let (at, step) = state.get();
            state.set((at.wrapping_add(step), step));
            (mix(at), mix(at ^ step.rotate_left(32)))
        });
        let mut random = [0_u8; 10];
        let bytes = high.to_le_bytes().into_iter().chain(low.to_le_bytes());
        random
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
        uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid()
    }
}

/// How long a sender waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deadline {
    /// As the runtime's options say.
    #[default]
    Default,
    /// So long from now.
    Within(Duration),
    /// For as long as it takes.
    None,
}

/// What may be said about one command beside its content.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// Its id. A command that is sent again under its id takes effect once, and is answered the same. `None`
    /// gives it a new one, and nothing is remembered.
    pub command_id: Option<CommandId>,
    /// Shared by everything that one request set in motion. `None`: the command's own id.
    pub correlation_id: Option<Uuid>,
    /// What caused it, and how many causes lie before that.
    pub causation: Option<(Uuid, u16)>,
    /// On whose behalf.
    pub principal: Option<Principal>,
    /// More metadata; see [`Metadata::extra`] for its limits.
    pub extra: BTreeMap<String, String>,
    /// How long the sender waits.
    pub deadline: Deadline,
}

/// An aggregate's durable state.
#[derive(Clone, Debug)]
pub struct StateOf<S> {
    /// The state; the default one at version 0.
    pub state: S,
    /// Its version.
    pub version: StreamVersion,
    /// The position of its last event.
    pub position: GlobalPosition,
}

/// When a wait that begins now is over; `None` if it is longer than an instant reaches.
fn expiry(clock: &dyn Clock, within: Duration) -> Option<Instant> {
    clock.monotonic().checked_add(within)
}

/// The instances of one category.
pub struct EntityHandle<E: Entity> {
    directory: Arc<Directory<E>>,
    core: Arc<Core>,
}

impl<E: Entity> Clone for EntityHandle<E> {
    fn clone(&self) -> Self {
        Self {
            directory: Arc::clone(&self.directory),
            core: Arc::clone(&self.core),
        }
    }
}

impl<E: Entity> EntityHandle<E> {
    pub(crate) fn new(directory: Arc<Directory<E>>, core: Arc<Core>) -> Self {
        Self { directory, core }
    }

    /// What it hosts.
    pub fn entity(&self) -> &Arc<E> {
        self.directory.entity()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// How many instances are alive.
    pub fn live(&self) -> usize {
        self.directory.live()
    }

    /// Sends a command and waits until it and everything it was decided on is durable.
    ///
    /// # Errors
    /// [`SendError`]: the domain's no, or why the machinery failed and what became of the command.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the command back: it is carried out or refused all the same.
    pub async fn send(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        command: E::Command,
        options: SendOptions,
    ) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
        self.send_fingerprinted(tenant, id, command, options, None)
            .await
    }

    pub(crate) async fn send_fingerprinted(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        command: E::Command,
        options: SendOptions,
        says: Option<Says<E::Command>>,
    ) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
        let now = self.core.clock.now();
        let stream = StreamId::new(tenant, self.entity().category(), id);
        let caller = options.command_id.map(|id| Identity::Caller {
            issued_at: id.issued_at(),
        });
        let within = match options.deadline {
            Deadline::Default => self.core.options.deadline,
            Deadline::Within(duration) => Some(duration),
            Deadline::None => None,
        };
        let ctx = self.context(tenant, now, within, options);
        self.deliver(stream, Body::Typed(command), ctx, within, caller, says)
            .await
    }

    pub(crate) async fn deliver(
        &self,
        stream: StreamId,
        body: Body<E::Command>,
        ctx: Context,
        within: Option<Duration>,
        identity: Option<Identity>,
        says: Option<Says<E::Command>>,
    ) -> Result<Receipt<E::Reply>, SendError<E::Rejection>> {
        let id = identity.map(|_| ctx.command_id());
        let unseen = |error: DispatchError| error.unless_sent_before(id);
        let admitted = self.core.admit().map_err(unseen)?;
        self.core.commands.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        // The date is for people and for `decide`; what is waited for is the time until then.
        let deadline = ctx.deadline().unwrap_or(Timestamp::MAX);
        let expires = within.and_then(|within| expiry(&*self.core.clock, within));
        let command = CommandEnvelope {
            body,
            ctx,
            expires,
            identity,
            says,
            searched: Searched::default(),
            caller: tracing::Span::current(),
            answer,
            admitted,
        };
        self.queue(&stream, Envelope::Command(Box::new(command)))
            .map_err(unseen)?;
        let lost = |_| {
            Err(DispatchError::ActorLost {
                stream: stream.clone(),
            }
            .into())
        };
        let Some(within) = within else {
            return answered.await.unwrap_or_else(lost);
        };
        tokio::select! {
            biased;
            result = answered => result.unwrap_or_else(lost),
            () = self.core.clock.sleep(within) => {
                Err(DispatchError::DeadlineExceeded { deadline, outcome: Outcome::Unknown }.into())
            }
        }
    }

    /// Looks at an instance's state as of everything decided so far, and answers when all of that is durable.
    ///
    /// A look counts among the commands that are under way and that wait at the instance, and waits as long as
    /// [`RuntimeOptions::deadline`] says.
    ///
    /// # Errors
    /// [`DispatchError`] when the instance cannot be recovered, too much is under way, the time is over, or what was looked
    /// at did not become durable.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the look waiting at the instance, where it keeps its place until the instance comes to it.
    /// A look that nobody waits for any more is not taken.
    pub async fn query<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        look: impl FnOnce(&E::State, StreamVersion) -> T + Send + 'static,
    ) -> Result<StateOf<T>, DispatchError> {
        let admitted = self.core.admit()?;
        let stream = StreamId::new(tenant, self.entity().category(), id);
        let (answer, answered) = oneshot::channel();
        let asked = stream.clone();
        let query: Query<E> = Box::new(move |found| match found {
            Err(error) => {
                drop(answer.send(Err(error)));
                None
            }
            Ok(_) if answer.is_closed() => None,
            Ok((state, version)) => {
                let state = match contain(|| look(state, version)) {
                    Ok(state) => state,
                    Err(said) => {
                        drop(answer.send(Err(panicked("a look at the state", &asked, said))));
                        return None;
                    }
                };
                Some(Box::new(move |durable| {
                    let result = durable.map(|end| StateOf {
                        state,
                        version,
                        position: end.position,
                    });
                    let lost = |source| DispatchError::DecidedOnLost {
                        stream: asked,
                        source: Box::new(source),
                    };
                    contain::answer(answer, result.map_err(lost));
                    drop(admitted);
                }))
            }
        });
        let within = self.core.options.deadline;
        let deadline = within.map_or(Timestamp::MAX, |within| self.now().plus(within));
        self.queue(&stream, Envelope::Query(query))?;
        let lost = |_| Err(DispatchError::ActorLost { stream });
        let Some(within) = within else {
            return answered.await.unwrap_or_else(lost);
        };
        tokio::select! {
            biased;
            result = answered => result.unwrap_or_else(lost),
            () = self.core.clock.sleep(within) => {
                Err(DispatchError::DeadlineExceeded { deadline, outcome: Outcome::NotApplied })
            }
        }
    }

    /// Ends an instance's actor, if it is alive and idle. The next command starts it again.
    pub async fn passivate(&self, tenant: &Tenant, id: &AggregateId) -> bool {
        let stream = StreamId::new(tenant, self.entity().category(), id);
        let Some(instance) = self.directory.find(&stream) else {
            return false;
        };
        let (answer, answered) = oneshot::channel();
        let asked = instance.ask(Envelope::Passivate(Some(answer)));
        asked.is_ok() && answered.await.unwrap_or(false)
    }

    /// Makes an instance's actor panic, if it is alive: a way to see what supervision does.
    pub fn crash(&self, tenant: &Tenant, id: &AggregateId) {
        let stream = StreamId::new(tenant, self.entity().category(), id);
        if let Some(instance) = self.directory.find(&stream) {
            instance.crash();
        }
    }

    fn context(
        &self,
        tenant: &Tenant,
        now: Timestamp,
        within: Option<Duration>,
        options: SendOptions,
    ) -> Context {
        let command_id = options
            .command_id
            .map_or_else(|| Ids::next(now), CommandId::as_uuid);
        let mut metadata = Metadata::origin(options.correlation_id.unwrap_or(command_id));
        if let Some((cause, depth)) = options.causation {
            metadata.causation_id = Some(cause);
            metadata.causation_depth = depth.saturating_add(1);
        }
        metadata.principal = options.principal;
        metadata.extra = options.extra;
        let ctx = Context::new(now, command_id)
            .with_tenant(tenant.clone())
            .with_metadata(metadata);
        match within {
            Some(within) => ctx.with_deadline(now.plus(within)),
            None => ctx,
        }
    }

    fn queue(&self, stream: &StreamId, mut envelope: Envelope<E>) -> Result<(), DispatchError> {
        loop {
            // The directory always has an instance for a stream; one that is retired is gone from it already.
            let Some(instance) = self.directory.get(stream) else {
                return Err(DispatchError::Stopped);
            };
            match instance.push(envelope) {
                Ok(()) => return Ok(()),
                Err(Refused::Retired(back)) => {
                    envelope = back;
                    std::hint::spin_loop();
                }
                Err(Refused::Full(in_flight)) => {
                    return Err(DispatchError::Overloaded {
                        what: stream.to_string(),
                        in_flight,
                        in_flight_max: self.core.options.inbox_max,
                    });
                }
            }
        }
    }
}
