//! The one place where reads block: on tokio's threads for blocking work, never on its workers.
//!
//! No thread waits for a consumer. What is read is read in turns ([`Turn`]), each on a thread of its own choosing and
//! bounded in bytes and time; between two turns a reader is a value that keeps no file, no window and, unless its consumer
//! is quick, no batch that nobody asked for. So readers may be slow, in any number, and one that nobody reads any more
//! ends after what it is asking the disk for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::batches::Batch;
use super::budget::{ReadBudget, Share};
use super::frames::FrameReader;
use crate::error::ReadError;
use crate::frame::RecordedCommit;
use crate::query::CommitStream;

/// How long a reader has a thread before it gives what it has, be it nothing: what a slow disk lets a reader find in this
/// time is shown at once, and others have their turn. Far above the time for a whole batch from a quick disk.
const TURN_TIME: Duration = Duration::from_millis(100);

/// Whoever takes up a batch within this time has the next one read ahead. Reading ahead saves at most the time of a
/// turn, which is far less than this from a quick disk: a slower consumer would not notice it, and the batch would lie
/// in memory.
const QUICK_TIME: Duration = Duration::from_millis(100);

/// How long a reader may read on.
#[derive(Debug)]
pub(crate) struct Turn {
    /// About how many bytes of frames the batch may have.
    pub(super) bytes_max: usize,
    until: Instant,
    /// Nobody waits for what is found any more.
    unwanted: Arc<AtomicBool>,
    /// How often the disk had been asked when the clock was last looked at. `None` before the first look: each turn
    /// comes further.
    loads: Option<u64>,
    is_over: bool,
}

impl Turn {
    pub(crate) fn new(bytes_max: usize, time: Duration, unwanted: Arc<AtomicBool>) -> Self {
        Self {
            bytes_max,
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

    /// True if the reader is to give what it has before it looks at the frame at this log offset. What was read with others
    /// costs the disk nothing, and is looked at before its window is let go of: a disk that takes a whole turn for each
    /// read gives a window in each, not a frame.
    #[inline]
    pub(super) fn is_over_before(&mut self, next: u64, frames: &FrameReader) -> bool {
        self.is_over(frames.loads())
            && (self.unwanted.load(Ordering::Relaxed) || !frames.has_frame(next))
    }
}

/// What a reader found in one turn.
#[derive(Debug)]
pub(crate) struct Found {
    /// May be empty: the reader has worked, and there is nothing to give yet.
    pub batch: Batch,
    /// Whether this was all.
    pub is_last: bool,
}

impl Found {
    pub(super) fn more(batch: Batch) -> Self {
        Self {
            batch,
            is_last: false,
        }
    }

    pub(super) fn last(batch: Batch) -> Self {
        Self {
            batch,
            is_last: true,
        }
    }
}

/// Reads in turns.
pub(crate) trait TurnReader: Send + 'static {
    /// Reads on until a batch is full, the turn is over, or there is no more. Blocks. Not called again after an error
    /// or the last batch. Keeps neither a file nor a window between turns: there may be more readers than descriptors.
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
/// batch is read while one is consumed if the consumer has been quick and `budget` has room, and no further. With
/// `heartbeats` a turn that found nothing is given as an empty batch.
pub(crate) fn stream_batches<R: TurnReader>(
    heartbeats: bool,
    budget: Arc<ReadBudget>,
    begin: impl FnOnce() -> Result<Option<R>, ReadError> + Send + 'static,
) -> CommitStream {
    let reader = Reader {
        budget,
        given: None,
        reading: Reading::NotBegun(begin),
    };
    let reading = stream::unfold(reader, Reader::next).fuse();
    Box::pin(reading.filter(move |batch| {
        let is_shown = heartbeats || !batch.as_ref().is_ok_and(Vec::is_empty);
        std::future::ready(is_shown)
    }))
}

/// A stream of batches.
struct Reader<R, B> {
    budget: Arc<ReadBudget>,
    /// The share of the batch that is being consumed, and when it was given.
    given: Option<(Share, Instant)>,
    reading: Reading<R, B>,
}

/// How far a stream of batches has come.
enum Reading<R, B> {
    NotBegun(B),
    /// Between two turns.
    Resting(R),
    /// A turn is under way, or done and not looked at.
    Turning(Turning<R>, Share),
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
        bytes_max: usize,
        begin: impl FnOnce() -> Result<Option<R>, ReadError> + Send + 'static,
    ) -> Result<Self, ReadError> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&unwanted);
        let turn = move || match begin()? {
            Some(mut reader) => {
                let found = reader.read(&mut Turn::new(bytes_max, TURN_TIME, told))?;
                let reader = (!found.is_last).then_some(reader);
                Ok((found, reader))
            }
            None => Ok((Found::last(Batch::default()), None)),
        };
        let turned = spawn(turn)?;
        Ok(Self { turned, unwanted })
    }
}

impl<R, B> Reader<R, B>
where
    R: TurnReader,
    B: FnOnce() -> Result<Option<R>, ReadError> + Send + 'static,
{
    async fn next(mut self) -> Option<(Result<Vec<RecordedCommit>, ReadError>, Self)> {
        // Whoever asks for more is done with what it had.
        let given = self.given.take();
        let is_quick = given.is_some_and(|(_, at)| at.elapsed() <= QUICK_TIME);
        let (turning, mut share) = match std::mem::replace(&mut self.reading, Reading::Ended) {
            Reading::NotBegun(begin) => {
                let share = self.budget.share();
                (Turning::start(share.bytes(), begin), share)
            }
            Reading::Resting(reader) => {
                let share = self.budget.share();
                (turn_on(reader, &share), share)
            }
            Reading::Turning(turning, share) => (Ok(turning), share),
            Reading::Ended => return None,
        };
        let turned = match turning {
            // A panic must not look like the end.
            Ok(mut turning) => (&mut turning.turned)
                .await
                .unwrap_or_else(|error| Err(ended(error))),
            Err(error) => Err(error),
        };
        let (Batch { commits, kept, .. }, reader) = match turned {
            Ok((found, reader)) => (found.batch, reader),
            Err(error) => return Some((Err(error), self)),
        };
        share.settle(kept);
        self.given = Some((share, Instant::now()));
        match reader {
            None if commits.is_empty() => return None,
            None => {}
            Some(reader) => match self.rest_or_read_ahead(reader, is_quick) {
                Ok(reading) => self.reading = reading,
                Err(error) => return Some((Err(error), self)),
            },
        }
        Some((Ok(commits), self))
    }

    fn rest_or_read_ahead(&self, reader: R, is_quick: bool) -> Result<Reading<R, B>, ReadError> {
        let share = is_quick.then(|| self.budget.share_ahead()).flatten();
        Ok(match share {
            Some(share) => Reading::Turning(turn_on(reader, &share)?, share),
            None => Reading::Resting(reader),
        })
    }
}

fn turn_on<R: TurnReader>(reader: R, share: &Share) -> Result<Turning<R>, ReadError> {
    Turning::start(share.bytes(), move || Ok(Some(reader)))
}

/// A blocking task that did not end by itself: a panic, or a runtime that shuts down.
fn ended(error: tokio::task::JoinError) -> ReadError {
    ReadError::Io {
        operation: Arc::from("a blocking read"),
        source: Arc::new(std::io::Error::other(error)),
    }
}
