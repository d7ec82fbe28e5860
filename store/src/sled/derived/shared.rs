//! The database that the writer and the readers share, and what happens when it fails under them.
//!
//! Opening verifies little, so that it stays quick: damage can come to light at any read. A database that
//! fails is set aside at once and an empty one begun. Snapshots are then simply gone. Views are lost: until
//! [`view_generations`](crate::view::ViewStore::view_generations) has told their owner so, reading and
//! writing them is an error, because a row that is absent would be taken for one that never was.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::anchor;
use super::views::Registry;
use crate::error::StoreError;
use crate::index::{IndexError, Watermark};
use crate::log::Head;
use crate::sled::database::Database;
use crate::sled::folder::{DERIVED, Folder, SetAside};
use crate::sled::handles::Batch;
use crate::sled::index::Expectation;
use crate::sled::row::TreeId;

const TREES: &[TreeId] = &[
    TreeId::Meta,
    TreeId::Snapshots,
    TreeId::SnapshotChunks,
    TreeId::Views,
    TreeId::ViewRows,
    TreeId::ViewChunks,
];

/// How soon it is tried once more to begin a new database: what it failed for, a full disk for instance, may pass.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// Tells the end of what is durable in the log, and its last frame, at any time and from any thread.
pub(crate) type DurableEnd = Arc<dyn Fn() -> (Head, Watermark) + Send + Sync>;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DerivedReport {
    /// Why the database that was there is not used, and where it lies now.
    pub set_aside: Option<SetAside>,
}

/// The database, and what is known of it in memory.
///
/// Locks are taken in this order: database, registry, anchor.
pub(super) struct Shared {
    folder: Folder,
    /// The error says why there is none: it is closed, or a new one could not be begun.
    db: RwLock<Result<Database, StoreError>>,
    /// When it was last tried to begin a new one.
    renewed: Mutex<Option<Instant>>,
    pub(super) registry: RwLock<Registry>,
    /// The log's last frame as it was written here last.
    anchor: Mutex<Watermark>,
    end: DurableEnd,
}

impl Shared {
    pub(super) fn open(
        data: &Path,
        expected: &Expectation<'_>,
        end: DurableEnd,
    ) -> Result<(Self, DerivedReport), IndexError> {
        let folder = Folder::new(data, DERIVED);
        let opened = folder.open(TREES, |db| check(db, expected))?;
        let (db, mut registry) = (opened.db, opened.found);
        let (_, anchor) = end();
        let mut loose = std::mem::take(&mut registry.damaged);
        loose.push(anchor::set(&anchor));
        let db = folder.begin(db, Batch::loose(loose))?;
        let shared = Self {
            folder,
            db: RwLock::new(Ok(db)),
            renewed: Mutex::new(None),
            registry: RwLock::new(registry),
            anchor: Mutex::new(anchor),
            end,
        };
        let report = DerivedReport {
            set_aside: opened.set_aside,
        };
        Ok((shared, report))
    }

    /// The end of what is durable in the log.
    pub(super) fn head(&self) -> Head {
        (self.end)().0
    }

    /// The log's last frame, if it is not the one that was written here last.
    pub(super) fn new_anchor(&self) -> Option<Watermark> {
        let (_, anchor) = (self.end)();
        (anchor != *self.anchor.lock()).then_some(anchor)
    }

    pub(super) fn anchored(&self, anchor: Watermark) {
        *self.anchor.lock() = anchor;
    }

    /// Uses the database. One that fails meanwhile is replaced by an empty one before this returns; if none could be
    /// begun, one of the next uses tries again.
    pub(super) fn with_db<T>(&self, run: impl FnOnce(&Database) -> T) -> Result<T, StoreError> {
        let (result, is_to_renew) = match self.db.read().as_ref() {
            Ok(db) => (Ok(run(db)), db.is_broken()),
            Err(error) => (Err(error.clone()), self.may_renew()),
        };
        if is_to_renew {
            self.renew();
        }
        result
    }

    fn may_renew(&self) -> bool {
        let renewed = self.renewed.lock();
        renewed.is_none_or(|at| at.elapsed() >= RENEW_AGAIN)
    }

    /// Gives the files back.
    pub(super) fn close(&self) {
        let mut place = self.db.write();
        match std::mem::replace(&mut *place, Err(StoreError::Closed)) {
            Ok(db) => self.folder.give_back(db),
            Err(StoreError::Closed) => {}
            // It broke, and may still lie there: no other could be begun.
            Err(_) => self.folder.set_broken_aside(),
        }
    }

    fn renew(&self) {
        let mut place = self.db.write();
        // Another thread may have come first, or have closed it.
        let is_to_renew = match &*place {
            Ok(db) => db.is_broken(),
            Err(StoreError::Closed) => false,
            Err(_) => self.may_renew(),
        };
        if !is_to_renew {
            return;
        }
        *self.renewed.lock() = Some(Instant::now());
        tracing::warn!("snapshots and views can no longer be read; an empty database is begun");
        *place = Err(derived_error("begin anew", &"it is not done yet"));
        let mut registry = self.registry.write();
        let lost = std::mem::take(&mut registry.views);
        registry.lost.extend(lost.into_keys());
        registry.dropped.clear();
        *place = self
            .begin_anew()
            .map_err(|error| derived_error("begin anew", &error));
    }

    fn begin_anew(&self) -> Result<Database, IndexError> {
        let db = self.folder.replace(TREES)?;
        let first = Batch::loose(vec![anchor::set(&self.anchor.lock())]);
        self.folder.begin(db, first)
    }
}

pub(super) fn derived_error(
    operation: &'static str,
    reason: &impl std::string::ToString,
) -> StoreError {
    StoreError::Derived {
        operation,
        reason: reason.to_string().into(),
    }
}

/// Whether it was made from this log; its views and snapshots are checked one by one, when they are used.
fn check(db: &Database, expected: &Expectation<'_>) -> Result<Registry, String> {
    let text = |error: IndexError| error.to_string();
    let registry = Registry::read(db).map_err(text)?;
    match db.get(TreeId::Meta, anchor::KEY).map_err(text)? {
        Some(body) => {
            let anchor = anchor::read(&body).ok_or("it is of another format, or damaged")?;
            expected.check(&anchor)?;
        }
        None if registry.is_empty() => {}
        None => return Err("it does not say what it was made from".to_owned()),
    }
    Ok(registry)
}
