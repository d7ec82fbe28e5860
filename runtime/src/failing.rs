//! Instances that cannot be recovered at present, for a reason that may pass: visible, in memory only, tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chronicler_domain::{StreamId, Timestamp};
use parking_lot::Mutex;

use crate::backoff::{Backoff, Jitter, is_worth_a_warning};
use crate::clock::Clock;

/// The wait between two recoveries of one instance. Never longer than a client waits gladly: a command that comes in
/// between waits for the next try.
const BETWEEN_RECOVERIES: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// An instance that could not be recovered when it was tried last. Its next command tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailingInstance {
    /// The instance.
    pub stream: StreamId,
    /// Why the last try failed.
    pub reason: Arc<str>,
    /// Tries since the last one that succeeded.
    pub attempts: u32,
    /// When the first of them failed.
    pub since: Timestamp,
}

/// What fails to recover in one runtime. An entry lives no longer than its instance, whose number is bounded.
#[derive(Default)]
pub(crate) struct Failing {
    all: Mutex<HashMap<StreamId, Entry>>,
}

struct Entry {
    reason: Arc<str>,
    attempts: u32,
    since: Timestamp,
    /// When it may be tried again.
    again: Instant,
}

impl Failing {
    /// Notes that a try failed; how long to wait before the next.
    pub(crate) fn note(
        &self,
        stream: &StreamId,
        reason: &Arc<str>,
        now: Instant,
        clock: &dyn Clock,
        jitter: &Jitter,
    ) -> Duration {
        let mut all = self.all.lock();
        let entry = all.entry(stream.clone()).or_insert_with(|| Entry {
            reason: Arc::clone(reason),
            attempts: 0,
            since: clock.now(),
            again: now,
        });
        entry.attempts = entry.attempts.saturating_add(1);
        entry.reason = Arc::clone(reason);
        let wait = BETWEEN_RECOVERIES.wait(entry.attempts, jitter);
        entry.again = now + wait;
        let attempts = entry.attempts;
        drop(all);
        if is_worth_a_warning(attempts) {
            tracing::warn!(%stream, attempts, reason = &**reason, "an instance cannot be recovered at present and is tried again");
        } else {
            tracing::debug!(%stream, attempts, reason = &**reason, "recovery failed");
        }
        wait
    }

    /// What is left of the wait before an instance may be tried again; nothing for one that did not fail.
    pub(crate) fn wait(&self, stream: &StreamId, now: Instant) -> Option<Duration> {
        let all = self.all.lock();
        let entry = all.get(stream)?;
        let left = entry.again.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Forgets an instance that was recovered, was set aside, or has ended. How often it was tried.
    pub(crate) fn forget(&self, stream: &StreamId) -> Option<u32> {
        let mut all = self.all.lock();
        if all.is_empty() {
            return None;
        }
        all.remove(stream).map(|entry| entry.attempts)
    }

    pub(crate) fn list(&self) -> Vec<FailingInstance> {
        let all = self.all.lock();
        let one = |(stream, entry): (&StreamId, &Entry)| FailingInstance {
            stream: stream.clone(),
            reason: Arc::clone(&entry.reason),
            attempts: entry.attempts,
            since: entry.since,
        };
        let mut all: Vec<_> = all.iter().map(one).collect();
        all.sort_by(|a, b| a.stream.cmp(&b.stream));
        all
    }
}
