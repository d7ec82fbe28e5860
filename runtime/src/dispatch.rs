//! How commands and queries get to their instance: admitted, stamped, queued, awaited.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chronicler_domain::{
    AggregateId, CommandId, Context, GlobalPosition, Metadata, Principal, StreamId, StreamVersion,
    Tenant, Timestamp,
};
use chronicler_store::Outcome;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::clock::Clock;
use crate::contain::{self, contain, panicked};
use crate::core::Core;
use crate::dedup::Identity;
use crate::directory::Directory;
use crate::entity::Entity;
use crate::envelope::{Body, CommandEnvelope, Envelope, Query, Says, Searched};
use crate::error::{DispatchError, SendError};
use crate::ids::Ids;
use crate::instance::Refused;
use crate::receipt::Receipt;

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
#[non_exhaustive]
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
    /// [`RuntimeOptions::deadline`](crate::RuntimeOptions::deadline) says.
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
