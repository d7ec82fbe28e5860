//! Why maintenance of a data directory was not done.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{OpenError, ReadError};

/// Why maintenance of a data directory was not done. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintenanceError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is to be read is damaged, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something stands in the way.
    #[error("{path}: {reason}", path = path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What stands in the way, and what to do.
        reason: String,
    },
    /// A commit that is to be imported would not become what it was.
    #[error("{reason}")]
    NotReproducible {
        /// Why not.
        reason: String,
    },
    /// A file that is no segment does not hold what was written there.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The operating system refused.
    #[error("{operation} failed: {source}")]
    Io {
        /// What failed, with the path.
        operation: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl MaintenanceError {
    pub(super) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }
}

/// Names what failed where.
pub(super) fn io_failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> MaintenanceError {
    let operation = format!("{doing} {}", path.display());
    move |source| MaintenanceError::Io { operation, source }
}
