//! An index that is two maps, a log over it, and commits to write.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chronicler_domain::{LogSequence, SchemaVersion, StreamId, Timestamp};
use futures::StreamExt;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::append::{Append, Expected, NewEvent};
use crate::codec::CodecId;
use crate::error::{OpenError, ReadError};
use crate::frame::{FactKind, RecordedCommit};
use crate::index::{Fill, HeadRow, Index, IndexBatch, IndexError, Watermark};
use crate::journal::disk::{RealStorage, Storage};
use crate::journal::identity::StoreKind;
use crate::journal::log::JournalLog;
use crate::journal::open::OpenReport;
use crate::journal::options::JournalOptions;
use crate::query::CommitStream;

/// An index in memory. Clones are the same index, so that it can outlive a log.
#[derive(Clone, Default)]
pub(super) struct MapIndex {
    maps: Arc<Mutex<Maps>>,
    /// So many calls fail, or until it is built again.
    pub(super) fails: Arc<AtomicU64>,
    /// How often it was built again.
    pub(super) rebuilt: Arc<AtomicU64>,
}

#[derive(Default)]
struct Maps {
    heads: HashMap<Arc<str>, HeadRow>,
    facts: BTreeMap<(FactKind, Bytes), (Bytes, LogSequence)>,
    watermark: Option<Watermark>,
}

impl MapIndex {
    fn maps(&self) -> Result<parking_lot::MutexGuard<'_, Maps>, IndexError> {
        let takes_one = |left: u64| match left {
            0 => None,
            u64::MAX => Some(u64::MAX),
            left => Some(left - 1),
        };
        let ordering = Ordering::SeqCst;
        match self.fails.fetch_update(ordering, ordering, takes_one) {
            Ok(_) => Err(IndexError {
                operation: "testing",
                reason: "it is to fail".to_owned(),
            }),
            Err(_) => Ok(self.maps.lock()),
        }
    }
}

impl Index for MapIndex {
    fn watermark(&self) -> Option<Watermark> {
        self.maps.lock().watermark
    }

    fn head(&self, stream_key: &str) -> Result<Option<HeadRow>, IndexError> {
        Ok(self.maps()?.heads.get(stream_key).copied())
    }

    fn fact(&self, kind: FactKind, key: &[u8]) -> Result<Option<(Bytes, LogSequence)>, IndexError> {
        let key = (kind, Bytes::copy_from_slice(key));
        Ok(self.maps()?.facts.get(&key).cloned())
    }

    fn facts(
        &self,
        kind: FactKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes, LogSequence)>, IndexError> {
        let maps = self.maps()?;
        let of_kind = maps
            .facts
            .iter()
            .filter(|((k, key), _)| *k == kind && after.is_none_or(|after| key.as_ref() > after));
        let rows =
            of_kind.map(|((_, key), (value, sequence))| (key.clone(), value.clone(), *sequence));
        Ok(rows.take(limit).collect())
    }

    fn apply(&self, batch: &IndexBatch) -> Result<(), IndexError> {
        let mut maps = self.maps()?;
        for (key, row) in &batch.heads {
            maps.heads.insert(key.clone(), *row);
        }
        for change in &batch.facts {
            let key = (change.kind, change.key.clone());
            match &change.value {
                Some(value) => maps.facts.insert(key, (value.clone(), change.sequence)),
                None => maps.facts.remove(&key),
            };
        }
        maps.watermark = Some(batch.watermark);
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        *self.maps()? = Maps::default();
        Ok(())
    }

    fn rebuild(&self, fill: &mut Fill<'_>) -> Result<(), IndexError> {
        let fresh = Self::default();
        fill(&fresh)?;
        *self.maps.lock() = std::mem::take(&mut *fresh.maps.lock());
        self.fails.store(0, Ordering::SeqCst);
        self.rebuilt.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Opens a log over an index in memory.
pub(super) fn open_with(
    data: &Path,
    options: JournalOptions,
    storage: Arc<dyn Storage>,
    index: &MapIndex,
) -> Result<(JournalLog, OpenReport), OpenError> {
    let open_index =
        |_: Uuid,
         _: LogSequence,
         _: &dyn Fn(&Watermark) -> Result<(), String>,
         _: &mut OpenReport| Ok(Arc::new(index.clone()) as Arc<dyn Index>);
    JournalLog::open(
        StoreKind::Journal,
        data,
        options,
        storage,
        &open_index,
        None,
    )
}

/// Opens a log on real files over a new index.
pub(super) fn open(data: &Path) -> JournalLog {
    let options = JournalOptions::default();
    let storage = Arc::new(RealStorage);
    open_with(data, options, storage, &MapIndex::default())
        .unwrap()
        .0
}

pub(super) fn stream(id: &str) -> StreamId {
    StreamId::of("account", id).unwrap()
}

/// Commit number `n` of a test: one event of `bytes` bytes for a stream.
pub(super) fn commit(n: u128, id: &str, expected: Expected, bytes: usize) -> Append {
    Append::new(Uuid::from_u128(n), Timestamp::from_micros(n as u64)).stream(
        stream(id),
        expected,
        vec![event(bytes)],
    )
}

pub(super) fn event(bytes: usize) -> NewEvent {
    NewEvent {
        id: None,
        event_type: "Happened".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from(vec![b'x'; bytes]),
        metadata: Bytes::new(),
    }
}

/// Everything that a stream of commits gives.
pub(super) async fn all(commits: CommitStream) -> Result<Vec<RecordedCommit>, ReadError> {
    let batches: Vec<_> = commits.collect().await;
    let mut found = Vec::new();
    for batch in batches {
        let batch = batch?;
        assert!(!batch.is_empty(), "a batch is never empty");
        found.extend(batch);
    }
    Ok(found)
}

/// The ids of commits, as the numbers they were made from.
pub(super) fn numbers(commits: &[RecordedCommit]) -> Vec<u128> {
    commits
        .iter()
        .map(|commit| commit.commit_id().as_u128())
        .collect()
}
