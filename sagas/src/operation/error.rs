//! The error of an order that was not carried out.

use chronicler_runtime::DispatchError;

use crate::execution::asking::AskError;
use crate::instance::transition::refusal::SagaRefusal;

/// An order was not carried out: an instance refused it, or a fault came in between.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct OperateError {
    reason: String,
    refused: bool,
}

impl OperateError {
    /// Whether it was refused for what the saga is (over, past its pivot) or what it was given (its code cannot take that),
    /// and not for a fault.
    pub fn is_refusal(&self) -> bool {
        self.refused
    }

    pub(crate) fn refused(reason: String) -> Self {
        Self {
            reason,
            refused: true,
        }
    }

    /// The same, for something that had been done by then.
    pub(crate) fn after(self, what: &str) -> Self {
        Self {
            reason: format!("{what}: {}", self.reason),
            refused: self.refused,
        }
    }

    pub(crate) fn failed(error: impl ToString) -> Self {
        Self {
            reason: error.to_string(),
            refused: false,
        }
    }
}

impl From<AskError> for OperateError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => Self {
                reason: refusal.to_string(),
                refused: true,
            },
            AskError::Failed(DispatchError::DeadlineExceeded { .. }) => Self::failed(
                "it gave no answer within some seconds: it cannot be recovered at present, or the log takes nothing. Whether it was done is not known: look at it, and ask again",
            ),
            AskError::Failed(error) => Self::failed(error),
        }
    }
}

impl From<SagaRefusal> for OperateError {
    fn from(refusal: SagaRefusal) -> Self {
        AskError::Refused(refusal).into()
    }
}
