//! The store itself: appends one at a time under a lock, answers outside of it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::StreamId;
use futures::future::BoxFuture;
use futures::{FutureExt, future};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::derived::Derived;
use super::faults::{AppendFault, Fate, Faults, Plan, ReadFault};
use super::followed::Followed;
use super::journal::Journal;
use super::read;
use crate::append::{Append, AppendResult, Completion};
use crate::error::{AppendError, ReadError};
use crate::frame::FactKind;
use crate::log::{EventLog, FactEntry, Head, Health, HeldBack, StreamHead};
use crate::query::{AllQuery, CommitStream, FactQuery, StreamQuery};

/// A store in memory. Cheap to clone: clones are the same store, so a "restart" in a test is a new runtime over
/// a clone.
///
/// It starts no thread and no task: an append is durable, visible and answered before
/// [`submit`](EventLog::submit) returns, unless [`faults`](Self::faults) say otherwise.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Mutex<Journal>,
    derived: Mutex<Derived>,
    plan: Mutex<Plan>,
    /// Answers that wait, in order; `None` only tells a barrier.
    waiting: Mutex<VecDeque<Answer>>,
    /// Held while answers are given, so that they are given in order.
    answering: Mutex<()>,
    health: watch::Sender<Health>,
    head: Followed,
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

    /// Faults to inject into this store.
    pub fn faults(&self) -> Faults {
        Faults(self.clone())
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

    /// What becomes of an append; `None` if the process dies and nobody is answered.
    fn accept(&self, append: &Append) -> Option<AppendResult> {
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
}

impl EventLog for MemoryStore {
    fn submit(&self, append: Append, done: Completion) {
        {
            // Accepted and queued under one lock, so that answers are in the order of acceptance.
            let mut waiting = self.inner.waiting.lock();
            match self.accept(&append) {
                Some(result) => waiting.push_back(Answer::Append(done, result)),
                // The process died; `done` is dropped when this returns, outside the lock.
                None => drop(waiting),
            }
        }
        self.settle();
    }

    fn offer(&self, append: Append, done: Completion) -> Result<(), Box<HeldBack>> {
        if self.with_plan(Plan::has_no_room) {
            return Err(Box::new(HeldBack { append, done }));
        }
        self.submit(append, done);
        Ok(())
    }

    fn barrier(&self, done: Box<dyn FnOnce() + Send>) {
        self.inner.waiting.lock().push_back(Answer::Barrier(done));
        self.settle();
    }

    fn head(&self) -> Head {
        self.inner.head.shown()
    }

    fn watch_head(&self) -> watch::Receiver<Head> {
        self.inner.head.follow()
    }

    fn watch_health(&self) -> watch::Receiver<Health> {
        self.inner.health.subscribe()
    }

    fn stream_head(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<Option<StreamHead>, ReadError>> {
        let head = self.with_journal(|journal| journal.stream_head(stream.key()));
        future::ready(self.alive().map(|()| head)).boxed()
    }

    fn read_stream(&self, query: StreamQuery) -> CommitStream {
        if let Some(failing) = self.failing_read(Some(query.stream.key())) {
            return failing;
        }
        match self.alive() {
            Ok(()) => {
                let found = self.with_journal(|journal| read::of_stream(journal, &query));
                read::batches(self.clone(), found)
            }
            Err(error) => futures::stream::iter([Err(error)]).boxed_stream(),
        }
    }

    fn read_all(&self, query: AllQuery) -> CommitStream {
        if let Some(failing) = self.failing_read(None) {
            return failing;
        }
        match self.alive() {
            Ok(()) => {
                let found = self.with_journal(|journal| read::of_all(journal, &query));
                read::batches(self.clone(), found)
            }
            Err(error) => futures::stream::iter([Err(error)]).boxed_stream(),
        }
    }

    fn fact(
        &self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>> {
        let found = self.with_journal(|journal| {
            let entry = journal.facts().get(&(kind, key.clone())).cloned();
            entry.map(|(value, sequence)| FactEntry {
                key,
                value,
                sequence,
            })
        });
        self.with_plan(|plan| plan.read_facts(1));
        future::ready(self.alive().map(|()| found)).boxed()
    }

    fn facts(&self, query: FactQuery) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>> {
        let found = self.with_journal(|journal| read::facts(journal, &query));
        self.with_plan(|plan| plan.read_facts(found.len()));
        future::ready(self.alive().map(|()| found)).boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        // Nothing to give back: a clone goes on, as a reopened directory would.
        self.settle();
        future::ready(()).boxed()
    }
}

impl MemoryStore {
    /// The read that a fault puts in the place of the one that was asked for.
    fn failing_read(&self, stream_key: Option<&str>) -> Option<CommitStream> {
        let fault = self.with_plan(|plan| plan.read_fault(stream_key))?;
        let error = match fault {
            ReadFault::Hangs => return Some(futures::StreamExt::boxed(futures::stream::pending())),
            ReadFault::Io => ReadError::Io {
                operation: "reading".into(),
                source: Arc::new(std::io::Error::other("too many open files")),
            },
            ReadFault::Index => ReadError::Index {
                reason: "it cannot be read".into(),
            },
            ReadFault::Damaged | ReadFault::DamagedOnce => ReadError::Damaged {
                segment: std::path::PathBuf::new(),
                offset: 0,
                position: chronicler_domain::GlobalPosition::ZERO,
                sequence: chronicler_domain::LogSequence::ZERO,
                reason: "on purpose".to_owned(),
            },
        };
        Some(futures::stream::iter([Err(error)]).boxed_stream())
    }

    pub(super) fn alive(&self) -> Result<(), ReadError> {
        if self.with_plan(|plan| plan.is_dead()) {
            Err(ReadError::Closed)
        } else {
            Ok(())
        }
    }
}

/// Boxes a stream that was made from a plain iterator.
trait BoxedStream {
    fn boxed_stream(self) -> CommitStream;
}

impl<I> BoxedStream for futures::stream::Iter<I>
where
    I: Iterator<Item = Result<Vec<crate::frame::RecordedCommit>, ReadError>> + Send + 'static,
{
    fn boxed_stream(self) -> CommitStream {
        futures::StreamExt::boxed(self)
    }
}
