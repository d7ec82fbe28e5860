//! What can be seen of a projection from outside.

use std::fmt;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;

/// What a projection is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectionStatus {
    /// It has not yet reached the head found at open; its view does not answer.
    CatchingUp {
        /// How far it has come.
        at: GlobalPosition,
        /// The head found at open.
        of: GlobalPosition,
    },
    /// It follows the log.
    Running,
    /// A handler could not take an event, which will be tried again.
    Retrying {
        /// The event.
        position: GlobalPosition,
        /// How often it was tried.
        tries: u32,
        /// Why the last try failed.
        reason: Arc<str>,
    },
    /// Its worker ended and is restarted by its supervisor; the view answers from where it stands.
    Restarting {
        /// Why it ended.
        reason: Arc<str>,
    },
    /// It was stopped; the view answers from where it stands.
    Stopped,
    /// It gave up; the view answers from where it stands.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

impl fmt::Display for ProjectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CatchingUp { at, of } => write!(f, "catching up, at {at} of {of}"),
            Self::Running => write!(f, "running"),
            Self::Retrying {
                position,
                tries,
                reason,
            } => write!(f, "retrying {position} (tried {tries} times): {reason}"),
            Self::Restarting { reason } => write!(f, "restarting: {reason}"),
            Self::Stopped => write!(f, "stopped"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

/// One projection at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: u32,
    /// What it is doing.
    pub status: ProjectionStatus,
    /// The last position that its view shows.
    pub position: GlobalPosition,
    /// The last durable position of the log.
    pub head: GlobalPosition,
    /// How many events the view is behind the log. An event that is tried again counts once.
    pub lag_events: u64,
    /// Events given to its handlers and published since it was started. An event that is tried again counts
    /// once, and a rebuild counts none.
    pub folded_events: u64,
    /// Events set aside, those held behind another one included.
    pub parked_events: u64,
    /// Events left out for good.
    pub skipped_events: u64,
    /// How many wait for a position.
    pub waiting: usize,
    /// How often its worker was restarted.
    pub restarts: u64,
    /// How far a rebuild beside the running view has come.
    pub rebuilding: Option<GlobalPosition>,
}

/// How far the start has come, for one projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartProgress {
    /// The projection.
    pub name: Arc<str>,
    /// How far it has come.
    pub at: GlobalPosition,
    /// The head found at open.
    pub of: GlobalPosition,
    /// Whether its view answers.
    pub ready: bool,
}
