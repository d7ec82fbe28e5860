//! A data directory with something of everything, and what was put into it.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, SchemaVersion, StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::journal::JournalOptions;
use chronicler_store::{
    Append, EventLog, Expected, FactKind, JournalStore, NewEvent, SideRecord, Snapshot,
    SnapshotStore, StreamHead, ViewCheckpoint, ViewName, ViewRow, ViewStore,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::harm::files;
use crate::outcome::{all_commits, on_a_runtime};

pub(crate) const STREAMS: u64 = 12;
const COMMITS: u64 = 600;
const ROWS: u64 = 60;
const FACTS: u64 = 20;

/// A directory, and what it answers.
pub(crate) struct World {
    folder: TempDir,
    /// The bytes of every commit.
    pub(crate) commits: Vec<Bytes>,
    pub(crate) heads: Vec<Option<StreamHead>>,
    pub(crate) snapshots: Vec<Option<Snapshot>>,
    pub(crate) rows: Vec<ViewRow>,
    pub(crate) facts: Vec<(Bytes, Bytes)>,
}

impl World {
    /// As a clean end leaves it.
    pub(crate) fn closed() -> Self {
        Self::new(true)
    }

    /// As SIGKILL leaves it.
    pub(crate) fn killed() -> Self {
        Self::new(false)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn new(is_closed: bool) -> Self {
        on_a_runtime(|runtime| {
            let (folder, used) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let store = open(used.path()).unwrap();
            runtime.block_on(fill(&store));
            // Once more, so that there is an index from before.
            runtime.block_on(store.close());
            drop(store);
            let store = open(used.path()).unwrap();
            runtime.block_on(append(&store, COMMITS + 1));
            if is_closed {
                runtime.block_on(store.close());
            }
            copy(used.path(), folder.path());
            let mut world = Self {
                folder,
                commits: Vec::new(),
                heads: Vec::new(),
                snapshots: Vec::new(),
                rows: Vec::new(),
                facts: Vec::new(),
            };
            drop(store);
            let read = open(used.path()).unwrap();
            runtime.block_on(async {
                world.commits = all_commits(&read).await.unwrap();
                for number in 0..STREAMS {
                    let stream = stream(number);
                    world.heads.push(read.stream_head(&stream).await.unwrap());
                    let newest = chronicler_domain::StreamVersion::MAX;
                    let snapshot = read.load_snapshot(&stream, newest).await.unwrap();
                    world.snapshots.push(snapshot);
                }
                world.rows = read.view_rows(&view(), None, 1_000).await.unwrap();
                let facts = chronicler_store::FactQuery::all(FactKind::CURSOR);
                let facts = read.facts(facts).await.unwrap();
                world.facts = facts
                    .into_iter()
                    .map(|fact| (fact.key, fact.value))
                    .collect();
            });
            assert_eq!(world.commits.len() as u64, COMMITS + 1);
            assert_eq!(world.rows.len() as u64, ROWS);
            assert_eq!(world.facts.len() as u64, FACTS);
            world
        })
    }
}

pub(crate) fn open(folder: &Path) -> Result<JournalStore, chronicler_store::OpenError> {
    JournalStore::open(folder, JournalOptions::default().segment_bytes(64 << 10))
}

pub(crate) fn stream(number: u64) -> StreamId {
    StreamId::of("account", &format!("a{number}")).unwrap()
}

pub(crate) fn view() -> ViewName {
    ViewName {
        name: "balances".into(),
        generation: 1,
    }
}

async fn fill(store: &JournalStore) {
    for number in 1..=COMMITS {
        append(store, number).await;
    }
    for number in 0..STREAMS {
        let head = store.stream_head(&stream(number)).await.unwrap().unwrap();
        let snapshot = Snapshot {
            version: head.version,
            sequence: head.sequence,
            commit_id: head.commit_id,
            schema_version: 1,
            payload: Bytes::from(vec![number as u8; 900]),
        };
        store
            .save_snapshot(&stream(number), snapshot)
            .await
            .unwrap();
    }
    let row = |number: u64| ViewRow {
        key: Bytes::from(format!("row {number:03}")),
        value: Some(Bytes::from(vec![number as u8; 200])),
        position: GlobalPosition::new(number + 1),
    };
    let checkpoint = ViewCheckpoint {
        position: GlobalPosition::new(COMMITS),
        fingerprint: 7,
    };
    let rows = (0..ROWS).map(row).collect();
    store.write_view(&view(), rows, checkpoint).await.unwrap();
}

async fn append(store: &JournalStore, number: u64) {
    let event = NewEvent {
        id: None,
        event_type: "Deposited".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from(vec![number as u8; 50 + number as usize % 500]),
        metadata: Bytes::new(),
    };
    let commit = Append::new(
        Uuid::from_u128(number.into()),
        Timestamp::from_micros(number),
    );
    let mut commit = commit.stream(stream(number % STREAMS), Expected::Any, vec![event]);
    commit.records.push(SideRecord::Fact {
        kind: FactKind::CURSOR,
        key: Bytes::from(format!("cursor {}", number % FACTS)),
        value: Some(Bytes::from(number.to_le_bytes().to_vec())),
    });
    let appended = store.append(commit).await.unwrap();
    assert_eq!(appended.sequence, LogSequence::new(number));
}

/// Copies a directory with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
        fs::copy(from.join(&path), to.join(&path)).unwrap();
    }
}

/// Whoever reads and writes here.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
