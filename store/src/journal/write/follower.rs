//! The follower: a thread that seals full segments and brings the index after the log, never in its way.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chronicler_domain::LogSequence;
use parking_lot::{Condvar, Mutex};

use super::active::{SealJob, seal};
use crate::index::{IndexBatch, IndexError, Watermark};
use crate::journal::open::fill;
use crate::journal::shared::Shared;
use crate::log::Health;
use crate::test_points::{CrashPlace, reached};

/// How much the journal grows before the index is brought after it: rows of streams that change often are
/// written once for all of that, and reading so much again at open takes about 0.1 s.
const APPLY_EVERY_BYTES: u64 = 64 << 20;
/// How often it is looked whether the marker covers what is to be applied, in case its moving was missed.
const MARKER_POLL: Duration = Duration::from_millis(10);
/// How long after a failure of the index it is built again: at first, and at most. What it failed for, a disk without
/// room for instance, may pass, and building it takes a second per million commits.
const REBUILD_MIN: Duration = Duration::from_millis(100);
const REBUILD_MAX: Duration = Duration::from_secs(30);

/// How the writer tells the follower what there is to do.
#[derive(Debug, Default)]
pub(crate) struct FollowerSignal {
    state: Mutex<Work>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    seals: VecDeque<SealJob>,
    unapplied_bytes: u64,
    changed_at: Option<Instant>,
    /// When the index is to be built again; `None` while it works.
    rebuild_at: Option<Instant>,
    /// How long the next failure of it is waited after.
    rebuild_after: Option<Duration>,
    closing: bool,
}

/// The thread's state.
pub(crate) struct Follower {
    shared: Arc<Shared>,
}

/// What the follower is to do next.
enum Task {
    Seal(SealJob),
    Apply,
    Rebuild,
    End,
}

impl FollowerSignal {
    /// The log has grown by so much.
    pub(crate) fn changed(&self, bytes: u64) {
        let mut work = self.state.lock();
        let begins = work.changed_at.is_none();
        work.unapplied_bytes += bytes;
        work.changed_at = Some(Instant::now());
        if begins || work.unapplied_bytes >= APPLY_EVERY_BYTES {
            self.wake.notify_one();
        }
    }

    /// The index is far enough behind for readers to notice.
    pub(crate) fn apply_soon(&self) {
        let mut work = self.state.lock();
        if work.changed_at.is_some() {
            work.unapplied_bytes = work.unapplied_bytes.max(APPLY_EVERY_BYTES);
            self.wake.notify_one();
        }
    }

    /// A segment is full.
    pub(crate) fn seal(&self, job: SealJob) {
        self.state.lock().seals.push_back(job);
        self.wake.notify_one();
    }

    /// The index failed somebody who asked it, or was written to: it is built again, after a wait that doubles.
    pub(crate) fn index_failed(&self) {
        let mut work = self.state.lock();
        if work.rebuild_at.is_none() {
            let after = work.rebuild_after.unwrap_or(REBUILD_MIN);
            work.rebuild_at = Some(Instant::now() + after);
            work.rebuild_after = Some(after.saturating_mul(2).min(REBUILD_MAX));
            self.wake.notify_one();
        }
    }

    /// The writer has ended.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    fn next(&self, idle_after: Duration) -> Task {
        let mut work = self.state.lock();
        loop {
            if let Some(job) = work.seals.pop_front() {
                return Task::Seal(job);
            }
            if let Some(at) = work.rebuild_at {
                let left = at.saturating_duration_since(Instant::now());
                if work.closing {
                    return Task::End;
                }
                if left.is_zero() {
                    return Task::Rebuild;
                }
                self.wake.wait_for(&mut work, left);
                continue;
            }
            let idle = work.changed_at;
            let idle = idle.map(|at| idle_after.saturating_sub(at.elapsed()));
            let due = work.unapplied_bytes >= APPLY_EVERY_BYTES
                || idle.is_some_and(|left| left.is_zero())
                || (work.closing && idle.is_some());
            if due {
                work.unapplied_bytes = 0;
                work.changed_at = None;
                return Task::Apply;
            }
            if work.closing {
                return Task::End;
            }
            match idle {
                Some(left) => {
                    self.wake.wait_for(&mut work, left);
                }
                None => self.wake.wait(&mut work),
            }
        }
    }

    /// The marker has moved.
    pub(crate) fn marked(&self) {
        self.wake.notify_one();
    }

    /// The index was built again, and begins to follow.
    fn rebuilt(&self) {
        let mut work = self.state.lock();
        work.rebuild_at = None;
        work.changed_at = work.changed_at.or(Some(Instant::now()));
    }

    /// The index could not be built again: once more, later.
    fn not_rebuilt(&self) {
        self.state.lock().rebuild_at = None;
        self.index_failed();
    }

    fn wait_for_marker(&self) {
        let mut work = self.state.lock();
        if !work.closing {
            self.wake.wait_for(&mut work, MARKER_POLL);
        }
    }

    fn is_closing(&self) -> bool {
        self.state.lock().closing
    }
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Works until the writer has ended and everything is applied.
    pub(crate) fn run(self) {
        loop {
            match self.shared.follower.next(self.shared.options.index_idle) {
                Task::Seal(job) => self.seal(job),
                Task::Apply => {
                    let applied = panic::catch_unwind(AssertUnwindSafe(|| self.apply()));
                    if let Err(reason) = applied.unwrap_or_else(|_| Err(panicked())) {
                        tracing::warn!(%reason, "the index failed; it is built again");
                        self.shared.follower.index_failed();
                    }
                }
                Task::Rebuild => {
                    let rebuilt = panic::catch_unwind(AssertUnwindSafe(|| self.rebuild()));
                    match rebuilt.unwrap_or_else(|_| Err(panicked())) {
                        Ok(()) => {
                            tracing::info!("the index was built again");
                            self.shared.follower.rebuilt();
                        }
                        Err(reason) => {
                            tracing::warn!(%reason, "the index could not be built again; it is tried again later");
                            self.shared.follower.not_rebuilt();
                        }
                    }
                }
                Task::End => return,
            }
        }
    }

    fn seal(&self, job: SealJob) {
        let path = job.segment.path.clone();
        reached(CrashPlace::Seal);
        // Without its footer a segment is read the long way when the store is opened, and sealed then. But a
        // disk that fails a write or a sync is not written to any more, whatever it was for.
        if let Err(error) = seal(job, self.shared.store_id) {
            let reason = format!("sealing {} failed: {error}", path.display());
            tracing::error!(%reason, "the log takes no more writes until it is opened again");
            self.shared.stop_writes(&reason);
        }
    }

    /// Puts everything durable into the index.
    fn apply(&self) -> Result<(), IndexError> {
        // The watermark first: rows may be newer than it, and reading on from it only repeats them.
        let end = self.shared.end();
        let durable = || self.shared.durable();
        let heads = self.shared.heads.collect(durable);
        let facts = self.shared.facts.collect(durable);
        let head_sequences = heads.iter().map(|(_, row)| row.sequence);
        let newest = head_sequences
            .chain(facts.iter().map(|fact| fact.sequence))
            .max();
        let Some(newest) = newest else {
            return Ok(());
        };
        if !self.is_marked(newest.max(end.sequence)) {
            self.shared.heads.not_applied(&heads);
            return Ok(());
        }
        let batch = IndexBatch {
            heads,
            facts,
            watermark: Watermark {
                store_id: self.shared.store_id,
                sequence: end.sequence,
                log_offset: end.last_offset,
                checksum: end.checksum,
            },
        };
        let index = self.shared.index().map_err(|error| IndexError {
            operation: "applying",
            reason: error.to_string(),
        })?;
        reached(CrashPlace::IndexApply);
        if let Err(error) = index.apply(&batch) {
            self.shared.heads.not_applied(&batch.heads);
            return Err(error);
        }
        reached(CrashPlace::IndexApplied);
        self.shared.heads.applied(&batch.heads);
        self.shared.facts.applied(&batch.facts);
        self.shared
            .counters
            .applied(batch.heads.len() + batch.facts.len());
        Ok(())
    }

    /// Waits until the marker covers a commit: no row may name what could still be cut off as a torn tail. False if it
    /// never will.
    fn is_marked(&self, sequence: LogSequence) -> bool {
        while self.shared.marked() < sequence {
            if self.shared.health() != Health::Healthy || self.shared.follower.is_closing() {
                return false;
            }
            self.shared.follower.wait_for_marker();
        }
        true
    }

    /// Builds the index again from the journal. What has changed since is in memory, and follows.
    fn rebuild(&self) -> Result<(), IndexError> {
        let failed = |reason: String| IndexError {
            operation: "building it again",
            reason,
        };
        let view = self.shared.view();
        if !self.is_marked(view.end.sequence) {
            return Err(failed("the log takes no more writes".to_owned()));
        }
        let index = self.shared.index();
        let index = index.map_err(|error| failed(error.to_string()))?;
        let goes_on = || !self.shared.follower.is_closing();
        index.rebuild(&mut |fresh| fill(fresh, &view, self.shared.store_id, &goes_on))
    }
}

fn panicked() -> IndexError {
    IndexError {
        operation: "applying",
        reason: "it panicked".to_owned(),
    }
}
