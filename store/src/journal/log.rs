//! The log over a journal folder and an index: threads, and the contract of [`EventLog`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use chronicler_domain::StreamId;
use futures::future::{self, BoxFuture};
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::disk::Storage;
use super::identity::StoreKind;
use super::lock::DirectoryLock;
use super::open::{OpenIndex, OpenReport, open};
use super::options::JournalOptions;
use super::read::{self, FactReader, StreamReader, offset_in_stream, read_all, stream_batches};
use super::shared::Shared;
use super::write::{Answer, Barrier, Follower, NotQueued, Writer};
use crate::acceptance::{check, payload_bytes};
use crate::append::{Append, Completion};
use crate::error::{AppendError, OpenError, ReadError};
use crate::frame::FactKind;
use crate::index::HeadRow;
use crate::log::{EventLog, FactEntry, Head, Health, HeldBack, StreamHead};
use crate::query::{AllQuery, CommitStream, FactQuery, StreamQuery};
use crate::threads;

/// An open journal with its threads.
#[derive(Debug)]
pub(crate) struct JournalLog {
    shared: Arc<Shared>,
    running: Arc<Mutex<Option<Running>>>,
}

/// Ends a log.
#[derive(Clone, Debug)]
pub(crate) struct LogEnding {
    shared: Arc<Shared>,
    running: Arc<Mutex<Option<Running>>>,
}

impl LogEnding {
    /// Takes no more, and tells whoever wants the directory that it is being closed.
    pub(crate) fn begin(&self) {
        self.shared.queue.close();
        if let Some(running) = self.running.try_lock()
            && let Some(running) = running.as_ref()
        {
            running.lock.announce_close();
        }
    }

    /// Ends the log. Blocks, never on a thread of its own; idempotent.
    pub(crate) fn close_blocking(&self) {
        close(&self.shared, &self.running);
    }
}

/// What ends when the log is closed.
#[derive(Debug)]
struct Running {
    writer: JoinHandle<()>,
    follower: JoinHandle<()>,
    lock: DirectoryLock,
}

impl JournalLog {
    /// Opens the journal of a data directory, or begins one; under its lock if that is held already. Blocks.
    pub(crate) fn open(
        kind: StoreKind,
        data: &Path,
        options: JournalOptions,
        storage: Arc<dyn Storage>,
        open_index: &OpenIndex<'_>,
        held: Option<DirectoryLock>,
    ) -> Result<(Self, OpenReport), OpenError> {
        let opened = open(kind, data, options, storage, open_index, held)?;
        let shared = opened.shared;
        if opened.report.replayed > 0 {
            // The last of it is in memory only, and would be read again at each open without an append.
            shared.follower.changed(0);
        }
        let writer = Writer::new(
            shared.clone(),
            opened.active,
            opened.marker,
            opened.lock.clone(),
        );
        let follower = Follower::new(shared.clone());
        let running = Running {
            writer: start("chronicler-writer", move || writer.run())?,
            follower: start("chronicler-index", move || follower.run())?,
            lock: opened.lock,
        };
        let log = Self {
            shared,
            running: Arc::new(Mutex::new(Some(running))),
        };
        Ok((log, opened.report))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The lock of the directory, for what else lies in it and ends after the log; `None` once that has ended.
    pub(crate) fn lock(&self) -> Option<DirectoryLock> {
        let running = self.running.lock();
        running.as_ref().map(|running| running.lock.clone())
    }

    /// What ends the log, from any thread and whatever becomes of this.
    pub(crate) fn ending(&self) -> LogEnding {
        LogEnding {
            shared: self.shared.clone(),
            running: self.running.clone(),
        }
    }

    fn hand_in(&self, append: Append, done: Completion) -> Result<(), Box<NotQueued>> {
        let done = Answer::new(done);
        let refuse = |append, done, error| {
            Err(Box::new(NotQueued {
                append,
                done,
                error,
            }))
        };
        if let Err(error) = check(&append) {
            return refuse(append, done, error);
        }
        let (bytes, bytes_max) = (
            payload_bytes(&append) as u64,
            u64::from(self.shared.options.frame_bytes_max),
        );
        if bytes > bytes_max {
            return refuse(append, done, AppendError::TooLarge { bytes, bytes_max });
        }
        self.shared.queue.push(append, done)
    }

    fn durable_head(&self, stream: &StreamId) -> HeadSought {
        let known = self
            .shared
            .heads
            .durable(stream.key(), || self.shared.durable());
        match known {
            Some(head) => HeadSought::Known(head),
            None => HeadSought::AskIndex,
        }
    }
}

enum HeadSought {
    Known(Option<HeadRow>),
    AskIndex,
}

impl EventLog for JournalLog {
    fn submit(&self, append: Append, done: Completion) {
        if let Err(refused) = self.hand_in(append, done) {
            refused.done.give(Err(refused.error));
        }
    }

    fn offer(&self, append: Append, done: Completion) -> Result<(), Box<HeldBack>> {
        let Err(refused) = self.hand_in(append, done) else {
            return Ok(());
        };
        let NotQueued {
            append,
            done,
            error,
        } = *refused;
        match (error, done.into_inner()) {
            (AppendError::Overloaded { .. }, Some(done)) => {
                Err(Box::new(HeldBack { append, done }))
            }
            (error, Some(done)) => {
                Answer::new(done).give(Err(error));
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.queue.room().await })
    }

    fn barrier(&self, done: Box<dyn FnOnce() + Send>) {
        let taken = self.shared.queue.push_barrier(Barrier::new(done));
        let Some(done) = taken.err().and_then(Barrier::into_inner) else {
            return;
        };
        // The queue is closed: everything is answered once the writer has ended.
        let (shared, running) = (self.shared.clone(), self.running.clone());
        let waited = thread::Builder::new()
            .name("chronicler-barrier".to_owned())
            .spawn(move || {
                close(&shared, &running);
                done();
            });
        if let Err(error) = waited {
            tracing::error!(%error, "a barrier behind the end of the log could not wait for it");
        }
    }

    fn head(&self) -> Head {
        self.shared.end().into()
    }

    fn watch_head(&self) -> watch::Receiver<Head> {
        self.shared.head.subscribe()
    }

    fn watch_health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    fn stream_head(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<Option<StreamHead>, ReadError>> {
        if self.shared.is_closed() {
            return Box::pin(future::ready(Err(ReadError::Closed)));
        }
        match self.durable_head(stream) {
            HeadSought::Known(head) => Box::pin(future::ready(Ok(head.map(stream_head)))),
            HeadSought::AskIndex => {
                let (shared, stream) = (self.shared.clone(), stream.clone());
                read::run(move || Ok(indexed_head(&shared, &stream)?.map(stream_head)))
            }
        }
    }

    fn read_stream(&self, query: StreamQuery) -> CommitStream {
        if self.shared.is_closed() {
            return closed();
        }
        let sought = self.durable_head(&query.stream);
        if let HeadSought::Known(None) = sought {
            return Box::pin(stream::empty());
        }
        let (shared, until) = (self.shared.clone(), self.shared.durable());
        let budget = Arc::clone(&self.shared.read_budget);
        stream_batches(query.heartbeats, budget, move || {
            let head = match sought {
                HeadSought::Known(head) => head,
                HeadSought::AskIndex => indexed_head(&shared, &query.stream)?,
            };
            let Some(head) = head else {
                return Ok(None);
            };
            // The head may be newer than the call; the view is newer than the head.
            let view = shared.view();
            let mut frames = view.reader();
            let (mut until, mut begin) = (until, head.log_offset);
            if query.until < head.sequence {
                until = until.min(query.until);
                begin = offset_in_stream(&view, &mut frames, &query)?.unwrap_or(begin);
            }
            Ok(StreamReader::new(frames, query, until, begin))
        })
    }

    fn read_all(&self, query: AllQuery) -> CommitStream {
        if self.shared.is_closed() {
            return closed();
        }
        read_all(query, &self.shared)
    }

    fn fact(
        &self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>> {
        FactReader::new(self.shared.clone()).fact(kind, key)
    }

    fn facts(&self, query: FactQuery) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>> {
        FactReader::new(self.shared.clone()).facts(query)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        // At once, so that nothing submitted after this call is taken.
        self.ending().begin();
        let ending = self.ending();
        Box::pin(threads::close_apart(move || ending.close_blocking()))
    }
}

impl Drop for JournalLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        // Whoever holds this is closing it, or has.
        let is_closed = self.running.try_lock().is_none_or(|held| held.is_none());
        if !is_closed {
            let ending = self.ending();
            threads::close(move || ending.close_blocking());
        }
    }
}

/// Ends the threads, in the order in which they feed each other, and gives the directory back.
fn close(shared: &Shared, running: &Mutex<Option<Running>>) {
    shared.queue.close();
    // Held until the end, so that whoever closes a second time waits for the first.
    let mut running = running.lock();
    let Some(Running {
        writer,
        follower,
        lock,
    }) = running.take()
    else {
        return;
    };
    let panicked = writer.join().is_err();
    if panicked {
        shared.stop_writes("the writer ended in a panic");
    }
    shared.follower.close();
    if follower.join().is_err() || panicked {
        tracing::error!(
            "a thread of the log ended in a panic; opening the store again recovers it"
        );
    }
    shared.set_closed();
    drop(lock);
}

/// The durable head of a stream that was not in memory a moment ago.
fn indexed_head(shared: &Shared, stream: &StreamId) -> Result<Option<HeadRow>, ReadError> {
    let head = shared.head_in_index(stream.key())?;
    if head.is_some() {
        return Ok(head);
    }
    // It may have been begun since, and be in memory now.
    let durable = || shared.durable();
    Ok(shared.heads.durable(stream.key(), durable).flatten())
}

fn stream_head(row: HeadRow) -> StreamHead {
    StreamHead {
        version: row.version,
        sequence: row.sequence,
        commit_id: row.commit_id,
        first_at: row.first_at,
        last_at: row.last_at,
    }
}

fn closed() -> CommitStream {
    Box::pin(stream::iter([Err(ReadError::Closed)]))
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    threads::start(name, work).map_err(|source: io::Error| OpenError::Io {
        operation: format!("starting the thread {name}"),
        source,
    })
}
