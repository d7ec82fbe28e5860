//! What views promise: rows read back in order, and a damaged view is gone.

use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::StreamVersion;

use super::tests::{at, open, payload, poke, row, snapshot, stream, tree, view};
use super::views::KEY_BYTES_MAX;
use crate::error::StoreError;
use crate::sled::row::{RowChange, TreeId};
use crate::snapshot::SnapshotStore;
use crate::view::{ViewName, ViewStore};

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
    let rows = vec![row("m", None, 10), row("n", Some(b"two"), 7)];
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
        row("m", None, 10),
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

    // Removed, and passed by the checkpoint that it is written with.
    let removed = vec![row("m", None, 10), row("z", None, 9), row("q", None, 9)];
    store.write_view(&a1, removed, at(10)).await.unwrap();
    assert_eq!(
        store.view_rows(&a1, None, 9).await.unwrap(),
        [all[0].clone(), all[2].clone()]
    );

    let key = "k".repeat(KEY_BYTES_MAX + 1);
    let refused = store
        .write_view(&a1, vec![row(&key, None, 1)], at(10))
        .await;
    assert!(
        matches!(refused, Err(StoreError::Derived { .. })),
        "{refused:?}"
    );
    let rows = vec![row(&key[1..], Some(b"longest"), 1)];
    store.write_view(&a1, rows, at(10)).await.unwrap();
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
        .write_view(&first, vec![row("x", None, 5)], at(4))
        .await
        .unwrap();
    assert_eq!(
        store.view_rows(&first, None, 9).await.unwrap(),
        [row("x", None, 5)]
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
        if !what.ends_with("checkpoint") {
            // Before anyone asked for its generations it must not look like an empty one.
            let read = store.view_rows(&bad, None, 9).await;
            assert!(matches!(read, Err(StoreError::Derived { .. })), "{what}");
            let written = store.write_view(&bad, rows(), at(2)).await;
            assert!(matches!(written, Err(StoreError::Derived { .. })), "{what}");
        }
        assert_eq!(store.view_generations("bad").await.unwrap(), [], "{what}");
        assert_eq!(store.view_rows(&bad, None, 9).await.unwrap(), [], "{what}");
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

#[tokio::test]
async fn a_database_that_fails_in_use_is_replaced_and_its_views_are_lost() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    let (a, b) = (view("a", 1), view("b", 1));
    for view in [&a, &b] {
        let rows = vec![row("k", Some(b"v"), 1)];
        store.write_view(view, rows, at(1)).await.unwrap();
    }
    let saved = snapshot(1, "state");
    store.save_snapshot(&stream("s"), saved).await.unwrap();
    store.fail();

    let newest = store.load_snapshot(&stream("s"), StreamVersion::MAX).await;
    assert_eq!(newest.unwrap(), None);
    let read = store.view_row(&a, Bytes::from("k")).await;
    assert!(matches!(read, Err(StoreError::Derived { .. })), "{read:?}");
    let written = store.write_view(&a, vec![row("l", None, 2)], at(2)).await;
    assert!(matches!(written, Err(StoreError::Derived { .. })));
    // Once its owner knows, it is one that never was; the other's owner does not know yet.
    assert_eq!(store.view_generations("a").await.unwrap(), []);
    assert_eq!(store.view_row(&a, Bytes::from("k")).await.unwrap(), None);
    let rows = || vec![row("k", Some(b"again"), 2)];
    store.write_view(&a, rows(), at(2)).await.unwrap();
    assert!(store.view_row(&b, Bytes::from("k")).await.is_err());
    store.drop_view(&b).await.unwrap();
    assert_eq!(store.view_row(&b, Bytes::from("k")).await.unwrap(), None);
    store.close();

    assert!(data.path().join("sled.set-aside-1/db").exists());
    let store = open(data.path());
    assert_eq!(
        store.view_generations("a").await.unwrap(),
        [(a.clone(), at(2))]
    );
    assert_eq!(store.view_rows(&a, None, 9).await.unwrap(), rows());
}
