//! The one place where sled is entered: a panic in it becomes an error, and a hang becomes one in time.
//!
//! sled panics on damaged files, in the calling thread or in a thread of its own pool; in the second case
//! the caller may wait for ever. So everything goes through [`guarded`], and everything that can wait for
//! sled's threads (open, write, close) also through a [`Worker`], on a thread of ours. A thread that is still
//! in sled when its time is up is left behind, with what it holds: that is the price of a hang.
//!
//! A program built with `panic = "abort"` has no such guard: damage to sled's files ends it.
//!
//! The panic hook is process-wide, and what it prints about a caught panic would look like a failure. So the
//! first call here puts a hook before the present one that is silent on a thread while it is inside
//! [`guarded`], and passes everything else on.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::index::{BEGIN, IndexError};
use crate::{panic_text, threads};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic inside sled.
pub(super) fn guarded<T>(
    operation: &'static str,
    enter: impl FnOnce() -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    silence_inside();
    let outer = INSIDE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(enter));
    INSIDE.set(outer);
    result.unwrap_or_else(|payload| {
        Err(IndexError {
            operation,
            reason: format!("sled panicked: {}", panic_text(payload.as_ref())),
        })
    })
}

/// A thread for what may panic or hang inside sled: one for each database, for as long as it is open. Starting one each
/// time takes as long as a sync, and may fail when all that is to be done is to go on.
#[derive(Debug)]
pub(super) struct Worker {
    /// Gone only while it is being dropped.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Set when it did not answer in time: nobody waits for its end.
    hangs: AtomicBool,
}

type Job = Box<dyn FnOnce() + Send>;

/// How many jobs may wait for a worker. Whoever hands one over waits for it, and only a handful of threads do.
const JOBS_MAX: usize = 64;

impl Worker {
    pub(super) fn new() -> Result<Self, IndexError> {
        let (jobs, received) = sync_channel::<Job>(JOBS_MAX);
        let run = move || received.into_iter().for_each(|job: Job| job());
        let started = threads::start("chronicler-sled", run);
        let thread = started.map_err(|error| IndexError {
            operation: BEGIN,
            reason: format!("no thread could be started: {error}"),
        })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            hangs: AtomicBool::new(false),
        })
    }

    /// Runs something that may panic or hang inside sled, after what was handed over before, for at most `limit`.
    pub(super) fn within<T: Send + 'static>(
        &self,
        operation: &'static str,
        limit: Duration,
        enter: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (job, answered) = answering(operation, enter);
        if let Some(jobs) = &self.jobs {
            // A job that is not taken is dropped, and with it the answer that is waited for.
            drop(jobs.try_send(Box::new(job)));
        }
        let ended = wait(operation, limit, &answered);
        if ended.is_err() {
            self.hangs.store(true, Ordering::Release);
        }
        ended?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && !self.hangs.load(Ordering::Acquire)
        {
            drop(thread.join());
        }
    }
}

/// A job that gives its result to whoever waits for it.
fn answering<T: Send + 'static>(
    operation: &'static str,
    enter: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> (impl FnOnce() + Send, Receiver<Result<T, IndexError>>) {
    let (answer, answered) = sync_channel(1);
    let job = move || {
        let result = guarded(operation, enter);
        // Nobody waits any more: what came too late is closed here, and that may panic, too.
        if let Err(unwanted) = answer.send(result) {
            drop(guarded(operation, move || {
                drop(unwanted);
                Ok(())
            }));
        }
    };
    (job, answered)
}

/// The result of a job; an error if there is none in time.
fn wait<T>(
    operation: &'static str,
    limit: Duration,
    answered: &Receiver<Result<T, IndexError>>,
) -> Result<Result<T, IndexError>, IndexError> {
    answered.recv_timeout(limit).map_err(|error| IndexError {
        operation,
        reason: match error {
            RecvTimeoutError::Timeout => {
                format!("sled did not answer within {} s", limit.as_secs())
            }
            RecvTimeoutError::Disconnected => "its thread ended without an answer".to_owned(),
        },
    })
}

fn silence_inside() {
    static ONCE: Once = Once::new();
    // Hooks cannot be changed by a thread that is panicking.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.try_with(Cell::get).unwrap_or(false) {
                next(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error = guarded::<()>("probe", || panic!("page {} is gone", 7)).unwrap_err();
        assert_eq!(error.operation, "probe");
        assert_eq!(error.reason, "sled panicked: page 7 is gone");
    }

    #[test]
    fn a_worker_outlives_a_panic_and_is_left_behind_when_it_hangs() {
        let (worker, minute) = (Worker::new().unwrap(), Duration::from_secs(60));
        let error = worker.within::<()>("probe", minute, || panic!("gone"));
        assert_eq!(error.unwrap_err().reason, "sled panicked: gone");
        assert_eq!(worker.within("probe", minute, || Ok(7)).unwrap(), 7);

        let (release, released) = sync_channel::<()>(1);
        let (ended, end) = sync_channel(1);
        let hangs = worker.within("probe", Duration::from_millis(1), move || {
            released.recv().unwrap_err();
            ended.send(()).unwrap();
            Ok(())
        });
        let error = hangs.unwrap_err();
        assert!(error.reason.contains("did not answer"), "{error}");
        drop(worker);
        drop(release);
        end.recv().unwrap();
    }
}
