//! The identity of a command that must not take effect twice.

use chronicler_domain::{LogSequence, Timestamp};

/// Why the outcome of a command is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The caller gave the id.
    Caller { issued_at: Timestamp },
    /// A saga decided it, in this commit.
    Effect { decided_at: LogSequence },
}
