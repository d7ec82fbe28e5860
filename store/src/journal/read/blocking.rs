//! The one place where reads block: on tokio's threads for blocking work, never on its workers.
//!
//! No thread waits for a consumer. What is read is read in turns ([`Turn`]), each on a thread of its own choosing and
//! bounded in bytes and time; between two turns a reader is a value that costs its memory and nothing else. So readers
//! may be slow, in any number, and one that nobody reads any more ends after what it is asking the disk for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::query::CommitStream;

/// How long a reader has a thread before it gives what it has, be it nothing: what a slow disk lets a reader find in this
/// time is shown at once, and others have their turn. Far above the time for a whole batch from a quick disk.
const TURN_TIME: Duration = Duration::from_millis(100);

/// How long a reader may read on.
#[derive(Debug)]
pub(crate) struct Turn {
    until: Instant,
    /// Nobody waits for what is found any more.
    unwanted: Arc<AtomicBool>,
    /// How often the disk had been asked when the clock was last looked at. `None` before the first look: each turn
    /// comes further.
    loads: Option<u64>,
    is_over: bool,
}

impl Turn {
    pub(crate) fn new(time: Duration, unwanted: Arc<AtomicBool>) -> Self {
        Self {
            until: Instant::now() + time,
            unwanted,
            loads: None,
            is_over: false,
        }
    }

    /// Whether the reader is to give what it has. `loads` says how often it has asked the disk: only then does time pass
    /// that is worth a look at the clock.
    #[inline]
    pub(super) fn is_over(&mut self, loads: u64) -> bool {
        if self.loads != Some(loads) {
            let is_first = self.loads.replace(loads).is_none();
            self.is_over = !is_first
                && (self.unwanted.load(Ordering::Relaxed) || Instant::now() >= self.until);
        }
        self.is_over
    }
}

/// What a reader found in one turn.
#[derive(Debug)]
pub(crate) struct Found {
    /// May be empty: the reader has worked, and there is nothing to give yet.
    pub commits: Vec<RecordedCommit>,
    /// Whether this was all.
    pub is_last: bool,
}

impl Found {
    pub(super) fn more(commits: Vec<RecordedCommit>) -> Self {
        Self {
            commits,
            is_last: false,
        }
    }

    pub(super) fn last(commits: Vec<RecordedCommit>) -> Self {
        Self {
            commits,
            is_last: true,
        }
    }
}

/// Reads in turns.
pub(crate) trait TurnReader: Send + 'static {
    /// Reads on until a batch is full, the turn is over, or there is no more. Blocks. Not called again after an error
    /// or the last batch. Keeps no file open between turns: there may be more readers than descriptors.
    fn read(&mut self, turn: &mut Turn) -> Result<Found, ReadError>;
}

/// Runs something that blocks.
pub(crate) fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> BoxFuture<'static, Result<T, ReadError>> {
    Box::pin(async move { spawn(work)?.await.unwrap_or_else(|error| Err(ended(error))) })
}

/// Starts something that blocks. tokio panics when the operating system gives it no thread at all: that may pass, and
/// must not end whoever asks.
///
/// # Errors
/// When there is no thread for it.
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ReadError> {
    let tokio = Handle::current();
    let started = catch_unwind(AssertUnwindSafe(|| tokio.spawn_blocking(work)));
    started.map_err(|_| ReadError::Io {
        operation: Arc::from("starting a thread for a blocking read"),
        source: Arc::new(std::io::ErrorKind::WouldBlock.into()),
    })
}

/// A stream of what a reader finds. `begin` makes it, blocking, within the first turn; `None` finds nothing. The next
/// batch is read while one is consumed, and no further. With `heartbeats` a turn that found nothing is given as an empty
/// batch.
pub(crate) fn stream_batches<R: TurnReader>(
    heartbeats: bool,
    begin: impl FnOnce() -> Result<Option<R>, ReadError> + Send + 'static,
) -> CommitStream {
    let reading = stream::unfold(Reading::NotBegun(begin), next).fuse();
    Box::pin(reading.filter(move |batch| {
        let is_shown = heartbeats || !batch.as_ref().is_ok_and(Vec::is_empty);
        std::future::ready(is_shown)
    }))
}

/// How far a stream of batches has come.
enum Reading<R, B> {
    NotBegun(B),
    /// A turn is under way, or done and not looked at.
    Turning(Turning<R>),
    Ended,
}

type Turned<R> = Result<(Found, Option<R>), ReadError>;

/// A turn under way. Dropped before it has a thread it gets none.
struct Turning<R> {
    turned: JoinHandle<Turned<R>>,
    unwanted: Arc<AtomicBool>,
}

impl<R> Drop for Turning<R> {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        self.turned.abort();
    }
}

impl<R: TurnReader> Turning<R> {
    fn start(
        begin: impl FnOnce() -> Result<Option<R>, ReadError> + Send + 'static,
    ) -> Result<Self, ReadError> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&unwanted);
        let turn = move || match begin()? {
            Some(mut reader) => {
                let found = reader.read(&mut Turn::new(TURN_TIME, told))?;
                let reader = (!found.is_last).then_some(reader);
                Ok((found, reader))
            }
            None => Ok((Found::last(Vec::new()), None)),
        };
        let turned = spawn(turn)?;
        Ok(Self { turned, unwanted })
    }
}

async fn next<R, B>(
    reading: Reading<R, B>,
) -> Option<(Result<Vec<RecordedCommit>, ReadError>, Reading<R, B>)>
where
    R: TurnReader,
    B: FnOnce() -> Result<Option<R>, ReadError> + Send + 'static,
{
    let turning = match reading {
        Reading::NotBegun(begin) => Turning::start(begin),
        Reading::Turning(turning) => Ok(turning),
        Reading::Ended => return None,
    };
    let turned = match turning {
        // A panic must not look like the end.
        Ok(mut turning) => (&mut turning.turned)
            .await
            .unwrap_or_else(|error| Err(ended(error))),
        Err(error) => Err(error),
    };
    match turned {
        Ok((found, None)) if found.commits.is_empty() => None,
        Ok((found, None)) => Some((Ok(found.commits), Reading::Ended)),
        Ok((found, Some(reader))) => Some(match Turning::start(move || Ok(Some(reader))) {
            Ok(turning) => (Ok(found.commits), Reading::Turning(turning)),
            Err(error) => (Err(error), Reading::Ended),
        }),
        Err(error) => Some((Err(error), Reading::Ended)),
    }
}

/// A blocking task that did not end by itself: a panic, or a runtime that shuts down.
fn ended(error: tokio::task::JoinError) -> ReadError {
    ReadError::Io {
        operation: Arc::from("a blocking read"),
        source: Arc::new(std::io::Error::other(error)),
    }
}
