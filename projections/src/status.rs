//! What can be seen of a projection from outside.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::GlobalPosition;

/// How long a view that is behind may stand still before it counts as unhealthy.
pub const UNHEALTHY_AFTER: Duration = Duration::from_secs(30);

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
    /// A handler could not take an event, which will be tried again. The later events of its key wait, and all others are
    /// folded, unless the failure policy says stop.
    Retrying {
        /// The event; the one that is tried next, if there are several.
        position: GlobalPosition,
        /// How often it was tried.
        tries: u32,
        /// Why the last try failed.
        reason: Arc<str>,
    },
    /// As many events are set aside as [may be](crate::ProjectionOptions::parked_events_max): nothing more is read until
    /// some are taken up or dropped. The view answers from where it stands.
    Full {
        /// How many, and what to do.
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

impl ProjectionStatus {
    /// Why it is not simply running, if an error is why.
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Retrying { reason, .. }
            | Self::Full { reason }
            | Self::Restarting { reason }
            | Self::Failed { reason } => Some(reason),
            Self::CatchingUp { .. } | Self::Running | Self::Stopped => None,
        }
    }
}

/// What holds up a view that is behind the log and does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unhealthy {
    /// The event in front of which it stands.
    pub position: GlobalPosition,
    /// For how long, in the log's time.
    pub still_for: Duration,
    /// Why, if that is known. `None`: the handler has not returned.
    pub reason: Option<Arc<str>>,
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (position, still_for) = (self.position, self.still_for);
        write!(
            f,
            "it has stood in front of event {position} for {still_for:?}"
        )?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
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
            Self::Full { reason } => write!(f, "full: {reason}"),
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
    /// How many events the view is behind the log. Those that are set aside do not count.
    pub lag_events: u64,
    /// The age of the oldest event that was read and is neither folded nor set aside. `None`: there is none.
    pub lag: Option<Duration>,
    /// What holds it up, if it is behind and has not moved for [`UNHEALTHY_AFTER`].
    pub unhealthy: Option<Unhealthy>,
    /// Events given to its handlers and published since it was started. An event that is tried again counts
    /// once, and a rebuild counts none.
    pub folded_events: u64,
    /// Events set aside, those that are tried again and those that wait for another one included.
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
#[non_exhaustive]
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
