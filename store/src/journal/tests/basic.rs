//! Writing, reading and opening again.

use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion, Timestamp};
use futures::future::join_all;

use super::support::{MapIndex, all, commit, numbers, open, open_with, stream};
use crate::append::Expected;
use crate::journal::disk::RealStorage;
use crate::journal::options::{Durability, JournalOptions};
use crate::log::EventLog;
use crate::query::{AllQuery, Direction, Start, StreamQuery};

#[tokio::test]
async fn what_was_appended_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let log = open(folder.path());
        assert_eq!(log.head().sequence.get(), round * 20);
        let appends = (0..20).map(|n| {
            let id = u128::from(round * 20 + n + 1);
            log.append(commit(
                id,
                ["alice", "bob"][n as usize % 2],
                Expected::Any,
                100,
            ))
        });
        for (n, appended) in join_all(appends).await.into_iter().enumerate() {
            assert_eq!(appended.unwrap().sequence.get(), round * 20 + n as u64 + 1);
        }
        let of_alice = all(log.read_stream(StreamQuery::new(stream("alice"))))
            .await
            .unwrap();
        let odd: Vec<_> = (1..=u128::from(round + 1) * 20)
            .filter(|n| n % 2 == 1)
            .collect();
        assert_eq!(numbers(&of_alice), odd);
        let whole = all(log.read_all(AllQuery::from(Start::Position(GlobalPosition::new(1)))))
            .await
            .unwrap();
        assert_eq!(
            numbers(&whole),
            (1..=u128::from(round + 1) * 20).collect::<Vec<_>>()
        );
        let head = log.stream_head(&stream("bob")).await.unwrap().unwrap();
        assert_eq!(head.version.get(), (round + 1) * 10);
        assert_eq!(head.first_at, Timestamp::from_micros(2));
        log.close().await;
    }
}

#[tokio::test]
async fn reads_agree_over_many_segments_and_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions::default().segment_bytes(64 << 10);
    let index = MapIndex::default();
    for opened in 0..2 {
        let (log, _) = open_with(
            folder.path(),
            options.clone(),
            Arc::new(RealStorage),
            &index,
        )
        .unwrap();
        if opened == 0 {
            let appends = (1..=600_u128)
                .map(|n| log.append(commit(n, &format!("a{}", n % 7), Expected::Any, 1_000)));
            for appended in join_all(appends).await {
                appended.unwrap();
            }
        }
        assert!(log.shared().catalogue.segments().len() > 8);
        for from in [1, 2, 37, 300, 599, 600, 601] {
            let mut query = AllQuery::from(Start::Sequence(LogSequence::new(from)));
            let forward = numbers(&all(log.read_all(query.clone())).await.unwrap());
            assert_eq!(forward, (u128::from(from)..=600).collect::<Vec<_>>());
            query.direction = Direction::Backward;
            let mut backward = numbers(&all(log.read_all(query.clone())).await.unwrap());
            backward.reverse();
            assert_eq!(backward, forward, "from {from}");
            let by_time = AllQuery::from(Start::Time(Timestamp::from_micros(from)));
            assert_eq!(numbers(&all(log.read_all(by_time)).await.unwrap()), forward);
            query.to = GlobalPosition::new(from + 3);
            query.commits_max = 2;
            let newest = numbers(&all(log.read_all(query)).await.unwrap());
            let expected: Vec<_> = (u128::from(from)..=600.min(u128::from(from) + 3))
                .rev()
                .take(2)
                .collect();
            assert_eq!(newest, expected, "from {from}");
        }
        let mut query = StreamQuery::new(stream("a3"));
        query.from = StreamVersion::new(5);
        query.to = StreamVersion::new(20);
        let forward = numbers(&all(log.read_stream(query.clone())).await.unwrap());
        assert_eq!(forward, (4..20).map(|n| 3 + n * 7).collect::<Vec<_>>());
        query.direction = Direction::Backward;
        query.commits_max = 3;
        let backward = numbers(&all(log.read_stream(query)).await.unwrap());
        assert_eq!(backward, [136, 129, 122]);
        log.close().await;
    }
}

#[tokio::test]
async fn a_log_without_syncs_keeps_everything_over_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions::default().durability(Durability::Os);
    for round in 0..3 {
        let (log, report) = open_with(
            folder.path(),
            options.clone(),
            Arc::new(RealStorage),
            &MapIndex::default(),
        )
        .unwrap();
        assert_eq!(log.head().sequence.get(), round);
        assert_eq!((report.cut.len(), report.kept_beyond_marker), (0, 0));
        log.append(commit(u128::from(round) + 1, "a", Expected::Any, 10))
            .await
            .unwrap();
        log.close().await;
    }
}

#[tokio::test]
async fn the_whole_store_opens_writes_and_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let store = crate::JournalStore::open(folder.path(), JournalOptions::default()).unwrap();
        assert_eq!(store.head().sequence.get(), round);
        assert_eq!(store.open_report().replayed, 0);
        assert_eq!(store.open_report().index_set_aside, None);
        let appended = store
            .append(commit(u128::from(round) + 1, "a", Expected::Any, 10))
            .await
            .unwrap();
        assert_eq!(appended.parts[0].last_version.get(), round + 1);
        assert_eq!(store.sync_stats().commits, 1);
        store.close().await;
    }
}

#[tokio::test]
async fn k5_an_index_that_was_built_again_is_there_at_the_next_open() {
    let folder = tempfile::tempdir().unwrap();
    let open = || crate::JournalStore::open(folder.path(), JournalOptions::default()).unwrap();
    let store = open();
    let append = store.append(commit(1, "a", Expected::Any, 10));
    append.await.unwrap();
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(folder.path().join("sled")).unwrap();
    for replayed in [1, 0, 0] {
        let store = open();
        assert_eq!(store.open_report().replayed, replayed);
        store.close().await;
    }
}

#[tokio::test]
async fn a_directory_that_lost_its_names_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let append = log.append(commit(1, "a", Expected::Any, 10));
    append.await.unwrap();
    log.close().await;
    let segment = "journal/00000000000000000001.seg";
    for (file, sign) in [("format", segment), (segment, "journal/head")] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
        let index = MapIndex::default();
        let options = JournalOptions::default();
        let error = open_with(folder.path(), options, Arc::new(RealStorage), &index).unwrap_err();
        assert!(error.to_string().contains(sign), "{error}");
        assert!(folder.path().join("journal/head").exists());
    }
}
