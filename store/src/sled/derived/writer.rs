//! The thread that writes snapshots and views: whatever waits becomes one batch, made durable at once.

use std::sync::Arc;
use std::thread::JoinHandle;

use chronicler_domain::StreamVersion;
use tokio::sync::oneshot;

use super::checkpoint::{self, ViewNumber};
use super::group::Group;
use super::queue::{Next, Queue};
use super::shared::{Shared, derived_error};
use super::views;
use crate::error::StoreError;
use crate::index::IndexError;
use crate::sled::database::Database;
use crate::sled::handles::Batch;
use crate::snapshot::Snapshot;
use crate::threads;
use crate::view::{ViewCheckpoint, ViewName, ViewRow};

/// How many requests may wait; who comes then waits to be let in.
pub(super) const QUEUE_MAX: usize = 256;
/// A batch takes no more requests once it holds this many bytes of payload.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How many rows of a dropped view are removed between two looks at the queue.
const SWEEP_ROWS: usize = 2_000;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something to be done by the writer, and about how many bytes it brings.
pub(super) struct Request {
    pub(super) verb: Verb,
    pub(super) bytes: usize,
}

/// What is to be done, and who waits for it.
pub(super) enum Verb {
    Save {
        stream_key: Box<str>,
        snapshot: Snapshot,
        answer: Answer<()>,
    },
    Delete {
        stream_key: Box<str>,
        at_most: StreamVersion,
        answer: Answer<()>,
    },
    Write {
        view: ViewName,
        rows: Vec<ViewRow>,
        checkpoint: ViewCheckpoint,
        answer: Answer<()>,
    },
    /// Tells a view's owner what there is, after verifying it.
    Generations {
        name: Box<str>,
        answer: Answer<Vec<(ViewName, ViewCheckpoint)>>,
    },
    /// Verifies a view before it is read.
    Verify {
        view: ViewName,
        answer: Answer<()>,
    },
    Drop {
        view: ViewName,
        answer: Answer<()>,
    },
}

/// Starts it. It ends when the queue is closed and empty.
pub(super) fn start(
    shared: Arc<Shared>,
    queue: Arc<Queue<Request>>,
) -> Result<JoinHandle<()>, IndexError> {
    let started = threads::start("chronicler-derived", move || {
        // Whatever ends this thread, nobody is left waiting for it.
        let _abandon = AbandonOnDrop(&queue);
        run(&shared, &queue);
    });
    started.map_err(|error| IndexError {
        operation: "start the writer of snapshots and views",
        reason: error.to_string(),
    })
}

struct AbandonOnDrop<'a>(&'a Queue<Request>);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn run(shared: &Shared, queue: &Queue<Request>) {
    while let Some(first) = next(shared, queue) {
        let mut bytes = first.bytes;
        let mut taken = vec![first];
        while bytes < GROUP_BYTES_MAX
            && taken.len() < QUEUE_MAX
            && let Next::Item(request) = queue.try_pop()
        {
            bytes = bytes.saturating_add(request.bytes);
            taken.push(request);
        }
        carry_out(shared, taken);
    }
}

/// The next request; while there is none, rows of dropped views are removed.
fn next(shared: &Shared, queue: &Queue<Request>) -> Option<Request> {
    loop {
        match queue.try_pop() {
            Next::Item(request) => return Some(request),
            Next::Closed => return None,
            Next::Empty => {}
        }
        let dropped = shared.registry.read().dropped.first().copied();
        match dropped {
            Some(number) => sweep(shared, number),
            None => return queue.pop_blocking(),
        }
    }
}

/// Requests that can be written together are; the others stand between them.
fn carry_out(shared: &Shared, requests: Vec<Request>) {
    let mut together = Vec::new();
    for request in requests {
        match request.verb {
            Verb::Save { .. } | Verb::Delete { .. } | Verb::Write { .. } => {
                together.push(request.verb);
            }
            Verb::Generations { name, answer } => {
                write(shared, std::mem::take(&mut together));
                let of_name = |view: &ViewName| *view.name == *name;
                let result = verified(shared, of_name);
                // Now its owner knows.
                shared.registry.write().lost.retain(|view| !of_name(view));
                drop(answer.send(result));
            }
            Verb::Verify { view, answer } => {
                write(shared, std::mem::take(&mut together));
                let result = verified(shared, |other| *other == view);
                drop(answer.send(result.map(drop)));
            }
            Verb::Drop { view, answer } => {
                write(shared, std::mem::take(&mut together));
                let result = with_db(shared, "drop view", |db| drop_view(shared, db, &view));
                shared.registry.write().lost.remove(&view);
                drop(answer.send(result));
            }
        }
    }
    write(shared, together);
}

fn write(shared: &Shared, verbs: Vec<Verb>) {
    if verbs.is_empty() {
        return;
    }
    // Whoever is not answered in here is told that the store is closed, or why there is no database.
    let mut waiting = Some(verbs);
    let written = shared.with_db(|db| {
        let mut group = Group::default();
        for verb in waiting.take().into_iter().flatten() {
            group.plan(shared, db, verb);
        }
        group.commit(shared, db);
    });
    if let Err(error) = written {
        for verb in waiting.into_iter().flatten() {
            verb.refuse(error.clone());
        }
    }
}

impl Verb {
    fn refuse(self, error: StoreError) {
        match self {
            Self::Save { answer, .. }
            | Self::Delete { answer, .. }
            | Self::Write { answer, .. }
            | Self::Verify { answer, .. }
            | Self::Drop { answer, .. } => drop(answer.send(Err(error))),
            Self::Generations { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// The whole ones among some views, ascending; those that are damaged are dropped, and lost.
fn verified(
    shared: &Shared,
    which: impl Fn(&ViewName) -> bool,
) -> Result<Vec<(ViewName, ViewCheckpoint)>, StoreError> {
    let known: Vec<ViewName> = {
        let registry = shared.registry.read();
        let names = registry.views.keys().filter(|view| which(view));
        names.cloned().collect()
    };
    let mut whole = Vec::with_capacity(known.len());
    for view in known {
        // A database that fails here is replaced, and has lost this view like all others.
        let verified = shared.with_db(|db| verify(shared, db, &view))?;
        whole.extend(verified.ok().flatten().map(|checkpoint| (view, checkpoint)));
    }
    Ok(whole)
}

/// A view's checkpoint, if it exists and is whole.
fn verify(
    shared: &Shared,
    db: &Database,
    view: &ViewName,
) -> Result<Option<ViewCheckpoint>, IndexError> {
    let Some(state) = shared.registry.read().views.get(view).cloned() else {
        return Ok(None);
    };
    if state.verified {
        return Ok(Some(state.checkpoint));
    }
    if let Err(error) = views::verify(db, &state, shared.head()) {
        tracing::warn!(view = %view.name, generation = view.generation, %error, "a damaged view is dropped");
        shared.registry.write().lost.insert(view.clone());
        drop_view(shared, db, view)?;
        return Ok(None);
    }
    if let Some(state) = shared.registry.write().views.get_mut(view) {
        state.verified = true;
    }
    Ok(Some(state.checkpoint))
}

/// The checkpoint goes first, and durably: rows without one are nobody's, and are removed when there is time.
fn drop_view(shared: &Shared, db: &Database, view: &ViewName) -> Result<(), IndexError> {
    if !shared.registry.read().views.contains_key(view) {
        return Ok(());
    }
    db.commit(Batch::loose(vec![checkpoint::remove(view)]))?;
    let mut registry = shared.registry.write();
    if let Some(state) = registry.views.remove(view) {
        registry.dropped.insert(state.number);
    }
    Ok(())
}

fn sweep(shared: &Shared, number: ViewNumber) {
    let swept = with_db(shared, "sweep", |db| {
        let loose = views::rows_to_sweep(db, number, SWEEP_ROWS)?;
        let done = loose.len() < SWEEP_ROWS;
        db.commit(Batch::loose(loose))?;
        Ok(done)
    });
    if let Err(error) = &swept {
        tracing::warn!(%error, "rows of a dropped view could not be removed");
    }
    if swept.unwrap_or(true) {
        shared.registry.write().dropped.remove(&number);
    }
}

fn with_db<T>(
    shared: &Shared,
    operation: &'static str,
    run: impl FnOnce(&Database) -> Result<T, IndexError>,
) -> Result<T, StoreError> {
    shared
        .with_db(run)?
        .map_err(|error| derived_error(operation, &error))
}
