//! The thread that writes snapshots and views: whatever waits becomes one batch, made durable at once.

use std::sync::Arc;
use std::thread::JoinHandle;

use chronicler_domain::StreamVersion;
use tokio::sync::oneshot;

use super::checkpoint::{self, ViewNumber};
use super::group::Group;
use super::queue::{Next, Queue};
use super::store::{Shared, derived_error};
use super::views;
use crate::error::StoreError;
use crate::index::IndexError;
use crate::sled::database::{Batch, Database};
use crate::snapshot::Snapshot;
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
    /// Verifies what was not yet, and drops what fails.
    Generations {
        name: Box<str>,
        answer: Answer<Vec<(ViewName, ViewCheckpoint)>>,
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
    std::thread::Builder::new()
        .name("chronicler-derived".to_owned())
        .spawn(move || {
            // Whatever ends this thread, nobody is left waiting for it.
            let _abandon = AbandonOnDrop(&queue);
            run(&shared, &queue);
        })
        .map_err(|error| IndexError {
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
        let db = shared.db.read();
        if let Some(db) = db.as_ref() {
            carry_out(shared, db, taken);
        }
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

fn carry_out(shared: &Shared, db: &Database, requests: Vec<Request>) {
    let mut group = Group::default();
    for request in requests {
        match request.verb {
            Verb::Save {
                stream_key,
                snapshot,
                answer,
            } => group.take(answer, |group| group.save(db, &stream_key, &snapshot)),
            Verb::Delete {
                stream_key,
                at_most,
                answer,
            } => group.take(answer, |group| group.delete(db, &stream_key, at_most)),
            Verb::Write {
                view,
                rows,
                checkpoint,
                answer,
            } => group.take(answer, |group| {
                group.write(shared, db, &view, &rows, checkpoint)
            }),
            Verb::Generations { name, answer } => {
                std::mem::take(&mut group).commit(shared, db);
                let result = generations(shared, db, &name);
                drop(answer.send(result.map_err(|error| derived_error("read view", &error))));
            }
            Verb::Drop { view, answer } => {
                std::mem::take(&mut group).commit(shared, db);
                let result = drop_view(shared, db, &view);
                drop(answer.send(result.map_err(|error| derived_error("drop view", &error))));
            }
        }
    }
    group.commit(shared, db);
}

fn generations(
    shared: &Shared,
    db: &Database,
    name: &str,
) -> Result<Vec<(ViewName, ViewCheckpoint)>, IndexError> {
    let known: Vec<_> = {
        let registry = shared.registry.read();
        let of_name = registry
            .views
            .iter()
            .filter(|(view, _)| *view.name == *name);
        of_name
            .map(|(view, state)| (view.clone(), state.clone()))
            .collect()
    };
    let mut whole = Vec::with_capacity(known.len());
    for (view, state) in known {
        let verified = if state.verified {
            Ok(())
        } else {
            views::verify(db, &state)
        };
        if let Err(error) = verified {
            tracing::warn!(view = %view.name, generation = view.generation, %error, "a damaged view is dropped");
            drop_view(shared, db, &view)?;
            continue;
        }
        if let Some(state) = shared.registry.write().views.get_mut(&view) {
            state.verified = true;
        }
        whole.push((view, state.checkpoint));
    }
    Ok(whole)
}

/// The checkpoint goes first, and durably: rows without one are nobody's, and are removed when there is time.
fn drop_view(shared: &Shared, db: &Database, view: &ViewName) -> Result<(), IndexError> {
    if !shared.registry.read().views.contains_key(view) {
        return Ok(());
    }
    db.commit(Batch {
        loose: vec![checkpoint::remove(view)],
        ..Batch::default()
    })?;
    let mut registry = shared.registry.write();
    if let Some(state) = registry.views.remove(view) {
        registry.dropped.insert(state.number);
    }
    Ok(())
}

fn sweep(shared: &Shared, number: ViewNumber) {
    let db = shared.db.read();
    let swept = match db.as_ref() {
        Some(db) => views::rows_to_sweep(db, number, SWEEP_ROWS).and_then(|loose| {
            let done = loose.len() < SWEEP_ROWS;
            db.commit(Batch {
                loose,
                ..Batch::default()
            })?;
            Ok(done)
        }),
        None => Ok(true),
    };
    if let Err(error) = &swept {
        tracing::warn!(%error, "rows of a dropped view could not be removed");
    }
    if swept.unwrap_or(true) {
        shared.registry.write().dropped.remove(&number);
    }
}
