//! The bounded queue in front of the writer.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::answer::{Answer, Barrier};
use super::search::Searched;
use crate::acceptance::payload_bytes;
use crate::append::Append;
use crate::error::AppendError;

/// How many spent appends wait to be freed; more are freed by the writer. As many as commonly are in a batch.
const SPENT_MAX: usize = 1_024;
/// Appends with more payload than this are freed by the writer at once, so that 4 MiB wait at most.
const SPENT_BYTES_MAX: usize = 4 << 10;

/// Appends that are in their frames now.
pub(crate) type Spent = Vec<Append>;

/// What waits for the writer.
pub(crate) enum Item {
    Append(Append, Answer),
    Barrier(Barrier),
    /// What the searcher has found.
    Searched(Searched),
}

/// The bounded queue in front of the writer. Everything in it is taken at once.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// Told when something was taken out after an append was given back.
    emptied: Notify,
    commits_max: usize,
    bytes_max: usize,
}

/// An append that was not put in line.
pub(crate) struct NotQueued {
    pub append: Append,
    pub done: Answer,
    pub error: AppendError,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    closed: bool,
    /// Whether nobody will take anything any more.
    abandoned: bool,
    /// Whether everybody who waited then is answered.
    answered: bool,
    /// Appends that are in their frames now. Each submitter frees one, so that its allocator has the memory
    /// for its next append at hand; freed by the writer, all of it would have to find its way back to the
    /// submitters' allocators through their locks.
    spent: Spent,
    /// Whether the writer sleeps; only then is it worth a system call to wake it.
    asleep: bool,
    /// Whether an append was given back for want of room since something was taken out last.
    full: bool,
}

impl Queue {
    pub(crate) fn new(commits_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            emptied: Notify::new(),
            commits_max,
            bytes_max,
        }
    }

    /// Puts an append in line, or gives it back with the reason.
    pub(crate) fn push(&self, append: Append, done: Answer) -> Result<(), Box<NotQueued>> {
        let refuse = |append, done, error| {
            Err(Box::new(NotQueued {
                append,
                done,
                error,
            }))
        };
        let bytes = payload_bytes(&append);
        let mut state = self.state.lock();
        if state.closed {
            return refuse(append, done, AppendError::Closed);
        }
        let queued = state.items.len();
        let too_many = queued >= self.commits_max;
        let too_long = queued > 0 && state.bytes + bytes > self.bytes_max;
        if too_many || too_long {
            let bytes = state.bytes;
            state.full = true;
            return refuse(append, done, AppendError::Overloaded { queued, bytes });
        }
        state.bytes += bytes;
        state.items.push(Item::Append(append, done));
        self.wake(&mut state);
        let spent = state.spent.pop();
        drop(state);
        drop(spent);
        Ok(())
    }

    /// Ends when something was taken out since an append was given back for want of room, or nothing is taken in any
    /// more.
    pub(crate) async fn room(&self) {
        let emptied = self.emptied.notified();
        tokio::pin!(emptied);
        emptied.as_mut().enable();
        if self.state.lock().full {
            emptied.await;
        }
    }

    /// Takes appends that are in their frames now, to be freed by those who submit the next ones.
    pub(crate) fn free_later(&self, spent: &mut Spent) {
        spent.retain(|append| payload_bytes(append) <= SPENT_BYTES_MAX);
        let mut state = self.state.lock();
        let room = SPENT_MAX.saturating_sub(state.spent.len());
        let kept = spent.len().saturating_sub(room);
        state.spent.extend(spent.drain(kept..));
        drop(state);
        spent.clear();
    }

    /// Puts a barrier in line; it has no size and is always taken. Given back if the queue is closed, unless the writer is
    /// gone and everybody is answered: then it passes at once.
    pub(crate) fn push_barrier(&self, done: Barrier) -> Result<(), Barrier> {
        let mut state = self.state.lock();
        if state.answered {
            drop(state);
            drop(done);
            return Ok(());
        }
        if state.closed {
            return Err(done);
        }
        state.items.push(Item::Barrier(done));
        self.wake(&mut state);
        Ok(())
    }

    /// Puts in line what was searched for, also when the queue takes nothing new any more.
    pub(crate) fn push_searched(&self, searched: Item) {
        let mut state = self.state.lock();
        if state.abandoned {
            drop(state);
            return drop(searched);
        }
        state.items.push(searched);
        self.wake(&mut state);
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.tell_emptied(&mut state);
        self.wake(&mut state);
    }

    /// Takes no more, and answers those who wait: whoever would have worked them off is gone.
    pub(crate) fn abandon(&self) {
        self.close();
        let abandoned = {
            let mut state = self.state.lock();
            state.abandoned = true;
            std::mem::take(&mut state.items)
        };
        drop(abandoned);
        self.state.lock().answered = true;
    }

    /// Waits until something is there, the queue is closed, or the time is up, and takes everything into
    /// `items`, which is empty. Whether the queue is closed and was empty: nothing will ever come again. As long as
    /// something is `searched_for`, its answer will.
    pub(crate) fn take(
        &self,
        items: &mut Vec<Item>,
        patience: Option<Duration>,
        searched_for: bool,
    ) -> bool {
        let mut state = self.state.lock();
        while state.items.is_empty() && (!state.closed || searched_for) {
            state.asleep = true;
            match patience {
                None => self.wake.wait(&mut state),
                Some(patience) => {
                    if self.wake.wait_for(&mut state, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        state.asleep = false;
        std::mem::swap(&mut state.items, items);
        state.bytes = 0;
        self.tell_emptied(&mut state);
        state.closed && items.is_empty() && !searched_for
    }

    fn tell_emptied(&self, state: &mut State) {
        if std::mem::replace(&mut state.full, false) {
            self.emptied.notify_waiters();
        }
    }

    fn wake(&self, state: &mut State) {
        if state.asleep {
            state.asleep = false;
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chronicler_domain::{SchemaVersion, StreamId, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::append::{Expected, NewEvent};
    use crate::codec::CodecId;

    fn append(payload_bytes: usize) -> Append {
        let event = NewEvent {
            id: None,
            event_type: "Happened".into(),
            schema_version: SchemaVersion::FIRST,
            codec: CodecId::BINCODE,
            payload: Bytes::from(vec![7; payload_bytes]),
            metadata: Bytes::new(),
        };
        let stream = StreamId::of("account", "alice").unwrap();
        Append::new(Uuid::from_u128(1), Timestamp::EPOCH).stream(stream, Expected::Any, vec![event])
    }

    #[test]
    fn spent_appends_wait_within_their_limits_and_each_push_frees_one() {
        let queue = Queue::new(10, 1 << 20);
        let mut spent: Spent = (0..SPENT_MAX + 1).map(|_| append(1)).collect();
        spent.push(append(SPENT_BYTES_MAX + 1));
        queue.free_later(&mut spent);
        assert!(spent.is_empty());
        assert_eq!(queue.state.lock().spent.len(), SPENT_MAX);
        assert!(queue.push(append(1), Answer::new(Box::new(|_| {}))).is_ok());
        assert_eq!(queue.state.lock().spent.len(), SPENT_MAX - 1);
    }
}
