//! What is handed to the log, and what it answers.

use std::borrow::Cow;

use bytes::Bytes;
use chronicler_domain::{
    GlobalPosition, LogSequence, Metadata, SchemaVersion, StreamId, StreamVersion, Timestamp,
};
use uuid::Uuid;

use crate::codec::CodecId;
use crate::error::AppendError;
use crate::frame::SideRecord;

/// One commit to be: events for any number of streams and side records, all or nothing.
#[derive(Clone, Debug)]
pub struct Append {
    /// The id of the commit: that of its command or effect. Unique in its streams, or it is a repetition.
    pub commit_id: Uuid,
    /// When it was decided. The log keeps timestamps from going backwards.
    pub at: Timestamp,
    /// Who caused it, and what caused that.
    pub metadata: Metadata,
    /// Its streams, each at most once.
    ///
    /// A part without events is only checked, unless it is the first one and
    /// [`owns_records`](Self::owns_records): then it is recorded even without events, so that what the commit
    /// holds is found through its stream.
    pub parts: Vec<StreamAppend>,
    /// What it holds beside events.
    pub records: Vec<SideRecord>,
}

impl Append {
    /// An empty commit: nothing in it yet.
    pub fn new(commit_id: Uuid, at: Timestamp) -> Self {
        Self {
            commit_id,
            at,
            metadata: Metadata::origin(commit_id),
            parts: Vec::new(),
            records: Vec::new(),
        }
    }

    /// The same with events for one more stream.
    #[must_use]
    pub fn stream(mut self, stream: StreamId, expected: Expected, events: Vec<NewEvent>) -> Self {
        self.parts.push(StreamAppend {
            stream,
            expected,
            events,
        });
        self
    }

    /// The same with one more side record.
    #[must_use]
    pub fn record(mut self, record: SideRecord) -> Self {
        self.records.push(record);
        self
    }

    /// Whether it holds a record that belongs to its first stream: an outcome or an effect. Such a commit
    /// without a stream part is [`AppendError::Invalid`].
    pub fn owns_records(&self) -> bool {
        let owned =
            |record: &SideRecord| matches!(record, SideRecord::Outcome(_) | SideRecord::Effect(_));
        self.records.iter().any(owned)
    }
}

/// What a commit is to append to one stream.
#[derive(Clone, Debug)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// What must be true of the stream.
    pub expected: Expected,
    /// What happened, in order; none only checks `expected`.
    pub events: Vec<NewEvent>,
}

/// What must be true of a stream for an append to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// Nothing.
    Any,
    /// It has no events.
    NoStream,
    /// It has at least one event.
    Exists,
    /// It is at this version; zero is [`NoStream`](Self::NoStream).
    Version(StreamVersion),
    /// It is at this version, *and* the last commit recorded in it (accepted, not necessarily durable yet)
    /// is this one; `None`: no commit was ever recorded in it.
    ///
    /// What an aggregate appends with. A version alone does not fence a pipeline: a foreign event can take
    /// the place of the one that the next command was decided on.
    Decided {
        /// The version that the decision was made on.
        version: StreamVersion,
        /// The commit that the decision was made on.
        commit_id: Option<Uuid>,
    },
}

/// An event to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id, by which a repeated append is recognised; `None` derives it from the commit's id.
    pub id: Option<Uuid>,
    /// The stable name of its type. 1 to 255 bytes.
    pub event_type: Cow<'static, str>,
    /// The schema version of its payload.
    pub schema_version: SchemaVersion,
    /// How its payload is encoded.
    pub codec: CodecId,
    /// Its payload.
    pub payload: Bytes,
    /// Metadata of this event alone; usually empty.
    pub metadata: Bytes,
}

/// An accepted and durable commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The number of the commit. Of a repetition: of the commit that holds its first event.
    pub sequence: LogSequence,
    /// When it was accepted.
    pub timestamp: Timestamp,
    /// Where the events of each part went, in the order of the append.
    pub parts: Vec<PlacedPart>,
    /// Whether it was a repetition: nothing was written, and the places are the original ones.
    pub duplicate: bool,
}

/// Where the events for one stream went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPart {
    /// The version of the first event; without events, the stream's next version.
    pub first_version: StreamVersion,
    /// The version of the last event; without events, the stream's present version.
    pub last_version: StreamVersion,
    /// The positions of the events.
    pub positions: Positions,
}

/// The positions of several events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Positions {
    /// One after the other.
    Run {
        /// The first one; zero if there are none.
        first: GlobalPosition,
        /// How many.
        count: u32,
    },
    /// Anywhere: the repetition of events that lie in several commits.
    Scattered(Vec<GlobalPosition>),
}

impl Positions {
    /// The last one; `None` if there are none.
    pub fn last(&self) -> Option<GlobalPosition> {
        match self {
            Self::Run { count: 0, .. } => None,
            Self::Run { first, count } => Some(first.plus(u64::from(*count)).previous()),
            Self::Scattered(positions) => positions.last().copied(),
        }
    }

    /// All of them, in order.
    pub fn to_vec(&self) -> Vec<GlobalPosition> {
        match self {
            Self::Run { first, count } => (0..u64::from(*count)).map(|n| first.plus(n)).collect(),
            Self::Scattered(positions) => positions.clone(),
        }
    }
}

/// What the log answers to an append.
pub type AppendResult = Result<Appended, AppendError>;

/// Called once, with the answer to one append; from the writer, so it must be quick and must not block.
pub type Completion = Box<dyn FnOnce(AppendResult) + Send>;
