//! What snapshots and views promise: what is returned is what was saved, or it is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chronicler_domain::{
    AggregateId, Category, GlobalPosition, LogSequence, StreamId, StreamVersion, Tenant, Timestamp,
};
use uuid::Uuid;

use super::shared::{DerivedReport, DurableEnd};
use super::store::DerivedStore;
use crate::error::StoreError;
use crate::index::Watermark;
use crate::log::Head;
use crate::sled::index::Expectation;
use crate::sled::row::TreeId;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

const STORE: Uuid = Uuid::from_u128(0xC0FFEE);
const LOG_END: u64 = 1_000_000;

/// A log that ends at a commit, and what tells its history from another's.
#[derive(Clone, Copy)]
struct Log {
    end: u64,
    history: u32,
}

impl Log {
    fn mark(self, store_id: Uuid) -> Watermark {
        Watermark {
            store_id,
            sequence: LogSequence::new(self.end),
            log_offset: self.end * 300,
            checksum: self.history,
        }
    }

    fn durable(self, store_id: Uuid) -> DurableEnd {
        let head = Head {
            sequence: LogSequence::new(self.end),
            position: GlobalPosition::new(self.end),
            timestamp: Timestamp::EPOCH,
        };
        Arc::new(move || (head, self.mark(store_id)))
    }

    fn open(self, data: &Path, store_id: Uuid) -> (DerivedStore, DerivedReport) {
        let expected = Expectation {
            store_id,
            end: LogSequence::new(self.end),
            holds: &|mark| {
                let whole = mark.checksum == self.history;
                whole.then_some(()).ok_or("another history".to_owned())
            },
        };
        DerivedStore::open(data, &expected, self.durable(store_id)).unwrap()
    }
}

pub(super) fn open_at(data: &Path, end: u64) -> (DerivedStore, DerivedReport) {
    Log { end, history: 1 }.open(data, STORE)
}

pub(super) fn open(data: &Path) -> DerivedStore {
    let (store, report) = open_at(data, LOG_END);
    assert_eq!(report, DerivedReport::default());
    store
}

pub(super) fn stream(id: &str) -> StreamId {
    StreamId::new(
        &Tenant::default(),
        &Category::new("account").unwrap(),
        &AggregateId::new(id).unwrap(),
    )
}

pub(super) fn snapshot(version: u64, payload: impl Into<Bytes>) -> Snapshot {
    Snapshot {
        version: StreamVersion::new(version),
        sequence: LogSequence::new(version * 2),
        commit_id: Uuid::from_u128(u128::from(version)),
        schema_version: 3,
        payload: payload.into(),
    }
}

pub(super) fn view(name: &str, generation: u64) -> ViewName {
    ViewName {
        name: name.into(),
        generation,
    }
}

pub(super) fn at(position: u64) -> ViewCheckpoint {
    ViewCheckpoint {
        position: GlobalPosition::new(position),
        fingerprint: 7,
    }
}

pub(super) fn row(key: &str, value: Option<&[u8]>, position: u64) -> ViewRow {
    ViewRow {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.map(Bytes::copy_from_slice),
        position: GlobalPosition::new(position),
    }
}

pub(super) fn payload(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at + seed) * 7 % 251) as u8).collect()
}

/// Alters rows behind the store's back.
pub(super) fn poke(data: &Path, alter: impl FnOnce(&::sled::Db)) {
    let folder = data.join("sled/derived");
    std::fs::File::open(folder.join("db"))
        .unwrap()
        .lock()
        .unwrap();
    let db = ::sled::Config::new()
        .path(folder)
        .flush_every_ms(None)
        .open()
        .unwrap();
    alter(&db);
    db.flush().unwrap();
}

pub(super) fn tree(db: &::sled::Db, id: TreeId) -> ::sled::Tree {
    db.open_tree([id.number()]).unwrap()
}

async fn load(store: &DerivedStore, id: &str, at_most: u64) -> Option<u64> {
    let found = store.load_snapshot(&stream(id), StreamVersion::new(at_most));
    found.await.unwrap().map(|found| found.version.get())
}

#[tokio::test]
async fn s1_s4_s5_the_newest_snapshot_up_to_a_version_is_found() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    assert_eq!(load(&store, "nobody", u64::MAX).await, None);
    for version in [10, 20, 30] {
        let saved = snapshot(version, format!("state at {version}"));
        store.save_snapshot(&stream("a"), saved).await.unwrap();
    }
    store
        .save_snapshot(&stream("ab"), snapshot(99, "another"))
        .await
        .unwrap();
    store.close();
    let store = open(data.path());
    let newest = store.load_snapshot(&stream("a"), StreamVersion::MAX).await;
    assert_eq!(newest.unwrap(), Some(snapshot(30, "state at 30")));
    assert_eq!(load(&store, "a", 30).await, Some(30));
    assert_eq!(load(&store, "a", 29).await, Some(20));
    assert_eq!(load(&store, "a", 10).await, Some(10));
    assert_eq!(load(&store, "a", 9).await, None);
    let delete = store.delete_snapshots(&stream("a"), StreamVersion::new(20));
    delete.await.unwrap();
    assert_eq!(load(&store, "a", 29).await, None);
    assert_eq!(load(&store, "a", 30).await, Some(30));
    assert_eq!(load(&store, "ab", 100).await, Some(99));
}

#[tokio::test]
async fn s10_a_snapshot_of_the_same_version_is_replaced_and_the_newest_three_are_kept() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    for (version, bytes) in [
        (1, 50_000),
        (2, 10),
        (3, 9_000),
        (4, 4_096),
        (5, 0),
        (5, 20_000),
    ] {
        let saved = snapshot(version, payload(bytes, 1));
        store.save_snapshot(&stream("a"), saved).await.unwrap();
    }
    assert_eq!(load(&store, "a", 2).await, None);
    assert_eq!(load(&store, "a", 3).await, Some(3));
    let newest = store.load_snapshot(&stream("a"), StreamVersion::MAX).await;
    assert_eq!(newest.unwrap(), Some(snapshot(5, payload(20_000, 1))));
    store.close();
    poke(data.path(), |db| {
        assert_eq!(tree(db, TreeId::Snapshots).len(), 3);
        // Those of versions 3, 4 and 5; none is left of the others.
        assert_eq!(tree(db, TreeId::SnapshotChunks).len(), 3 + 2 + 5);
    });
}

#[tokio::test]
async fn s17_a_damaged_snapshot_is_passed_over() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    for version in [1, 2, 3] {
        let saved = snapshot(version, payload(10_000, version as usize));
        store.save_snapshot(&stream("a"), saved).await.unwrap();
    }
    store.close();
    poke(data.path(), |db| {
        let rows = tree(db, TreeId::Snapshots);
        let (key, stored) = rows.last().unwrap().unwrap();
        let mut stored = stored.to_vec();
        stored[2] ^= 1;
        rows.insert(key, stored).unwrap();
    });
    let store = open(data.path());
    assert_eq!(load(&store, "a", 9).await, Some(2));
    store.close();
    poke(data.path(), |db| {
        let chunks = tree(db, TreeId::SnapshotChunks);
        let (key, _) = chunks.iter().nth(4).unwrap().unwrap();
        chunks.remove(key).unwrap().unwrap();
    });
    let store = open(data.path());
    let found = store.load_snapshot(&stream("a"), StreamVersion::MAX).await;
    assert_eq!(found.unwrap(), Some(snapshot(1, payload(10_000, 1))));
}

#[tokio::test]
async fn nothing_beyond_the_log_is_taken_or_given() {
    let data = tempfile::tempdir().unwrap();
    let end = Arc::new(AtomicU64::new(100));
    let log = {
        let end = Arc::clone(&end);
        move || Log {
            end: end.load(Ordering::SeqCst),
            history: 1,
        }
    };
    let expected = Expectation {
        store_id: STORE,
        end: LogSequence::new(100),
        holds: &|_| Ok(()),
    };
    let durable: DurableEnd = Arc::new(move || log().durable(STORE)());
    let (store, _) = DerivedStore::open(data.path(), &expected, durable).unwrap();
    let early = store.save_snapshot(&stream("a"), snapshot(51, "early"));
    assert!(matches!(early.await, Err(StoreError::BeyondLog { .. })));
    let early = store.write_view(&view("v", 1), vec![], at(101));
    assert!(matches!(early.await, Err(StoreError::BeyondLog { .. })));
    let early = store.write_view(&view("v", 1), vec![row("k", None, 101)], at(100));
    assert!(matches!(early.await, Err(StoreError::BeyondLog { .. })));

    for version in [10, 50] {
        let saved = snapshot(version, "state");
        store.save_snapshot(&stream("a"), saved).await.unwrap();
    }
    end.store(40, Ordering::SeqCst);
    assert_eq!(load(&store, "a", 99).await, Some(10));
}

#[tokio::test]
async fn what_was_made_from_another_log_is_set_aside() {
    let made_from = Log {
        end: 100,
        history: 1,
    };
    let opened_with = [
        (
            Log {
                end: 99,
                ..made_from
            },
            STORE,
            "the journal ends at 99",
        ),
        (
            Log {
                end: 200,
                history: 2,
            },
            STORE,
            "another history",
        ),
        (made_from, Uuid::from_u128(2), "another store"),
    ];
    for (log, store_id, why) in opened_with {
        let data = tempfile::tempdir().unwrap();
        let (store, _) = made_from.open(data.path(), STORE);
        let saved = snapshot(50, "state");
        store.save_snapshot(&stream("a"), saved).await.unwrap();
        let rows = vec![row("k", Some(b"v"), 100)];
        store
            .write_view(&view("v", 1), rows, at(100))
            .await
            .unwrap();
        store.close();
        let longer = Log {
            end: 120,
            ..made_from
        };
        let (store, report) = longer.open(data.path(), STORE);
        assert_eq!(report, DerivedReport::default());
        store.close();
        let (store, report) = log.open(data.path(), store_id);
        let reason = report.set_aside.unwrap().reason;
        assert!(reason.contains(why), "{reason}");
        assert_eq!(load(&store, "a", 99).await, None);
        assert_eq!(store.view_generations("v").await.unwrap(), []);
    }
}

#[tokio::test]
async fn many_at_once_are_all_answered_and_all_kept() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(open(data.path()));
    let saves = (0..1_000_u64).map(|number| {
        let id = format!("stream-{}", number % 50);
        store.save_snapshot(&stream(&id), snapshot(number + 1, payload(100, 1)))
    });
    let writes = async {
        for number in 0..200_u64 {
            let value = number.to_le_bytes();
            let rows = vec![row(&format!("{}", number % 20), Some(&value), number)];
            store
                .write_view(&view("v", 1), rows, at(number))
                .await
                .unwrap();
        }
    };
    let (saved, ()) = tokio::join!(futures::future::join_all(saves), writes);
    assert!(saved.into_iter().all(|result| result.is_ok()));
    store.close();
    let after = store.save_snapshot(&stream("a"), snapshot(1, "x")).await;
    assert!(matches!(after, Err(StoreError::Closed)));
    let after = store.load_snapshot(&stream("a"), StreamVersion::MAX).await;
    assert!(matches!(after, Err(StoreError::Closed)));
    let store = open(data.path());
    assert_eq!(load(&store, "stream-7", u64::MAX).await, Some(958));
    assert_eq!(
        store.view_generations("v").await.unwrap(),
        [(view("v", 1), at(199))]
    );
    assert_eq!(
        store
            .view_rows(&view("v", 1), None, 99)
            .await
            .unwrap()
            .len(),
        20
    );
}
