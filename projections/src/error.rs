//! What can go wrong when a view is read, waited for, started or rebuilt.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_store::{ReadError, StoreError};

/// Why a view gave no answer. Reading changes nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The view has not yet reached the head that was found when it was opened.
    #[error(
        "projection {name:?} is being built: it has folded {at} of {of} events; try again later"
    )]
    Rebuilding {
        /// The projection.
        name: Arc<str>,
        /// How far it has come.
        at: GlobalPosition,
        /// How far it has to come before it answers.
        of: GlobalPosition,
    },
    /// The projection failed before its view could answer at all.
    #[error("projection {name:?} failed before its view was ready: {reason}")]
    Failed {
        /// The projection.
        name: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// A row in the store cannot be read as the projection's row type.
    #[error(
        "a row of projection {name:?} cannot be decoded ({reason}): raise ROW_VERSION when the row type changes, or rebuild the projection"
    )]
    Undecodable {
        /// The projection.
        name: Arc<str>,
        /// What the codec said.
        reason: Arc<str>,
    },
    /// The store did not give a row.
    #[error("a row of projection {name:?} cannot be read: {source}")]
    Store {
        /// The projection.
        name: Arc<str>,
        /// What the store said.
        source: StoreError,
    },
}

impl ViewError {
    /// Whether the same read can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Rebuilding { .. } => true,
            // A table that the store has lost is built again.
            Self::Store { source, .. } => source.is_retryable(),
            Self::Failed { .. } | Self::Undecodable { .. } => false,
        }
    }
}

/// Why waiting for a position ended without reaching it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The log has no such position: waiting for it could go on for ever.
    #[error(
        "position {position} is beyond the log, which ends at {head}: it comes from another log, or from an older copy of this one"
    )]
    BeyondHead {
        /// What was asked for.
        position: GlobalPosition,
        /// The last durable position.
        head: GlobalPosition,
    },
    /// The deadline passed first.
    #[error(
        "projection {name:?} did not reach position {position} within {waited:?}: it is at {published}"
    )]
    TimedOut {
        /// The projection.
        name: Arc<str>,
        /// What was asked for.
        position: GlobalPosition,
        /// How far the view has come.
        published: GlobalPosition,
        /// How long the wait was.
        waited: Duration,
    },
    /// The projection was stopped before it got there.
    #[error("projection {name:?} was stopped at position {published}, before {position}")]
    Stopped {
        /// The projection.
        name: Arc<str>,
        /// What was asked for.
        position: GlobalPosition,
        /// Where it was stopped.
        published: GlobalPosition,
    },
    /// The projection failed before it got there.
    #[error("projection {name:?} failed at position {published}, before {position}: {reason}")]
    Failed {
        /// The projection.
        name: Arc<str>,
        /// What was asked for.
        position: GlobalPosition,
        /// Where it stands.
        published: GlobalPosition,
        /// Why it failed.
        reason: Arc<str>,
    },
    /// Too many already wait for this projection.
    #[error("{waiting} already wait for projection {name:?}; try again later")]
    Overloaded {
        /// The projection.
        name: Arc<str>,
        /// How many wait.
        waiting: usize,
    },
    /// The position was reached, and the view could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl WaitError {
    /// Whether the same wait can succeed later without anything being mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Overloaded { .. } => true,
            Self::View(error) => error.is_retryable(),
            Self::BeyondHead { .. } | Self::Stopped { .. } | Self::Failed { .. } => false,
        }
    }
}

/// Why projections could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The definitions contradict each other or are incomplete; every problem is named.
    #[error("the projections cannot be started: {}", problems.join("; "))]
    Invalid {
        /// What is wrong, one sentence each.
        problems: Vec<String>,
    },
    /// Projections failed while their views were being brought up to date.
    #[error("projections failed while starting: {}", failed.iter().map(|(name, reason)| format!("{name:?}: {reason}")).collect::<Vec<_>>().join("; "))]
    Failed {
        /// Name and reason of each.
        failed: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// Why a projection was not rebuilt. Its view answers as before.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// There is no projection of this name.
    #[error("there is no projection {name:?}")]
    Unknown {
        /// The name.
        name: Arc<str>,
    },
    /// One rebuild at a time.
    #[error("projection {name:?} is already being rebuilt: wait for it, or cancel it")]
    AlreadyRunning {
        /// The projection.
        name: Arc<str>,
    },
    /// Someone cancelled it.
    #[error("the rebuild of projection {name:?} was cancelled")]
    Cancelled {
        /// The projection.
        name: Arc<str>,
    },
    /// The projection is not running.
    #[error("projection {name:?} is not running, so it cannot be rebuilt")]
    NotRunning {
        /// The projection.
        name: Arc<str>,
    },
    /// An event could not be folded, and the failure policy says stop.
    #[error("the rebuild of projection {name:?} failed: {reason}")]
    Failed {
        /// The projection.
        name: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
}

/// Why a verb about events that were set aside was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParkedError {
    /// There is no projection of this name.
    #[error("there is no projection {name:?}")]
    Unknown {
        /// The name.
        name: Arc<str>,
    },
    /// The projection is not running.
    #[error(
        "projection {name:?} is not running: start the application again, which tries its parked events again, too"
    )]
    NotRunning {
        /// The projection.
        name: Arc<str>,
    },
    /// The drop would leave out as many events for good as may be, and the projection would then read nothing more. Nothing
    /// was dropped.
    #[error(
        "{asked} events of projection {name:?} cannot be left out for good: {skipped} are, and with {most} (parked_events_max) nothing more is read; drop at most {left}, mend the projection and retry or rebuild it, or raise parked_events_max"
    )]
    NoRoom {
        /// The projection.
        name: Arc<str>,
        /// How many events the drop is about.
        asked: usize,
        /// How many are left out already.
        skipped: usize,
        /// The limit, [`parked_events_max`](crate::ProjectionOptions::parked_events_max).
        most: usize,
        /// How many can still be dropped.
        left: usize,
    },
    /// The log did not take it.
    #[error(
        "what was asked of the parked events of projection {name:?} could not be recorded: {reason}"
    )]
    NotRecorded {
        /// The projection.
        name: Arc<str>,
        /// The error of the log.
        reason: Arc<str>,
    },
}

/// What stops a run of a projection's worker; it is then restarted by its supervisor, with backoff.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("reading the log failed: {0}")]
    Read(#[from] ReadError),
    #[error("the view could not be written: {0}")]
    Store(#[from] StoreError),
    #[error("a parked event could not be recorded: {0}")]
    Append(#[from] chronicler_store::AppendError),
    #[error(
        "a row cannot be decoded ({0}): raise ROW_VERSION when the row type changes, or rebuild the projection"
    )]
    Row(Arc<str>),
    #[error("the rows of the view are gone from the store; it is built again")]
    Lost,
    #[error("the thread that folded a batch ended without an answer")]
    Thread,
}
