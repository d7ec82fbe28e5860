//! The store itself: appends one at a time under a lock, answers outside of it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::derived::Derived;
use super::followed::Followed;
use super::journal::Journal;
use super::plan::{AppendFault, Fate, Plan};
use crate::append::{Append, AppendResult, Completion};
use crate::error::{AppendError, ReadError};
use crate::log::Health;

/// A store in memory. Cheap to clone: clones are the same store, so a "restart" in a test is a new runtime over
/// a clone.
///
/// It starts no thread and no task: an append is durable, visible and answered before
/// [`submit`](crate::EventLog::submit) returns, unless [`faults`](Self::faults) say otherwise.
#[derive(Clone)]
pub struct MemoryStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    journal: Mutex<Journal>,
    derived: Mutex<Derived>,
    plan: Mutex<Plan>,
    /// Answers that wait, in order; `None` only tells a barrier.
    pub(super) waiting: Mutex<VecDeque<Answer>>,
    /// Held while answers are given, so that they are given in order.
    answering: Mutex<()>,
    pub(super) health: watch::Sender<Health>,
    pub(super) head: Followed,
}

pub(super) enum Answer {
    Append(Completion, AppendResult),
    Barrier(Box<dyn FnOnce() + Send>),
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::from_parts(Journal::default(), Mutex::default())
    }

    pub(super) fn from_parts(journal: Journal, derived: Mutex<Derived>) -> Self {
        let head = Followed::new(journal.head());
        let inner = Inner {
            journal: Mutex::new(journal),
            derived,
            plan: Mutex::default(),
            waiting: Mutex::default(),
            answering: Mutex::default(),
            health: watch::Sender::default(),
            head,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn with_plan<T>(&self, use_plan: impl FnOnce(&mut Plan) -> T) -> T {
        use_plan(&mut self.inner.plan.lock())
    }

    pub(super) fn with_journal<T>(&self, use_journal: impl FnOnce(&mut Journal) -> T) -> T {
        use_journal(&mut self.inner.journal.lock())
    }

    pub(super) fn with_derived<T>(&self, use_derived: impl FnOnce(&mut Derived) -> T) -> T {
        use_derived(&mut self.inner.derived.lock())
    }

    /// Makes what is staged durable, publishes the head and gives the answers that wait, unless held.
    pub(super) fn settle(&self) {
        // Whoever answers takes along what others queue meanwhile; a completion that submits again finds the
        // lock taken and leaves its answer to the loop below.
        while let Some(answering) = self.inner.answering.try_lock() {
            while let Some(answers) = self.take_answers() {
                for answer in answers {
                    match answer {
                        Answer::Append(done, result) => done(result),
                        Answer::Barrier(done) => done(),
                    }
                }
            }
            drop(answering);
            // Somebody who queued or released just before the lock was free has left it to this thread.
            if self.inner.waiting.lock().is_empty() || self.with_plan(|plan| plan.held) {
                return;
            }
        }
    }

    /// The answers to be given now, with what they answer made durable and visible; `None` if there are none.
    fn take_answers(&self) -> Option<VecDeque<Answer>> {
        let mut waiting = self.inner.waiting.lock();
        let (dead, held) = self.with_plan(|plan| (plan.is_dead(), plan.held));
        if dead {
            // The dead do not answer: dropping a completion tells whoever waits.
            let dropped = std::mem::take(&mut *waiting);
            drop(waiting);
            drop(dropped);
            return None;
        }
        if held || waiting.is_empty() {
            return None;
        }
        let answers = std::mem::take(&mut *waiting);
        let head = self.with_journal(|journal| {
            journal.make_durable();
            journal.head()
        });
        drop(waiting);
        self.inner.head.show(head);
        Some(answers)
    }

    fn read_only(&self) -> Option<AppendError> {
        match &*self.inner.health.borrow() {
            Health::Healthy => None,
            Health::ReadOnly(reason) => Some(AppendError::ReadOnly {
                reason: Arc::clone(reason),
            }),
        }
    }

    /// Accepts or refuses an append; `None` if the process dies and nobody is answered.
    pub(super) fn accept(&self, append: &Append) -> Option<AppendResult> {
        if self.with_plan(|plan| plan.is_dead()) {
            return None;
        }
        if let Some(error) = self.read_only() {
            return Some(Err(error));
        }
        let fault = self.with_plan(|plan| plan.appends.pop_front()).flatten();
        if matches!(fault, Some(AppendFault::Overloaded | AppendFault::NoRoom)) {
            return Some(Err(AppendError::Overloaded {
                queued: 0,
                bytes: 0,
            }));
        }
        let failed = |applied: bool| {
            if !applied {
                return Err(self.fail("write"));
            }
            self.with_journal(|journal| journal.accept_unsynced(append))?;
            Err(self.fail("fdatasync"))
        };
        match fault {
            Some(AppendFault::FailedNotWritten) => return Some(failed(false)),
            Some(AppendFault::FailedWritten) => return Some(failed(true)),
            _ => {}
        }
        match self.with_plan(Plan::write_point) {
            Fate::Proceed => Some(self.with_journal(|journal| journal.accept(append))),
            Fate::DieBefore | Fate::Dead => None,
            Fate::DieAfter => {
                self.with_journal(|journal| {
                    if journal.accept(append).is_ok() {
                        journal.make_durable();
                    }
                });
                None
            }
        }
    }

    fn fail(&self, operation: &str) -> AppendError {
        let reason: Arc<str> = format!("{operation} failed (injected)").into();
        self.inner.health.send_replace(Health::ReadOnly(reason));
        let source = Arc::new(std::io::Error::other("injected"));
        AppendError::Failed {
            operation: operation.into(),
            source,
        }
    }

    pub(super) fn alive(&self) -> Result<(), ReadError> {
        if self.with_plan(|plan| plan.is_dead()) {
            Err(ReadError::Closed)
        } else {
            Ok(())
        }
    }
}
