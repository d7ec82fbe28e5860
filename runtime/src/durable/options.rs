//! What a durable subscription follows and how, what it is told, and what can be wrong with it.

use std::time::Duration;

use chronicler_domain::GlobalPosition;
use chronicler_store::codec::CodecError;
use chronicler_store::{AppendError, Filter, ReadError};

/// The longest name, in bytes.
pub(super) const NAME_MAX: usize = 200;

/// Where a durable subscription begins when its name is new. Later it goes on after what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// With the first event.
    #[default]
    First,
    /// With what happens from now on.
    Now,
    /// After this position.
    After(GlobalPosition),
}

/// When what was acknowledged is recorded in the log. What was not recorded comes again after a crash.
///
/// It is also recorded when the subscription is [stopped](crate::DurableSubscription::stop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// After so many acknowledged events; 0 and 1 are each. Default 1: an acknowledgement that was answered is
    /// durable.
    pub events: u64,
    /// When something was done for so long without being recorded, and
    /// [`next`](crate::DurableSubscription::next) is being waited for. Default 1 s.
    pub idle: Duration,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self {
            events: 1,
            idle: Duration::from_secs(1),
        }
    }
}

/// What a durable subscription follows, and how.
#[derive(Clone, Debug)]
pub struct DurableOptions {
    /// Where it begins when its name is new.
    pub begin: Begin,
    /// Which events. What an earlier filter under the same name passed over does not come back with another one.
    pub filter: Filter,
    /// How many events may be given and not acknowledged; at least 1. Default 256.
    pub unacknowledged_max: usize,
    /// When what was acknowledged is recorded.
    pub checkpoint: CheckpointPolicy,
}

impl Default for DurableOptions {
    fn default() -> Self {
        Self {
            begin: Begin::First,
            filter: Filter::default(),
            unacknowledged_max: 256,
            checkpoint: CheckpointPolicy::default(),
        }
    }
}

/// What a subscription is told when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirmation {
    /// Events after this position are given.
    pub after: GlobalPosition,
    /// The durable end of the log.
    pub head: GlobalPosition,
    /// Whether it goes on from an earlier time under the same name.
    pub resumed: bool,
}

/// What is wrong with a durable subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The name is empty or too long.
    #[error("a subscription's name has 1 to {NAME_MAX} bytes, not {0}")]
    Name(usize),
    /// Somebody follows under this name already.
    #[error("the subscription {0:?} is in use: it has one consumer at a time")]
    InUse(String),
    /// The subscription was stopped or dropped; what is acknowledged now would be in the way of the next one.
    #[error("the subscription has ended")]
    Ended,
    /// There is no such subscription.
    #[error("there is no subscription {0:?}")]
    Unknown(String),
    /// A position that the log does not reach was acknowledged, or is to be begun after.
    #[error("position {position} is beyond the end of the log, {head}")]
    BeyondHead {
        /// The position.
        position: GlobalPosition,
        /// The durable end of the log.
        head: GlobalPosition,
    },
    /// What the log remembers of it is not a position.
    #[error("the cursor of subscription {name:?} is unreadable: {source}")]
    Cursor {
        /// The subscription.
        name: String,
        /// Why.
        source: CodecError,
    },
    /// The log cannot be read. The next call tries again from the same place.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log did not take the cursor. What was acknowledged counts until the process ends.
    #[error(transparent)]
    Append(#[from] AppendError),
}
