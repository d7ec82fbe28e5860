//! Where a saga instance is.

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
}

/// Where a saga instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SagaStatus {
    /// No instance of this id was ever started.
    Unknown,
    /// Effects are under way.
    Running,
    /// It waits for an event or a timer.
    Waiting {
        /// The timers that are armed, and when they are due.
        timers: Vec<(String, Timestamp)>,
    },
    /// An effect failed for reasons that are not the domain's, and is tried again.
    Retrying {
        /// The effect.
        key: String,
        /// How many attempts failed.
        attempt: u32,
        /// When it is tried next.
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
    /// An undo failed for good. The others were run; this one waits for a person.
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
    Ended(Ending),
}
