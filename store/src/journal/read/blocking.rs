//! The one place where reads block: on tokio's threads for blocking work, never on its workers.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::query::CommitStream;

/// How many batches may lie between the blocking reader and its consumer: one is being consumed, one waits.
const BATCHES_AHEAD: usize = 2;

type Batch = Result<Vec<RecordedCommit>, ReadError>;

/// Where a blocking reader puts its batches.
#[derive(Debug)]
pub(crate) struct BatchSender(mpsc::Sender<Batch>);

impl BatchSender {
    /// Waits for room and hands over a batch; false if nobody reads any more.
    pub(crate) fn send(&self, batch: Vec<RecordedCommit>) -> bool {
        batch.is_empty() || self.0.blocking_send(Ok(batch)).is_ok()
    }
}

/// Runs something that blocks.
pub(crate) fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> BoxFuture<'static, Result<T, ReadError>> {
    Box::pin(async move {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(ended(error)),
        }
    })
}

/// A stream of what a blocking reader sends. The reader starts with the first poll and ends when the stream
/// is dropped.
pub(crate) fn stream_batches(
    read: impl FnOnce(&BatchSender) -> Result<(), ReadError> + Send + 'static,
) -> CommitStream {
    let start = move || {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let reader = tokio::task::spawn_blocking(move || {
            let sender = BatchSender(sender);
            if let Err(error) = read(&sender) {
                // If nobody reads any more, nobody misses the error.
                drop(sender.0.blocking_send(Err(error)));
            }
        });
        Reading::Going { receiver, reader }
    };
    let first = Reading::NotBegun(Box::new(start));
    Box::pin(stream::unfold(first, next).fuse())
}

/// How far a stream of batches has come.
enum Reading {
    NotBegun(Box<dyn FnOnce() -> Reading + Send>),
    Going {
        receiver: mpsc::Receiver<Batch>,
        reader: JoinHandle<()>,
    },
    Ended,
}

async fn next(reading: Reading) -> Option<(Batch, Reading)> {
    let going = match reading {
        Reading::NotBegun(start) => start(),
        other => other,
    };
    let Reading::Going {
        mut receiver,
        reader,
    } = going
    else {
        return None;
    };
    match receiver.recv().await {
        Some(Ok(batch)) => Some((Ok(batch), Reading::Going { receiver, reader })),
        Some(Err(error)) => Some((Err(error), Reading::Ended)),
        // The end, unless the reader panicked: that must not look like the end.
        None => match reader.await {
            Ok(()) => None,
            Err(error) => Some((Err(ended(error)), Reading::Ended)),
        },
    }
}

/// A blocking task that did not end by itself: a panic, or a runtime that shuts down.
fn ended(error: tokio::task::JoinError) -> ReadError {
    ReadError::Io {
        operation: Arc::from("a blocking read"),
        source: Arc::new(std::io::Error::other(error)),
    }
}
