//! R5, R6: readers on a slow disk, and slow readers: what works shows it, what nobody waits for ends, and nobody who
//! waits holds a thread or a file.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};

use super::support::{MapIndex, all, commit, numbers, open_with, stream};
use crate::append::Expected;
use crate::journal::disk::RealStorage;
use crate::journal::disk::watched::WatchedDisk;
use crate::journal::log::JournalLog;
use crate::journal::options::{Durability, JournalOptions};
use crate::journal::read::{BackwardScan, ForwardScan, StreamReader, Turn, TurnReader};
use crate::log::EventLog;
use crate::query::{AllQuery, Direction, Filter, Start, StreamQuery};

/// Commits of `alice`, each farther from the next than a window of the reader reaches.
const COMMITS: u128 = 40;
const APART_BYTES: usize = 300_000;
/// Longer than any turn takes that nothing holds back.
const GUARD: Duration = Duration::from_secs(60);

/// A log of small commits of `alice` between large ones of others, too far back to be in memory, on a disk that counts.
async fn sparse_log(folder: &std::path::Path) -> (JournalLog, WatchedDisk) {
    let disk = WatchedDisk::over(Arc::new(RealStorage));
    let options = JournalOptions::default().durability(Durability::Os);
    let open = || {
        let storage = Arc::new(disk.clone());
        open_with(folder, options.clone(), storage, &MapIndex::default()).unwrap()
    };
    let (log, _) = open();
    for n in 0..COMMITS {
        let of_alice = commit(2 * n + 1, "alice", Expected::Any, 10);
        let other = commit(2 * n + 2, &format!("o{n}"), Expected::Any, APART_BYTES);
        for appended in join_all([log.append(of_alice), log.append(other)]).await {
            appended.unwrap();
        }
    }
    log.close().await;
    let (log, _) = open();
    (log, disk)
}

fn of_alice() -> StreamQuery {
    StreamQuery::new(stream("alice"))
}

fn everything() -> AllQuery {
    AllQuery::from(Start::Position(chronicler_domain::GlobalPosition::new(1)))
}

fn odd() -> Vec<u128> {
    (0..COMMITS).map(|n| 2 * n + 1).collect()
}

/// Reads in turns that are over as soon as the disk was asked; gives what was found, and how many turns found nothing.
/// No turn asks the disk more than a few times, and none leaves a file open.
fn in_shortest_turns(disk: &WatchedDisk, mut reader: impl TurnReader) -> (Vec<u128>, usize) {
    let (mut found, mut empty) = (Vec::new(), 0);
    let open = disk.open_files();
    loop {
        let before = disk.reads();
        let unwanted = Arc::new(AtomicBool::new(false));
        let turn = reader.read(&mut Turn::new(1 << 20, Duration::ZERO, unwanted));
        let turn = turn.unwrap();
        let asked = disk.reads() - before;
        // A frame and its length may take two, and the footer of a segment a few more.
        assert!(asked <= 8, "one turn asked the disk {asked} times");
        assert_eq!(disk.open_files(), open, "a reader that rests keeps a file");
        empty += usize::from(turn.batch.commits.is_empty());
        found.extend(numbers(&turn.batch.commits));
        if turn.is_last {
            return (found, empty);
        }
    }
}

#[tokio::test]
async fn r5_every_reader_gives_way_after_a_few_reads_and_loses_nothing_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = sparse_log(folder.path()).await;
    let shared = log.shared();
    let head = shared
        .heads
        .durable(stream("alice").key(), || shared.durable());
    let last_offset = head.flatten().unwrap().log_offset;
    let backwards = |mut numbers: Vec<u128>| {
        numbers.reverse();
        numbers
    };
    let by_stream = |query| {
        let frames = shared.view().reader();
        let reader = StreamReader::new(frames, query, shared.durable(), last_offset);
        in_shortest_turns(&disk, reader.unwrap())
    };
    let (found, empty) = by_stream(of_alice());
    assert_eq!(found, odd());
    // The way back to the first commit is made of turns, too.
    assert!(empty + 5 >= COMMITS as usize, "{empty} turns found nothing");
    let direction = Direction::Backward;
    let query = StreamQuery {
        direction,
        ..of_alice()
    };
    assert_eq!(by_stream(query).0, backwards(odd()));

    let filter = Filter {
        stream: Some(stream("alice")),
        ..Filter::default()
    };
    let filtered = AllQuery {
        filter,
        ..everything()
    };
    let (found, empty) =
        in_shortest_turns(&disk, ForwardScan::new(filtered.clone(), shared.view()));
    assert_eq!(found, odd());
    assert!(empty > 0);
    let query = AllQuery {
        direction,
        ..filtered
    };
    let (found, _) = in_shortest_turns(&disk, BackwardScan::new(query, shared.view()));
    assert_eq!(found, backwards(odd()));
    log.close().await;
}

#[tokio::test]
async fn r5_a_walk_over_a_slow_disk_shows_that_it_goes_on_and_one_that_nobody_waits_for_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = sparse_log(folder.path()).await;
    let query = StreamQuery {
        heartbeats: true,
        ..of_alice()
    };
    disk.grant(Some(0));
    let (before, open) = (disk.reads(), disk.open_files());
    let mut abandoned = log.read_stream(query.clone());
    assert!(abandoned.next().now_or_never().is_none());
    disk.wait_for_held(1);
    drop(abandoned);
    disk.grant(None);
    disk.wait_for_open(open);
    let asked = disk.reads() - before;
    assert!(asked <= 2, "the disk was asked {asked} times for nobody");

    // Without the heartbeats it is the same but for the empty batches.
    let mut found = Vec::new();
    let mut commits = log.read_stream(query);
    while let Some(batch) = commits.next().await {
        found.extend(numbers(&batch.unwrap()));
    }
    assert_eq!(found, odd());
    assert_eq!(
        numbers(&all(log.read_stream(of_alice())).await.unwrap()),
        odd()
    );
    log.close().await;
}

#[test]
fn r6_slow_readers_hold_neither_threads_nor_files() {
    // One thread for everything that blocks: whoever held it would hold up all others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (log, disk) = sparse_log(folder.path()).await;
        let open = disk.open_files();
        let mut slow = Vec::new();
        for _ in 0..20 {
            let mut reader = log.read_all(everything());
            let batch = tokio::time::timeout(GUARD, reader.next()).await;
            assert!(!batch.unwrap().unwrap().unwrap().is_empty());
            slow.push(reader);
        }
        let quick = all(log.read_stream(of_alice()));
        let quick = tokio::time::timeout(GUARD, quick).await;
        assert_eq!(numbers(&quick.unwrap().unwrap()), odd());
        disk.wait_for_open(open);
        for reader in slow {
            let rest = all(reader).await.unwrap();
            assert!(rest.len() < 2 * COMMITS as usize && !rest.is_empty());
        }
        log.close().await;
    });
}

#[tokio::test]
async fn r1_a_read_without_descriptors_fails_and_the_next_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let (log, disk) = sparse_log(folder.path()).await;
    disk.fail_open(true);
    let error = all(log.read_stream(of_alice())).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    disk.fail_open(false);
    assert_eq!(
        numbers(&all(log.read_stream(of_alice())).await.unwrap()),
        odd()
    );
    log.close().await;
}
