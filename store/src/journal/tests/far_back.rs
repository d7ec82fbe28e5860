//! Appends whose original may lie far back: nobody waits for the look but their callers.

use std::sync::Arc;

use chronicler_domain::StreamVersion;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::support::{MapIndex, commit, open, open_with};
use crate::append::{Append, AppendResult, Expected};
use crate::error::{AppendError, Outcome};
use crate::journal::RealStorage;
use crate::journal::disk::watched::WatchedDisk;
use crate::journal::log::JournalLog;
use crate::journal::options::JournalOptions;
use crate::log::EventLog;

/// Longer than the writer looks back.
const COMMITS: u128 = 300;

#[tokio::test]
async fn w6_an_original_far_back_is_found_beside_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let log = long_stream(folder.path()).await;
    let answers = Arc::new(Mutex::new(Vec::new()));
    let submit = |name: &'static str, append: Append| {
        let answers = answers.clone();
        let done = move |result: AppendResult| answers.lock().push((name, Some(result)));
        log.submit(append, Box::new(done));
    };
    submit("repeated", commit(1, "long", Expected::NoStream, 10));
    submit("refused", commit(7_000, "long", Expected::NoStream, 10));
    submit("repeated", commit(3, "long", at(2), 10));
    // The same id at another place, with another event.
    submit("reused", commit(3, "long", at(2), 11));
    submit("beside", commit(7_001, "other", Expected::NoStream, 10));
    let (told, passed) = oneshot::channel();
    let seen = answers.clone();
    log.barrier(Box::new(move || {
        seen.lock().push(("barrier", None));
        told.send(()).unwrap();
    }));
    passed.await.unwrap();
    let answers = std::mem::take(&mut *answers.lock());
    // One after the other; the one that is not looked for comes whenever it was written.
    let names = answers.iter().map(|(name, _)| *name);
    let names: Vec<_> = names.filter(|name| *name != "beside").collect();
    assert_eq!(
        names,
        ["repeated", "refused", "repeated", "reused", "barrier"]
    );
    assert_eq!(answers.len(), names.len() + 1);
    for (name, result) in answers {
        match (name, result) {
            ("repeated", Some(Ok(appended))) => assert!(appended.duplicate),
            ("refused", Some(Err(error @ AppendError::WrongExpectedVersion { actual, .. }))) => {
                assert_eq!(error.outcome(), Outcome::NotApplied);
                assert_eq!(u128::from(actual.get()), COMMITS);
            }
            ("reused", Some(Err(AppendError::IdReused { .. }))) | ("barrier", None) => {}
            ("beside", Some(Ok(appended))) => assert!(!appended.duplicate),
            other => panic!("{other:?}"),
        }
    }
    // With nothing under way, a barrier passes at once.
    let (told, passed) = oneshot::channel();
    log.barrier(Box::new(move || told.send(()).unwrap()));
    passed.await.unwrap();
    log.close().await;
}

#[tokio::test]
async fn w6_a_close_waits_for_what_is_searched_for() {
    let folder = tempfile::tempdir().unwrap();
    let log = long_stream(folder.path()).await;
    let repeated = (0..COMMITS / 3).map(|n| {
        let expected = at(n as u64);
        log.append(commit(n + 1, "long", expected, 10))
    });
    let repeated: Vec<_> = repeated.collect();
    log.close().await;
    for (n, answer) in join_all(repeated).await.into_iter().enumerate() {
        let appended = answer.unwrap();
        assert_eq!(
            (appended.duplicate, appended.sequence.get()),
            (true, n as u64 + 1)
        );
    }
    let log = open(folder.path());
    assert_eq!(u128::from(log.head().sequence.get()), COMMITS);
}

#[tokio::test]
async fn l3_what_lies_far_back_is_looked_for_on_a_thread_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::over(Arc::new(RealStorage));
    long_stream(folder.path()).await.close().await;
    // Opened again, nothing of it is in memory.
    let (options, storage) = (JournalOptions::default(), Arc::new(disk.clone()));
    let opened = open_with(folder.path(), options, storage, &MapIndex::default());
    let log = opened.unwrap().0;
    let (reads, elsewhere) = (disk.reads(), disk.reads_elsewhere());
    let repeated = log.append(commit(1, "long", Expected::NoStream, 10));
    assert!(repeated.await.unwrap().duplicate);
    assert!(disk.reads() > reads);
    assert_eq!(disk.reads_elsewhere(), elsewhere);
    log.close().await;
}

async fn long_stream(data: &std::path::Path) -> JournalLog {
    let log = open(data);
    let appends = (0..COMMITS).map(|n| log.append(commit(n + 1, "long", at(n as u64), 10)));
    for appended in join_all(appends).await {
        appended.unwrap();
    }
    log
}

fn at(version: u64) -> Expected {
    Expected::Version(StreamVersion::new(version))
}
