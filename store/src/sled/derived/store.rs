//! The store of snapshots and views: opened, asked, and closed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, StreamId, StreamVersion};
use futures::executor::block_on;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::checkpoint::ViewState;
use super::queue::Queue;
use super::shared::{DerivedReport, DurableEnd, Shared, derived_error};
use super::snapshots;
use super::views;
use super::writer::{self, QUEUE_MAX, Request, Verb};
use crate::error::StoreError;
use crate::index::IndexError;
use crate::sled::database::Database;
use crate::sled::index::Expectation;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

const READ_VIEW: &str = "read view";

/// Snapshots and views in sled.
pub(crate) struct DerivedStore {
    shared: Arc<Shared>,
    queue: Arc<Queue<Request>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl DerivedStore {
    /// Opens `<data>/sled/derived`, or begins an empty one when there is none that can be trusted.
    ///
    /// # Errors
    /// When no empty one can be created either: the disk is full, or not writable.
    pub(crate) fn open(
        data: &Path,
        expected: &Expectation<'_>,
        end: DurableEnd,
    ) -> Result<(Self, DerivedReport), IndexError> {
        let (shared, report) = Shared::open(data, expected, end)?;
        let shared = Arc::new(shared);
        let queue = Arc::new(Queue::new(QUEUE_MAX));
        let writer = writer::start(Arc::clone(&shared), Arc::clone(&queue))?;
        let store = Self {
            shared,
            queue,
            writer: Mutex::new(Some(writer)),
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
        self.shared.close();
    }

    /// Whether all rows of dropped views are removed.
    #[cfg(test)]
    pub(super) fn sweeping_is_done(&self) -> bool {
        self.shared.registry.read().dropped.is_empty()
    }

    /// Makes the database fail, as damage that a read comes upon does.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        let no_such_tree = |db: &Database| db.get(crate::sled::row::TreeId::Heads, b"");
        assert!(self.shared.with_db(no_such_tree).unwrap().is_err());
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
        read: impl Fn(&Shared, &Database) -> Result<T, IndexError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let reading = crate::journal::spawn(move || read_now(&shared, operation, read));
            let reading = reading.map_err(|error| derived_error(operation, &error))?;
            reading
                .await
                .unwrap_or_else(|error| Err(derived_error(operation, &error)))
        })
    }

    /// Runs a read of a view whose rows were found to add up; `absent` if there is no such view.
    fn read_view<T: Clone + Send + 'static>(
        &self,
        view: &ViewName,
        absent: T,
        read: impl Fn(&Database, &ViewState) -> Result<T, IndexError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let verified = self.verify(view);
        let reading = self.read(READ_VIEW, of_view(view.clone(), absent, read));
        Box::pin(async move {
            if let Some(verified) = verified {
                verified.await?;
            }
            reading.await
        })
    }

    /// Has the rows of a view added up, unless that was done.
    fn verify(&self, view: &ViewName) -> Option<BoxFuture<'static, Result<(), StoreError>>> {
        let unverified = {
            let registry = self.shared.registry.read();
            let known = registry.views.get(view);
            known.is_some_and(|state| !state.verified)
        };
        unverified.then(|| {
            let view = view.clone();
            self.send(|answer| Verb::Verify { view, answer }, 0)
        })
    }
}

/// Runs a read here. When the database fails under it, it runs once more, on the one that was begun.
fn read_now<T>(
    shared: &Shared,
    operation: &'static str,
    read: impl Fn(&Shared, &Database) -> Result<T, IndexError>,
) -> Result<T, StoreError> {
    let once = || {
        shared.with_db(|db| {
            let result = read(shared, db);
            (result, db.is_broken())
        })
    };
    let result = match once()? {
        (Err(_), true) => once()?.0,
        (result, _) => result,
    };
    result.map_err(|error| derived_error(operation, &error))
}

/// A read of one view. One that fails has the rows of the view added up again before the next.
fn of_view<T: Clone>(
    view: ViewName,
    absent: T,
    read: impl Fn(&Database, &ViewState) -> Result<T, IndexError>,
) -> impl Fn(&Shared, &Database) -> Result<T, IndexError> {
    move |shared, db| {
        let known = shared.registry.read().find(&view)?.cloned();
        let Some(state) = known else {
            return Ok(absent.clone());
        };
        let result = read(db, &state);
        if result.is_err()
            && let Some(state) = shared.registry.write().views.get_mut(&view)
        {
            state.verified = false;
        }
        result
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
        let durable = self.shared.head().sequence;
        if snapshot.sequence > durable {
            let error = StoreError::BeyondLog {
                what: "snapshot sequence",
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
            snapshots::load(db, &stream_key, at_most, shared.head())
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
        let verb = |answer| Verb::Generations { name, answer };
        self.send(verb, 0)
    }

    fn write_view(
        &self,
        view: &ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let durable = self.shared.head().position;
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
        self.read_view(view, None, move |db, state| {
            views::get(db, state.number, &key)
        })
    }

    fn view_row_blocking(
        &self,
        view: &ViewName,
        key: Bytes,
    ) -> Result<Option<ViewRow>, StoreError> {
        if let Some(verified) = self.verify(view) {
            // A thread of the store's own does it.
            block_on(verified)?;
        }
        let read = of_view(view.clone(), None, move |db, state| {
            views::get(db, state.number, &key)
        });
        read_now(&self.shared, READ_VIEW, read)
    }

    fn view_rows(
        &self,
        view: &ViewName,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ViewRow>, StoreError>> {
        self.read_view(view, Vec::new(), move |db, state| {
            views::get_many(db, state.number, after.as_deref(), limit)
        })
    }

    fn drop_view(&self, view: &ViewName) -> BoxFuture<'static, Result<(), StoreError>> {
        let view = view.clone();
        self.send(|answer| Verb::Drop { view, answer }, 0)
    }
}

fn check_view(
    rows: &[ViewRow],
    checkpoint: &ViewCheckpoint,
    durable: GlobalPosition,
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
        Some(row) => Err(derived_error(
            "write view",
            &format!(
                "a key has {} bytes, and at most {} are allowed",
                row.key.len(),
                views::KEY_BYTES_MAX
            ),
        )),
        None => Ok(()),
    }
}
