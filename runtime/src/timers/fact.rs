//! A timer as a fact of the log: the key says when it is due, whose it is and which one, the value what it waits for.

use bytes::Bytes;
use chronicler_domain::Timestamp;

/// The key of a timer's fact: when it is due, whose it is, and which one.
///
/// `owner` must not contain a NUL; by convention it is what handlers register for, such as `saga:order`.
pub fn timer_key(due: Timestamp, owner: &str, name: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(9 + owner.len() + name.len());
    key.extend_from_slice(&due.as_micros().to_be_bytes());
    key.extend_from_slice(owner.as_bytes());
    key.push(0);
    key.extend_from_slice(name);
    key.into()
}

/// Whose timer a fact's key is; `None` if it is no timer's.
pub fn owner_of_timer(key: &[u8]) -> Option<&str> {
    let (_, rest) = key.split_first_chunk::<8>()?;
    let nul = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(rest.get(..nul)?).ok()
}

/// When the timer of a key is due.
pub(super) fn due_of_timer(key: &[u8]) -> Option<Timestamp> {
    let (due, _) = key.split_first_chunk::<8>()?;
    Some(Timestamp::from_micros(u64::from_be_bytes(*due)))
}

/// What a timer waits for: the value of its fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerWait {
    /// For a while since it was armed. As long as the process lives that is measured by the monotonic clock, whatever
    /// the wall clock is set to; after a restart, when nobody knows how long the process was away, by the date.
    Duration,
    /// For a date: whenever the wall clock shows it.
    Date,
}

impl TimerWait {
    /// The value of the fact.
    pub fn value(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Duration => b"",
            Self::Date => b"D",
        })
    }

    fn read(value: &[u8]) -> Self {
        match value {
            b"D" => Self::Date,
            _ => Self::Duration,
        }
    }
}

/// A timer that has come due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FiredTimer {
    /// The key of its fact, which the owner's commit must remove.
    pub key: Bytes,
    /// When it was due.
    pub due: Timestamp,
    /// Whose it is.
    pub owner: String,
    /// Which one.
    pub name: Bytes,
    /// What it waited for.
    pub wait: TimerWait,
}

impl FiredTimer {
    pub(super) fn read(key: Bytes, value: &[u8]) -> Option<Self> {
        let (due, rest) = key.split_first_chunk::<8>()?;
        let nul = rest.iter().position(|byte| *byte == 0)?;
        let owner = std::str::from_utf8(rest.get(..nul)?).ok()?.to_owned();
        let name = Bytes::copy_from_slice(rest.get(nul + 1..)?);
        let due = Timestamp::from_micros(u64::from_be_bytes(*due));
        Some(Self {
            due,
            owner,
            name,
            wait: TimerWait::read(value),
            key,
        })
    }
}
