//! What was given, what was acknowledged, and what of it the log holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chronicler_domain::GlobalPosition;
use chronicler_store::{AppendError, AppendResult, Store};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::cursor::cursor;
use super::options::{CheckpointPolicy, SubscribeError};
use crate::clock::Clock;

/// What a subscription and its acknowledgers share.
pub(super) struct Shared {
    pub(super) key: Bytes,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) policy: CheckpointPolicy,
    pub(super) progress: Mutex<Progress>,
    /// Up to where the log holds the cursor for certain.
    pub(super) durable: Arc<AtomicU64>,
    /// Told when something was acknowledged.
    pub(super) room: Notify,
}

/// How far a subscription has come in this life.
#[derive(Default)]
pub(super) struct Progress {
    /// Given and not acknowledged, ascending.
    pub(super) outstanding: VecDeque<GlobalPosition>,
    /// Everything up to here was given, filtered out or acknowledged.
    pub(super) through: GlobalPosition,
    /// Events acknowledged since the cursor was recorded.
    unrecorded: u64,
    has_ended: bool,
}

impl Progress {
    /// Nothing given yet, and everything up to a position done.
    pub(super) fn after(position: GlobalPosition) -> Self {
        Self {
            through: position,
            ..Self::default()
        }
    }

    /// Everything up to here is done.
    fn done(&self) -> GlobalPosition {
        let first = self.outstanding.front();
        first.map_or(self.through, |first| first.previous())
    }

    /// Takes an acknowledgement in.
    fn acknowledge(&mut self, position: GlobalPosition) {
        let before = self.outstanding.len();
        while self.outstanding.front().is_some_and(|p| *p <= position) {
            self.outstanding.pop_front();
        }
        self.unrecorded += (before - self.outstanding.len()) as u64;
        // What was not even given is done by its consumer's word, and is not given any more.
        if position > self.through {
            self.through = position;
            self.unrecorded += 1;
        }
    }
}

impl Shared {
    pub(super) async fn acknowledge(&self, position: GlobalPosition) -> Result<(), SubscribeError> {
        let head = self.store.head().position;
        if position > head {
            return Err(SubscribeError::BeyondHead { position, head });
        }
        let recording = {
            let mut progress = self.progress.lock();
            if progress.has_ended {
                return Err(SubscribeError::Ended);
            }
            progress.acknowledge(position);
            let is_due = progress.unrecorded >= self.policy.events || self.policy.events <= 1;
            is_due.then(|| self.submit(&mut progress)).flatten()
        };
        self.room.notify_one();
        recorded(recording).await
    }

    /// From now on nothing is acknowledged.
    pub(super) fn end(&self) {
        self.progress.lock().has_ended = true;
    }

    /// How many positions are done and not known to be recorded.
    pub(super) fn behind(&self) -> u64 {
        let done = self.progress.lock().done();
        done.get()
            .saturating_sub(self.durable.load(Ordering::Acquire))
    }

    /// Hands the cursor to the log and does not wait: whatever it answers, events can be given.
    pub(super) fn record_if_possible(&self) {
        // The answer is seen in what is durable; a failure was told by the log.
        drop(self.submit(&mut self.progress.lock()));
    }

    /// Records how far everything is done.
    pub(super) async fn record(&self) -> Result<(), SubscribeError> {
        let recording = self.submit(&mut self.progress.lock());
        recorded(recording).await
    }

    /// Hands the cursor to the log, unless that holds it. Under the lock, so that cursors reach the log in ascending
    /// order.
    fn submit(&self, progress: &mut Progress) -> Option<Recording> {
        let done = progress.done();
        progress.unrecorded = 0;
        if done.get() <= self.durable.load(Ordering::Acquire) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        // Not the whole of `self`: the last one to let go of the store must not be the log's own thread.
        let durable = Arc::clone(&self.durable);
        let append = cursor(self.key.clone(), Some(done), self.clock.now());
        let completion = move |result: AppendResult| {
            if let Err(error) = &result {
                tracing::warn!(%error, "the cursor of a subscription was not recorded; it is tried again");
            } else {
                durable.fetch_max(done.get(), Ordering::AcqRel);
            }
            drop(answer.send(result.map(drop)));
        };
        self.store.submit(append, Box::new(completion));
        Some(answered)
    }
}

/// The log's answer to a cursor.
type Recording = oneshot::Receiver<Result<(), AppendError>>;

async fn recorded(recording: Option<Recording>) -> Result<(), SubscribeError> {
    match recording {
        Some(answered) => Ok(answered.await.unwrap_or(Err(AppendError::Lost))?),
        None => Ok(()),
    }
}
