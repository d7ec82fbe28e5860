//! Why a command was not answered with a receipt, and what became of it.

use std::sync::Arc;

use chronicler_domain::{InvalidId, StreamId, Timestamp};
use chronicler_store::codec::CodecError;
use chronicler_store::{AppendError, Outcome, ReadError};

/// Why a command has no receipt: the domain said no, or the machinery failed. Never mixed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError<R> {
    /// The domain said no. The state that it was decided on is durable.
    #[error("rejected: {0}")]
    Rejected(R),
    /// The machinery failed.
    #[error(transparent)]
    Failed(#[from] DispatchError),
}

impl<R> SendError<R> {
    /// What became of the command; see [`DispatchError::outcome`].
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Rejected(_) => Outcome::NotApplied,
            Self::Failed(error) => error.outcome(),
        }
    }

    /// Whether the same command can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Failed(error) => error.is_retryable(),
            Self::Rejected(_) => false,
        }
    }

    /// The rejection, if it is one.
    pub fn rejection(&self) -> Option<&R> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Failed(_) => None,
        }
    }
}

/// Why the machinery did not carry a command out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// The id cannot be one.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// No aggregate of this category was registered.
    #[error(
        "no aggregate of category {category:?} is registered: add it where the application is built"
    )]
    NotRegistered {
        /// The category.
        category: String,
    },
    /// Too many commands and looks at states are under way.
    #[error(
        "{in_flight} commands and looks are under way, and at most {in_flight_max} are taken ({what}); try again later"
    )]
    Overloaded {
        /// Which limit: "in all", or the instance.
        what: String,
        /// How many are under way.
        in_flight: usize,
        /// How many are taken.
        in_flight_max: usize,
    },
    /// The deadline passed first.
    #[error("the deadline {deadline} passed ({outcome:?})")]
    DeadlineExceeded {
        /// The deadline.
        deadline: Timestamp,
        /// `NotApplied` if it passed before the decision, and the command was not decided when it was sent before; else
        /// `Unknown`. `NotApplied` of a look at a state, which changes nothing.
        outcome: Outcome,
    },
    /// The application's code panicked. The state is as it was before.
    #[error("{what} of {stream} panicked: {message}")]
    Panicked {
        /// What of it: a decision, "decide or evolve", a look at the state, decoding or encoding something.
        what: &'static str,
        /// The instance.
        stream: StreamId,
        /// What the panic said.
        message: String,
    },
    /// A command, event, reply or rejection could not be encoded or decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The log refused or failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Something that this command was decided on did not become durable.
    #[error("the state that {stream} decided on did not become durable: {source}")]
    DecidedOnLost {
        /// The instance.
        stream: StreamId,
        /// What became of it.
        source: Box<AppendError>,
    },
    /// The instance could not be recovered at present: the disk, the index or something else that may pass. It is tried
    /// again with its next command.
    #[error("{stream} cannot be recovered at present: {reason}; try again later")]
    Recovery {
        /// The instance.
        stream: StreamId,
        /// Why.
        reason: String,
    },
    /// The instance has been set aside.
    #[error("{stream} is quarantined: {reason}; release it when the cause is mended")]
    Quarantined {
        /// The instance.
        stream: StreamId,
        /// Why.
        reason: Arc<str>,
    },
    /// The command id is older than what the instance remembers: it may have been executed before.
    #[error(
        "the command id was issued at {issued_at}, and {stream} remembers ids after {remembered_after}: it is refused, since it may have been executed before; look at the state before the command is sent under another id"
    )]
    CommandTooOld {
        /// The instance.
        stream: StreamId,
        /// When the id was made.
        issued_at: Timestamp,
        /// Ids after this are remembered.
        remembered_after: Timestamp,
    },
    /// The id was made so far ahead of this clock that it cannot be right, and nothing was carried out under it.
    #[error(
        "the command id was issued at {issued_at}, more than {ahead_max:?} ahead of the clock here ({now}), and nothing was done under it: set the clock of whoever made it"
    )]
    IdFromFuture {
        /// When the id says that it was made.
        issued_at: Timestamp,
        /// The runtime's clock.
        now: Timestamp,
        /// How far ahead an id may be:
        /// [`remembered_ahead_max`](crate::RuntimeOptions::remembered_ahead_max).
        ahead_max: std::time::Duration,
    },
    /// A command that says something else was carried out under this id, or was refused by the domain; that is durable.
    /// This sending was not decided and never will be. Two commands are told apart by what they say: where the command's
    /// type changed between two sendings (a field with a default, a variant that was renamed), the first one can be this
    /// very command to whoever sent it, so that its outcome is `Unknown`.
    #[error(
        "command id {id} was used for a command to {stream} that says something else, which was decided; this sending was not: give each command its own id, or look at the state if the command's type has changed since"
    )]
    IdReused {
        /// The instance.
        stream: StreamId,
        /// The id.
        id: uuid::Uuid,
    },
    /// The command was decided and is in the log, and its remembered answer cannot be encoded or decoded: the type of the
    /// reply or of the rejection has changed since.
    #[error(
        "command {id} to {stream} was decided ({outcome:?}) and is in the log, but its answer cannot be read: {source}; look at the state instead"
    )]
    AnswerUnreadable {
        /// The instance.
        stream: StreamId,
        /// The command.
        id: uuid::Uuid,
        /// `Applied` if it was accepted, `NotApplied` if the domain said no.
        outcome: Outcome,
        /// What the codec said.
        source: CodecError,
    },
    /// The command was sent before under the same id, and what became of that sending was not known when this one was
    /// answered. Sent again, it is answered from the log.
    #[error(
        "command {id} to {stream} was under way already, and what became of it is not known yet ({source}); send it again under the same id"
    )]
    FirstUnsettled {
        /// The instance.
        stream: StreamId,
        /// The command.
        id: uuid::Uuid,
        /// What happened while it waited.
        source: Box<AppendError>,
    },
    /// The log had to be asked whether the command was carried out before, and could not be read.
    #[error("whether command {id} to {stream} was carried out before cannot be read: {source}")]
    MemoryUnreadable {
        /// The instance.
        stream: StreamId,
        /// The command.
        id: uuid::Uuid,
        /// Why not.
        source: ReadError,
    },
    /// A command with an id was refused, and whether it was carried out when it was sent before is not known: too much is
    /// under way, its instance cannot be recovered, the runtime stops, the log has stopped. This sending wrote nothing and
    /// never will, so that whoever sent the command once knows that it was not applied.
    #[error("{source}; whether command {id} was carried out when it was sent before is not known")]
    RefusedUnseen {
        /// The command.
        id: uuid::Uuid,
        /// Why this sending was refused; [`reason`](Self::reason) gives it, too.
        source: Box<DispatchError>,
    },
    /// The actor ended while it worked on the command.
    #[error("the actor of {stream} ended while it worked on the command")]
    ActorLost {
        /// The instance.
        stream: StreamId,
    },
    /// The runtime is stopping or stopped.
    #[error("the application is stopping and takes no more commands")]
    Stopped,
    /// A read that the answer needed failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<std::convert::Infallible> for DispatchError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl DispatchError {
    /// What became of the command: of this sending and, if the command has an id, of all before it.
    ///
    /// So whoever sends a command again after `Unknown` can believe the answer, whatever it is. `NotApplied` is only said
    /// where it is known; a command with an id that is refused before its id could be looked up is `Unknown`
    /// ([`RefusedUnseen`](Self::RefusedUnseen)). Sent again under its id, it takes effect once.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Append(error) => error.outcome(),
            Self::DecidedOnLost { source, .. } => source.outcome(),
            Self::DeadlineExceeded { outcome, .. } | Self::AnswerUnreadable { outcome, .. } => {
                *outcome
            }
            Self::ActorLost { .. }
            | Self::CommandTooOld { .. }
            | Self::FirstUnsettled { .. }
            // What lies under the id may be this command, as an earlier release of its type said it.
            | Self::IdReused { .. }
            | Self::MemoryUnreadable { .. }
            | Self::RefusedUnseen { .. } => Outcome::Unknown,
            // Refused before it was decided, or decided in vain.
            Self::InvalidId(_)
            | Self::NotRegistered { .. }
            | Self::Overloaded { .. }
            | Self::Panicked { .. }
            | Self::Codec(_)
            | Self::Recovery { .. }
            | Self::Quarantined { .. }
            | Self::IdFromFuture { .. }
            | Self::Stopped
            | Self::Read(_) => Outcome::NotApplied,
        }
    }

    /// Whether the same command can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Append(error) => {
                // Decided again, on what the log now holds, it fits.
                let lost_to_another = matches!(
                    error,
                    AppendError::WrongExpectedVersion { .. } | AppendError::Fenced { .. }
                );
                lost_to_another || error.is_retryable()
            }
            Self::RefusedUnseen { source, .. } => source.is_retryable(),
            Self::Overloaded { .. }
            | Self::DeadlineExceeded { .. }
            | Self::DecidedOnLost { .. }
            | Self::FirstUnsettled { .. }
            | Self::Recovery { .. }
            | Self::ActorLost { .. } => true,
            Self::Read(error) | Self::MemoryUnreadable { source: error, .. } => {
                error.is_retryable()
            }
            Self::InvalidId(_)
            | Self::NotRegistered { .. }
            | Self::Panicked { .. }
            | Self::Codec(_)
            | Self::Quarantined { .. }
            | Self::CommandTooOld { .. }
            | Self::IdFromFuture { .. }
            | Self::IdReused { .. }
            | Self::AnswerUnreadable { .. }
            | Self::Stopped => false,
        }
    }

    /// Why the command was refused: the error itself, or the one in a [`RefusedUnseen`](Self::RefusedUnseen).
    pub fn reason(&self) -> &Self {
        match self {
            Self::RefusedUnseen { source, .. } => source,
            other => other,
        }
    }

    /// The same of a command of which it is not known, if it has an id, what became of it when it was sent before.
    pub(crate) fn unless_sent_before(self, id: Option<uuid::Uuid>) -> Self {
        match id {
            Some(id) if self.outcome() == Outcome::NotApplied => Self::RefusedUnseen {
                id,
                source: Box::new(self),
            },
            _ => self,
        }
    }
}
