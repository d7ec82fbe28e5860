//! The queue of one instance. Ours, not the actor's mailbox: it is bounded and outlives the actor.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use chronicler_domain::{Context, LogSequence, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::actor::{Away, Returned};
use crate::contain::contain;
use crate::core::Admitted;
use crate::dedup::{Remembered, Run, Span};
use crate::entity::Entity;
use crate::error::{DispatchError, SendError};
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
    GivenUp(Away<E>),
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

/// Called with the state as decided so far, or with the reason why there is none.
pub(crate) type Query<E> = Box<
    dyn FnOnce(Result<(&<E as Entity>::State, StreamVersion), DispatchError>) -> Option<AfterQuery>
        + Send,
>;

/// Called when what a query saw is durable.
pub(crate) type AfterQuery = crate::in_flight::Waiter;

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

/// Why the outcome of a command is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The caller gave the id.
    Caller { issued_at: Timestamp },
    /// A saga decided it, in this commit.
    Effect { decided_at: LogSequence },
}

/// Places that an empty queue keeps. With the few bytes of a place they are less than the actor's own; a burst that needs
/// more asks for them a few times, and not once an envelope.
const ROOM_KEPT: usize = 32;

/// The queue itself; always behind the instance's lock.
pub(crate) struct Inbox<E: Entity> {
    queue: VecDeque<Envelope<E>>,
    /// The actor has been told, or is at it.
    scheduled: bool,
    /// The actor has ended for good: whoever comes must take a new instance.
    retired: bool,
}

/// What became of a push.
pub(crate) enum Pushed<E: Entity> {
    /// It waits; the actor is at it already.
    Queued,
    /// It waits, and the actor must be told.
    Wake,
    /// The instance has been passivated: take a new one.
    Retired(Envelope<E>),
    /// So many wait, which is too many.
    Full(Envelope<E>, usize),
}

impl<E: Entity> Default for Inbox<E> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            scheduled: false,
            retired: false,
        }
    }
}

impl<E: Entity> Inbox<E> {
    /// `elsewhere` of those that wait at the instance are not in the queue.
    pub(crate) fn push(
        &mut self,
        envelope: Envelope<E>,
        elsewhere: usize,
        limit: usize,
    ) -> Pushed<E> {
        if self.retired {
            return Pushed::Retired(envelope);
        }
        let waiting = self.queue.len() + elsewhere;
        if waiting >= limit && matches!(envelope, Envelope::Command(_) | Envelope::Query(_)) {
            return Pushed::Full(envelope, waiting);
        }
        self.queue.push_back(envelope);
        if std::mem::replace(&mut self.scheduled, true) {
            Pushed::Queued
        } else {
            Pushed::Wake
        }
    }

    /// Queues commands before all others, in their order, and says whether the actor must be told. Gives them back when the
    /// instance has ended.
    pub(crate) fn push_first(
        &mut self,
        commands: Vec<Box<CommandEnvelope<E>>>,
    ) -> Result<bool, Vec<Box<CommandEnvelope<E>>>> {
        if self.retired {
            return Err(commands);
        }
        for command in commands.into_iter().rev() {
            self.queue.push_front(Envelope::Command(command));
        }
        Ok(!std::mem::replace(&mut self.scheduled, true))
    }

    /// The next envelope; `None` ends the actor's turn.
    pub(crate) fn next(&mut self) -> Option<Envelope<E>> {
        let next = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > ROOM_KEPT {
            // An instance that is left alone after a burst does not keep the room for it.
            self.queue.shrink_to(ROOM_KEPT);
        }
        self.scheduled = next.is_some();
        next
    }

    /// Whether nothing waits; if so the actor is told of what comes.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.scheduled = !self.queue.is_empty();
        !self.scheduled
    }

    /// Everything that waits, for failing it. The actor's turn goes on.
    pub(crate) fn drain(&mut self) -> Vec<Envelope<E>> {
        self.queue.drain(..).collect()
    }

    /// Ends the instance with what waits.
    pub(crate) fn end(&mut self) -> Vec<Envelope<E>> {
        self.retired = true;
        self.drain()
    }

    /// Marks the actor as told; says whether it was not.
    pub(crate) fn schedule(&mut self) -> bool {
        !self.retired && !std::mem::replace(&mut self.scheduled, true)
    }

    /// Ends the instance if nothing waits. Called by the actor within its turn.
    pub(crate) fn retire_if_empty(&mut self) -> bool {
        if self.queue.is_empty() {
            self.retired = true;
        }
        self.retired
    }
}
