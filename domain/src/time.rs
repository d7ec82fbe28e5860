//! Points in time as plain values: microseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// A value, never a clock: nothing in this crate can ask what time it is.
///
/// ```
/// use chronicler_domain::Timestamp;
/// let at: Timestamp = "2018-01-02T03:04:05Z".parse()?;
/// assert_eq!(at.to_string(), "2018-01-02T03:04:05Z");
/// # Ok::<(), chronicler_domain::InvalidTimestamp>(())
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The latest expressible point; stands for "never".
    pub const MAX: Self = Self(u64::MAX);

    /// A point so many microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A point so many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// This point moved later by `duration` (saturating).
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// This point moved earlier by `duration` (saturating at the epoch).
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason: String| InvalidTimestamp {
            text: text.to_owned(),
            reason,
        };
        let at: jiff::Timestamp = text
            .parse()
            .map_err(|e: jiff::Error| invalid(e.to_string()))?;
        u64::try_from(at.as_microsecond())
            .map(Self)
            .map_err(|_| invalid("it lies before 1970".to_owned()))
    }
}

/// A text that is not a point in time as RFC 3339 writes it, with an offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time with an offset: {reason}")]
pub struct InvalidTimestamp {
    text: String,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_and_refuses_nonsense() {
        let zulu: Timestamp = "2018-01-02T03:04:05.000007Z".parse().unwrap();
        let offset: Timestamp = "2018-01-02T00:04:05.000007-03:00".parse().unwrap();
        assert_eq!(zulu, offset);
        assert_eq!(zulu.to_string(), "2018-01-02T03:04:05.000007Z");
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert!(error.to_string().contains("\"yesterday\""), "{error}");
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
    }
}
