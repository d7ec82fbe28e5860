//! The status of a saga instance, and its ending.

use chronicler_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It did what it was for.
    Completed,
    /// It undid what it had done.
    Compensated {
        /// Why.
        reason: String,
    },
    /// It gave up without undoing anything.
    Failed {
        /// Why.
        reason: String,
    },
    /// Somebody ended it as it was, without undoing anything.
    Terminated {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// It undid what could be undone; somebody gave up the rest.
    Abandoned {
        /// Why it was compensated.
        reason: String,
        /// The effects that were not undone.
        left: Vec<String>,
    },
}

impl Ending {
    /// In a word: `completed`, `compensated`, `failed`, `terminated`, `abandoned`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated { .. } => "compensated",
            Self::Failed { .. } => "failed",
            Self::Terminated { .. } => "terminated",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// Why, unless it did what it was for.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Completed => None,
            Self::Compensated { reason }
            | Self::Failed { reason }
            | Self::Terminated { reason, .. }
            | Self::Abandoned { reason, .. } => Some(reason),
        }
    }
}

/// Where a saga instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SagaStatus {
    /// No instance of this id was ever started.
    Unknown,
    /// Effects are under way.
    Running,
    /// It waits for an event, a signal or a timer.
    Waiting {
        /// For what, as the saga itself says it; else the keys of its timers.
        on: Vec<String>,
        /// When it last took an input.
        since: Timestamp,
        /// When the first of its timers is due.
        until: Option<Timestamp>,
    },
    /// Somebody paused it. Inputs wait until it is resumed.
    Paused {
        /// Why.
        reason: String,
    },
    /// An effect failed for reasons that are not the domain's, and is tried again.
    Retrying {
        /// The effect.
        key: String,
        /// How many attempts failed.
        attempt: u32,
        /// When it is tried next: `Timestamp::EPOCH` while an attempt is under way, `Timestamp::MAX` if it waits for something
        /// else than time.
        next: Timestamp,
    },
    /// An effect failed more often than its budget allows. It waits for a person.
    Parked {
        /// The effect.
        key: String,
        /// Why it failed last.
        reason: String,
    },
    /// Undos are under way.
    Compensating {
        /// Why.
        reason: String,
    },
    /// An undo failed for good, and waits for a person; the others are run.
    CompensationStuck {
        /// The effects whose undo is stuck, and why.
        stuck: Vec<(String, String)>,
    },
    /// Its own code failed. Inputs wait until it is released.
    Quarantined {
        /// Why.
        reason: String,
    },
    /// It is over.
    Ended {
        /// How.
        how: Ending,
    },
}

impl SagaStatus {
    /// In a word or two: `unknown`, `running`, `waiting`, `paused`, `retrying`, `parked`, `compensating`,
    /// `compensation stuck`, `quarantined`, `ended`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Waiting { .. } => "waiting",
            Self::Paused { .. } => "paused",
            Self::Retrying { .. } => "retrying",
            Self::Parked { .. } => "parked",
            Self::Compensating { .. } => "compensating",
            Self::CompensationStuck { .. } => "compensation stuck",
            Self::Quarantined { .. } => "quarantined",
            Self::Ended { .. } => "ended",
        }
    }
}
