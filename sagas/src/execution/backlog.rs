//! The backlog: durable decisions that nobody has begun to carry out yet.

use std::collections::VecDeque;
use std::sync::Arc;

use chronicler_domain::{LogSequence, StreamId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::execution::quiet::{Quiet, UnderWay};
use crate::instance::id::InstanceId;
use crate::instance::work::Work;

/// What was decided, durably, and is now to be carried out.
pub(crate) struct CommittedWork {
    pub(crate) instance: InstanceId,
    pub(crate) work: Work,
    pub(crate) sequence: LogSequence,
    /// The executor had no room for it when it came.
    pub(crate) had_to_wait: bool,
    pub(crate) under_way: UnderWay,
}

/// The decisions of one saga type that wait for its executor, in the order of their commits.
///
/// A decision comes here when its commit is durable, by the log itself: whoever asked for it may be gone by then. So
/// nothing here can wait for room. Whoever is about to give an instance an input waits instead, before it does
/// ([`below`](Self::below)); beyond that limit there are at most as many as inputs are given at a time.
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    more: Notify,
    /// Tells those that wait for room, in the order in which they came.
    fewer: Notify,
    quiet: Arc<Quiet>,
}

#[derive(Default)]
struct Waiting {
    all: VecDeque<CommittedWork>,
    /// How many came so far.
    came: u64,
    /// Of those that came so many, the first, found no room.
    waited: u64,
    /// Whether an executor takes from it, or will.
    is_open: bool,
}

impl Waiting {
    fn take_first(&mut self) -> Option<CommittedWork> {
        let place = self.came - u64::try_from(self.all.len()).unwrap_or_default();
        let mut first = self.all.pop_front()?;
        first.had_to_wait = place < self.waited;
        Some(first)
    }
}

impl Backlog {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            more: Notify::new(),
            fewer: Notify::new(),
            quiet: Quiet::new(),
        }
    }

    pub(crate) fn quiet(&self) -> &Arc<Quiet> {
        &self.quiet
    }

    /// From here on decisions are kept for an executor.
    pub(crate) fn open(&self) {
        self.waiting.lock().is_open = true;
    }

    /// No executor takes any more: what waits is in the streams, and is taken up at the next start.
    pub(crate) fn close(&self) {
        let closed = std::mem::take(&mut *self.waiting.lock());
        drop(closed);
        self.fewer.notify_waiters();
    }

    /// Adds what a commit of this stream decided. Called on the log's own thread: it does not block.
    pub(crate) fn push(&self, stream: &StreamId, work: &Work, sequence: LogSequence) {
        if work.is_nothing() {
            return;
        }
        let Some(instance) = InstanceId::of(stream) else {
            return;
        };
        let mut waiting = self.waiting.lock();
        if !waiting.is_open {
            return;
        }
        waiting.came += 1;
        waiting.all.push_back(CommittedWork {
            instance,
            work: work.clone(),
            sequence,
            had_to_wait: false,
            under_way: self.quiet.begin(),
        });
        drop(waiting);
        self.more.notify_one();
    }

    /// Waits until there is a decision.
    ///
    /// # Cancel safety
    /// Nothing changes when the wait is dropped.
    pub(crate) async fn some(&self) {
        loop {
            let more = self.more.notified();
            if !self.waiting.lock().all.is_empty() {
                return;
            }
            more.await;
        }
    }

    /// The decision that waits longest.
    ///
    /// # Cancel safety
    /// A wait that is dropped takes nothing.
    pub(crate) async fn next(&self) -> CommittedWork {
        loop {
            let more = self.more.notified();
            let first = self.waiting.lock().take_first();
            if let Some(decided) = first {
                self.fewer.notify_waiters();
                return decided;
            }
            more.await;
        }
    }

    /// Whether decisions of an instance wait.
    pub(crate) fn has(&self, instance: &InstanceId) -> bool {
        let waiting = self.waiting.lock();
        waiting
            .all
            .iter()
            .any(|decided| decided.instance == *instance)
    }

    /// The executor has had no room until now: all that came by now had to wait for it.
    pub(crate) fn had_to_wait(&self) {
        let mut waiting = self.waiting.lock();
        waiting.waited = waiting.came;
    }

    /// Whether so many decisions wait, or more.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.waiting.lock().all.len() >= limit.max(1)
    }

    /// Waits until fewer than so many decisions wait, or nobody takes any.
    ///
    /// # Cancel safety
    /// Nothing changes when the wait is dropped.
    pub(crate) async fn below(&self, limit: usize) {
        loop {
            let fewer = self.fewer.notified();
            let is_closed = !self.waiting.lock().is_open;
            if is_closed || !self.is_full(limit) {
                return;
            }
            fewer.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::Timestamp;
    use futures::stream::FuturesUnordered;
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn v2_inputs_that_wait_for_room_get_it_in_the_order_in_which_they_came() {
        let backlog = Backlog::new();
        backlog.open();
        let work = Work {
            armed: Some(Timestamp::EPOCH),
            ..Work::default()
        };
        let stream = StreamId::of("saga:order", "a").unwrap();
        backlog.push(&stream, &work, LogSequence::new(1));
        let wait = |number| {
            let below = backlog.below(1);
            async move {
                below.await;
                number
            }
        };
        let mut waiting: FuturesUnordered<_> = (0..20).map(wait).collect();
        assert_eq!(waiting.next().now_or_never(), None);
        assert!(backlog.next().now_or_never().is_some());
        let let_in = waiting.collect::<Vec<_>>().now_or_never();
        assert_eq!(let_in, Some((0..20).collect()));
    }
}
