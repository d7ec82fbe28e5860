//! Times in words.

use std::time::Duration;

/// Times in words: `15.minutes()`.
pub trait Durations {
    /// So many seconds.
    fn seconds(self) -> Duration;
    /// So many minutes.
    fn minutes(self) -> Duration;
    /// So many hours.
    fn hours(self) -> Duration;
}

impl Durations for u64 {
    fn seconds(self) -> Duration {
        Duration::from_secs(self)
    }

    fn minutes(self) -> Duration {
        Duration::from_secs(self.saturating_mul(60))
    }

    fn hours(self) -> Duration {
        Duration::from_secs(self.saturating_mul(3_600))
    }
}
