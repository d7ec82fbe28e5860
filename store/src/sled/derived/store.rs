//! The store of snapshots and views: opened, asked, and closed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{StreamId, StreamVersion};
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::checkpoint::{self, ViewState};
use super::queue::Queue;
use super::reach::{self, Reach};
use super::snapshots;
use super::views::{self, Registry};
use super::writer::{self, QUEUE_MAX, Request, Verb};
use crate::error::StoreError;
use crate::index::IndexError;
use crate::log::Head;
use crate::sled::cell::Plan;
use crate::sled::database::{Batch, Database};
use crate::sled::folder::{Folder, SetAside};
use crate::sled::row::TreeId;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

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

/// Snapshots and views in sled.
pub(crate) struct DerivedStore {
    shared: Arc<Shared>,
    queue: Arc<Queue<Request>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the writer and the readers share.
pub(super) struct Shared {
    /// `None` once it is closed.
    pub(super) db: RwLock<Option<Database>>,
    pub(super) registry: RwLock<Registry>,
    pub(super) reach: Mutex<Reach>,
    pub(super) head: DurableHead,
}

impl DerivedStore {
    /// Opens `<data>/sled/derived`, or begins an empty one when there is none that can be trusted.
    ///
    /// # Errors
    /// When no empty one can be created either: the disk is full, or not writable.
    pub(crate) fn open(
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
        db.commit(Batch {
            loose,
            ..Batch::default()
        })?;
        let shared = Arc::new(Shared {
            db: RwLock::new(Some(db)),
            registry: RwLock::new(registry),
            reach: Mutex::new(reach),
            head,
        });
        let queue = Arc::new(Queue::new(QUEUE_MAX));
        let writer = writer::start(Arc::clone(&shared), Arc::clone(&queue))?;
        let store = Self {
            shared,
            queue,
            writer: Mutex::new(Some(writer)),
        };
        let report = DerivedReport {
            set_aside: opened.set_aside,
            discarded_beyond_log,
        };
        Ok((store, report))
    }

    /// Writes what was accepted, then gives the files back. Blocks. Idempotent.
    pub(crate) fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of snapshots and views ended in a panic");
        }
        drop(self.shared.db.write().take());
    }

    /// Whether all rows of dropped views are removed.
    #[cfg(test)]
    pub(super) fn sweeping_is_done(&self) -> bool {
        self.shared.registry.read().dropped.is_empty()
    }

    fn send<T: Send + 'static>(
        &self,
        verb: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Verb,
        bytes: usize,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let queue = Arc::clone(&self.queue);
        let (answer, answered) = oneshot::channel();
        let request = Request {
            verb: verb(answer),
            bytes,
        };
        Box::pin(async move {
            queue.push(request).await?;
            answered.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    /// Runs a read on one of tokio's blocking threads: the one place where reads leave the async threads.
    fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Shared, &Database) -> Result<T, IndexError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let reading = tokio::task::spawn_blocking(move || {
                let db = shared.db.read();
                let db = db.as_ref().ok_or(StoreError::Closed)?;
                read(&shared, db).map_err(|error| derived_error(operation, &error))
            });
            match reading.await {
                Ok(result) => result,
                Err(error) => Err(StoreError::Derived {
                    operation,
                    reason: error.to_string().into(),
                }),
            }
        })
    }

    /// Runs a read of a view whose rows were found to add up; `absent` if there is no such view.
    fn read_view<T: Send + 'static>(
        &self,
        view: &ViewName,
        operation: &'static str,
        absent: T,
        read: impl FnOnce(&Database, &ViewState) -> Result<T, IndexError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let known = self.shared.registry.read().views.get(view).cloned();
        let Some(state) = known else {
            return Box::pin(async move { Ok(absent) });
        };
        let checked = (!state.verified).then(|| self.view_generations(&view.name));
        let view = view.clone();
        let reading = self.read(operation, move |shared, db| {
            // It may have been found damaged, or been dropped, since it was asked for.
            let known = shared.registry.read().views.get(&view).cloned();
            let Some(state) = known else {
                return Ok(absent);
            };
            let result = read(db, &state);
            if result.is_err()
                && let Some(state) = shared.registry.write().views.get_mut(&view)
            {
                state.verified = false;
            }
            result
        });
        Box::pin(async move {
            if let Some(checked) = checked {
                checked.await?;
            }
            reading.await
        })
    }
}

impl Drop for DerivedStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl SnapshotStore for DerivedStore {
    fn save_snapshot(
        &self,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let durable = (self.shared.head)().sequence;
        if snapshot.sequence > durable {
            let error = StoreError::BeyondLog {
                what: "snapshot of commit",
                given: snapshot.sequence.get(),
                durable: durable.get(),
            };
            return Box::pin(async move { Err(error) });
        }
        let bytes = snapshot.payload.len();
        let stream_key = stream.key().into();
        let verb = |answer| Verb::Save {
            stream_key,
            snapshot,
            answer,
        };
        self.send(verb, bytes)
    }

    fn load_snapshot(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<Option<Snapshot>, StoreError>> {
        let stream_key: Box<str> = stream.key().into();
        self.read("load snapshot", move |shared, db| {
            snapshots::load(db, &stream_key, at_most, (shared.head)())
        })
    }

    fn delete_snapshots(
        &self,
        stream: &StreamId,
        at_most: StreamVersion,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let stream_key = stream.key().into();
        let verb = |answer| Verb::Delete {
            stream_key,
            at_most,
            answer,
        };
        self.send(verb, 0)
    }
}

impl ViewStore for DerivedStore {
    fn view_generations(
        &self,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<(ViewName, ViewCheckpoint)>, StoreError>> {
        let name = name.into();
        self.send(|answer| Verb::Generations { name, answer }, 0)
    }

    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let durable = (self.shared.head)().position;
        if let Err(error) = check_view(&rows, &checkpoint, durable) {
            return Box::pin(async move { Err(error) });
        }
        let bytes = rows
            .iter()
            .map(|row| row.key.len() + row.value.as_ref().map_or(0, Bytes::len))
            .sum();
        let view = view.clone();
        let verb = |answer| Verb::Write {
            view,
            rows,
            checkpoint,
            answer,
        };
        self.send(verb, bytes)
    }

    fn view_row(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<ViewRow>, StoreError>> {
        self.read_view(view, "read view", None, move |db, state| {
            views::get(db, state.number, &key)
        })
    }

    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>> {
        self.read_view(view, "read view", Vec::new(), move |db, state| {
            views::get_many(db, state.number, after.as_deref(), limit)
        })
    }

    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>> {
        let view = view.clone();
        self.send(|answer| Verb::Drop { view, answer }, 0)
    }
}

pub(super) fn derived_error(operation: &'static str, error: &IndexError) -> StoreError {
    StoreError::Derived {
        operation,
        reason: error.to_string().into(),
    }
}

fn check_view(
    rows: &[ViewRow],
    checkpoint: &ViewCheckpoint,
    durable: chronicler_domain::GlobalPosition,
) -> Result<(), StoreError> {
    let last = rows.iter().map(|row| row.position).max();
    let given = last.unwrap_or_default().max(checkpoint.position);
    if given > durable {
        return Err(StoreError::BeyondLog {
            what: "view position",
            given: given.get(),
            durable: durable.get(),
        });
    }
    match rows.iter().find(|row| row.key.len() > views::KEY_BYTES_MAX) {
        Some(row) => Err(StoreError::Derived {
            operation: "write view",
            reason: format!(
                "a key has {} bytes, and at most {} are allowed",
                row.key.len(),
                views::KEY_BYTES_MAX
            )
            .into(),
        }),
        None => Ok(()),
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
    db.commit(Batch {
        loose: plan.into_changes(),
        ..Batch::default()
    })
}
