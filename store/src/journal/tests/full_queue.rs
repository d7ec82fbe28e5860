//! R7: an append that there is no room for is given back whole, and whoever waits for room is told of it.

use std::sync::Arc;
use std::sync::mpsc;

use futures::FutureExt;
use tokio::sync::oneshot;

use super::support::{MapIndex, all, commit, numbers, open_with, stream};
use crate::append::{Append, AppendResult, Expected};
use crate::error::AppendError;
use crate::journal::disk::RealStorage;
use crate::journal::log::JournalLog;
use crate::journal::options::{Durability, JournalOptions};
use crate::log::EventLog;
use crate::query::StreamQuery;

/// How many commits find room in the queue.
const ROOM: u128 = 4;

fn small(folder: &std::path::Path) -> JournalLog {
    let options = JournalOptions::default()
        .durability(Durability::Os)
        .queue_commits_max(ROOM as usize);
    let storage = Arc::new(RealStorage);
    open_with(folder, options, storage, &MapIndex::default())
        .unwrap()
        .0
}

fn of_alice(n: u128) -> Append {
    commit(n, "alice", Expected::Any, 10)
}

fn completion() -> (crate::append::Completion, oneshot::Receiver<AppendResult>) {
    let (answer, answered) = oneshot::channel();
    (Box::new(move |result| drop(answer.send(result))), answered)
}

/// Holds the writer up until the sender is used or dropped.
async fn hold(log: &JournalLog) -> mpsc::SyncSender<()> {
    let (held, is_held) = oneshot::channel();
    let (let_go, may_go) = mpsc::sync_channel::<()>(1);
    log.barrier(Box::new(move || {
        let _nobody_waits = held.send(());
        let _dropped = may_go.recv();
    }));
    is_held.await.unwrap();
    let_go
}

#[tokio::test]
async fn r7_what_is_offered_to_a_full_queue_comes_back_and_goes_in_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let log = small(folder.path());
    let let_go = hold(&log).await;
    let taken: Vec<_> = (1..=ROOM).map(|n| log.append(of_alice(n))).collect();
    let refused = log.append(of_alice(99)).await.unwrap_err();
    assert!(matches!(refused, AppendError::Overloaded { .. }));

    let (done, mut answered) = completion();
    let held = log.offer(of_alice(ROOM + 1), done).unwrap_err();
    assert!(answered.try_recv().is_err(), "it was not answered");
    let mut room = log.room();
    assert!(room.as_mut().now_or_never().is_none());
    let_go.send(()).unwrap();
    room.await;
    for taken in taken {
        taken.await.unwrap();
    }
    log.offer(held.append, held.done)
        .unwrap_or_else(|_| panic!("there is room"));
    answered.await.unwrap().unwrap();
    log.room().await;
    let found = all(log.read_stream(StreamQuery::new(stream("alice")))).await;
    assert_eq!(numbers(&found.unwrap()), [1, 2, 3, 4, 5]);
    log.close().await;
}

#[tokio::test]
async fn k6_a_barrier_after_a_panic_of_the_writer_passes_and_reads_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = small(folder.path());
    log.append(of_alice(1)).await.unwrap();
    // As a writer does that panicked.
    log.shared().queue.abandon();
    let (pass, passed) = oneshot::channel();
    log.barrier(Box::new(|| {
        let _nobody_waits = pass.send(());
    }));
    passed.await.unwrap();
    let found = all(log.read_stream(StreamQuery::new(stream("alice")))).await;
    assert_eq!(numbers(&found.unwrap()), [1]);
    log.close().await;
}

#[tokio::test]
async fn r7_whoever_waits_for_room_in_a_log_that_ends_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let log = small(folder.path());
    let let_go = hold(&log).await;
    let taken: Vec<_> = (1..=ROOM).map(|n| log.append(of_alice(n))).collect();
    let (done, answered) = completion();
    let held = log.offer(of_alice(ROOM + 1), done).unwrap_err();
    let room = log.room();
    let closing = log.close();
    room.await;
    // It is not given back again: it would be offered for ever.
    log.offer(held.append, held.done)
        .unwrap_or_else(|_| panic!("it is answered"));
    assert!(matches!(answered.await.unwrap(), Err(AppendError::Closed)));
    drop(let_go);
    closing.await;
    for taken in taken {
        taken.await.unwrap();
    }
}
