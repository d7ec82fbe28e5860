//! When the wall clock was set while the process lived, so that timers in the log keep their durations.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chronicler_domain::{LogSequence, Timestamp};

/// The smallest difference that counts as a step. Below it a clock is slewed or drifts, and a timer is that much early or
/// late at most.
const STEP_MIN_MICROS: i64 = 100_000;
/// Steps that are remembered. Timers that were armed before the oldest of them go by their dates.
const STEPS_MAX: usize = 64;

/// The steps of the wall clock since the process began.
///
/// A timer's fact has a date, and dates change their meaning when the clock is set. Which clock a date was taken from
/// follows from where its commit lies in the log: before a step or after it.
#[derive(Debug)]
pub(crate) struct ClockSteps {
    /// What both clocks showed at the beginning.
    begun: (Instant, Timestamp),
    /// Ascending, and never empty: the first is the beginning.
    steps: VecDeque<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// The commits after this one took their dates from the clock as it was set here.
    after: LogSequence,
    /// How far the wall clock was then ahead of where it would be if nobody had set it.
    ahead_micros: i64,
}

impl ClockSteps {
    /// Begins with what the clocks show and where the log ends.
    pub(crate) fn new(monotonic: Instant, wall: Timestamp, end: LogSequence) -> Self {
        let first = Step {
            after: end,
            ahead_micros: 0,
        };
        Self {
            begun: (monotonic, wall),
            steps: VecDeque::from([first]),
        }
    }

    /// Compares the clocks, and remembers a step. Whether there was one.
    pub(crate) fn look(&mut self, monotonic: Instant, wall: Timestamp, end: LogSequence) -> bool {
        let ahead_micros = self.ahead_micros(monotonic, wall);
        let before = self.steps.back().map_or(0, |step| step.ahead_micros);
        if ahead_micros.abs_diff(before) < STEP_MIN_MICROS.unsigned_abs() {
            return false;
        }
        tracing::info!(by_micros = ahead_micros - before, "the wall clock was set");
        if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(Step {
            after: end,
            ahead_micros,
        });
        true
    }

    /// How long it still is until a timer is due that waits for a while, armed by this commit. `None`: it was armed before
    /// the process began, and has only its date.
    pub(crate) fn left(
        &self,
        due: Timestamp,
        armed: LogSequence,
        (monotonic, wall): (Instant, Timestamp),
    ) -> Option<Duration> {
        let step = self.steps.iter().rev().find(|step| step.after < armed)?;
        // So far the clock was ahead when it was armed, against now.
        let ahead = step
            .ahead_micros
            .saturating_sub(self.ahead_micros(monotonic, wall));
        let by = Duration::from_micros(ahead.unsigned_abs());
        let meant = match ahead {
            0.. => due.minus(by),
            _ => due.plus(by),
        };
        Some(meant.since(wall))
    }

    /// How far after the present date a timer can be dated that is due now: by so much the clock was set back.
    pub(crate) fn reach(&self, monotonic: Instant, wall: Timestamp) -> Duration {
        let most = self.steps.iter().map(|step| step.ahead_micros).max();
        let back = most
            .unwrap_or(0)
            .saturating_sub(self.ahead_micros(monotonic, wall));
        Duration::from_micros(u64::try_from(back).unwrap_or(0))
    }

    fn ahead_micros(&self, monotonic: Instant, wall: Timestamp) -> i64 {
        let (begun, first) = self.begun;
        let unset = first.plus(monotonic.saturating_duration_since(begun));
        let signed = |at: Timestamp| i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
        signed(wall).saturating_sub(signed(unset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_timer_keeps_its_duration_however_the_clock_is_set() {
        let (begun, wall) = (Instant::now(), Timestamp::from_millis(1_767_312_000_000));
        let at = LogSequence::new;
        let mut steps = ClockSteps::new(begun, wall, at(10));
        let due = wall.plus(MINUTE);
        // Armed after the process began, then set back, then forward.
        let back = (begun, wall.minus(HOUR));
        steps.look(back.0, back.1, at(11));
        assert_eq!(steps.left(due, at(11), back), Some(MINUTE));
        assert_eq!(steps.reach(back.0, back.1), HOUR);
        let later = back.1.plus(MINUTE);
        assert_eq!(
            steps.left(later, at(12), back),
            Some(MINUTE),
            "armed after it"
        );
        let forward = (begun + MINUTE / 2, wall.plus(HOUR));
        steps.look(forward.0, forward.1, at(12));
        assert_eq!(steps.left(due, at(11), forward), Some(MINUTE / 2));
        assert_eq!(steps.left(later, at(12), forward), Some(MINUTE / 2));
        assert_eq!(steps.reach(forward.0, forward.1), Duration::ZERO);
        // Armed by an earlier process: only the date is known.
        assert_eq!(steps.left(due, at(10), back), None);
    }

    #[test]
    fn steps_are_forgotten_beyond_their_number_and_drift_is_none() {
        let (begun, wall) = (Instant::now(), Timestamp::from_millis(1_767_312_000_000));
        let mut steps = ClockSteps::new(begun, wall, LogSequence::ZERO);
        steps.look(
            begun,
            wall.plus(Duration::from_millis(99)),
            LogSequence::ZERO,
        );
        assert_eq!(steps.steps.len(), 1);
        for n in 1..=200 {
            steps.look(begun, wall.plus(HOUR * n), LogSequence::ZERO);
        }
        assert_eq!(steps.steps.len(), STEPS_MAX);
    }
}
