//! The power goes at one of the syncs, during recovery too, and what was not synced is dropped, kept or torn.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{SchemaVersion, StreamId, Timestamp};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::recording::{Acknowledged, PowerCut, Random, Recording};
use crate::append::{Append, Expected, NewEvent};
use crate::codec::CodecId;
use crate::error::OpenError;
use crate::frame::RecordedCommit;
use crate::journal::{JournalOptions, JournalStore, StoreKind};
use crate::log::EventLog;
use crate::pages::storage::PageStorage;
use crate::pages::{SledOptions, SledStore};
use crate::query::{AllQuery, Start};

/// Cuts in plain `cargo test`; more with `CHRONICLER_POWER_CUTS`.
const CUTS: u64 = 40;
/// Syncs in a session at most before the power goes: the opening alone has some ten.
const SYNCS_MAX: u64 = 40;

#[test]
fn k2_a_power_cut_at_any_sync_of_a_log_in_sled_loses_nothing_acknowledged() {
    let cuts = std::env::var("CHRONICLER_POWER_CUTS");
    let cuts = cuts.map_or(CUTS, |cuts| cuts.parse().unwrap());
    let (mut acknowledged, mut behind) = (0, 0);
    for seed in 0..cuts {
        let mut random = Random(seed);
        let empty = tempfile::tempdir().unwrap();
        let mut workload = Workload::default();
        let Some(first) = session(empty.path(), &mut random, &mut workload, Vec::new()) else {
            continue;
        };
        let kept = first.acknowledged.clone();
        let second = session(first.data.path(), &mut random, &mut workload, kept);
        let last = second.unwrap_or(first);
        let found = check(last.data.path(), &workload, &last.acknowledged, seed);
        acknowledged += last.acknowledged.len();
        behind += found - last.acknowledged.len();
    }
    println!(
        "{cuts} power cuts: {acknowledged} acknowledged commits, all there; {behind} more that were under way"
    );
    assert!(acknowledged > 0);
}

/// The commits that were submitted, by number.
#[derive(Debug, Default)]
struct Workload {
    submitted: BTreeMap<u128, usize>,
}

impl Workload {
    /// A commit of one to three events, most of them short, for one of a few streams.
    fn next(&mut self, random: &mut Random) -> Append {
        let number = self.submitted.len() as u128 + 1;
        let events = 1 + random.below(3) as usize;
        self.submitted.insert(number, events);
        let bytes = if random.below(12) == 0 { 20_000 } else { 300 };
        let event = |at: usize| NewEvent {
            id: None,
            event_type: "Happened".into(),
            schema_version: SchemaVersion::FIRST,
            codec: CodecId::RAW,
            payload: Bytes::from(vec![at as u8; random.below(bytes) as usize]),
            metadata: Bytes::new(),
        };
        let events: Vec<_> = (0..events).map(event).collect();
        let stream = StreamId::of("account", &format!("a{}", number % 5)).unwrap();
        let at = Timestamp::from_micros(number as u64);
        Append::new(Uuid::from_u128(number), at).stream(stream, Expected::Any, events)
    }
}

/// Works on a store until the power goes at one of its syncs; `None` if it never did.
fn session(
    data: &Path,
    random: &mut Random,
    workload: &mut Workload,
    acknowledged: Vec<u128>,
) -> Option<PowerCut> {
    let acknowledged: Acknowledged = Arc::new(Mutex::new(acknowledged));
    let folder = data.join(StoreKind::Pages.folder());
    let storage = PageStorage::new(folder.clone());
    let recording = Recording::new(
        storage,
        data,
        &folder,
        acknowledged.clone(),
        random.below(SYNCS_MAX),
        random.below(u64::MAX),
    );
    let options = JournalOptions::default().segment_bytes(64 << 10);
    let in_pages = Arc::new(recording.clone());
    let store = JournalStore::open_on(StoreKind::Pages, data, options, in_pages, None).unwrap();
    let mut cut = recording.take_cut();
    while cut.is_none() && workload.submitted.len() < 1_000 {
        let (all_answered, answered) = oneshot::channel::<()>();
        for _ in 0..1 + random.below(12) {
            let append = workload.next(random);
            let (number, acknowledged) = (append.commit_id.as_u128(), acknowledged.clone());
            let done = move |answer: crate::AppendResult| {
                answer.unwrap();
                acknowledged.lock().push(number);
            };
            store.submit(append, Box::new(done));
        }
        store.barrier(Box::new(move || drop(all_answered)));
        answered.blocking_recv().unwrap_err();
        cut = recording.take_cut();
    }
    drop(store);
    cut.or_else(|| recording.take_cut())
}

/// Opens what the power cut left: everything acknowledged is there, nothing is there in part, and it goes on.
/// How many commits were found.
fn check(data: &Path, workload: &Workload, acknowledged: &[u128], seed: u64) -> usize {
    let store = open(data).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let found = read_all(&store);
    let (mut sequence, mut position) = (0, 0);
    for commit in &found {
        sequence += 1;
        assert_eq!(commit.sequence().get(), sequence, "seed {seed}");
        for event in commit.events() {
            position += 1;
            assert_eq!(event.position().get(), position, "seed {seed}");
        }
        let number = commit.commit_id().as_u128();
        let events = workload.submitted.get(&number);
        assert_eq!(
            events,
            Some(&(commit.event_count() as usize)),
            "seed {seed}"
        );
    }
    let numbers: Vec<_> = found
        .iter()
        .map(|commit| commit.commit_id().as_u128())
        .collect();
    for number in acknowledged {
        assert!(
            numbers.contains(number),
            "seed {seed}: commit {number} is lost"
        );
    }
    let mut more = Workload {
        submitted: workload.submitted.clone(),
    };
    let append = more.next(&mut Random(seed));
    let appended = futures::executor::block_on(store.append(append)).unwrap();
    assert_eq!(appended.sequence.get(), sequence + 1, "seed {seed}");
    drop(store);
    let store = open(data).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(read_all(&store).len(), found.len() + 1, "seed {seed}");
    found.len()
}

fn open(data: &Path) -> Result<JournalStore, OpenError> {
    SledStore::open(data, SledOptions::default().segment_bytes(64 << 10))
}

fn read_all(store: &JournalStore) -> Vec<RecordedCommit> {
    let commits = store.read_all(AllQuery::from(Start::Position(1.into())));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let batches: Vec<_> = runtime.block_on(commits.collect());
    batches.into_iter().flat_map(Result::unwrap).collect()
}
