//! What becomes of damaged snapshots and views: what is returned is what was saved, or it is gone; and a new
//! one can be made at once.

use std::path::Path;
use std::time::{Duration, Instant};

use chronicler_domain::StreamVersion;

use super::tests::{at, open, open_at, payload, row, snapshot, stream, view};
use crate::error::StoreError;
use crate::sled::damage::{Damage, cut, damaged_copies, flip, garbage};
use crate::snapshot::SnapshotStore;
use crate::view::{ViewRow, ViewStore};

const STREAMS: u64 = 40;

fn rows() -> Vec<ViewRow> {
    (0..300)
        .map(|number| row(&format!("{number:04}"), Some(&payload(700, number)), 5))
        .chain([row("long", Some(&payload(50_000, 1)), 5)])
        .collect()
}

async fn intact() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    for version in [1, 2] {
        let store = open(data.path());
        for number in 0..STREAMS {
            let saved = snapshot(version, payload(3_000, version as usize));
            let id = format!("{number}");
            store.save_snapshot(&stream(&id), saved).await.unwrap();
        }
        let view = view("v", version);
        store.write_view(&view, rows(), at(5)).await.unwrap();
        store.close();
    }
    data
}

/// Says whether anything was gone.
async fn is_whole_or_gone(data: &Path, what: &str) -> bool {
    let (store, report) = open_at(data, 1_000_000);
    let mut gone = report.set_aside.is_some();
    for number in 0..STREAMS {
        let newest = store.load_snapshot(&stream(&format!("{number}")), StreamVersion::MAX);
        match newest.await.unwrap() {
            Some(found) => {
                let version = found.version.get();
                let saved = snapshot(version, payload(3_000, version as usize));
                assert_eq!(found, saved, "{what}");
                gone |= version != 2;
            }
            None => gone = true,
        }
    }
    let found = store.view_generations("v").await.unwrap();
    gone |= found.len() != 2;
    for (found, checkpoint) in found {
        assert_eq!(checkpoint, at(5), "{what}");
        // A database that fails at this moment loses its views, and says so.
        match store.view_rows(&found, None, usize::MAX).await {
            Ok(found) => assert_eq!(found, rows(), "{what}"),
            Err(error) => assert!(matches!(error, StoreError::Derived { .. }), "{what}"),
        }
    }
    let (id, saved) = (stream("new"), snapshot(9, payload(9_000, 9)));
    // At most the first use finds damage that no read has come upon.
    if store.save_snapshot(&id, saved.clone()).await.is_err() {
        gone = true;
        store.save_snapshot(&id, saved.clone()).await.unwrap();
    }
    let loaded = store.load_snapshot(&id, StreamVersion::MAX).await;
    assert_eq!(loaded.unwrap(), Some(saved), "{what}");
    gone
}

async fn try_damage(rounds: usize, damage: Damage) {
    let original = intact().await;
    let mut gone = 0;
    for (data, what) in damaged_copies(original.path(), "derived", rounds, damage) {
        gone += usize::from(is_whole_or_gone(data.path(), &what).await);
    }
    assert!(gone > rounds / 4, "{gone} of {rounds}");
}

#[tokio::test]
async fn k3_a_flipped_bit_anywhere_costs_at_most_what_it_hit() {
    try_damage(60, flip).await;
}

#[tokio::test]
async fn k4_a_file_cut_anywhere_costs_at_most_what_was_derived() {
    try_damage(30, cut).await;
}

#[tokio::test]
async fn k5_garbage_anywhere_costs_at_most_what_was_derived() {
    try_damage(30, garbage).await;
}

#[tokio::test]
async fn x3_an_empty_database_that_cannot_be_begun_at_once_is_begun_later() {
    let folder = tempfile::tempdir().unwrap();
    let (data, aside) = (folder.path().join("data"), folder.path().join("aside"));
    std::fs::create_dir(&data).unwrap();
    let store = open(&data);
    let (id, saved) = (stream("a"), snapshot(1, payload(100, 1)));
    store.save_snapshot(&id, saved.clone()).await.unwrap();
    // Nothing can be begun where a file lies.
    std::fs::rename(&data, &aside).unwrap();
    std::fs::write(&data, "in the way").unwrap();
    store.fail();
    let failed = store.load_snapshot(&id, StreamVersion::MAX).await;
    assert!(
        matches!(failed, Err(StoreError::Derived { .. })),
        "{failed:?}"
    );
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(&aside, &data).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.save_snapshot(&id, saved.clone()).await {
        assert!(Instant::now() < until, "{error}");
        tokio::task::yield_now().await;
    }
    let loaded = store.load_snapshot(&id, StreamVersion::MAX).await;
    assert_eq!(loaded.unwrap(), Some(saved));
    store.close();
}

#[tokio::test]
async fn x3_what_broke_and_was_not_replaced_does_not_stand_in_the_way_of_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (data, aside) = (folder.path().join("data"), folder.path().join("aside"));
    std::fs::create_dir(&data).unwrap();
    let store = open(&data);
    std::fs::rename(&data, &aside).unwrap();
    std::fs::write(&data, "in the way").unwrap();
    store.fail();
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(&aside, &data).unwrap();
    store.close();
    let store = open(&data);
    let (id, saved) = (stream("a"), snapshot(1, payload(100, 1)));
    store.save_snapshot(&id, saved.clone()).await.unwrap();
    let loaded = store.load_snapshot(&id, StreamVersion::MAX).await;
    assert_eq!(loaded.unwrap(), Some(saved));
}
