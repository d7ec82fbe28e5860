//! Notices when the clock of those who append jumps, since the log's own time never goes back.

use std::time::{Duration, Instant};

use chronicler_domain::Timestamp;

/// How far the clock must be behind the log to be told. Less is the order in which senders asked for the time.
const BEHIND_MIN: Duration = Duration::from_secs(1);
/// For how long nothing but such times must have come: a single sender may have waited for its turn.
const BEHIND_FOR: Duration = Duration::from_secs(5);
/// How much further than the time that has passed the clock must go on to be told.
const FORWARD_MIN: Duration = Duration::from_secs(3_600);
/// How often each is told at most.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What there is to tell of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockNote {
    /// It is so far behind the log's last commit: until it gets there, commits have that commit's time.
    Behind(Duration),
    /// It has got there.
    CaughtUp,
    /// It went on by so much more than has passed: if it is set right later, it will be behind.
    Forward(Duration),
}

/// What was seen of the clock.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    last: Option<(Instant, Timestamp)>,
    /// Since when it is behind, and whether that was told.
    behind: Option<(Instant, bool)>,
    told_behind: Option<Instant>,
    told_forward: Option<Instant>,
}

impl ClockWatch {
    /// Takes the time that a commit was given, and the log's time behind it.
    pub(crate) fn look(
        &mut self,
        at: Timestamp,
        log: Timestamp,
        now: Instant,
    ) -> Option<ClockNote> {
        let before = self.last.replace((now, at));
        let behind = log.since(at);
        let is_due =
            |told: Option<Instant>| told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        if behind >= BEHIND_MIN {
            let (since, was_told) = *self.behind.get_or_insert((now, false));
            let is_new = !was_told && is_due(self.told_behind);
            if !is_new || now.duration_since(since) < BEHIND_FOR {
                return None;
            }
            self.behind = Some((since, true));
            self.told_behind = Some(now);
            return Some(ClockNote::Behind(behind));
        }
        if let Some((_, true)) = self.behind.take() {
            return Some(ClockNote::CaughtUp);
        }
        let (then, was) = before?;
        let forward = at.since(was).saturating_sub(now.duration_since(then));
        if forward < FORWARD_MIN || !is_due(self.told_forward) {
            return None;
        }
        self.told_forward = Some(now);
        Some(ClockNote::Forward(forward))
    }
}

impl ClockNote {
    pub(crate) fn tell(self) {
        match self {
            Self::Behind(by) => tracing::warn!(
                seconds = by.as_secs_f64(),
                "the clock is behind the log's last commit: until it gets there, commits have that commit's time"
            ),
            Self::CaughtUp => tracing::info!("the clock has caught up with the log"),
            Self::Forward(by) => tracing::warn!(
                seconds = by.as_secs_f64(),
                "the clock jumped forward: if it is set back, commits keep the time that they have now until it gets there"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn k9_a_clock_that_jumps_is_told_of_and_told_once() {
        let (begun, first) = (Instant::now(), Timestamp::from_millis(1_767_312_000_000));
        let mut watch = ClockWatch::default();
        let mut look = |at: Timestamp, log: Timestamp, seconds: u64| {
            watch.look(at, log, begun + Duration::from_secs(seconds))
        };
        assert_eq!(look(first, first, 0), None);
        let second = first.plus(Duration::from_secs(10));
        assert_eq!(look(second, second, 10), None, "it goes on as time does");
        let far = second.plus(DAY);
        let more = DAY.saturating_sub(Duration::from_secs(1));
        assert_eq!(look(far, far, 11), Some(ClockNote::Forward(more)));
        // Set right: the log stands still at the time it had.
        assert_eq!(look(second, far, 12), None, "a sender may have waited");
        assert_eq!(look(second, far, 17), Some(ClockNote::Behind(DAY)));
        assert_eq!(look(second, far, 18), None, "told once");
        assert_eq!(look(far, far, 19), Some(ClockNote::CaughtUp));
    }

    #[test]
    fn k9_senders_that_overtake_each_other_are_no_jump() {
        let (begun, first) = (Instant::now(), Timestamp::from_millis(1_767_312_000_000));
        let mut watch = ClockWatch::default();
        let log = first.plus(Duration::from_millis(900));
        assert_eq!(watch.look(first, log, begun), None);
        assert_eq!(watch.look(log, log, begun), None);
        // One that waited for half a minute, again and again, among others that did not.
        for second in 0..60 {
            let now = begun + Duration::from_secs(second);
            let log = log.plus(Duration::from_secs(second + 30));
            let at = if second % 3 == 0 { log } else { first };
            assert_eq!(watch.look(at, log, now), None);
        }
    }
}
