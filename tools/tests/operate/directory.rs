//! Data directories for the tests, written by the real store.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, SchemaVersion, StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::journal::{Durability, JournalOptions};
use chronicler_store::{
    Append, Direction, EventLog, Expected, Filter, JournalStore, NewEvent, RecordedEvent,
    read_all_events,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Noon of a day in 2023, in microseconds.
pub(crate) const NOON: u64 = 1_700_000_000_000_000;

/// A directory with a store in it, and nobody who has it open.
pub(crate) struct Directory {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// An empty place for one.
    pub(crate) fn none() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        Self {
            _folder: folder,
            path,
        }
    }

    /// With so many commits over several segments, closed.
    pub(crate) async fn with(commits: u64) -> Self {
        let directory = Self::none();
        let store = directory.open();
        append(&store, 1..=commits).await;
        store.close().await;
        directory
    }

    pub(crate) fn open(&self) -> JournalStore {
        open(&self.path)
    }

    /// The file of a segment.
    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("journal/{number:020}.seg"))
    }

    pub(crate) fn head(&self) -> PathBuf {
        self.path.join("journal/head")
    }
}

/// Opens the store of a directory with the smallest segments there are.
pub(crate) fn open(path: &Path) -> JournalStore {
    let options = JournalOptions::default().segment_bytes(64 << 10);
    JournalStore::open(path, options).unwrap()
}

/// Opens one for measuring, with segments as they are by default.
pub(crate) fn open_large(path: &Path) -> JournalStore {
    JournalStore::open(path, JournalOptions::default().durability(Durability::Os)).unwrap()
}

/// Appends commits by number. Each third is for `order/…` with two events, the others for `account/…` with one.
pub(crate) async fn append(store: &JournalStore, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        store.append(commit(number)).await.unwrap();
    }
}

/// One commit of a test.
pub(crate) fn commit(number: u64) -> Append {
    let at = Timestamp::from_micros(NOON + number * 1_000_000);
    let append = Append::new(Uuid::from_u128(u128::from(number)), at);
    if number.is_multiple_of(3) {
        let json = format!(r#"{{"number":{number}}}"#);
        let events = vec![
            event("Placed", CodecId::JSON, json.into()),
            event("Paid", CodecId::BINCODE, vec![0xab; 600].into()),
        ];
        let order = StreamId::of("order", &format!("o{}", number % 7)).unwrap();
        append.stream(order, Expected::Any, events)
    } else {
        let events = vec![event("Deposited", CodecId::RAW, vec![7; 400].into())];
        let account = StreamId::of("account", &format!("a{}", number % 5)).unwrap();
        append.stream(account, Expected::Any, events)
    }
}

pub(crate) fn event(event_type: &'static str, codec: CodecId, payload: Bytes) -> NewEvent {
    NewEvent {
        id: None,
        event_type: event_type.into(),
        schema_version: SchemaVersion::FIRST,
        codec,
        payload,
        metadata: Bytes::new(),
    }
}

/// All events of a directory, as the store itself reads them.
pub(crate) async fn events(path: &Path) -> Vec<RecordedEvent> {
    let (from, to) = (GlobalPosition::new(1), GlobalPosition::MAX);
    let store = open(path);
    let (all, limit) = (Filter::default(), usize::MAX);
    let read = read_all_events(&store, from, to, all, limit, Direction::Forward).await;
    store.close().await;
    read.unwrap()
}

/// Flips a bit of a file.
pub(crate) fn damage(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 4;
    std::fs::write(file, bytes).unwrap();
}
