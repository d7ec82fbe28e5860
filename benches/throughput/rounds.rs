//! How often and how long things are measured.

use std::time::Duration;

/// How often and how long things are measured.
pub(crate) struct Scale {
    /// Whether this only shows that the benchmark runs.
    pub(crate) quick: bool,
    /// Rounds of each measure; figures are medians over them.
    pub(crate) rounds: usize,
}

impl Scale {
    pub(crate) fn new(quick: bool) -> Self {
        Self {
            quick,
            rounds: if quick { 2 } else { 5 },
        }
    }

    /// A time in full, a twentieth of it for a quick run.
    pub(crate) fn time(&self, full: Duration) -> Duration {
        if self.quick { full / 20 } else { full }
    }

    /// A number in full, a fiftieth of it for a quick run.
    pub(crate) fn count(&self, full: u64) -> u64 {
        if self.quick { full.div_ceil(50) } else { full }
    }
}
