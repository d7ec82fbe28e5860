//! The database that the writer and the readers share, and what happens when it fails under them.
//!
//! Opening verifies little, so that it stays quick: damage can come to light at any read. A database that
//! fails is set aside at once and an empty one begun. Snapshots are then simply gone. Views are lost: until
//! [`view_generations`](crate::view::ViewStore::view_generations) has told their owner so, reading and
//! writing them is an error, because a row that is absent would be taken for one that never was.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::checkpoint;
use super::reach::{self, Reach};
use super::snapshots;
use super::views::Registry;
use crate::error::StoreError;
use crate::index::IndexError;
use crate::log::Head;
use crate::sled::cell::Plan;
use crate::sled::database::{Batch, Database};
use crate::sled::folder::{Folder, SetAside};
use crate::sled::row::TreeId;
use crate::view::ViewName;

const TREES: &[TreeId] = &[
    TreeId::Meta,
    TreeId::Snapshots,
    TreeId::SnapshotChunks,
    TreeId::Views,
    TreeId::ViewRows,
    TreeId::ViewChunks,
];

/// Tells the end of what is durable in the log, at any time and from any thread.
pub(crate) type DurableHead = Arc<dyn Fn() -> Head + Send + Sync>;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DerivedReport {
    /// Why the database that was there is not used, and where it lies now.
    pub set_aside: Option<SetAside>,
    /// Whether the log is shorter than what was made from it, so that all beyond it was discarded.
    pub discarded_beyond_log: bool,
}

/// The database, and what is known of it in memory.
///
/// Locks are taken in this order: database, registry, reach.
pub(super) struct Shared {
    folder: Folder,
    /// The error says why there is none: it is closed, or a new one could not be begun.
    db: RwLock<Result<Database, StoreError>>,
    pub(super) registry: RwLock<Registry>,
    pub(super) reach: Mutex<Reach>,
    pub(super) head: DurableHead,
}

impl Shared {
    pub(super) fn open(
        data: &Path,
        store_id: Uuid,
        head: DurableHead,
    ) -> Result<(Self, DerivedReport), IndexError> {
        let folder = Folder::new(data, "derived");
        let opened = folder.open(TREES, |db| check(db, store_id))?;
        let (db, (mut registry, found)) = (opened.db, opened.found);
        let durable = head();
        let discarded_beyond_log = found.is_beyond(durable);
        let reach = if discarded_beyond_log {
            tracing::warn!(
                reach = %found.position,
                durable = %durable.position,
                "snapshots and views beyond the log are discarded"
            );
            discard(&db, &mut registry, durable)?;
            Reach::nothing(store_id).extended(durable.sequence, durable.position)
        } else {
            found
        };
        let mut loose = std::mem::take(&mut registry.damaged);
        loose.push(reach.set());
        db.commit(Batch::loose(loose))?;
        let shared = Self {
            folder,
            db: RwLock::new(Ok(db)),
            registry: RwLock::new(registry),
            reach: Mutex::new(reach),
            head,
        };
        let report = DerivedReport {
            set_aside: opened.set_aside,
            discarded_beyond_log,
        };
        Ok((shared, report))
    }

    /// Uses the database. One that fails meanwhile is replaced by an empty one before this returns.
    pub(super) fn with_db<T>(&self, run: impl FnOnce(&Database) -> T) -> Result<T, StoreError> {
        let (result, broken) = {
            let db = self.db.read();
            let db = db.as_ref().map_err(Clone::clone)?;
            (run(db), db.is_broken())
        };
        if broken {
            self.renew();
        }
        Ok(result)
    }

    /// Gives the files back.
    pub(super) fn close(&self) {
        *self.db.write() = Err(StoreError::Closed);
    }

    fn renew(&self) {
        let mut place = self.db.write();
        // Another thread may have come first, or have closed it.
        if !place.as_ref().is_ok_and(Database::is_broken) {
            return;
        }
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
        db.commit(Batch::loose(vec![self.reach.lock().set()]))?;
        Ok(db)
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

/// Whether it is this store's; its views and snapshots are checked one by one, when they are used.
fn check(db: &Database, store_id: Uuid) -> Result<(Registry, Reach), String> {
    let text = |error: IndexError| error.to_string();
    let registry = Registry::read(db).map_err(text)?;
    let reach = match db.get(TreeId::Meta, reach::KEY).map_err(text)? {
        Some(body) => Reach::read(&body).ok_or("it is of another format, or damaged")?,
        None if registry.views.is_empty() && registry.dropped.is_empty() => {
            Reach::nothing(store_id)
        }
        None => return Err("it does not say whose it is".to_owned()),
    };
    if reach.store_id == store_id {
        Ok((registry, reach))
    } else {
        Err(format!("it belongs to another store, {}", reach.store_id))
    }
}

/// Removes all that reaches beyond the log.
fn discard(db: &Database, registry: &mut Registry, durable: Head) -> Result<(), IndexError> {
    let mut plan = Plan::default();
    snapshots::plan_discard_beyond(&mut plan, db, durable)?;
    let beyond: BTreeSet<ViewName> = registry
        .views
        .iter()
        .filter(|(_, state)| state.checkpoint.position > durable.position)
        .map(|(view, _)| view.clone())
        .collect();
    for view in beyond {
        plan.change(checkpoint::remove(&view));
        if let Some(state) = registry.views.remove(&view) {
            registry.dropped.insert(state.number);
        }
    }
    db.commit(Batch::loose(plan.into_changes()))
}
