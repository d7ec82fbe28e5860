//! The commits of one instance that wait for the disk, and whoever waits for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use chronicler_domain::{GlobalPosition, LogSequence};
use chronicler_store::{AppendError, AppendResult};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::contain::contain;

/// How far an instance is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) sequence: LogSequence,
    /// Of the stream's last event.
    pub(crate) position: GlobalPosition,
}

pub(crate) type Waiter = Box<dyn FnOnce(Result<Settled, AppendError>) + Send>;

/// Tells a waiter. One that panics costs those who wait after it nothing, and the log's writer neither.
fn tell(waiter: Waiter, durable: Result<Settled, AppendError>) {
    if let Err(message) = contain(|| waiter(durable)) {
        tracing::error!(panic = message, "an answer panicked");
    }
}

/// Names one commit among those of an instance since its last recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    epoch: u64,
    number: u64,
}

/// Shared by the actor, which submits, and the log's writer, which settles.
#[derive(Default)]
pub(crate) struct InFlight {
    inner: Mutex<Inner>,
    failed: AtomicBool,
    moved: Notify,
}

#[derive(Default)]
struct Inner {
    /// Raised by each failure: what was submitted before it no longer counts.
    epoch: u64,
    submitted: u64,
    settled: u64,
    end: Settled,
    waiters: VecDeque<(u64, Waiter)>,
    /// Why a commit failed since the last recovery: the state that was decided on it is not the log's.
    failure: Option<AppendError>,
}

impl InFlight {
    /// Counts one commit as submitted.
    pub(crate) fn begin(&self) -> Ticket {
        let mut inner = self.inner.lock();
        inner.submitted += 1;
        Ticket {
            epoch: inner.epoch,
            number: inner.submitted,
        }
    }

    /// Takes the log's answer to a commit. Commits settle in the order in which they were submitted. Says
    /// whether the instance must be recovered: this one failed, and with it everything decided on it.
    pub(crate) fn settle(&self, ticket: Ticket, result: &AppendResult) -> bool {
        let mut inner = self.inner.lock();
        if ticket.epoch != inner.epoch {
            return false;
        }
        let mut ready = Vec::new();
        let outcome = match result {
            Ok(appended) if !appended.duplicate => {
                inner.settled = ticket.number;
                inner.end.sequence = appended.sequence;
                let last = appended
                    .parts
                    .first()
                    .and_then(|part| part.positions.last());
                inner.end.position = last.unwrap_or(inner.end.position);
                while inner
                    .waiters
                    .front()
                    .is_some_and(|(number, _)| *number <= ticket.number)
                {
                    ready.extend(inner.waiters.pop_front());
                }
                Ok(inner.end)
            }
            // Another decision lies where this one should be: the state here is not the log's.
            Ok(_) => Err(AppendError::Lost),
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = &outcome {
            inner.failure = Some(error.clone());
            inner.epoch += 1;
            inner.submitted = 0;
            inner.settled = 0;
            ready.extend(inner.waiters.drain(..));
            self.failed.store(true, Ordering::Release);
        }
        drop(inner);
        self.moved.notify_waiters();
        for (_, waiter) in ready {
            tell(waiter, outcome.clone());
        }
        outcome.is_err()
    }

    /// Calls `waiter` when everything submitted so far is durable, or has failed; at once if nothing waits, or
    /// something has failed since the last [`reset`](Self::reset).
    pub(crate) fn after_all(&self, waiter: Waiter) {
        let mut inner = self.inner.lock();
        if let Some(error) = inner.failure.clone() {
            drop(inner);
            return tell(waiter, Err(error));
        }
        if inner.submitted == inner.settled {
            let end = inner.end;
            drop(inner);
            return tell(waiter, Ok(end));
        }
        let number = inner.submitted;
        inner.waiters.push_back((number, waiter));
    }

    /// Whether a commit failed since the last [`reset`](Self::reset).
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// How far it is durable.
    pub(crate) fn end(&self) -> Settled {
        self.inner.lock().end
    }

    /// How many commits wait.
    pub(crate) fn len(&self) -> u64 {
        let inner = self.inner.lock();
        inner.submitted - inner.settled
    }

    /// Ends when fewer than `limit` commits wait, or one has failed.
    pub(crate) async fn below(&self, limit: u64) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.len() < limit || self.has_failed() {
                return;
            }
            moved.await;
        }
    }

    /// Starts again from what a recovery found.
    pub(crate) fn reset(&self, end: Settled) {
        let mut inner = self.inner.lock();
        inner.epoch += 1;
        inner.submitted = 0;
        inner.settled = 0;
        inner.end = end;
        inner.failure = None;
        self.failed.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn whoever_waits_after_a_failure_hears_of_it_until_the_recovery() {
        let in_flight = InFlight::default();
        let (durable, failed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let wait = || {
            let (durable, failed) = (Arc::clone(&durable), Arc::clone(&failed));
            in_flight.after_all(Box::new(move |result| {
                let count = if result.is_ok() { durable } else { failed };
                count.fetch_add(1, Ordering::Relaxed);
            }));
        };
        let ticket = in_flight.begin();
        wait();
        assert!(in_flight.settle(ticket, &Err(AppendError::Lost)));
        wait();
        let counts = || {
            (
                durable.load(Ordering::Relaxed),
                failed.load(Ordering::Relaxed),
            )
        };
        assert_eq!(counts(), (0, 2));
        in_flight.reset(Settled::default());
        wait();
        assert_eq!(counts(), (1, 2));
    }
}
