//! The contract of snapshots.

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamId, StreamVersion};
use chronicler_store::{Snapshot, StoreError};

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account};

/// A value that an engine with pages has to cut into several.
const LARGE: &str = match std::str::from_utf8(&[b'x'; 60_000]) {
    Ok(text) => text,
    Err(_) => "",
};

pub(super) async fn s1_none_for_an_unknown_stream(subject: &Subject) -> Result<(), Violation> {
    let (stream, other) = (account("unknown")?, account("unknown-2")?);
    equal("before", newest(subject, &stream).await?, None)?;
    save(subject, &other, 1, "state").await?;
    equal(
        "after one of another stream",
        newest(subject, &stream).await?,
        None,
    )
}

pub(super) async fn s4_the_newest_wins(subject: &Subject) -> Result<(), Violation> {
    let stream = account("newest")?;
    for (version, state) in [(1, "one"), (3, LARGE), (2, "two")] {
        save(subject, &stream, version, state).await?;
    }
    equal(
        "the newest",
        newest(subject, &stream).await?,
        Some((3, Bytes::from_static(LARGE.as_bytes()))),
    )?;
    let below = at_most(subject, &stream, 2).await?;
    equal(
        "the one before",
        below,
        Some((2, Bytes::from_static(b"two"))),
    )
}

pub(super) async fn s5_the_upper_bound_is_respected(subject: &Subject) -> Result<(), Violation> {
    let stream = account("bounded")?;
    for version in [3, 6] {
        save(subject, &stream, version, "state").await?;
    }
    for (bound, wanted) in [
        (0, None),
        (2, None),
        (3, Some(3)),
        (5, Some(3)),
        (6, Some(6)),
        (u64::MAX, Some(6)),
    ] {
        let found = at_most(subject, &stream, bound).await?;
        equal(
            format_args!("at most {bound}"),
            found.map(|(version, _)| version),
            wanted,
        )?;
    }
    Ok(())
}

pub(super) async fn s10_the_same_version_overwrites(subject: &Subject) -> Result<(), Violation> {
    let stream = account("overwritten")?;
    for state in ["a longer state than the next", "short"] {
        save(subject, &stream, 4, state).await?;
    }
    equal(
        "the snapshot",
        newest(subject, &stream).await?,
        Some((4, Bytes::from_static(b"short"))),
    )
}

pub(super) async fn snapshots_beyond_the_log_are_refused(
    subject: &Subject,
) -> Result<(), Violation> {
    let stream = account("beyond")?;
    save(subject, &stream, 1, "state").await?;
    let durable = subject.store().head().sequence;
    let ahead = snapshot(2, durable.next(), "from the future");
    match subject.store().save_snapshot(&stream, ahead).await {
        Err(StoreError::BeyondLog {
            given, durable: at, ..
        }) => equal(
            "given and durable",
            (given, at),
            (durable.next().get(), durable.get()),
        )?,
        other => return Err(Violation::new(format_args!("{other:?}"))),
    }
    let found = newest(subject, &stream).await?;
    equal("the newest", found.map(|(version, _)| version), Some(1))
}

pub(super) async fn snapshots_are_deleted_up_to_a_version(
    subject: &Subject,
) -> Result<(), Violation> {
    let (stream, other) = (account("deleted")?, account("kept")?);
    save(subject, &other, 1, "state").await?;
    for version in [1, 2] {
        save(subject, &stream, version, "state").await?;
    }
    let store = subject.store();
    store
        .delete_snapshots(&stream, StreamVersion::new(1))
        .await?;
    equal("at most 1", at_most(subject, &stream, 1).await?, None)?;
    ensure(
        newest(subject, &stream).await?.is_some(),
        "the later one is gone",
    )?;
    store.delete_snapshots(&stream, StreamVersion::MAX).await?;
    store.delete_snapshots(&stream, StreamVersion::MAX).await?;
    equal("all", newest(subject, &stream).await?, None)?;
    ensure(
        newest(subject, &other).await?.is_some(),
        "that of another stream is gone",
    )?;
    save(subject, &stream, 1, "again").await?;
    ensure(
        newest(subject, &stream).await?.is_some(),
        "none can be saved after deleting",
    )
}

/// Brings the stream to the version, if it is not there yet, and saves a snapshot of it.
async fn save(
    subject: &Subject,
    stream: &StreamId,
    version: u64,
    state: &'static str,
) -> Result<(), Violation> {
    let there = subject.version(stream).await?;
    let missing = version.saturating_sub(there) as usize;
    if missing > 0 {
        subject.write(stream, missing).await?;
    }
    let durable = subject.store().head().sequence;
    let snapshot = snapshot(version, durable, state);
    subject
        .store()
        .save_snapshot(stream, snapshot.clone())
        .await?;
    let version = StreamVersion::new(version);
    let found = subject.store().load_snapshot(stream, version).await?;
    equal("what was saved", found, Some(snapshot))
}

async fn newest(subject: &Subject, stream: &StreamId) -> Result<Option<(u64, Bytes)>, Violation> {
    at_most(subject, stream, u64::MAX).await
}

async fn at_most(
    subject: &Subject,
    stream: &StreamId,
    version: u64,
) -> Result<Option<(u64, Bytes)>, Violation> {
    let version = StreamVersion::new(version);
    let found = subject.store().load_snapshot(stream, version).await?;
    Ok(found.map(|snapshot| (snapshot.version.get(), snapshot.payload)))
}

fn snapshot(version: u64, sequence: LogSequence, state: &'static str) -> Snapshot {
    Snapshot {
        version: StreamVersion::new(version),
        sequence,
        commit_id: uuid::Uuid::from_u128(version.into()),
        schema_version: u32::MAX,
        payload: Bytes::from_static(state.as_bytes()),
    }
}
