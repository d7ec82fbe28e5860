//! The terms of one effect: how often it is tried, how long, beside how many others, and on which branch it lies.

use std::time::Duration;

use chronicler_runtime::Backoff;
use serde::{Deserialize, Serialize};

/// A number of attempts, and the waits between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    pub(crate) budget: u32,
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Tries {
    /// So many attempts in all, at least 1, with waits of 100 ms to 30 s that double. Chance makes each shorter by up to
    /// half, so that what failed together is not tried again together.
    pub fn times(budget: u32) -> Self {
        Self {
            budget: budget.max(1),
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
        }
    }

    /// One attempt, and no other.
    pub fn once() -> Self {
        Self::times(1)
    }

    /// Other waits: the first, and the longest that doubling it leads to.
    #[must_use]
    pub fn between(self, first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            ..self
        }
    }

    /// How many attempts there are in all.
    pub fn budget(&self) -> u32 {
        self.budget
    }

    /// The wait after this attempt, counted from 1, before chance makes it shorter; `None` if it was the last.
    pub(crate) fn wait_after(&self, attempt: u32) -> Option<Duration> {
        (attempt < self.budget).then(|| Backoff::new(self.first, self.longest).longest(attempt))
    }
}

/// The fate of a child saga that is under way when its parent is compensated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Orphan {
    /// It is cancelled, and its end is waited for. One that has passed its pivot goes on to its end.
    #[default]
    Cancel,
    /// Its end is waited for.
    Wait,
    /// It goes on alone: the parent counts it as not done.
    Abandon,
}

/// The terms of one effect, beyond the options of the application. The fields are on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Terms {
    /// How often the effect is tried, instead of the options' number.
    pub tries: Option<Tries>,
    /// How often its undo is tried.
    pub undo_tries: Option<Tries>,
    /// How long one attempt of a call may take.
    pub patience: Option<Duration>,
    /// What it needs, and how many effects may use that at a time in this process.
    pub resource: Option<(String, u32)>,
    /// The forks it lies on a branch of, and the branch at each.
    pub branch: Vec<(u32, u32)>,
    /// What becomes of a child when its parent is compensated.
    pub orphan: Orphan,
}
