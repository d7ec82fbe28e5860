//! What is wrong with a file, and where in it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a source cannot be read further. Everything before it was taken in.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        file: PathBuf,
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: field `{field}`: {problem}", file.display())]
    Malformed {
        file: PathBuf,
        /// Counted from 1.
        line: u64,
        field: String,
        problem: String,
    },
}

impl SourceError {
    /// A field of a line that is not what it should be.
    pub(crate) fn malformed(
        file: &Path,
        line: u64,
        field: impl Into<String>,
        problem: impl ToString,
    ) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            line,
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}
