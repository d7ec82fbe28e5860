//! What the follower is told: that the log has grown, that a segment is full, that the index failed, that it is to end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::active::SealJob;

/// How much the journal grows before the index is brought after it: rows of streams that change often are
/// written once for all of that, and reading so much again at open takes about 0.1 s.
const APPLY_EVERY_BYTES: u64 = 64 << 20;
/// How often it is looked whether the marker covers what is to be applied, in case its moving was missed.
const MARKER_POLL: Duration = Duration::from_millis(10);
/// How long after a failure of the index it is built again: at first, and at most. What it failed for, a disk without
/// room for instance, may pass, and building it takes a second per million commits.
const REBUILD_MIN: Duration = Duration::from_millis(100);
const REBUILD_MAX: Duration = Duration::from_secs(30);
/// An index that has worked for so long since it was built again fails for another reason: the wait begins at the least.
const REBUILD_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// How the writer tells the follower what there is to do.
#[derive(Debug, Default)]
pub(crate) struct FollowerSignal {
    state: Mutex<Work>,
    wake: Condvar,
    /// How often the index was built again.
    generation: AtomicU64,
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
    /// When it was built again, if that is to count still.
    rebuilt_at: Option<Instant>,
    closing: bool,
}

/// What the follower is to do next.
pub(super) enum Task {
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

    /// Nothing was applied and nothing harmed: once more when the log has been idle, or has grown. At a close the next
    /// opening does it.
    pub(super) fn apply_later(&self) {
        let mut work = self.state.lock();
        if !work.closing {
            work.changed_at = work.changed_at.or(Some(Instant::now()));
        }
    }

    /// A segment is full.
    pub(crate) fn seal(&self, job: SealJob) {
        self.state.lock().seals.push_back(job);
        self.wake.notify_one();
    }

    /// Which index there is: to be asked before the index is, for [`index_failed`](Self::index_failed).
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The index failed somebody who asked it, or was written to: it is built again, after a wait that doubles. Nothing is
    /// to be done if it was built again since it was asked.
    pub(crate) fn index_failed(&self, generation: u64) {
        let mut work = self.state.lock();
        if generation == self.generation() && work.schedule_rebuild(Instant::now()) {
            self.wake.notify_one();
        }
    }

    /// The writer has ended.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn next(&self, idle_after: Duration) -> Task {
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
    pub(super) fn rebuilt(&self) {
        let mut work = self.state.lock();
        self.generation.fetch_add(1, Ordering::Release);
        work.rebuild_at = None;
        work.rebuilt_at = Some(Instant::now());
        work.changed_at = work.changed_at.or(Some(Instant::now()));
    }

    /// The index could not be built again: once more, later.
    pub(super) fn not_rebuilt(&self) {
        let mut work = self.state.lock();
        work.rebuild_at = None;
        work.schedule_rebuild(Instant::now());
    }

    pub(super) fn wait_for_marker(&self) {
        let mut work = self.state.lock();
        if !work.closing {
            self.wake.wait_for(&mut work, MARKER_POLL);
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }
}

impl Work {
    /// Schedules a rebuild of the index after a wait; `false` if one is scheduled already.
    fn schedule_rebuild(&mut self, now: Instant) -> bool {
        if self.rebuild_at.is_some() {
            return false;
        }
        let has_worked =
            |at: &mut Instant| now.saturating_duration_since(*at) >= REBUILD_FORGOTTEN_AFTER;
        // Only once: attempts that fail after it wait longer each time.
        if self.rebuilt_at.take_if(has_worked).is_some() {
            self.rebuild_after = None;
        }
        let after = self.rebuild_after.unwrap_or(REBUILD_MIN);
        self.rebuild_at = Some(now + after);
        self.rebuild_after = Some(after.saturating_mul(2).min(REBUILD_MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x2_the_wait_doubles_until_the_index_has_worked_for_a_while() {
        let mut work = Work::default();
        let begin = Instant::now();
        let mut wait = |rebuilt_at, now| {
            work.rebuilt_at = rebuilt_at;
            assert!(work.schedule_rebuild(now));
            assert!(!work.schedule_rebuild(now), "it is to be done already");
            let wait = work.rebuild_at.take().unwrap() - now;
            (wait, work.rebuilt_at)
        };
        for doubled in [1, 2, 4, 8] {
            assert_eq!(wait(None, begin).0, REBUILD_MIN * doubled);
        }
        // An index that fails again soon has not worked.
        let soon = begin + REBUILD_FORGOTTEN_AFTER / 2;
        assert_eq!(wait(Some(begin), soon).0, REBUILD_MIN * 16);
        let later = begin + REBUILD_FORGOTTEN_AFTER;
        let (first, rebuilt_at) = wait(Some(begin), later);
        assert_eq!(first, REBUILD_MIN);
        // And attempts that fail from then on do not begin at the least each time.
        assert_eq!(wait(rebuilt_at, later).0, REBUILD_MIN * 2);
    }

    #[test]
    fn x2_an_error_of_the_index_before_does_not_have_this_one_built_again() {
        let signal = FollowerSignal::default();
        let is_scheduled = || signal.state.lock().rebuild_at.is_some();
        let asked = signal.generation();
        signal.index_failed(asked);
        assert!(is_scheduled());
        signal.rebuilt();
        // A reader who asked the one before is told only now.
        signal.index_failed(asked);
        assert!(!is_scheduled());
        signal.index_failed(signal.generation());
        assert!(is_scheduled());
        // An attempt that failed is made again.
        signal.not_rebuilt();
        assert!(is_scheduled());
    }
}
