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
    /// What became of the command.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Rejected(_) => Outcome::NotApplied,
            Self::Failed(error) => error.outcome(),
        }
    }

    /// Whether the same command can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_retryable())
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
    /// Too many commands are under way.
    #[error(
        "{in_flight} commands are under way, and at most {in_flight_max} are taken ({what}); try again later"
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
        /// `NotApplied` if it passed before the decision, else `Unknown`.
        outcome: Outcome,
    },
    /// The application's code panicked. The state is as it was before.
    #[error("{what} of {stream} panicked: {message}")]
    Panicked {
        /// "decide" or "evolve".
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
    /// The instance could not be recovered.
    #[error("{stream} could not be recovered: {reason}")]
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
        "the command id was issued at {issued_at}, and {stream} remembers ids after {remembered_after}: it is refused, since it may have been executed before"
    )]
    CommandTooOld {
        /// The instance.
        stream: StreamId,
        /// When the id was made.
        issued_at: Timestamp,
        /// Ids after this are remembered.
        remembered_after: Timestamp,
    },
    /// The same id came with another command.
    #[error("command id {id} was used for another command to {stream}")]
    IdReused {
        /// The instance.
        stream: StreamId,
        /// The id.
        id: uuid::Uuid,
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
    /// What became of the command.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Append(error) => error.outcome(),
            Self::DecidedOnLost { source, .. } => source.outcome(),
            Self::DeadlineExceeded { outcome, .. } => *outcome,
            Self::ActorLost { .. } => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// Whether the same command can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Append(error) => {
                error.is_retryable()
                    || matches!(
                        error,
                        AppendError::WrongExpectedVersion { .. } | AppendError::Fenced { .. }
                    )
            }
            Self::Overloaded { .. }
            | Self::DeadlineExceeded { .. }
            | Self::DecidedOnLost { .. }
            | Self::ActorLost { .. } => true,
            Self::Read(error) => error.is_retryable(),
            _ => false,
        }
    }
}
