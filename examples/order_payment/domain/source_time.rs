//! A time that the source names: data like any other, which never drives a clock.

use std::fmt;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// The layout of the Olist files; also how a time is shown.
const LAYOUT: &str = "%Y-%m-%d %H:%M:%S";

/// Microseconds since 1970-01-01 00:00:00 in the zone that the source speaks, which it need not name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SourceTime(i64);

impl SourceTime {
    /// Reads `2017-07-09 21:57:05`.
    pub fn parse_civil(text: &str) -> Result<Self, String> {
        let civil = DateTime::strptime(LAYOUT, text).map_err(|error| error.to_string())?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC);
        let zoned = zoned.map_err(|error| error.to_string())?;
        Ok(Self(zoned.timestamp().as_microsecond()))
    }

    /// Reads RFC 3339, as `2017-07-09T21:57:05Z`; an offset is applied.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        let timestamp: jiff::Timestamp = text
            .parse()
            .map_err(|error: jiff::Error| error.to_string())?;
        Ok(Self(timestamp.as_microsecond()))
    }

    /// A time by its microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The month as `2017-07`.
    pub fn month(self) -> String {
        self.to_string().chars().take("2017-07".len()).collect()
    }
}

impl fmt::Display for SourceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{}", timestamp.strftime(LAYOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_the_file_wrote_it() {
        let time = SourceTime::parse_civil("2017-07-09 21:57:05").unwrap();
        assert_eq!(time.to_string(), "2017-07-09 21:57:05");
        assert_eq!(time.month(), "2017-07");
        assert_eq!(
            time,
            SourceTime::parse_rfc3339("2017-07-09T23:57:05+02:00").unwrap()
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        assert!(SourceTime::parse_civil("2017-13-09 21:57:05").is_err());
        assert!(SourceTime::parse_civil("2017-07-09").is_err());
        assert!(SourceTime::parse_rfc3339("yesterday").is_err());
    }
}
