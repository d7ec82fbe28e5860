//! What a check says when a store does not keep its promise.

use std::fmt::{self, Debug, Display};
use std::panic::Location;

/// One broken promise, and the line of the kit that noticed. Anything that is an error becomes one with `?`.
#[derive(Clone)]
pub struct Violation {
    reason: String,
    noticed_at: &'static Location<'static>,
}

/// The checks that a store failed, by name.
#[derive(Clone, thiserror::Error)]
pub struct Failures {
    pub(super) failed: Vec<(&'static str, Violation)>,
    pub(super) checks: usize,
}

impl Violation {
    #[track_caller]
    pub(super) fn new(reason: impl Display) -> Self {
        Self {
            reason: reason.to_string(),
            noticed_at: Location::caller(),
        }
    }
}

impl<E: std::error::Error> From<E> for Violation {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::new(format_args!("an unexpected error: {error}"))
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.noticed_at)
    }
}

impl Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Failures {
    /// The failed checks: name and reason.
    pub fn failed(&self) -> &[(&'static str, Violation)] {
        &self.failed
    }
}

impl Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} checks failed:", self.failed.len(), self.checks)?;
        for (name, violation) in &self.failed {
            write!(f, "\n  {name}: {violation}")?;
        }
        Ok(())
    }
}

impl Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A violation unless this holds.
#[track_caller]
pub(super) fn ensure(holds: bool, what: impl Display) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(what))
    }
}

/// A violation unless both are the same.
#[track_caller]
pub(super) fn equal<T: PartialEq + Debug>(
    what: impl Display,
    found: T,
    wanted: T,
) -> Result<(), Violation> {
    if found == wanted {
        Ok(())
    } else {
        Err(Violation::new(format_args!(
            "{what}: found {found:?}, and {wanted:?} was promised"
        )))
    }
}
