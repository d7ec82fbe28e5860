//! The bounded queue before the writer: those who send wait as futures, the writer waits as a thread.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::StoreError;

/// First in, first out.
///
/// It is closed by word, not by dropping its senders: a future that nobody polls would keep it open.
#[derive(Debug)]
pub(super) struct Queue<T> {
    room: Arc<Semaphore>,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(T, OwnedSemaphorePermit)>,
    closed: bool,
}

/// What there is to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Item(T),
    /// Nothing at the moment.
    Empty,
    /// Nothing, and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(length_max: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(length_max)),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for room and puts it at the end.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has put nothing in.
    pub(super) async fn push(&self, item: T) -> Result<(), StoreError> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.waiting.push_back((item, permit));
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the first one, if there is one.
    pub(super) fn try_pop(&self) -> Next<T> {
        Self::pop(&mut self.state.lock())
    }

    /// Waits until there is a first one, or the queue is closed.
    pub(super) fn pop_blocking(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            match Self::pop(&mut state) {
                Next::Item(item) => return Some(item),
                Next::Closed => return None,
                Next::Empty => self.changed.wait(&mut state),
            }
        }
    }

    /// Lets nothing more in; what is in can still be taken.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.room.close();
        self.changed.notify_all();
    }

    /// Closes it and drops what is in it, and with it whoever waits for an answer.
    pub(super) fn abandon(&self) {
        self.close();
        let left = std::mem::take(&mut self.state.lock().waiting);
        drop(left);
    }

    fn pop(state: &mut State<T>) -> Next<T> {
        match state.waiting.pop_front() {
            Some((item, _)) => Next::Item(item),
            None if state.closed => Next::Closed,
            None => Next::Empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn it_is_bounded_and_drains_after_a_close() {
        let queue = Queue::new(2);
        assert_eq!(queue.try_pop(), Next::Empty);
        queue.push(1).now_or_never().unwrap().unwrap();
        queue.push(2).now_or_never().unwrap().unwrap();
        let mut third = Box::pin(queue.push(3));
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(queue.pop_blocking(), Some(1));
        third.now_or_never().unwrap().unwrap();
        let fourth = Box::pin(queue.push(4));
        queue.close();
        assert!(matches!(
            fourth.now_or_never(),
            Some(Err(StoreError::Closed))
        ));
        assert_eq!(queue.try_pop(), Next::Item(2));
        assert_eq!(queue.pop_blocking(), Some(3));
        assert_eq!(queue.try_pop(), Next::Closed);
        assert_eq!(queue.pop_blocking(), None);
    }
}
