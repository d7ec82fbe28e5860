//! Which operation of a simulated disk fails, and how.

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The device answers with an error; nothing happens.
    Io,
    /// There is no room: writes, reservations and new files fail, everything else works.
    NoRoom,
    /// A write does half of what it should, then fails; anything else fails as a whole.
    Half,
}

/// Which operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The number of the first one.
    pub from: u64,
    /// How many in a row.
    pub count: u64,
    pub kind: FaultKind,
}

impl Fault {
    pub(super) fn hits(&self, operation: u64) -> bool {
        operation >= self.from && operation - self.from < self.count
    }
}
