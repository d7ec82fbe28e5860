//! How a command ends: exit codes, and errors that know theirs.

use std::path::PathBuf;
use std::process::ExitCode;

use chronicler::operator::{AskError, OperatorError};
use chronicler_store::journal::MaintenanceError;
use chronicler_store::{OpenError, ReadError};

/// How a command ended; the number is the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked to, and found nothing wrong.
    Done = 0,
    /// Something in the directory is not as it was written, or a running application's log takes no more writes.
    Damaged = 1,
    /// The directory or a file cannot be opened or read, the output cannot be written, or a running application gave no
    /// answer.
    CannotOpen = 2,
    /// It was not done: something stands in the way, or the answer was no. Nothing was changed.
    Refused = 3,
    /// The arguments are wrong.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The directory cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The directory as a whole cannot be dealt with.
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    /// A file outside the journal cannot be read or written.
    #[error("{doing} {path} failed: {source}", path = path.display())]
    File {
        /// What was tried: "reading", "writing".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Standard output cannot be written to.
    #[error("writing the output failed: {0}")]
    Output(std::io::Error),
    /// A running application said no, or did not answer.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A running application gave no answer; what was asked may have been done.
    #[error(transparent)]
    NoAnswer(AskError),
    /// Something stands in the way.
    #[error("{0}")]
    Refused(String),
    /// An argument is wrong.
    #[error("{0}")]
    Usage(String),
}

impl ToolError {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Open(error) => of_open(error),
            Self::Read(error) => of_read(error),
            Self::Maintenance(error) => match error {
                MaintenanceError::Open(error) => of_open(error),
                MaintenanceError::Read(error) => of_read(error),
                MaintenanceError::Refused { .. } | MaintenanceError::NotReproducible { .. } => {
                    Exit::Refused
                }
                MaintenanceError::Damaged { .. } => Exit::Damaged,
                _ => Exit::CannotOpen,
            },
            Self::Operator(error) => match error {
                OperatorError::Invalid(_) => Exit::Usage,
                OperatorError::NotFound(_) | OperatorError::Refused(_) => Exit::Refused,
                _ => Exit::CannotOpen,
            },
            Self::File { .. } | Self::Output(_) | Self::NoAnswer(_) => Exit::CannotOpen,
            Self::Refused(_) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
        }
    }

    /// Whether the reader of the output went away, which is no error of ours: `chronicler events DIR | head`.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

fn of_open(error: &OpenError) -> Exit {
    match error {
        OpenError::Damaged(error) => of_read(error),
        // An application has it: nothing is wrong with the directory.
        OpenError::Locked { .. } => Exit::Refused,
        _ => Exit::CannotOpen,
    }
}

fn of_read(error: &ReadError) -> Exit {
    match error {
        ReadError::Damaged { .. } => Exit::Damaged,
        ReadError::BeyondHead { .. } => Exit::Usage,
        _ => Exit::CannotOpen,
    }
}
