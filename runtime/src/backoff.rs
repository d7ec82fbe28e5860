//! The wait before something that failed is tried again: longer each time up to a maximum, and never the same for all.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Doublings after which a wait no longer grows, whatever the maximum.
const DOUBLINGS_MAX: u32 = 16;

/// How long to wait before something that failed is tried again. It does not say how often: what may pass is tried for
/// ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure; it doubles with each.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// From `first`, doubled with each failure, to `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The wait after so many failures in a row, counted from 1, before chance makes it shorter.
    pub fn longest(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(DOUBLINGS_MAX));
        self.first.saturating_mul(doubled).min(self.max)
    }

    /// The wait after so many failures in a row, counted from 1.
    pub fn wait(&self, failures: u32, jitter: &Jitter) -> Duration {
        jitter.shorten(self.longest(failures))
    }
}

/// Makes waits unequal, so that what failed together is not tried again together. A sequence of its own for each
/// runtime, and the same again from the same seed.
#[derive(Debug)]
pub struct Jitter(AtomicU64);

impl Jitter {
    /// From [`RuntimeOptions::id_seed`](crate::RuntimeOptions::id_seed), else by chance.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(AtomicU64::new(
            seed.unwrap_or_else(|| RandomState::new().hash_one(0_u8)),
        ))
    }

    /// Between half of a wait and all of it.
    pub fn shorten(&self, wait: Duration) -> Duration {
        let half = wait / 2;
        half + half.mul_f64(self.next())
    }

    /// Between 0 and 1: splitmix64, good enough to spread waits.
    fn next(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 53 bits fit a float exactly.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Whether a failure in a row is worth a warning: the first ones, and then ever fewer.
pub(crate) fn is_worth_a_warning(failures: u32) -> bool {
    failures.is_power_of_two() || failures.is_multiple_of(256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r4_waits_double_up_to_the_maximum_and_chance_makes_them_shorter_by_up_to_half() {
        let millis = Duration::from_millis;
        let backoff = Backoff::new(millis(50), millis(1_000));
        let longest: Vec<_> = (1..=7).map(|n| backoff.longest(n).as_millis()).collect();
        assert_eq!(longest, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.longest(u32::MAX), millis(1_000));

        let waits = |seed| {
            let jitter = Jitter::new(Some(seed));
            (0..100)
                .map(|_| backoff.wait(6, &jitter))
                .collect::<Vec<_>>()
        };
        let (some, others) = (waits(1), waits(2));
        assert!(
            some.iter()
                .all(|wait| (millis(500)..=millis(1_000)).contains(wait))
        );
        let spread = some
            .iter()
            .max()
            .unwrap()
            .saturating_sub(*some.iter().min().unwrap());
        assert!(spread > millis(250), "{spread:?}");
        assert_ne!(some, others);
        assert_eq!(some, waits(1), "the same seed, the same waits");
    }

    #[test]
    fn r4_a_trouble_that_lasts_is_told_ever_less_often() {
        let told = (1..=1_000).filter(|n| is_worth_a_warning(*n)).count();
        assert_eq!(told, 11, "1, 2, 4 … 512, and 768");
        assert!(is_worth_a_warning(1));
    }
}
