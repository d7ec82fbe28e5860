//! Who waits for a view to reach a position, ordered by it, so that a publication wakes only those it serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How many may wait for one projection at once. Each costs about 150 bytes; more than this means that the
/// view is far behind, and waiting longer would only hide it.
pub const WAITING_MAX: usize = 65_536;

/// Why a wait ended without the position being reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The projection was stopped.
    Stopped,
    /// The projection failed, for this reason.
    Failed(Arc<str>),
}

type Answer = Result<(), Ended>;

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<(GlobalPosition, u64), oneshot::Sender<Answer>>,
    tickets: u64,
}

/// The waits for one projection.
#[derive(Clone, Default)]
pub(crate) struct Waiting {
    queue: Arc<Mutex<Queue>>,
}

/// One wait; dropping it takes it back.
pub(crate) struct Wait {
    queue: Arc<Mutex<Queue>>,
    key: (GlobalPosition, u64),
    answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// Begins to wait; `None` if too many do.
    pub(crate) fn enter(&self, position: GlobalPosition) -> Option<Wait> {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= WAITING_MAX {
            return None;
        }
        let key = (position, queue.tickets);
        queue.tickets += 1;
        queue.waiting.insert(key, answer);
        drop(queue);
        Some(Wait {
            queue: self.queue.clone(),
            key,
            answer: answered,
        })
    }

    /// Answers everyone who waits for a position up to and including this one.
    pub(crate) fn reached(&self, position: GlobalPosition) {
        let mut queue = self.queue.lock();
        while let Some(first) = queue.waiting.first_entry() {
            if first.key().0 > position {
                return;
            }
            // Whoever no longer waits has dropped the other end, which is fine.
            drop(first.remove().send(Ok(())));
        }
    }

    /// Answers everyone that there is nothing more to wait for.
    pub(crate) fn end(&self, ended: &Ended) {
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        for answer in waiting.into_values() {
            drop(answer.send(Err(ended.clone())));
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }
}

impl Wait {
    /// Waits for the answer.
    pub(crate) async fn answered(&mut self) -> Answer {
        let answer = (&mut self.answer).await;
        answer.unwrap_or(Err(Ended::Stopped))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.queue.lock().waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn p24_a_publication_wakes_those_it_serves_and_no_others() {
        let waiting = Waiting::default();
        let mut early = waiting.enter(GlobalPosition::new(3)).unwrap();
        let mut late = waiting.enter(GlobalPosition::new(9)).unwrap();
        let gone = waiting.enter(GlobalPosition::new(3)).unwrap();
        drop(gone);
        assert_eq!(waiting.len(), 2);
        waiting.reached(GlobalPosition::new(3));
        assert_eq!(early.answered().now_or_never(), Some(Ok(())));
        assert_eq!(late.answered().now_or_never(), None);
        waiting.end(&Ended::Stopped);
        assert_eq!(late.answered().now_or_never(), Some(Err(Ended::Stopped)));
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn p24_more_than_the_limit_are_refused() {
        let waiting = Waiting::default();
        let all: Vec<_> = (0..WAITING_MAX)
            .map(|_| waiting.enter(GlobalPosition::new(1)).unwrap())
            .collect();
        assert!(waiting.enter(GlobalPosition::new(1)).is_none());
        drop(all);
        assert!(waiting.enter(GlobalPosition::new(1)).is_some());
    }
}
