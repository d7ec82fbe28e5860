//! The bounded queue in front of the writer.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::answer::{Answer, Barrier};
use crate::acceptance::payload_bytes;
use crate::append::Append;
use crate::error::AppendError;

/// What waits for the writer.
pub(crate) enum Item {
    Append(Box<Append>, Answer),
    Barrier(Barrier),
}

/// The bounded queue in front of the writer. Everything in it is taken at once.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    commits_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    closed: bool,
    /// Whether the writer sleeps; only then is it worth a system call to wake it.
    asleep: bool,
}

impl Queue {
    pub(crate) fn new(commits_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            commits_max,
            bytes_max,
        }
    }

    /// Puts an append in line, or gives the answer back with the reason.
    pub(crate) fn push(&self, append: Append, done: Answer) -> Result<(), (Answer, AppendError)> {
        let bytes = payload_bytes(&append);
        let mut state = self.state.lock();
        if state.closed {
            return Err((done, AppendError::Closed));
        }
        let queued = state.items.len();
        let too_many = queued >= self.commits_max;
        let too_long = queued > 0 && state.bytes + bytes > self.bytes_max;
        if too_many || too_long {
            let bytes = state.bytes;
            return Err((done, AppendError::Overloaded { queued, bytes }));
        }
        state.bytes += bytes;
        state.items.push(Item::Append(Box::new(append), done));
        self.wake(&mut state);
        Ok(())
    }

    /// Puts a barrier in line; it has no size and is always taken. Given back if the queue is closed.
    pub(crate) fn push_barrier(&self, done: Barrier) -> Result<(), Barrier> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(done);
        }
        state.items.push(Item::Barrier(done));
        self.wake(&mut state);
        Ok(())
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.wake(&mut state);
    }

    /// Takes no more, and answers those who wait: whoever would have worked them off is gone.
    pub(crate) fn abandon(&self) {
        self.close();
        let abandoned = std::mem::take(&mut self.state.lock().items);
        drop(abandoned);
    }

    /// Waits until something is there, the queue is closed, or the time is up, and takes everything into
    /// `items`, which is empty. Whether the queue is closed and was empty: nothing will ever come again.
    pub(crate) fn take(&self, items: &mut Vec<Item>, patience: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
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
        state.closed && items.is_empty()
    }

    fn wake(&self, state: &mut State) {
        if state.asleep {
            state.asleep = false;
            self.wake.notify_one();
        }
    }
}
