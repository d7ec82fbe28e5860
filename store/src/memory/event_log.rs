//! The store in memory as an event log.

use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::StreamId;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, future};
use tokio::sync::watch;

use super::plan::{Plan, ReadFault};
use super::read;
use super::store::{Answer, MemoryStore};
use crate::append::{Append, Completion};
use crate::error::ReadError;
use crate::frame::FactKind;
use crate::log::{EventLog, FactEntry, Head, Health, HeldBack, StreamHead};
use crate::query::{AllQuery, CommitStream, FactQuery, StreamQuery};

/// Commits of one batch: small, so that readers meet more than one.
const BATCH_COMMITS_MAX: usize = 256;

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
                batches(self.clone(), found)
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
                batches(self.clone(), found)
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
}

/// The frames in batches, looked up as they are asked for.
fn batches(store: MemoryStore, found: Vec<usize>) -> CommitStream {
    let chunks: Vec<Vec<usize>> = found
        .chunks(BATCH_COMMITS_MAX)
        .map(<[usize]>::to_vec)
        .collect();
    futures::stream::iter(chunks)
        .map(move |chunk| {
            store.alive()?;
            Ok(store.with_journal(|journal| {
                chunk
                    .iter()
                    .filter_map(|index| journal.commit(*index))
                    .collect()
            }))
        })
        .boxed()
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
