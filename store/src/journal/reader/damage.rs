//! What is wrong with a data directory, where, and what can be done about it.

use std::fmt;
use std::path::PathBuf;

use chronicler_domain::{GlobalPosition, LogSequence};

use crate::error::ReadError;
use crate::journal::marker::LogEnd;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The last good event before it.
    pub position: GlobalPosition,
    /// The last good commit before it.
    pub sequence: LogSequence,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: Remedy,
}

/// What to do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Nothing is lost: the next opening for writing makes it again from the frames.
    Open,
    /// Commits are lost or in doubt: take the file from a backup.
    Restore,
}

impl Damage {
    pub(super) fn new(file: PathBuf, offset: u64, end: &LogEnd, reason: String) -> Self {
        Self {
            file,
            offset,
            position: end.position,
            sequence: end.sequence,
            reason,
            remedy: Remedy::Restore,
        }
    }

    /// A read that failed in a file, as damage of that file.
    pub(super) fn of(error: ReadError, file: PathBuf, end: &LogEnd) -> Self {
        match error {
            ReadError::Damaged {
                segment,
                offset,
                position,
                sequence,
                reason,
            } => Self {
                file: segment,
                offset,
                position,
                sequence,
                reason,
                remedy: Remedy::Restore,
            },
            other => Self::new(file, 0, end, other.to_string()),
        }
    }

    pub(super) fn mended_by_opening(mut self) -> Self {
        self.remedy = Remedy::Open;
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is damaged at byte {} (after position {}, commit {}): {}",
            self.file.display(),
            self.offset,
            self.position,
            self.sequence,
            self.reason
        )
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => {
                "the next start of the application, or `chronicler repair`, makes it again from the frames: no commit that is there is lost by that"
            }
            Self::Restore => {
                "use a backup (`chronicler restore`); without one `chronicler repair` cuts the log before the damage and keeps the originals"
            }
        })
    }
}
