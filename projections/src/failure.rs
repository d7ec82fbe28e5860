//! What happens to an event that a handler cannot take, and why it could not.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::Backoff;
use chronicler_store::panic_text;

/// Tries after the first one, before [`AfterRetries`] decides.
pub const RETRIES_DEFAULT: u32 = 3;
/// The wait before the first retry; doubled for each further one.
pub const BACKOFF_FIRST_DEFAULT: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
pub const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(5);
/// The longest reason that is kept with a parked event, in bytes; a panic message can be of any length.
const REASON_BYTES_MAX: usize = 1_024;

/// What happens to an event that a handler cannot take: it panics, or it answers with an error.
///
/// The event and the later ones of its key are set aside at once, so that nobody else waits, and it is tried again. The
/// default is [`RETRIES_DEFAULT`] retries with doubling backoff, then [`AfterRetries::Park`]. An event whose payload cannot
/// be decoded is not retried, since nothing can change until the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    retries: u32,
    backoff: Backoff,
    then: AfterRetries,
}

/// The end of an event whose last retry has failed, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AfterRetries {
    /// The event and every later one of its key stay set aside, visibly, while all others flow. They are tried again at the
    /// next start, and when a person says so.
    Park,
    /// The event is left out for good, visibly; later ones of its key are folded.
    Skip,
    /// The projection stops where it is, with the reason; its view goes on answering from there. Nothing after the event
    /// is shown while it is tried again, either.
    Stop,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self::new(AfterRetries::Park)
    }
}

impl FailurePolicy {
    /// The default retries, then `then`.
    pub fn new(then: AfterRetries) -> Self {
        Self {
            retries: RETRIES_DEFAULT,
            backoff: Backoff::new(BACKOFF_FIRST_DEFAULT, BACKOFF_MAX_DEFAULT),
            then,
        }
    }

    /// How many tries after the first; zero decides at once. Default [`RETRIES_DEFAULT`].
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// The wait before the first retry and the longest one; it doubles in between, and chance makes each shorter by up to
    /// half. Defaults [`BACKOFF_FIRST_DEFAULT`] and [`BACKOFF_MAX_DEFAULT`]. Until then the later events of the same key
    /// wait and all others are folded; with [`AfterRetries::Stop`] nothing is.
    #[must_use]
    pub fn backoff(self, first: Duration, max: Duration) -> Self {
        Self {
            backoff: Backoff::new(first, max),
            ..self
        }
    }

    /// The end of an event whose last retry has failed, too.
    pub(crate) fn then(&self) -> AfterRetries {
        self.then
    }

    /// What to do after try number `tries` (counted from 1) failed for this reason.
    pub(crate) fn after(&self, tries: u32, reason: &FailureReason) -> Verdict {
        if reason.is_final() || tries > self.retries {
            return Verdict::Done(self.then);
        }
        Verdict::RetryAfter(self.backoff.longest(tries))
    }
}

/// What to do with an event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// After so long at most.
    RetryAfter(Duration),
    Done(AfterRetries),
}

/// Why a handler could not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    /// The payload cannot be decoded as the event it says it is.
    Undecodable(Arc<str>),
    /// The handler answered with an error, or broke a rule of the table.
    Refused(Arc<str>),
    /// The handler panicked.
    Panicked(Arc<str>),
    /// The handler made a row that cannot be encoded, or read one that this process wrote and cannot read.
    Unwritable(Arc<str>),
}

impl FailureReason {
    pub(crate) fn refused(message: &str) -> Self {
        Self::Refused(shortened(message))
    }

    pub(crate) fn undecodable(message: &str) -> Self {
        Self::Undecodable(shortened(message))
    }

    pub(crate) fn unwritable(message: &str) -> Self {
        Self::Unwritable(shortened(message))
    }

    /// From what a caught panic carries.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked(shortened(panic_text(payload)))
    }

    /// True when the handler was not even asked, so that it cannot have left the view half changed.
    pub(crate) fn is_before_the_handler(&self) -> bool {
        matches!(self, Self::Undecodable(_))
    }

    /// Whether trying again cannot help.
    fn is_final(&self) -> bool {
        matches!(self, Self::Undecodable(_) | Self::Unwritable(_))
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(why) => write!(f, "the event cannot be decoded: {why}"),
            Self::Refused(why) => write!(f, "the handler refused the event: {why}"),
            Self::Panicked(why) => write!(f, "the handler panicked: {why}"),
            Self::Unwritable(why) => write!(f, "a row cannot be written and read back: {why}"),
        }
    }
}

/// An event that a handler could not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventFailure {
    pub(crate) position: GlobalPosition,
    pub(crate) stream_key: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) reason: FailureReason,
    /// Whether the view was whole when it failed. If not, another failure before may be why it did.
    pub(crate) is_certain: bool,
}

fn shortened(text: &str) -> Arc<str> {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_retries_back_off_by_doubling_up_to_the_limit_and_then_decide() {
        let millis = Duration::from_millis;
        let policy = FailurePolicy::new(AfterRetries::Skip)
            .retries(3)
            .backoff(millis(10), millis(30));
        let panicked = FailureReason::Panicked("no".into());
        let after = |tries| policy.after(tries, &panicked);
        assert_eq!(after(1), Verdict::RetryAfter(millis(10)));
        assert_eq!(after(2), Verdict::RetryAfter(millis(20)));
        assert_eq!(after(3), Verdict::RetryAfter(millis(30)));
        assert_eq!(after(4), Verdict::Done(AfterRetries::Skip));
    }

    #[test]
    fn what_cannot_be_decoded_is_not_tried_again() {
        let reason = FailureReason::undecodable("garbage");
        let verdict = FailurePolicy::default().after(1, &reason);
        assert_eq!(verdict, Verdict::Done(AfterRetries::Park));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let FailureReason::Refused(kept) = FailureReason::refused(&"ö".repeat(1_000)) else {
            panic!("it is refused");
        };
        assert_eq!(kept.len(), REASON_BYTES_MAX);
    }
}
