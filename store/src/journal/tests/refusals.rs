//! No answer tells of what is not durable: refusals wait for what they were refused because of.

use std::sync::Arc;

use chronicler_domain::StreamVersion;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use uuid::Uuid;

use super::held::{Held, HeldDisk};
use super::session::hand_in;
use super::support::{MapIndex, all, commit, open_with, stream};
use crate::append::{AppendResult, Expected};
use crate::error::{AppendError, Outcome};
use crate::journal::disk::RealStorage;
use crate::journal::disk::simulated::SimulatedDisk;
use crate::journal::{Durability, JournalOptions, JournalStore, StoreKind};
use crate::log::EventLog;
use crate::pages::PageStorage;
use crate::query::StreamQuery;

#[tokio::test]
async fn w1_a_refusal_waits_for_what_it_tells_of_at_every_level() {
    for (durability, held) in [
        (Durability::Fsync, Held::Syncs),
        (Durability::Fsync, Held::Writes),
        (Durability::Os, Held::Writes),
    ] {
        for fails in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let disk = HeldDisk::new(Arc::new(SimulatedDisk::new(1)), held);
            let options = JournalOptions::default().durability(durability);
            let storage = Arc::new(disk.clone());
            let (log, _) =
                open_with(folder.path(), options, storage, &MapIndex::default()).unwrap();
            refused_while_held(&log, &disk, fails).await;
        }
    }
}

#[tokio::test]
async fn w1_a_refusal_of_the_journal_store_waits_for_what_it_tells_of() {
    for fails in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let disk = HeldDisk::new(Arc::new(RealStorage), Held::Syncs);
        refused_by_store(StoreKind::Journal, folder.path(), &disk, fails).await;
    }
}

#[tokio::test]
async fn w1_a_refusal_of_the_store_in_sled_waits_for_what_it_tells_of() {
    for fails in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let pages = PageStorage::new(folder.path().join(StoreKind::Pages.folder()));
        let disk = HeldDisk::new(Arc::new(pages), Held::Syncs);
        refused_by_store(StoreKind::Pages, folder.path(), &disk, fails).await;
    }
}

async fn refused_by_store(kind: StoreKind, data: &std::path::Path, disk: &HeldDisk, fails: bool) {
    let storage = Arc::new(disk.clone());
    let options = JournalOptions::default();
    let store = JournalStore::open_on(kind, data, options, storage, None).unwrap();
    refused_while_held(&store, disk, fails).await;
    store.close().await;
}

/// Stream `a` is at version 1, and a commit that takes it to 2 is on its way to the disk when others are judged.
async fn refused_while_held(log: &dyn EventLog, disk: &HeldDisk, fails: bool) {
    let first = commit(1, "a", Expected::NoStream, 10);
    log.append(first.clone()).await.unwrap();
    log.append(commit(2, "b", Expected::NoStream, 10))
        .await
        .unwrap();
    let winner = commit(3, "a", at(1), 10);
    let others_id = Expected::Decided {
        version: StreamVersion::new(2),
        commit_id: Some(Uuid::from_u128(99)),
    };
    let checked = commit(14, "c", Expected::NoStream, 10).stream(stream("a"), at(1), Vec::new());
    let losers = vec![
        commit(10, "a", at(1), 10),
        commit(11, "a", Expected::NoStream, 10),
        commit(12, "a", others_id, 10),
        // The same id with another event.
        commit(3, "a", Expected::Any, 11),
        checked,
    ];
    let (lost, durable) = (losers.len(), commit(20, "b", Expected::NoStream, 10));
    let _holding = disk.hold();
    let mut appends = vec![winner, first, durable];
    appends.extend(losers);
    let mut answers: Vec<_> = hand_in(log, appends).await;
    disk.wait_until_held();

    // A refusal that nothing staged has a part in waits for nobody; everything else does.
    let at_once = answers.remove(2).await.unwrap();
    assert!(
        matches!(at_once, Err(AppendError::WrongExpectedVersion { actual, .. }) if actual.get() == 1)
    );
    for answer in &mut answers {
        assert_eq!(still_waits(answer), Ok(()));
    }
    assert_eq!(version_of(log, "a").await, 1);

    disk.let_go(fails);
    let mut answers = answers.into_iter();
    let won = answers.next().unwrap().await.unwrap();
    let repeated = answers.next().unwrap().await.unwrap().unwrap();
    assert!(repeated.duplicate && repeated.sequence.get() == 1);
    let mut refused = 0;
    for answer in answers {
        let error = answer.await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
        let stopped = matches!(error, AppendError::ReadOnly { .. });
        assert_eq!(stopped, fails, "{error}");
        refused += 1;
    }
    assert_eq!(refused, lost);
    if fails {
        assert_eq!(won.unwrap_err().outcome(), Outcome::Unknown);
    } else {
        won.unwrap();
    }
    let durable = if fails { 1 } else { 2 };
    assert_eq!(version_of(log, "a").await, durable);
    let found = all(log.read_stream(StreamQuery::new(stream("a")))).await;
    assert_eq!(found.unwrap().len() as u64, durable);
    disk.let_go(false);
    log.close().await;
}

/// Whether nobody has answered yet; else what was answered.
fn still_waits(answer: &mut oneshot::Receiver<AppendResult>) -> Result<(), String> {
    match answer.try_recv() {
        Err(TryRecvError::Empty) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn version_of(log: &dyn EventLog, id: &str) -> u64 {
    let head = log.stream_head(&stream(id)).await.unwrap();
    head.map_or(0, |head| head.version.get())
}

fn at(version: u64) -> Expected {
    Expected::Version(StreamVersion::new(version))
}
