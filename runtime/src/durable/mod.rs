//! Following the log under a name: what was acknowledged is remembered, and what was not comes again.

mod cursor;
mod delivery;
mod options;
mod progress;
mod subscription;

pub(crate) use cursor::{Claims, forget, list};
pub use delivery::Delivery;
pub use options::{Begin, CheckpointPolicy, Confirmation, DurableOptions, SubscribeError};
pub use subscription::{Acknowledger, DurableSubscription};
