//! Reading single events: for looking at a log, where commits are more than one wants to know.

use bytes::Bytes;
use chronicler_domain::{
    GlobalPosition, LogSequence, Metadata, SchemaVersion, StreamId, StreamVersion, Timestamp,
};
use futures::TryStreamExt;
use uuid::Uuid;

use crate::codec::CodecId;
use crate::error::ReadError;
use crate::frame::EventRef;
use crate::log::EventLog;
use crate::query::{AllQuery, Direction, Filter, Start, StreamQuery};

/// One event as it was recorded, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// Its id.
    pub id: Uuid,
    /// Its stream.
    pub stream: StreamId,
    /// Its place in its stream.
    pub version: StreamVersion,
    /// Its place in the log.
    pub position: GlobalPosition,
    /// The commit it belongs to.
    pub sequence: LogSequence,
    /// The id of that commit.
    pub commit_id: Uuid,
    /// When that commit was accepted.
    pub timestamp: Timestamp,
    /// Who caused that commit, and what caused that.
    pub commit_metadata: Metadata,
    /// The stable name of its type.
    pub event_type: String,
    /// The schema version of its payload.
    pub schema_version: SchemaVersion,
    /// How its payload is encoded.
    pub codec: CodecId,
    /// Its payload.
    pub payload: Bytes,
    /// Metadata of this event alone.
    pub metadata: Bytes,
}

impl RecordedEvent {
    /// A copy of an event in a frame; `None` if its stream has a name that this release refuses.
    pub fn of(event: &EventRef<'_>) -> Option<Self> {
        let commit = event.commit();
        Some(Self {
            id: event.id(),
            stream: event.part().stream()?,
            version: event.version(),
            position: event.position(),
            sequence: commit.sequence(),
            commit_id: commit.commit_id(),
            timestamp: commit.timestamp(),
            commit_metadata: commit.metadata(),
            event_type: event.event_type().to_owned(),
            schema_version: event.schema_version(),
            codec: event.codec(),
            payload: Bytes::copy_from_slice(event.payload()),
            metadata: Bytes::copy_from_slice(event.metadata()),
        })
    }
}

/// The events of a stream with versions `from..=to`, at most `limit` of them; `None` if nothing was ever recorded
/// in the stream. `Backward` begins at `to`.
///
/// # Errors
/// [`ReadError`] of the log; nothing is left out in silence.
pub async fn read_events(
    log: &dyn EventLog,
    stream: &StreamId,
    from: StreamVersion,
    to: StreamVersion,
    limit: usize,
    direction: Direction,
) -> Result<Option<Vec<RecordedEvent>>, ReadError> {
    if log.stream_head(stream).await?.is_none() {
        return Ok(None);
    }
    if limit == 0 || from > to {
        return Ok(Some(Vec::new()));
    }
    let mut commits = log.read_stream(StreamQuery {
        from,
        to,
        direction,
        // Each commit that is given has at least one of the events.
        commits_max: limit,
        ..StreamQuery::new(stream.clone())
    });
    let mut found = Vec::new();
    while let Some(batch) = commits.try_next().await? {
        for commit in &batch {
            let wanted = |event: &EventRef<'_>| {
                event.part().stream_key() == stream.key() && (from..=to).contains(&event.version())
            };
            collect(commit.events().filter(wanted), direction, &mut found);
        }
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(Some(found))
}

/// The events of the whole log with positions `from..=to` that pass the filter, at most `limit` of them.
/// `Backward` begins at `to`.
///
/// # Errors
/// [`ReadError`] of the log; nothing is left out in silence.
pub async fn read_all_events(
    log: &dyn EventLog,
    from: GlobalPosition,
    to: GlobalPosition,
    filter: Filter,
    limit: usize,
    direction: Direction,
) -> Result<Vec<RecordedEvent>, ReadError> {
    if limit == 0 || from > to {
        return Ok(Vec::new());
    }
    let mut commits = log.read_all(AllQuery {
        to,
        filter: filter.clone(),
        direction,
        ..AllQuery::from(Start::Position(from))
    });
    let mut found = Vec::new();
    while let Some(batch) = commits.try_next().await? {
        for commit in &batch {
            let wanted = |event: &EventRef<'_>| {
                (from..=to).contains(&event.position()) && filter.wants(event)
            };
            collect(commit.events().filter(wanted), direction, &mut found);
        }
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Adds the events of one commit in the order of reading.
fn collect<'a>(
    events: impl Iterator<Item = EventRef<'a>>,
    direction: Direction,
    found: &mut Vec<RecordedEvent>,
) {
    let first = found.len();
    found.extend(events.filter_map(|event| RecordedEvent::of(&event)));
    if direction == Direction::Backward
        && let Some(added) = found.get_mut(first..)
    {
        added.reverse();
    }
}
