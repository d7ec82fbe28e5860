//! Why an application did not start, or a view did not answer.

use chronicler_projections::{ViewError, WaitError};
use chronicler_runtime::BuildError;
use chronicler_sagas::SagaStartError;
use chronicler_store::OpenError;

/// Why an application did not start. What was opened has been closed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What was registered does not fit together; every problem, not only the first.
    #[error("the application cannot start: {}", .0.join("; "))]
    Problems(Vec<String>),
    /// The runtime did not start.
    #[error(transparent)]
    Runtime(#[from] BuildError),
    /// A projection failed before its view was ready.
    #[error(transparent)]
    Projections(#[from] chronicler_projections::StartError),
    /// A saga could not be registered.
    #[error(transparent)]
    Sagas(#[from] SagaStartError),
}

/// Why a view did not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewAccessError {
    /// The projection was not registered.
    #[error("projection {name:?} is not registered: add it where the application is built")]
    NotRegistered {
        /// Its name.
        name: &'static str,
    },
    /// The view cannot answer.
    #[error(transparent)]
    View(#[from] ViewError),
    /// It did not reach the position.
    #[error(transparent)]
    Wait(#[from] WaitError),
}
