//! What the writer, the follower and the readers of one open journal share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chronicler_domain::LogSequence;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use uuid::Uuid;

use super::counters::Counters;
use super::disk::Storage;
use super::head_watch::HeadWatch;
use super::marker::LogEnd;
use super::memory::{FactTable, HeadTable, Tail};
use super::options::JournalOptions;
use super::read::{LogView, ReadBudget};
use super::segment::Catalogue;
use super::write::{FollowerSignal, Queue, index_failed};
use crate::error::ReadError;
use crate::index::{HeadRow, Index, IndexError, Watermark};
use crate::log::{Head, Health};

/// What the writer, the follower and the readers of one open journal share.
pub(crate) struct Shared {
    pub storage: Arc<dyn Storage>,
    /// The journal folder.
    pub folder: PathBuf,
    pub store_id: Uuid,
    pub options: JournalOptions,
    pub catalogue: Catalogue,
    pub tail: Arc<Tail>,
    pub read_budget: Arc<ReadBudget>,
    pub heads: HeadTable,
    pub facts: FactTable,
    pub queue: Queue,
    pub follower: FollowerSignal,
    pub counters: Counters,
    pub head: HeadWatch,
    pub health: watch::Sender<Health>,
    end: Mutex<LogEnd>,
    /// The commit up to which the marker is durable: damage up to there can never pass for a torn tail.
    marked: AtomicU64,
    /// `None` once the store is closed.
    index: RwLock<Option<Arc<dyn Index>>>,
    closed: AtomicBool,
}

/// What a journal begins with.
pub(crate) struct Beginning {
    pub storage: Arc<dyn Storage>,
    pub folder: PathBuf,
    pub store_id: Uuid,
    pub options: JournalOptions,
    pub catalogue: Catalogue,
    pub heads: HeadTable,
    pub facts: FactTable,
    pub end: LogEnd,
    pub index: Arc<dyn Index>,
}

impl Shared {
    pub(crate) fn new(beginning: Beginning) -> Self {
        let end = beginning.end;
        let options = beginning.options;
        Self {
            storage: beginning.storage,
            folder: beginning.folder,
            store_id: beginning.store_id,
            queue: Queue::new(options.queue_commits_max, options.queue_bytes_max),
            options,
            catalogue: beginning.catalogue,
            tail: Arc::default(),
            read_budget: Arc::default(),
            heads: beginning.heads,
            facts: beginning.facts,
            follower: FollowerSignal::default(),
            counters: Counters::default(),
            head: HeadWatch::new(end.into()),
            health: watch::Sender::default(),
            end: Mutex::new(end),
            marked: AtomicU64::new(end.sequence.get()),
            index: RwLock::new(Some(beginning.index)),
            closed: AtomicBool::new(false),
        }
    }

    /// The end of what is durable.
    pub(crate) fn end(&self) -> LogEnd {
        *self.end.lock()
    }

    /// The last durable commit.
    pub(crate) fn durable(&self) -> LogSequence {
        self.end.lock().sequence
    }

    /// The end of what is durable, as those who derive from the log remember it.
    pub(crate) fn durable_end(&self) -> (Head, Watermark) {
        let end = self.end();
        let watermark = Watermark {
            store_id: self.store_id,
            sequence: end.sequence,
            log_offset: end.last_offset,
            checksum: end.checksum,
        };
        (end.into(), watermark)
    }

    /// Makes everything up to here visible to readers.
    pub(crate) fn publish(&self, end: LogEnd) {
        *self.end.lock() = end;
        self.head.show(end.into());
    }

    /// The commit up to which the marker is durable.
    pub(crate) fn marked(&self) -> LogSequence {
        LogSequence::new(self.marked.load(Ordering::Acquire))
    }

    pub(crate) fn set_marked(&self, sequence: LogSequence) {
        self.marked.store(sequence.get(), Ordering::Release);
    }

    pub(crate) fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// Stops writes until the store is opened again; the first reason stays.
    pub(crate) fn stop_writes(&self, reason: &str) {
        self.health.send_if_modified(|health| {
            let is_first = *health == Health::Healthy;
            if is_first {
                *health = Health::ReadOnly(reason.into());
            }
            is_first
        });
    }

    /// The index.
    pub(crate) fn index(&self) -> Result<Arc<dyn Index>, ReadError> {
        self.index.read().clone().ok_or(ReadError::Closed)
    }

    /// One stream's row in the index.
    pub(crate) fn head_in_index(&self, key: &str) -> Result<Option<HeadRow>, ReadError> {
        self.ask_index(|index| index.head(key))
    }

    /// Asks the index. One that fails is built again, and the same read then succeeds.
    pub(crate) fn ask_index<T>(
        &self,
        ask: impl FnOnce(&dyn Index) -> Result<T, IndexError>,
    ) -> Result<T, ReadError> {
        let index = self.index()?;
        let generation = self.follower.generation();
        ask(&*index).map_err(|error| {
            self.follower.index_failed(generation);
            index_failed(&error)
        })
    }

    /// Reads end, and the index is given back.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
        *self.index.write() = None;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Where everything is, as of now.
    pub(crate) fn view(&self) -> LogView {
        // The end first: what is added to the catalogue after it only lies behind it.
        let end = self.end();
        LogView {
            storage: self.storage.clone(),
            segments: self.catalogue.segments(),
            end,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("folder", &self.folder)
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}
