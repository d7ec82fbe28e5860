//! The log: the only source of truth, behind one object-safe trait.

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, StreamId, StreamVersion, Timestamp};
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::append::{Append, AppendResult, Completion};
use crate::error::{AppendError, ReadError};
use crate::frame::FactKind;
use crate::query::{AllQuery, CommitStream, FactQuery, StreamQuery};

/// The end of what is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// The last durable commit; zero in an empty log.
    pub sequence: LogSequence,
    /// The last durable event; zero if there is none.
    pub position: GlobalPosition,
    /// When the last durable commit was accepted.
    pub timestamp: Timestamp,
}

/// The end of one stream, and its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// Its version, which is also how many events it has.
    pub version: StreamVersion,
    /// The last commit recorded in it, events or not.
    pub sequence: LogSequence,
    /// The id of that commit.
    pub commit_id: Uuid,
    /// When its first commit was accepted.
    pub first_at: Timestamp,
    /// When its last commit was accepted.
    pub last_at: Timestamp,
}

/// Whether the log takes writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Healthy,
    /// It does not, until it is opened again. Reads go on.
    ReadOnly(Arc<str>),
}

/// A fact as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactEntry {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The commit that set it.
    pub sequence: LogSequence,
}

/// An append that the log had no room for when it was offered.
pub struct HeldBack {
    /// The append.
    pub append: Append,
    /// Who waits for it.
    pub done: Completion,
}

/// An append-only log of commits.
///
/// # Contract
///
/// - **Atomic**: a commit is in the log whole or not at all, over all its streams and records.
/// - **Ordered**: commits are accepted in the order of [`submit`](Self::submit) calls that happen one
///   after another; completions with `Ok` are called in the order of acceptance, and a refusal may
///   overtake those that it does not depend on. Log sequences and global positions
///   are gapless. Timestamps never go back.
/// - **Durable**: a completion with `Ok` is called only when the commit survives what the store's
///   durability level names. No read shows a commit before that; from the moment of the call every read does:
///   [`head`](Self::head), stream heads, facts and queries. The same holds for a refusal: whatever it tells of
///   (the version that a stream is at, the commit that fences it, the commit that has its id) is durable, and read
///   by whoever reads after it.
/// - **Idempotent**: an append whose `expected` no longer holds, but whose events (by id) or commit id are
///   the ones that lie there, is answered with the original places; the exact table is in
///   `conformance` of `chronicler-testkit`. A commit id that is recorded in a stream of the append with the same events is such a
///   repetition; with other events it is [`AppendError::IdReused`]. Searched are the places that `expected`
///   names, up to 65,536 commits back, and for `Any` the stream's latest commits, 16 at least. A repetition writes nothing, its
///   side records included, and is answered only when the original is durable; whoever decided on another
///   state than the original must read the stream again.
/// - **Failing**: after a failed write or sync every commit of that batch is answered
///   [`AppendError::Failed`], everything later [`AppendError::ReadOnly`], and reads go on. An append that was to be
///   refused because of a commit of that batch is answered [`AppendError::ReadOnly`], too: nothing of it was
///   written, and what it lost to may never have been.
/// - **Cancel safety**: an append that was submitted happens or fails whether or not anyone still waits.
pub trait EventLog: Send + Sync + 'static {
    /// Hands over a commit. Never blocks; `done` is called exactly once, possibly before this returns.
    fn submit(&self, append: Append, done: Completion);

    /// The same, but gives the append back when there is no room for it at present, instead of answering
    /// [`AppendError::Overloaded`]: whoever can wait for [`room`](Self::room) keeps what the append was decided on. By
    /// default nothing is given back.
    ///
    /// # Errors
    /// The append and its completion, which was not called.
    fn offer(&self, append: Append, done: Completion) -> Result<(), Box<HeldBack>> {
        self.submit(append, done);
        Ok(())
    }

    /// Ends when there may be room for an append that [`offer`](Self::offer) gave back.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    fn room(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Calls `done` when every append submitted before this call has been answered.
    fn barrier(&self, done: Box<dyn FnOnce() + Send>);

    /// The end of what is durable.
    fn head(&self) -> Head;

    /// Follows the end of what is durable. A hint to look: values may be skipped, never invented.
    fn watch_head(&self) -> watch::Receiver<Head>;

    /// Follows whether the log takes writes: an application is told when it stops.
    fn watch_health(&self) -> watch::Receiver<Health>;

    /// Whether the log takes writes.
    fn health(&self) -> Health {
        self.watch_health().borrow().clone()
    }

    /// The end of one stream as durable; `None` if no commit was ever recorded in it.
    fn stream_head(
        &self,
        stream: &StreamId,
    ) -> BoxFuture<'static, Result<Option<StreamHead>, ReadError>>;

    /// The commits recorded in one stream.
    fn read_stream(&self, query: StreamQuery) -> CommitStream;

    /// The commits of the whole log, up to its durable end at the time of the call.
    fn read_all(&self, query: AllQuery) -> CommitStream;

    /// The value of one fact as durable.
    fn fact(
        &self,
        kind: FactKind,
        key: Bytes,
    ) -> BoxFuture<'static, Result<Option<FactEntry>, ReadError>>;

    /// Facts of one kind, ordered by key, as durable.
    fn facts(&self, query: FactQuery) -> BoxFuture<'static, Result<Vec<FactEntry>, ReadError>>;

    /// Takes no more appends, answers those submitted, makes everything durable and gives the directory
    /// back. Idempotent.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// [`submit`](Self::submit) as a future.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the append back.
    fn append(&self, append: Append) -> BoxFuture<'static, AppendResult> {
        let (answer, answered) = oneshot::channel();
        self.submit(append, Box::new(move |result| drop(answer.send(result))));
        Box::pin(async move { answered.await.unwrap_or(Err(AppendError::Lost)) })
    }
}
