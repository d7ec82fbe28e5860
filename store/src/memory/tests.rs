//! What only the store in memory does: held answers, injected faults, crashes and survivors.

use chronicler_domain::{LogSequence, StreamId, StreamVersion, Timestamp};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use uuid::Uuid;

use super::{AppendFault, CrashPoint, MemoryStore};
use crate::append::{Append, Expected, NewEvent};
use crate::codec::CodecId;
use crate::error::{AppendError, Outcome};
use crate::log::{EventLog, Health};
use crate::query::StreamQuery;

fn alice() -> StreamId {
    StreamId::of("account", "alice").unwrap()
}

fn append(number: u128, expected: Expected) -> Append {
    let event = NewEvent {
        id: None,
        event_type: "Deposited".into(),
        schema_version: chronicler_domain::SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: number.to_le_bytes().to_vec().into(),
        metadata: bytes::Bytes::new(),
    };
    Append::new(Uuid::from_u128(number), Timestamp::from_micros(1)).stream(
        alice(),
        expected,
        vec![event],
    )
}

fn versions(store: &MemoryStore) -> Vec<u64> {
    let stream = store.read_stream(StreamQuery::new(alice()));
    let batches: Vec<_> = stream
        .collect()
        .now_or_never()
        .expect("memory is always ready");
    let commits = batches.into_iter().flat_map(Result::unwrap);
    commits
        .flat_map(|c| c.events().map(|e| e.version().get()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn what_is_held_is_neither_answered_nor_seen_until_it_is_released() {
    let store = MemoryStore::new();
    store.faults().hold();
    let mut first = store.append(append(1, Expected::NoStream));
    let mut second = store.append(append(2, Expected::Version(StreamVersion::new(1))));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    assert_eq!(versions(&store), [] as [u64; 0]);
    store.faults().release();
    assert_eq!(
        first.now_or_never().unwrap().unwrap().sequence,
        LogSequence::new(1)
    );
    assert!(second.now_or_never().unwrap().is_ok());
    assert_eq!(versions(&store), [1, 2]);
}

#[test]
fn w1_a_refusal_waits_for_what_it_tells_of() {
    let store = MemoryStore::new();
    store.faults().hold();
    let mut won = store.append(append(1, Expected::NoStream));
    let mut lost = store.append(append(2, Expected::NoStream));
    assert!((&mut won).now_or_never().is_none() && (&mut lost).now_or_never().is_none());
    store.faults().release();
    won.now_or_never().unwrap().unwrap();
    let refused = lost.now_or_never().unwrap().unwrap_err();
    assert!(
        matches!(refused, AppendError::WrongExpectedVersion { actual, .. } if actual.get() == 1)
    );
    assert_eq!(versions(&store), [1]);
}

/// A fault that meets an append which is refused has nothing to fail.
#[test]
fn a_refused_append_leaves_the_log_healthy_whatever_was_to_happen_to_it() {
    let store = MemoryStore::new();
    let refused = Expected::Version(StreamVersion::new(7));
    store.faults().fail_append(AppendFault::FailedWritten);
    let answer = store.append(append(1, refused)).now_or_never().unwrap();
    assert!(matches!(
        answer,
        Err(AppendError::WrongExpectedVersion { .. })
    ));
    store
        .append(append(2, Expected::Any))
        .now_or_never()
        .unwrap()
        .unwrap();
    assert_eq!(versions(&store), [1]);
}

#[test]
fn a_failed_sync_stops_writes_and_not_reads() {
    let store = MemoryStore::new();
    store
        .append(append(1, Expected::Any))
        .now_or_never()
        .unwrap()
        .unwrap();
    store.faults().fail_append(AppendFault::FailedWritten);
    let failed = store
        .append(append(2, Expected::Any))
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert_eq!(failed.outcome(), Outcome::Unknown);
    let later = store
        .append(append(3, Expected::Any))
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert!(matches!(later, AppendError::ReadOnly { .. }));
    assert!(matches!(store.health(), Health::ReadOnly(_)));
    assert_eq!(versions(&store), [1]);
}

#[test]
fn a_crash_leaves_what_was_durable() {
    for durable in [false, true] {
        let store = MemoryStore::new();
        store.faults().crash_at(CrashPoint { write: 2, durable });
        store
            .append(append(1, Expected::Any))
            .now_or_never()
            .unwrap()
            .unwrap();
        let lost = store
            .append(append(2, Expected::Any))
            .now_or_never()
            .unwrap()
            .unwrap_err();
        assert_eq!(lost.outcome(), Outcome::Unknown);
        assert!(store.faults().is_dead());
        let survivor = store.faults().survivor();
        assert_eq!(versions(&survivor).len(), if durable { 2 } else { 1 });
        survivor
            .append(append(3, Expected::Any))
            .now_or_never()
            .unwrap()
            .unwrap();
    }
}

#[test]
fn a_completion_may_submit_again() {
    let store = MemoryStore::new();
    let (again, answered) = (
        store.clone(),
        std::sync::Arc::new(parking_lot::Mutex::new(0)),
    );
    let count = std::sync::Arc::clone(&answered);
    store.submit(
        append(1, Expected::Any),
        Box::new(move |_| {
            let count = std::sync::Arc::clone(&count);
            again.submit(
                append(2, Expected::Any),
                Box::new(move |_| *count.lock() += 1),
            );
        }),
    );
    assert_eq!((*answered.lock(), versions(&store).len()), (1, 2));
}

#[test]
fn what_a_failed_sync_left_on_the_disk_is_found_after_reopening() {
    for (fault, found) in [
        (AppendFault::FailedNotWritten, vec![1]),
        (AppendFault::FailedWritten, vec![1, 2]),
    ] {
        let store = MemoryStore::new();
        drop(store.append(append(1, Expected::Any)).now_or_never());
        store.faults().fail_append(fault);
        let failed = store.append(append(2, Expected::Any)).now_or_never();
        assert_eq!(failed.unwrap().unwrap_err().outcome(), Outcome::Unknown);
        assert_eq!(
            versions(&store),
            [1],
            "{fault:?} is not seen before reopening"
        );
        assert_eq!(
            versions(&store.faults().survivor()),
            found,
            "after {fault:?}"
        );
    }
}

#[test]
fn what_was_held_when_the_process_died_is_lost_and_its_waiters_are_told() {
    let store = MemoryStore::new();
    store.faults().hold();
    let held = store.append(append(1, Expected::Any));
    let point = CrashPoint {
        write: 1,
        durable: false,
    };
    store.faults().crash_at(point);
    let killed = store.append(append(2, Expected::Any));
    let later = store.append(append(3, Expected::Any));
    for answer in [held, killed, later] {
        let error = answer.now_or_never().expect("nobody waits for the dead");
        assert!(matches!(error, Err(AppendError::Lost)), "{error:?}");
    }
    assert_eq!(versions(&store.faults().survivor()), [] as [u64; 0]);
}

#[test]
fn v2_who_follows_is_told_in_the_order_in_which_they_came() {
    let store = MemoryStore::new();
    let follow = |number| {
        let mut head = store.watch_head();
        async move {
            head.changed().await.unwrap();
            assert_eq!(head.borrow().sequence, LogSequence::new(1));
            number
        }
    };
    let mut followers: FuturesUnordered<_> = (0..20).map(follow).collect();
    assert_eq!(followers.next().now_or_never(), None);
    let appended = store.append(append(1, Expected::NoStream)).now_or_never();
    assert!(appended.unwrap().is_ok());
    let told = followers.collect::<Vec<_>>().now_or_never();
    assert_eq!(told, Some((0..20).collect()));
}
