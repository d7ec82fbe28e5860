//! How far only timers lie that nobody here handles, so that looks pass over them without reading them again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::Timestamp;

/// For how long that is believed. A timer that was armed among them, and of which nobody told, is found after this.
const BELIEVED_FOR: Duration = Duration::from_secs(600);

/// The timers at the beginning of the list whose owners are not registered: a saga that was removed leaves them, and they
/// lie there for ever.
#[derive(Debug, Default)]
pub(crate) struct ForeignTimers {
    /// All timers up to this key are foreign.
    through: Option<Bytes>,
    /// When all were read last.
    read_at: Option<Instant>,
}

impl ForeignTimers {
    /// Begins a look, and gives the key after which it begins. Since the last look timers were armed that are due at
    /// `armed_from` and later; [`Timestamp::EPOCH`] if it is not known who handles what.
    pub(crate) fn begin(&mut self, armed_from: Timestamp, now: Instant) -> Option<Bytes> {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= BELIEVED_FOR;
        if self.read_at.is_none_or(is_old) {
            self.through = None;
            self.read_at = Some(now);
        }
        // The date alone comes before every key that begins with it.
        let date = Bytes::copy_from_slice(&armed_from.as_micros().to_be_bytes());
        self.through = self.through.take().map(|through| through.min(date));
        self.through.clone()
    }

    /// A look found nothing but foreign timers up to this key.
    pub(crate) fn reach(&mut self, through: Bytes) {
        self.through = Some(through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::timer_key;

    #[test]
    fn what_is_armed_among_foreign_timers_is_read() {
        let (mut foreign, now) = (ForeignTimers::default(), Instant::now());
        let at = Timestamp::from_micros;
        let key = |due| timer_key(at(due), "gone", b"one");
        assert_eq!(foreign.begin(Timestamp::MAX, now), None);
        foreign.reach(key(500));
        assert_eq!(foreign.begin(Timestamp::MAX, now), Some(key(500)));
        assert_eq!(foreign.begin(at(501), now), Some(key(500)));
        let begins = foreign
            .begin(at(400), now)
            .expect("those before stay known");
        assert!(key(399) < begins && begins < timer_key(at(400), "", b""));
        foreign.reach(key(500));
        let begins = foreign.begin(Timestamp::EPOCH, now);
        assert!(begins.is_none_or(|begins| begins < timer_key(Timestamp::EPOCH, "", b"")));
        foreign.reach(key(500));
        assert_eq!(foreign.begin(Timestamp::MAX, now + BELIEVED_FOR), None);
    }
}
