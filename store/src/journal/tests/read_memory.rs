//! R8: readers keep little more memory than what they give, and that is bounded over all of them.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use futures::StreamExt;
use futures::future::join_all;

use super::session::batch;
use super::support::{MapIndex, all, commit, numbers, open_with, stream};
use crate::append::Expected;
use crate::frame::RecordedCommit;
use crate::journal::disk::RealStorage;
use crate::journal::disk::watched::WatchedDisk;
use crate::journal::log::JournalLog;
use crate::journal::options::{Durability, JournalOptions};
use crate::log::EventLog;
use crate::query::{AllQuery, Direction, Filter, Start, StreamQuery};

const COMMITS: u128 = 40;
const APART_BYTES: usize = 300_000;

/// How many bytes of memory these commits keep. Whoever is the last to keep a piece counts it, from where it begins in
/// it; so it is at most what they keep, and about that.
fn kept(commits: Vec<RecordedCommit>) -> usize {
    let counted = commits.into_iter().rev().map(|commit| {
        let bytes = commit.as_bytes().clone();
        drop(commit);
        bytes.try_into_mut().map_or(0, |piece| piece.capacity())
    });
    counted.sum()
}

fn own(commits: &[RecordedCommit]) -> usize {
    let lengths = commits.iter().map(|commit| commit.as_bytes().len());
    lengths.sum()
}

async fn log_of(
    folder: &std::path::Path,
    bytes_apart: usize,
    commits: u128,
) -> (JournalLog, WatchedDisk) {
    let disk = WatchedDisk::over(Arc::new(RealStorage));
    let options = JournalOptions::default().durability(Durability::Os);
    let open = || {
        let storage = Arc::new(disk.clone());
        open_with(folder, options.clone(), storage, &MapIndex::default()).unwrap()
    };
    let (log, _) = open();
    append_to(&log, bytes_apart, 0..commits).await;
    log.close().await;
    let (log, _) = open();
    (log, disk)
}

async fn append_to(log: &JournalLog, bytes_apart: usize, numbers: std::ops::Range<u128>) {
    let numbers: Vec<_> = numbers.collect();
    // Batches of the writer, not so long that the memory of the log holds only one.
    for numbers in numbers.chunks(10) {
        let appended = numbers.iter().flat_map(|n| {
            let of_alice = commit(2 * n + 1, "alice", Expected::Any, 10);
            let other = commit(2 * n + 2, "other", Expected::Any, bytes_apart);
            [log.append(of_alice), log.append(other)]
        });
        for appended in join_all(appended).await {
            appended.unwrap();
        }
    }
}

fn everything() -> AllQuery {
    AllQuery::from(Start::Position(GlobalPosition::new(1)))
}

fn of_alice() -> AllQuery {
    AllQuery {
        filter: Filter {
            stream: Some(stream("alice")),
            ..Filter::default()
        },
        ..everything()
    }
}

#[tokio::test]
async fn r8_small_commits_keep_no_large_pieces_of_the_log_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = log_of(folder.path(), APART_BYTES, COMMITS).await;
    let recent = tempfile::tempdir().unwrap();
    let (in_memory, _) = log_of(recent.path(), 10, 1).await;
    append_to(&in_memory, 100_000, 1..COMMITS).await;
    let backward = Direction::Backward;
    let by_stream = StreamQuery::new(stream("alice"));
    let readers = [
        log.read_stream(by_stream.clone()),
        log.read_stream(StreamQuery {
            direction: backward,
            ..by_stream
        }),
        log.read_all(of_alice()),
        log.read_all(AllQuery {
            direction: backward,
            ..of_alice()
        }),
        in_memory.read_all(AllQuery {
            start: Start::Position(GlobalPosition::new(4)),
            ..of_alice()
        }),
    ];
    for (which, reader) in readers.into_iter().enumerate() {
        let commits = all(reader).await.unwrap();
        let own = own(&commits);
        assert!(commits.len() >= COMMITS as usize - 2, "{which}");
        // What is in memory for everybody goes when it is old.
        append_to(&in_memory, 300_000, 100..130).await;
        let kept = kept(commits);
        assert!(kept >= own / 2, "{which}: {kept} of {own} were counted");
        assert!(kept <= 3 * own, "{which}: {kept} for {own}");
    }
    log.close().await;
    in_memory.close().await;
}

#[tokio::test]
async fn r8_dense_commits_share_the_piece_they_were_read_in() {
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = log_of(folder.path(), 2_000, 2_000).await;
    let before = disk.reads();
    let mut reader = log.read_all(everything());
    let (mut commits, mut shared) = (0, 0);
    while let Some(batch) = reader.next().await {
        let batch = batch.unwrap();
        commits += batch.len();
        shared += batch
            .iter()
            .filter(|commit| !commit.as_bytes().is_unique())
            .count();
        let own = own(&batch);
        let kept = kept(batch);
        assert!(kept <= 3 * own, "{kept} for {own}");
    }
    assert_eq!(commits, 4_000);
    assert!(shared > 3_900, "only {shared} commits share what was read");
    // 9 MB in windows of up to 1 MiB; what a turn leaves of its window is little.
    let asked = disk.reads() - before;
    assert!(asked <= 40, "the disk was asked {asked} times");
    log.close().await;
}

#[tokio::test]
async fn r8_whoever_does_not_read_on_has_nothing_read_ahead_and_many_of_them_get_small_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = log_of(folder.path(), 2_000, 2_000).await;
    let budget = &log.shared().read_budget;
    let mut slow = Vec::new();
    for _ in 0..150 {
        let mut reader = log.read_all(everything());
        let batch = reader.next().await.unwrap().unwrap();
        slow.push((reader, batch));
    }
    let given: usize = slow.iter().map(|(_, batch)| own(batch)).sum();
    assert!(given < 96 << 20, "{given} bytes were given");
    assert!(budget.taken() <= 96 << 20, "{} are taken", budget.taken());
    // Nothing is under way that nobody asked for.
    let asked = disk.reads();
    tokio::task::yield_now().await;
    assert_eq!(disk.reads(), asked);
    let quick = all(log.read_all(everything())).await.unwrap();
    assert_eq!(quick.len(), 4_000);
    for (reader, mut batch) in slow {
        batch.extend(all(reader).await.unwrap());
        assert_eq!(numbers(&batch), numbers(&quick));
    }
    assert_eq!(budget.taken(), 0);
    log.close().await;
}

#[tokio::test]
async fn r8_readers_of_the_latest_commits_take_what_they_were_given_and_not_the_memory_they_share()
{
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = log_of(folder.path(), 10, 1).await;
    // In each piece of the memory, somewhat more than half is alice's.
    for n in 10..40 {
        let appends = [
            commit(2 * n, "alice", Expected::Any, 30_000),
            commit(2 * n + 1, "other", Expected::Any, 25_000),
        ];
        for (_, appended) in batch(&log, appends.into()).await {
            appended.unwrap();
        }
    }
    let (budget, before) = (&log.shared().read_budget, disk.reads());
    let mut given = 0;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let start = Start::Position(GlobalPosition::new(5));
        let mut reader = log.read_all(AllQuery {
            start,
            ..of_alice()
        });
        let batch = reader.next().await.unwrap().unwrap();
        assert!(batch.len() > 10, "{}", batch.len());
        given += own(&batch);
        slow.push((reader, batch));
    }
    let (taken, a_little) = (budget.taken(), given / 20);
    assert!(
        (given..given + a_little).contains(&taken),
        "{given} bytes were given, {taken} are taken"
    );
    assert_eq!(disk.reads(), before, "it was not in memory");
    drop(slow);
    assert_eq!(budget.taken(), 0);
    log.close().await;
}

#[tokio::test]
async fn r8_a_slow_reader_of_the_latest_commits_keeps_none_that_were_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = log_of(folder.path(), 10, 1).await;
    append_to(&log, 100_000, 1..30).await;
    let from = Start::Position(GlobalPosition::new(4));
    let before = disk.reads();
    let mut slow = log.read_all(AllQuery {
        start: from,
        ..everything()
    });
    let first = slow.next().await.unwrap().unwrap();
    assert_eq!(disk.reads(), before, "it was not in memory");
    let given = first.len();
    // All that the reader had before it leaves the memory of the store.
    append_to(&log, 300_000, 30..70).await;
    let mut found = first;
    found.extend(all(slow).await.unwrap());
    assert!(given < found.len());
    assert!(disk.reads() > before, "all of it was still in memory");
    let expected: Vec<u128> = (4..=60).collect();
    assert_eq!(numbers(&found), expected);
    log.close().await;
}
