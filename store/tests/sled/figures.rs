//! Both durable stores beside each other: what a small fixed load costs.
//!
//! `cargo test --release -p chronicler-store --test sled figures -- --ignored --nocapture --test-threads 1`

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use chronicler_domain::{SchemaVersion, StreamId, StreamVersion, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{
    Append, EventLog, Expected, JournalStore, NewEvent, SledOptions, SledStore,
};
use uuid::Uuid;

const IN_FLIGHT: usize = 1_024;
const STREAMS: u64 = 1_000;
const TOGETHER: Duration = Duration::from_secs(3);
const ALONE: Duration = Duration::from_secs(2);

#[test]
#[ignore = "prints figures, and takes ten seconds"]
fn figures_of_the_journal_store() {
    let open = |data: &Path| JournalStore::open(data, Default::default()).unwrap();
    measure("journal", open);
}

#[test]
#[ignore = "prints figures, and takes ten seconds"]
fn figures_of_the_sled_store() {
    let open = |data: &Path| SledStore::open(data, SledOptions::default()).unwrap();
    measure("sled", open);
}

fn measure(name: &str, open: impl Fn(&Path) -> JournalStore) {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(open(data.path()));
    let begun = Instant::now();
    let together = append(&store, IN_FLIGHT, TOGETHER).len();
    let per_second = together as f64 / begun.elapsed().as_secs_f64();
    let stats = store.sync_stats();
    let frame_bytes = stats.bytes / stats.commits;
    drop(store);
    let bytes_each = bytes_below(data.path()) / together as u64;
    let begun = Instant::now();
    let store = Arc::new(open(data.path()));
    let opened = begun.elapsed();
    assert_eq!(store.head().sequence.get(), together as u64);
    drop(store);

    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(open(data.path()));
    let mut alone = append(&store, 1, ALONE);
    drop(store);
    let bytes_alone = bytes_below(data.path()) / alone.len() as u64;
    alone.sort_unstable();
    println!(
        "{name}: {per_second:.0} appends a second with {IN_FLIGHT} in flight; alone p50 {} us, p99 {} us; \
         {bytes_each} bytes on disk for a frame of {frame_bytes}, {bytes_alone} when they came alone ({}); \
         {together} commits opened in {} ms",
        alone[alone.len() / 2].as_micros(),
        alone[alone.len() * 99 / 100].as_micros(),
        alone.len(),
        opened.as_millis(),
    );
}

/// Appends for a while with so many in flight; how long each took.
fn append(store: &Arc<JournalStore>, in_flight: usize, time: Duration) -> Vec<Duration> {
    let streams: Vec<_> = (0..STREAMS)
        .map(|number| StreamId::of("account", &format!("a{number}")).unwrap())
        .collect();
    let (answer, answers) = sync_channel(in_flight);
    let (begun, mut took) = (Instant::now(), Vec::new());
    let (mut number, mut under_way) = (0, 0);
    while begun.elapsed() < time || under_way > 0 {
        while under_way < in_flight && begun.elapsed() < time {
            let expected = Expected::Version(StreamVersion::new(number / STREAMS));
            number += 1;
            let event = NewEvent {
                id: None,
                event_type: "MoneyDeposited".into(),
                schema_version: SchemaVersion::FIRST,
                codec: CodecId::RAW,
                payload: bytes::Bytes::from_static(&[7; 64]),
                metadata: bytes::Bytes::new(),
            };
            let stream = streams[((number - 1) % STREAMS) as usize].clone();
            let at = Timestamp::from_micros(number);
            let append = Append::new(Uuid::from_u128(u128::from(number)), at).stream(
                stream,
                expected,
                vec![event],
            );
            let (answer, submitted) = (answer.clone(), Instant::now());
            let done = move |result: chronicler_store::AppendResult| {
                result.unwrap();
                answer.try_send(submitted.elapsed()).unwrap();
            };
            store.submit(append, Box::new(done));
            under_way += 1;
        }
        if under_way > 0 {
            took.push(answers.recv().unwrap());
            under_way -= 1;
        }
    }
    took
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.path().is_dir() {
            true => bytes_below(&entry.path()),
            false => entry.metadata().unwrap().len(),
        })
        .sum()
}
