//! What the worker of the timers knows: which are due, which are being handled, which failed, and when it looks again.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::Timestamp;

use super::fact::FiredTimer;
use crate::backoff::is_worth_a_warning;
use crate::clock::later;

/// Timers that are looked at together, and that wait for a place at most.
pub(crate) const TIMERS_READ_MAX: usize = 1_024;
/// Timers that a look begins with: most looks find that few are due.
const FIRST_READ: usize = 16;

/// When the timers are to be looked at again.
#[derive(Debug)]
pub(crate) struct NextLook {
    /// When the monotonic clock shows this; `None`: not for that.
    pub(crate) by: Option<Instant>,
    /// When the wall clock shows this.
    pub(crate) at: Timestamp,
}

impl NextLook {
    const NEVER: Self = Self {
        by: None,
        at: Timestamp::MAX,
    };

    pub(crate) fn look_by(&mut self, by: Instant) {
        self.by = Some(self.by.map_or(by, |before| before.min(by)));
    }

    pub(crate) fn look_at(&mut self, at: Timestamp) {
        self.at = self.at.min(at);
    }

    /// When a date has come for which the wall clock shows `reached` now, by whichever of the two clocks is first.
    pub(crate) fn look_when(&mut self, date: Timestamp, reached: Timestamp, now: Instant) {
        self.look_by(later(now, date.since(reached)));
        self.look_at(date);
    }

    /// The date at which it is looked at the latest, however the wall clock is set; the beginning of time if there is none.
    pub(crate) fn certainly_at(&self) -> Timestamp {
        match self.by {
            Some(_) => self.at,
            None => Timestamp::EPOCH,
        }
    }
}

/// The timers that are due, as far as they were read.
#[derive(Debug)]
pub(crate) struct DueTimers {
    /// Those that wait for a place, in order.
    waiting: VecDeque<FiredTimer>,
    /// Whether they were read just now.
    is_fresh: bool,
    busy: HashSet<Bytes>,
    /// How often each failed, and when it is tried again.
    failing: BTreeMap<Bytes, (u32, Instant)>,
    /// Those of them that the present look found.
    still_failing: HashSet<Bytes>,
    /// Handlers that ended since the last look: what they left would be found by another.
    ended: usize,
    /// Whether the last look came to no end.
    has_more: bool,
    /// Whether it is to be looked for another reason.
    looks: bool,
    pub(crate) next: NextLook,
}

impl Default for DueTimers {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            is_fresh: false,
            busy: HashSet::new(),
            failing: BTreeMap::new(),
            still_failing: HashSet::new(),
            ended: 0,
            has_more: false,
            looks: true,
            next: NextLook::NEVER,
        }
    }
}

impl DueTimers {
    /// Something was armed, or a time has come.
    pub(crate) fn look(&mut self) {
        self.looks = true;
    }

    /// Whether the timers are to be read. Not while some wait that were read; and what handlers leave that have ended is
    /// looked for when a quarter of them has, so that those that have not are not read again for each.
    pub(crate) fn is_to_be_read(&self) -> bool {
        let have_ended = self.ended > 0 && self.ended * 4 >= self.busy.len();
        self.waiting.is_empty() && (self.looks || self.has_more || have_ended)
    }

    /// Whether it waits for a time to look again, and does not want to look already.
    pub(crate) fn waits_for_a_time(&self) -> bool {
        !self.looks
    }

    /// How many are read first.
    pub(crate) fn first_page(&self) -> usize {
        match self.has_more {
            true => TIMERS_READ_MAX,
            false => (FIRST_READ + self.busy.len()).min(TIMERS_READ_MAX),
        }
    }

    pub(crate) fn begin_look(&mut self) {
        (self.looks, self.has_more, self.ended) = (false, false, 0);
        (self.next, self.is_fresh) = (NextLook::NEVER, true);
        self.still_failing.clear();
    }

    /// A timer that is due.
    pub(crate) fn found(&mut self, timer: FiredTimer, now: Instant) {
        let again = self.failing.get(&timer.key).map(|(_, again)| *again);
        if again.is_some() {
            self.still_failing.insert(timer.key.clone());
        }
        match again.filter(|again| *again > now) {
            _ if self.busy.contains(&timer.key) => {}
            Some(again) => self.next.look_by(again),
            None => self.waiting.push_back(timer),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= TIMERS_READ_MAX
    }

    /// Ends a look. Forgets of those that failed what is not there any more; what lies after this key was not looked at.
    pub(crate) fn end_look(&mut self, cut_after: Option<Bytes>) {
        let still = &self.still_failing;
        let is_behind = |key: &Bytes| cut_after.as_ref().is_some_and(|after| key > after);
        self.failing
            .retain(|key, _| still.contains(key) || is_behind(key));
        self.has_more = cut_after.is_some();
    }

    /// The next one that waits for a place, and whether it was read just now.
    pub(crate) fn take(&mut self) -> Option<(FiredTimer, bool)> {
        self.waiting.pop_front().map(|timer| (timer, self.is_fresh))
    }

    /// Its handler begins.
    pub(crate) fn begins(&mut self, timer: &FiredTimer) {
        self.busy.insert(timer.key.clone());
    }

    /// What still waits was not read just now any more.
    pub(crate) fn age(&mut self) {
        self.is_fresh = false;
    }

    /// Its handler has ended.
    pub(crate) fn ended(
        &mut self,
        key: Bytes,
        result: Result<(), String>,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) {
        self.busy.remove(&key);
        self.ended += 1;
        let Err(reason) = result else {
            self.failing.remove(&key);
            return;
        };
        let (attempts, again) = self.failing.entry(key).or_insert((0, now));
        *attempts = attempts.saturating_add(1);
        *again = now + wait(*attempts);
        self.next.look_by(*again);
        if is_worth_a_warning(*attempts) {
            tracing::warn!(reason, attempts = *attempts, "timer handler failed");
        }
    }
}
