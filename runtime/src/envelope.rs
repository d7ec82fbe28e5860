//! What waits at an instance: commands with all that was said of them, queries, and what is asked of its actor.

use std::sync::Weak;
use std::time::Instant;

use bytes::Bytes;
use chronicler_domain::{Context, LogSequence, StreamVersion};
use chronicler_store::Outcome;
use chronicler_store::codec::CodecId;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::contain::{answer, contain, let_go};
use crate::core::Admitted;
use crate::dedup::{Identity, Remembered, Run, Span};
use crate::entity::Entity;
use crate::error::{DispatchError, SendError};
use crate::in_flight::Waiter;
use crate::receipt::Receipt;
use crate::residents::Left;

pub(crate) type Answer<E> =
    oneshot::Sender<Result<Receipt<<E as Entity>::Reply>, SendError<<E as Entity>::Rejection>>>;

/// What waits at an instance.
pub(crate) enum Envelope<E: Entity> {
    Command(Box<CommandEnvelope<E>>),
    /// The same once more, after a look into the log.
    Again(Box<Returned<E>>),
    /// One that could not be looked for is refused, and whoever waited for that comes next.
    GivenUp(Box<Away>),
    /// What that look found out about the ids that lie there.
    Learned(Box<(Span, Vec<Run>)>),
    Query(Query<E>),
    /// End the actor if nothing else waits.
    Passivate(Option<oneshot::Sender<bool>>),
    /// The same, because more are alive than may be.
    MakeRoom(Left),
    /// Panic, as a test of supervision.
    Crash,
}

impl<E: Entity> Envelope<E> {
    /// Answers with an error.
    pub(crate) fn fail(self, error: DispatchError) {
        match self {
            // Whoever no longer waits need not be told.
            Self::Command(command) => refuse_unseen(command, error),
            Self::Again(returned) => refuse_unseen(returned.command, error),
            Self::Query(query) => let_go(query(Err(error))),
            Self::Passivate(answer) => {
                let _nobody_waits = answer.map(|answer| answer.send(false));
            }
            Self::MakeRoom(_) | Self::Learned(..) | Self::GivenUp(_) | Self::Crash => {}
        }
    }
}

/// Called with the state as decided so far, or with the reason why there is none.
pub(crate) type Query<E> = Box<
    dyn FnOnce(Result<(&<E as Entity>::State, StreamVersion), DispatchError>) -> Option<AfterQuery>
        + Send,
>;

/// Called when what a query saw is durable.
pub(crate) type AfterQuery = Waiter;

/// A command on its way to the actor, and all that its answer depends on.
pub(crate) struct CommandEnvelope<E: Entity> {
    pub(crate) body: Body<E::Command>,
    pub(crate) ctx: Context,
    /// When its sender no longer waits.
    pub(crate) expires: Option<Instant>,
    pub(crate) identity: Option<Identity>,
    pub(crate) says: Option<Says<E::Command>>,
    pub(crate) searched: Searched,
    /// The span that was current where it was sent.
    pub(crate) caller: tracing::Span,
    pub(crate) answer: Answer<E>,
    pub(crate) admitted: Admitted,
}

/// What a command says, as numbers: two commands under one id are told apart by them.
pub(crate) struct Says<C> {
    pub(crate) fingerprint: u64,
    /// The number that earlier releases kept, for commands that they remembered.
    pub(crate) older: fn(&C) -> Option<u64>,
}

/// Whether the log was searched for an earlier sending of a command.
#[derive(Clone, Debug)]
pub(crate) enum Searched {
    /// Up to this commit, and it is not there.
    Through(LogSequence),
    /// The earlier sending is there.
    Found(Box<Remembered>),
}

impl Default for Searched {
    fn default() -> Self {
        Self::Through(LogSequence::ZERO)
    }
}

/// A command, or its bytes.
pub(crate) enum Body<C> {
    Typed(C),
    Encoded { codec: CodecId, bytes: Bytes },
}

impl<E: Entity> CommandEnvelope<E> {
    /// The id under which it is sent again, if it has one.
    pub(crate) fn given_id(&self) -> Option<Uuid> {
        self.identity.map(|_| self.ctx.command_id())
    }

    /// What its sender is told, who no longer waits.
    pub(crate) fn late(&self, outcome: Outcome) -> DispatchError {
        let deadline = self.ctx.deadline().unwrap_or_default();
        DispatchError::DeadlineExceeded { deadline, outcome }
    }

    /// Whether it says something else than the command whose fingerprint the log has.
    pub(crate) fn differs_from(&self, recorded: Option<u64>) -> bool {
        let (Some(recorded), Some(says)) = (recorded, &self.says) else {
            return false;
        };
        let older = || match &self.body {
            Body::Typed(command) => contain(|| (says.older)(command)).ok().flatten(),
            Body::Encoded { .. } => None,
        };
        recorded != says.fingerprint && older() != Some(recorded)
    }
}

/// A command that is back in the inbox, after a look into the log.
pub(crate) struct Returned<E: Entity> {
    pub(crate) command: Box<CommandEnvelope<E>>,
    pub(crate) away: Away,
}

/// Says that a command is away, until it is decided or refused. Later sendings under its id wait for that: whatever they
/// were told would else be no longer true once this one is carried out. When it is dropped, within the actor's turn, they
/// are next.
pub(crate) struct Away {
    instance: Weak<dyn Awaiting>,
    id: Uuid,
}

/// An instance, as what is away from it knows it.
pub(crate) trait Awaiting: Send + Sync + 'static {
    /// Nothing is away under this id any more: later sendings under it are next.
    fn is_back(&self, id: Uuid);
}

impl Away {
    pub(crate) fn new(instance: Weak<dyn Awaiting>, id: Uuid) -> Self {
        Self { instance, id }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.upgrade() {
            instance.is_back(self.id);
        }
    }
}

/// Refuses a command of which it is not known whether it was carried out when it was sent before.
pub(crate) fn refuse_unseen<E: Entity>(command: Box<CommandEnvelope<E>>, error: DispatchError) {
    let id = command.given_id();
    refuse(command, error.unless_sent_before(id));
}

/// Answers a command with an error, and lets it go.
#[expect(clippy::boxed_local, reason = "it comes out of the inbox in its box")]
pub(crate) fn refuse<E: Entity>(command: Box<CommandEnvelope<E>>, error: DispatchError) {
    let CommandEnvelope {
        answer: to, body, ..
    } = *command;
    let_go(body);
    answer(to, Err(error.into()));
}
