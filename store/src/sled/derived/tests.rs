//! What snapshots and views promise: what is returned is what was saved, or it is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chronicler_domain::{
    AggregateId, Category, GlobalPosition, LogSequence, StreamId, StreamVersion, Tenant, Timestamp,
};
use uuid::Uuid;

use super::store::{DerivedReport, DerivedStore, DurableHead};
use super::views::KEY_BYTES_MAX;
use crate::error::StoreError;
use crate::log::Head;
use crate::sled::row::{RowChange, TreeId};
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

const STORE: Uuid = Uuid::from_u128(0xC0FFEE);
const LOG_END: u64 = 1_000_000;

fn head_at(end: u64) -> DurableHead {
    Arc::new(move || Head {
        sequence: LogSequence::new(end),
        position: GlobalPosition::new(end),
        timestamp: Timestamp::EPOCH,
    })
}

fn open_at(data: &Path, end: u64) -> (DerivedStore, DerivedReport) {
    DerivedStore::open(data, STORE, head_at(end)).unwrap()
}

fn open(data: &Path) -> DerivedStore {
    let (store, report) = open_at(data, LOG_END);
    assert_eq!(report, DerivedReport::default());
    store
}

fn stream(id: &str) -> StreamId {
    StreamId::new(
        &Tenant::default(),
        &Category::new("account").unwrap(),
        &AggregateId::new(id).unwrap(),
    )
}

fn snapshot(version: u64, payload: impl Into<Bytes>) -> Snapshot {
    Snapshot {
        version: StreamVersion::new(version),
        sequence: LogSequence::new(version * 2),
        commit_id: Uuid::from_u128(u128::from(version)),
        schema_version: 3,
        payload: payload.into(),
    }
}

fn view(name: &str, generation: u64) -> ViewName {
    ViewName {
        name: name.into(),
        generation,
    }
}

fn at(position: u64) -> ViewCheckpoint {
    ViewCheckpoint {
        position: GlobalPosition::new(position),
        fingerprint: 7,
    }
}

fn row(key: &str, value: Option<&[u8]>, position: u64) -> ViewRow {
    ViewRow {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.map(Bytes::copy_from_slice),
        position: GlobalPosition::new(position),
    }
}

fn payload(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at + seed) * 7 % 251) as u8).collect()
}

/// Alters rows behind the store's back.
fn poke(data: &Path, alter: impl FnOnce(&::sled::Db)) {
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

fn tree(db: &::sled::Db, id: TreeId) -> ::sled::Tree {
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
    let head: DurableHead = {
        let end = Arc::clone(&end);
        Arc::new(move || head_at(end.load(Ordering::SeqCst))())
    };
    let (store, _) = DerivedStore::open(data.path(), STORE, head).unwrap();
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
    for (name, position) in [("short", 30), ("long", 100)] {
        let rows = vec![row("k", Some(b"v"), position)];
        let written = store.write_view(&view(name, 1), rows, at(position));
        written.await.unwrap();
    }
    end.store(40, Ordering::SeqCst);
    assert_eq!(load(&store, "a", 99).await, Some(10));
    store.close();

    // The log lost its end and grew again with other events: what was beyond must not come back.
    let (store, report) = open_at(data.path(), 40);
    assert!(report.discarded_beyond_log);
    store.close();
    let store = open(data.path());
    assert_eq!(load(&store, "a", 99).await, Some(10));
    assert_eq!(store.view_generations("long").await.unwrap(), []);
    assert_eq!(
        store.view_generations("short").await.unwrap(),
        [(view("short", 1), at(30))]
    );
}

#[tokio::test]
async fn rows_of_views_read_back_in_order_and_apart() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    let (a1, a2, b1) = (view("a", 1), view("a", 2), view("ab", 1));
    let long = payload(100_000, 3);
    let rows = vec![
        row("m", Some(b"one"), 5),
        row("", Some(b""), 5),
        row("z", Some(&long), 5),
    ];
    store.write_view(&a1, rows, at(5)).await.unwrap();
    let rows = vec![row("m", None, 6), row("n", Some(b"two"), 7)];
    store.write_view(&a1, rows, at(9)).await.unwrap();
    let rows = vec![row("m", Some(b"other"), 2)];
    store.write_view(&a2, rows, at(2)).await.unwrap();
    store.write_view(&b1, vec![], at(0)).await.unwrap();
    store.close();

    let store = open(data.path());
    assert_eq!(
        store.view_generations("a").await.unwrap(),
        [(a1.clone(), at(9)), (a2.clone(), at(2))]
    );
    assert_eq!(
        store.view_generations("ab").await.unwrap(),
        [(b1.clone(), at(0))]
    );
    assert_eq!(store.view_generations("").await.unwrap(), []);
    let all = [
        row("", Some(b""), 5),
        row("m", None, 6),
        row("n", Some(b"two"), 7),
        row("z", Some(&long), 5),
    ];
    let rows =
        |after: Option<&'static str>, limit| store.view_rows(&a1, after.map(Bytes::from), limit);
    assert_eq!(rows(None, usize::MAX).await.unwrap(), all);
    assert_eq!(rows(None, 2).await.unwrap(), all[..2]);
    assert_eq!(rows(Some(""), 2).await.unwrap(), all[1..3]);
    assert_eq!(rows(Some("n"), 9).await.unwrap(), all[3..]);
    assert_eq!(rows(None, 0).await.unwrap(), []);
    let one = |view: &ViewName, key: &'static str| store.view_row(view, Bytes::from(key));
    assert_eq!(one(&a1, "z").await.unwrap(), Some(all[3].clone()));
    assert_eq!(one(&a1, "q").await.unwrap(), None);
    assert_eq!(
        one(&a2, "m").await.unwrap(),
        Some(row("m", Some(b"other"), 2))
    );
    assert_eq!(one(&view("none", 1), "m").await.unwrap(), None);
    assert_eq!(store.view_rows(&b1, None, 9).await.unwrap(), []);

    let key = "k".repeat(KEY_BYTES_MAX + 1);
    let refused = store.write_view(&a1, vec![row(&key, None, 1)], at(9)).await;
    assert!(
        matches!(refused, Err(StoreError::Derived { .. })),
        "{refused:?}"
    );
    let rows = vec![row(&key[1..], Some(b"longest"), 1)];
    store.write_view(&a1, rows, at(9)).await.unwrap();
}

#[tokio::test]
async fn a_dropped_view_is_gone_with_its_rows() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    let (first, second) = (view("v", 1), view("v", 2));
    let rows = |count: usize| {
        (0..count)
            .map(|number| row(&format!("{number:05}"), Some(&payload(5_000, number)), 3))
            .collect::<Vec<_>>()
    };
    store.write_view(&first, rows(700), at(3)).await.unwrap();
    store.write_view(&second, rows(5), at(3)).await.unwrap();
    store.drop_view(&first).await.unwrap();
    store.drop_view(&first).await.unwrap();
    store.drop_view(&view("never", 1)).await.unwrap();
    assert_eq!(store.view_rows(&first, None, 9).await.unwrap(), []);
    assert_eq!(store.view_rows(&second, None, 9).await.unwrap(), rows(5));
    // A view of the same name starts from nothing.
    store
        .write_view(&first, vec![row("x", None, 4)], at(4))
        .await
        .unwrap();
    assert_eq!(
        store.view_rows(&first, None, 9).await.unwrap(),
        [row("x", None, 4)]
    );
    store.close();

    // What was left of it when the store was closed goes when it is opened again.
    let store = open(data.path());
    assert_eq!(
        store.view_generations("v").await.unwrap(),
        [(first, at(4)), (second.clone(), at(3))]
    );
    while !store.sweeping_is_done() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.view_rows(&second, None, 9).await.unwrap(), rows(5));
    store.close();
    poke(data.path(), |db| {
        assert_eq!(tree(db, TreeId::ViewRows).len(), 1 + 5);
        assert_eq!(tree(db, TreeId::ViewChunks).len(), 5 * 2);
    });
}

type Alter = fn(&::sled::Db);

#[tokio::test]
async fn k5_a_damaged_view_is_found_gone_and_the_others_are_not() {
    let alterations: [(&str, Alter); 6] = [
        ("a deleted row", |db| {
            tree(db, TreeId::ViewRows).pop_min().unwrap().unwrap();
        }),
        ("a deleted chunk", |db| {
            tree(db, TreeId::ViewChunks).pop_min().unwrap().unwrap();
        }),
        ("an altered row", |db| {
            let rows = tree(db, TreeId::ViewRows);
            let (key, stored) = rows.first().unwrap().unwrap();
            let mut stored = stored.to_vec();
            stored[0] ^= 0x80;
            rows.insert(key, stored).unwrap();
        }),
        ("an added row", |db| {
            let added = RowChange::set(TreeId::ViewRows, [0, 0, 0, 1, 9], vec![0, 5, 1]);
            let rows = tree(db, TreeId::ViewRows);
            rows.insert(added.key, added.stored.unwrap()).unwrap();
        }),
        ("an altered checkpoint", |db| {
            let views = tree(db, TreeId::Views);
            let (key, stored) = views.first().unwrap().unwrap();
            let mut stored = stored.to_vec();
            stored[1] ^= 1;
            views.insert(key, stored).unwrap();
        }),
        ("a deleted checkpoint", |db| {
            tree(db, TreeId::Views).pop_min().unwrap().unwrap();
        }),
    ];
    for (what, alter) in alterations {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        let (bad, good) = (view("bad", 1), view("good", 1));
        let long = payload(9_000, 1);
        let rows = || vec![row("a", Some(&long), 1), row("b", Some(b"2"), 2)];
        store.write_view(&bad, rows(), at(2)).await.unwrap();
        store.write_view(&good, rows(), at(2)).await.unwrap();
        store.close();
        poke(data.path(), alter);
        let store = open(data.path());
        // Reading it before anyone asked for its generations finds nothing, either.
        assert_eq!(store.view_rows(&bad, None, 9).await.unwrap(), [], "{what}");
        assert_eq!(store.view_generations("bad").await.unwrap(), [], "{what}");
        assert_eq!(
            store.view_rows(&good, None, 9).await.unwrap(),
            rows(),
            "{what}"
        );
        // And it can be built again.
        store.write_view(&bad, rows(), at(2)).await.unwrap();
        store.close();
        let store = open(data.path());
        assert_eq!(
            store.view_generations("bad").await.unwrap(),
            [(bad, at(2))],
            "{what}"
        );
    }
}

#[tokio::test]
async fn derived_data_of_another_store_is_set_aside() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    store
        .save_snapshot(&stream("a"), snapshot(1, "x"))
        .await
        .unwrap();
    store.close();
    let other = Uuid::from_u128(2);
    let (store, report) = DerivedStore::open(data.path(), other, head_at(LOG_END)).unwrap();
    let reason = report.set_aside.unwrap().reason;
    assert!(reason.contains("another store"), "{reason}");
    assert_eq!(load(&store, "a", 9).await, None);
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

#[tokio::test]
async fn a_reader_never_sees_half_of_a_value_that_is_being_replaced() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(open(data.path()));
    let name = view("v", 1);
    let versions: Vec<Vec<u8>> = (0..4)
        .map(|seed| payload(30_000 + seed * 5_000, seed))
        .collect();
    let first = vec![row("k", Some(&versions[0]), 1)];
    store.write_view(&name, first, at(1)).await.unwrap();
    let writer = {
        let (store, name, versions) = (Arc::clone(&store), name.clone(), versions.clone());
        async move {
            for round in 0..60 {
                let rows = vec![row("k", Some(&versions[round % 4]), 1)];
                store.write_view(&name, rows, at(1)).await.unwrap();
            }
        }
    };
    let reader = async {
        for _ in 0..300 {
            let found = store.view_row(&name, Bytes::from("k")).await.unwrap();
            let value = found.unwrap().value.unwrap();
            assert!(versions.iter().any(|version| *version == value));
        }
    };
    tokio::join!(writer, reader);
}
