//! What to read.

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, StreamId, StreamVersion, Timestamp};
use futures::stream::BoxStream;

use crate::error::ReadError;
use crate::frame::{EventRef, FactKind, RecordedCommit};

/// Commits in batches of the store's choosing, none of them empty unless
/// [`heartbeats`](StreamQuery::heartbeats) are wanted, in the order of the query. Ends at the
/// bound of the query, at the durable end as of the call, or after the first error.
///
/// Bounded in memory: a reader that stops reading stops the store reading ahead.
pub type CommitStream = BoxStream<'static, Result<Vec<RecordedCommit>, ReadError>>;

/// Which way to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From old to new.
    #[default]
    Forward,
    /// From new to old.
    Backward,
}

/// Which commits of one stream to read.
///
/// A commit is given whole if any of its events of this stream lies within `from..=to`, so the first and
/// last one may reach beyond. Commits without events (outcomes) are given if `eventless` is set, where they
/// lie between versions `from - 1` and `to`.
#[derive(Clone, Debug)]
pub struct StreamQuery {
    /// The stream.
    pub stream: StreamId,
    /// The first version wanted.
    pub from: StreamVersion,
    /// The last version wanted.
    pub to: StreamVersion,
    /// Only commits after this one.
    pub after: LogSequence,
    /// Only commits up to this one. Where it is a commit of the stream, nothing later is looked at.
    pub until: LogSequence,
    /// Whether commits without events are wanted, too.
    pub eventless: bool,
    /// Which way. `Backward` starts at `to`.
    pub direction: Direction,
    /// Stop after this many commits.
    pub commits_max: usize,
    /// Whether an empty batch is wanted from time to time while the store reads and has found nothing to give yet: who
    /// waits for a limited time can tell a long way from a standstill.
    pub heartbeats: bool,
}

impl StreamQuery {
    /// Everything in a stream, forward, commits without events left out.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            from: StreamVersion::new(1),
            to: StreamVersion::MAX,
            after: LogSequence::ZERO,
            until: LogSequence::MAX,
            eventless: false,
            direction: Direction::Forward,
            commits_max: usize::MAX,
            heartbeats: false,
        }
    }
}

/// Where to begin in the log. Inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the commit that holds this position, or the first after it. Commits without events that lie between
    /// it and the position before are given, too, where they are wanted.
    Position(GlobalPosition),
    /// At this commit.
    Sequence(LogSequence),
    /// At the first commit accepted at or after this time.
    Time(Timestamp),
}

/// Which commits a reader wants. Empty lists want everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these categories.
    pub categories: Vec<String>,
    /// Only these event types.
    pub event_types: Vec<String>,
    /// Only this tenant; the default tenant is `""`.
    pub tenant: Option<String>,
    /// Only this stream. To read one stream alone, a [`StreamQuery`] is faster.
    pub stream: Option<StreamId>,
}

impl Filter {
    /// Whether it wants everything.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a commit has an event that it wants.
    pub fn passes(&self, commit: &RecordedCommit) -> bool {
        self.is_open() || commit.events().any(|event| self.wants(&event))
    }

    /// Whether it wants an event.
    pub fn wants(&self, event: &EventRef<'_>) -> bool {
        let one_of =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
        let part = event.part();
        one_of(&self.categories, part.category())
            && one_of(&self.event_types, event.event_type())
            && self
                .tenant
                .as_ref()
                .is_none_or(|tenant| tenant == part.tenant())
            && self
                .stream
                .as_ref()
                .is_none_or(|stream| stream.key() == part.stream_key())
    }
}

/// Which commits of the whole log to read.
#[derive(Clone, Debug)]
pub struct AllQuery {
    /// Where to begin. For `Backward` this is the *lower* bound, where reading ends.
    pub start: Start,
    /// The last position wanted. Commits without events are given while they lie before it.
    pub to: GlobalPosition,
    /// Only commits with an event that passes; such a commit is given whole.
    pub filter: Filter,
    /// Whether commits without events are wanted, too (with an empty filter only).
    pub eventless: bool,
    /// Which way.
    pub direction: Direction,
    /// Stop after this many commits.
    pub commits_max: usize,
}

impl AllQuery {
    /// Everything from `start`, forward, commits without events left out.
    pub fn from(start: Start) -> Self {
        Self {
            start,
            to: GlobalPosition::MAX,
            filter: Filter::default(),
            eventless: false,
            direction: Direction::Forward,
            commits_max: usize::MAX,
        }
    }
}

/// Which facts to read.
#[derive(Clone, Debug)]
pub struct FactQuery {
    /// Their kind.
    pub kind: FactKind,
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// Only keys after this one; for paging.
    pub after: Option<Bytes>,
    /// Only keys up to and including this one.
    pub until: Option<Bytes>,
    /// At most so many.
    pub limit: usize,
}

impl FactQuery {
    /// All facts of a kind.
    pub fn all(kind: FactKind) -> Self {
        Self {
            kind,
            prefix: Bytes::new(),
            after: None,
            until: None,
            limit: usize::MAX,
        }
    }
}
