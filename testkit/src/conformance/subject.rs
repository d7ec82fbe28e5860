//! The store under test, with what the checks do again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, SchemaVersion, StreamId, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{
    AllQuery, Append, AppendResult, Appended, CommitStream, Direction, Expected, Filter, NewEvent,
    OutcomeRecord, OutcomeResult, RecordedCommit, RecordedEvent, SideRecord, Start, Store,
    StreamQuery, read_all_events, read_events,
};
use futures::{StreamExt, TryStreamExt};
use uuid::Uuid;

use super::failure::{Violation, equal};

/// Where the ids of commits begin, far from those that single checks choose.
const FIRST_COMMIT_ID: u64 = 1_000_000;

/// The store under test, with what the checks do again and again.
pub(super) struct Subject {
    store: Arc<dyn Store>,
    commits: AtomicU64,
}

impl Subject {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            commits: AtomicU64::new(FIRST_COMMIT_ID),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(super) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// An empty commit with an id of its own.
    pub(super) fn commit(&self) -> Append {
        let number = self.commits.fetch_add(1, Ordering::Relaxed);
        Append::new(
            Uuid::from_u128(number.into()),
            Timestamp::from_micros(1_000),
        )
    }

    pub(super) async fn append(&self, append: Append) -> AppendResult {
        self.store.append(append).await
    }

    /// Appends so many events to a stream, whatever its version.
    pub(super) async fn write(
        &self,
        stream: &StreamId,
        count: usize,
    ) -> Result<Appended, Violation> {
        let append = self
            .commit()
            .stream(stream.clone(), Expected::Any, events(count));
        Ok(self.append(append).await?)
    }

    /// All events of a stream; none for an unknown one.
    pub(super) async fn events(&self, stream: &StreamId) -> Result<Vec<RecordedEvent>, Violation> {
        let (from, to) = (StreamVersion::new(1), StreamVersion::MAX);
        let found = read_events(
            self.store.as_ref(),
            stream,
            from,
            to,
            usize::MAX,
            Direction::Forward,
        )
        .await?;
        Ok(found.unwrap_or_default())
    }

    /// All events of the log.
    pub(super) async fn all_events(&self) -> Result<Vec<RecordedEvent>, Violation> {
        let (from, to) = (GlobalPosition::new(1), GlobalPosition::MAX);
        let filter = Filter::default();
        let found = read_all_events(
            self.store.as_ref(),
            from,
            to,
            filter,
            usize::MAX,
            Direction::Forward,
        );
        Ok(found.await?)
    }

    /// All commits of the log, those without events, too.
    pub(super) async fn all_commits(&self) -> Result<Vec<RecordedCommit>, Violation> {
        let everything = AllQuery {
            eventless: true,
            ..AllQuery::from(Start::Position(GlobalPosition::new(1)))
        };
        commits(self.store.read_all(everything)).await
    }

    pub(super) async fn stream_commits(
        &self,
        query: StreamQuery,
    ) -> Result<Vec<RecordedCommit>, Violation> {
        commits(self.store.read_stream(query)).await
    }

    /// The version of a stream; zero for an unknown one.
    pub(super) async fn version(&self, stream: &StreamId) -> Result<u64, Violation> {
        let head = self.store.stream_head(stream).await?;
        Ok(head.map_or(0, |head| head.version.get()))
    }

    /// A violation if doing something changed the log.
    pub(super) async fn is_unchanged_since(
        &self,
        before: &[RecordedCommit],
    ) -> Result<(), Violation> {
        let bytes = |commits: &[RecordedCommit]| -> Vec<Bytes> {
            commits.iter().map(|c| c.as_bytes().clone()).collect()
        };
        let now = self.all_commits().await?;
        equal("the bytes of the log", bytes(&now), bytes(before))
    }
}

/// Reads to the end; a batch without commits is a violation.
pub(super) async fn commits(mut stream: CommitStream) -> Result<Vec<RecordedCommit>, Violation> {
    let mut found = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        if batch.is_empty() {
            return Err(Violation::new("a batch has no commits"));
        }
        found.extend(batch);
    }
    match stream.next().await {
        None => Ok(found),
        Some(_) => Err(Violation::new("a stream of commits goes on after its end")),
    }
}

/// So many events that can be told apart.
pub(super) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|number| event("Happened", number)).collect()
}

/// An event with a number as its payload.
pub(super) fn event(event_type: &'static str, number: usize) -> NewEvent {
    NewEvent {
        id: None,
        event_type: event_type.into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: (number as u64).to_le_bytes().to_vec().into(),
        metadata: Bytes::new(),
    }
}

/// A rejection to be remembered.
pub(super) fn rejection() -> SideRecord {
    SideRecord::Outcome(OutcomeRecord {
        result: OutcomeResult::Rejection,
        decided_at: None,
        command_hash: None,
        type_name: "Refused".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from_static(b"no"),
    })
}

/// A stream of the default tenant.
pub(super) fn account(id: &str) -> Result<StreamId, Violation> {
    Ok(StreamId::of("account", id)?)
}

pub(super) fn version(version: u64) -> Expected {
    Expected::Version(StreamVersion::new(version))
}

pub(super) fn decided(version: u64, commit_id: Option<Uuid>) -> Expected {
    Expected::Decided {
        version: StreamVersion::new(version),
        commit_id,
    }
}
