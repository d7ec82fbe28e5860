//! Whose a directory is: nobody gets in beside its owner, whatever is taken away under it, and it is given back by
//! whoever drops the store last.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use chronicler_domain::{SchemaVersion, StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::journal::{JournalOptions, OpenReport, Repair, rebuild_index};
use chronicler_store::{
    Append, AppendError, Expected, JournalStore, NewEvent, OpenError, Outcome, SledOptions,
    SledStore, Store, StreamQuery,
};
use futures::StreamExt;
use uuid::Uuid;

/// Both kinds of directories.
const KINDS: [Kind; 2] = [Kind::Journal, Kind::Sled];
/// How often what hangs on a moment is tried.
const ROUNDS: u64 = 12;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Journal,
    Sled,
}

impl Kind {
    fn open(self, data: &Path) -> Result<(Arc<dyn Store>, OpenReport), OpenError> {
        Ok(match self {
            Self::Journal => {
                let store = JournalStore::open(data, JournalOptions::default())?;
                let report = store.open_report().clone();
                (Arc::new(store), report)
            }
            Self::Sled => {
                let store = SledStore::open(data, SledOptions::default())?;
                let report = store.open_report().clone();
                (Arc::new(store), report)
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_whatever_is_taken_away_no_second_store_gets_in_and_nothing_acknowledged_is_lost() {
    for kind in KINDS {
        let names = {
            let folder = tempfile::tempdir().unwrap();
            let (store, _) = kind.open(folder.path()).unwrap();
            let names = names_in(folder.path());
            store.close().await;
            names
        };
        assert!(names.iter().any(|name| name == "lock") && names.len() >= 4);
        for name in names {
            taken_away(kind, &name).await;
        }
    }
}

/// Takes one thing away under a store in use, lets others try to come in, and puts it back.
async fn taken_away(kind: Kind, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (data, aside) = (folder.path().join("data"), folder.path().join("aside"));
    let (store, _) = kind.open(&data).unwrap();
    store.append(append(1)).await.unwrap();
    fs::rename(data.join(name), &aside).unwrap();
    let before = names_in(&data);
    for _ in 0..2 {
        let error = kind.open(&data).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Locked { .. }), "{name}: {error}");
    }
    rebuild_index(&data, JournalOptions::default()).unwrap_err();
    Repair::plan(&data, &|_| {}).unwrap_err();
    assert_eq!(names_in(&data), before, "{name}: nothing was renamed");
    let mut acknowledged = 1;
    for number in 2..10 {
        match store.append(append(number)).await {
            Ok(_) => acknowledged = number,
            Err(error) => {
                assert!(
                    matches!(
                        error,
                        AppendError::ReadOnly { .. } | AppendError::Failed { .. }
                    ),
                    "{name}: {error}"
                );
                break;
            }
        }
    }
    if name == "lock" {
        assert_eq!(
            acknowledged, 9,
            "the folder is locked, so nothing has to stop"
        );
    } else {
        fs::rename(&aside, data.join(name)).unwrap();
    }
    store.close().await;
    let (store, _) = kind.open(&data).unwrap();
    assert!(commits(&store).await >= acknowledged, "{name}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_directory_that_is_not_its_own_any_more_takes_no_writes_by_name() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        let (store, _) = kind.open(&data).unwrap();
        store.append(append(1)).await.unwrap();
        fs::rename(&data, &other).unwrap();
        // It is the same one wherever it lies.
        let error = kind.open(&other).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        let error = store.append(append(2)).await.unwrap_err();
        assert!(error.to_string().contains("moved, replaced"), "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        store.close().await;
        let (store, _) = kind.open(&other).unwrap();
        assert_eq!(commits(&store).await, 1);
        store.close().await;
    }
}

#[test]
fn l1_a_database_that_somebody_has_open_is_left_where_it_is() {
    // Each opener waits for seconds before it believes that it is no leftover of a close.
    std::thread::scope(|scope| {
        for kind in KINDS {
            for which in 0..databases_of(kind) {
                scope.spawn(move || held_by_somebody(kind, which));
            }
        }
    });
}

fn held_by_somebody(kind: Kind, which: usize) {
    let folder = tempfile::tempdir().unwrap();
    drop(kind.open(folder.path()).unwrap());
    let all = databases(folder.path());
    let held = File::open(all[which].join("db")).unwrap();
    // The threads of the store that was closed may need a moment.
    held.lock().unwrap();
    let before = names_in(folder.path());
    let error = kind.open(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    if matches!(kind, Kind::Journal) {
        rebuild_index(folder.path(), JournalOptions::default()).unwrap_err();
    }
    assert_eq!(names_in(folder.path()), before, "nothing was renamed");
    drop(held);
    let (_store, report) = kind.open(folder.path()).unwrap();
    let set_aside = (report.index_set_aside, report.derived_set_aside);
    assert_eq!(set_aside, (None, None));
}

fn databases_of(kind: Kind) -> usize {
    let folder = tempfile::tempdir().unwrap();
    drop(kind.open(folder.path()).unwrap());
    databases(folder.path()).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_a_completion_that_drops_the_last_handle_closes_the_store() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..ROUNDS {
            let (store, _) = kind.open(folder.path()).unwrap();
            let (mine, is_mine) = mpsc::sync_channel::<()>(1);
            let (dropped, is_dropped) = mpsc::sync_channel::<()>(1);
            let held = store.clone();
            let done = Box::new(move |result: Result<_, AppendError>| {
                result.unwrap();
                // Until the caller's handle is gone.
                is_mine.recv().unwrap_err();
                drop(held);
                drop(dropped);
            });
            store.submit(append(2 * round + 1), done);
            store.submit(append(2 * round + 2), Box::new(|_| {}));
            drop(store);
            drop(mine);
            is_dropped.recv().unwrap_err();
            intact(kind, folder.path(), 2 * round + 2).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_two_stores_that_drop_each_other_on_their_own_threads_both_close() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for round in 0..ROUNDS {
        let [one, two] = KINDS.map(|kind| {
            let folder = &folders[kind as usize];
            kind.open(folder.path()).unwrap().0
        });
        let (mine, is_mine) = mpsc::sync_channel::<()>(1);
        let (theirs, is_theirs) = mpsc::sync_channel::<()>(1);
        let (dropped, is_dropped) = mpsc::sync_channel::<()>(1);
        let (held_one, held_two) = ((one.clone(), dropped.clone()), (two.clone(), dropped));
        one.submit(
            append(round + 1),
            Box::new(move |_| {
                is_mine.recv().unwrap_err();
                drop(held_two);
            }),
        );
        two.submit(
            append(round + 1),
            Box::new(move |_| {
                is_theirs.recv().unwrap_err();
                drop(held_one);
            }),
        );
        drop((one, two));
        drop((mine, theirs));
        is_dropped.recv().unwrap_err();
        for kind in KINDS {
            intact(kind, folders[kind as usize].path(), round + 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_a_barrier_that_drops_the_last_handle_closes_the_store() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = kind.open(folder.path()).unwrap();
        store.append(append(1)).await.unwrap();
        let (mine, is_mine) = mpsc::sync_channel::<()>(1);
        let (dropped, is_dropped) = mpsc::sync_channel::<()>(1);
        let held = (store.clone(), dropped);
        store.barrier(Box::new(move || {
            is_mine.recv().unwrap_err();
            drop(held);
        }));
        drop(store);
        drop(mine);
        is_dropped.recv().unwrap_err();
        intact(kind, folder.path(), 1).await;
    }
}

/// Opens the directory at once: the index is the one that was there, and everything is in the log.
async fn intact(kind: Kind, data: &Path, expected: u64) {
    let (store, report) = kind.open(data).unwrap();
    assert_eq!(
        (report.index_set_aside, report.derived_set_aside),
        (None, None)
    );
    assert_eq!(report.replayed, 0, "it was closed to its end");
    assert_eq!(commits(&store).await, expected);
    store.close().await;
}

fn append(number: u64) -> Append {
    let event = NewEvent {
        id: None,
        event_type: "Happened".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from_static(b"x"),
        metadata: Bytes::new(),
    };
    let (id, at) = (
        Uuid::from_u128(number.into()),
        Timestamp::from_micros(number),
    );
    Append::new(id, at).stream(stream(), Expected::Any, vec![event])
}

fn stream() -> StreamId {
    StreamId::of("account", "alice").unwrap()
}

async fn commits(store: &Arc<dyn Store>) -> u64 {
    let mut batches = store.read_stream(StreamQuery::new(stream()));
    let mut count = 0;
    while let Some(batch) = batches.next().await {
        count += batch.unwrap().len() as u64;
    }
    count
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The folders of all databases of sled in a directory.
fn databases(data: &Path) -> Vec<PathBuf> {
    let inner = ["sled/index", "sled/derived"].map(|name| data.join(name));
    let outer = names_in(data).into_iter().map(|name| data.join(name));
    let mut all: Vec<_> = inner.into_iter().chain(outer).collect();
    all.retain(|folder| folder.join("db").is_file());
    assert!(all.len() >= 2, "{all:?}");
    all
}
