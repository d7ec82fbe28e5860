//! Commits that can be told apart, and a log read back.

use std::path::Path;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, SchemaVersion, StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{
    AllQuery, Append, EventLog, Expected, JournalStore, NewEvent, OpenError, ReadError,
    SledOptions, SledStore, Start,
};
use futures::TryStreamExt;
use uuid::Uuid;

/// Opens a store with small segments, so that a short history has several.
pub(crate) fn open(data: &Path) -> Result<JournalStore, OpenError> {
    SledStore::open(data, SledOptions::default().segment_bytes(64 << 10))
}

/// Commit number `number`: two events of `bytes` bytes for one of a few streams.
pub(crate) fn commit(number: u64, bytes: usize) -> Append {
    let payload = Bytes::from(vec![number as u8; bytes]);
    let event = |event_type: &'static str| NewEvent {
        id: None,
        event_type: event_type.into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: payload.clone(),
        metadata: Bytes::new(),
    };
    let stream = StreamId::of("account", &format!("a{}", number % 50)).unwrap();
    let at = Timestamp::from_micros(number);
    Append::new(Uuid::from_u128(u128::from(number)), at).stream(
        stream,
        Expected::Any,
        vec![event("Opened"), event("Closed")],
    )
}

/// The numbers of all commits. Each is whole, and neither sequences nor positions have gaps.
pub(crate) async fn numbers(log: &dyn EventLog) -> Result<Vec<u64>, ReadError> {
    let mut batches = log.read_all(AllQuery::from(Start::Position(GlobalPosition::new(1))));
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for commit in batch {
            let number = commit.commit_id().as_u128() as u64;
            found.push(number);
            let count = found.len() as u64;
            assert_eq!(commit.sequence().get(), count);
            assert_eq!(commit.last_position().get(), 2 * count);
            let whole = |event: chronicler_store::EventRef<'_>| {
                event.payload().iter().all(|byte| *byte == number as u8)
            };
            assert_eq!(commit.events().filter(|event| whole(*event)).count(), 2);
        }
    }
    Ok(found)
}
