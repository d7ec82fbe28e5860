//! What a request is answered, and how errors of the library become those of the protocol.

use chronicler::runtime::{DispatchError, SendError};
use chronicler::store::{AppendError, ReadError, StoreError};
use serde_json::{Value, json};

/// What a request is answered.
pub(crate) type Answer = Result<Value, Refused>;

/// Why a request was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Conflict,
    NotFound,
    Invalid,
    Rejected,
    Unavailable,
    Unsupported,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}

impl Refused {
    pub(crate) fn new(kind: Kind, message: impl ToString) -> Self {
        let message = message.to_string();
        Self { kind, message }
    }

    pub(crate) fn invalid(message: impl ToString) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "kind": self.kind.name(), "msg": self.message })
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        let kind = match &error {
            AppendError::WrongExpectedVersion { .. }
            | AppendError::Fenced { .. }
            | AppendError::IdReused { .. } => Kind::Conflict,
            AppendError::TooLarge { .. } | AppendError::Invalid { .. } => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::BeyondHead { .. } => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::BeyondLog { .. } => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl From<DispatchError> for Refused {
    fn from(error: DispatchError) -> Self {
        let kind = match &error {
            DispatchError::InvalidId(_) => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl<R: std::fmt::Display> From<SendError<R>> for Refused {
    fn from(error: SendError<R>) -> Self {
        match error {
            SendError::Rejected(rejection) => Self::new(Kind::Rejected, rejection),
            SendError::Failed(error) => error.into(),
        }
    }
}
