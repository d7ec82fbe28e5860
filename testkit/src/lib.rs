//! Who doubts: given/when/then for aggregates and sagas, a manual clock, injected faults, and a crash at every write.
//!
//! An application in memory is `App::in_memory()` of the facade; over a [`MemoryStore`] that is handed to `App::over`
//! its [`Faults`] can be reached, and with `.clock(ManualClock)` its time stands still until it is told to move.

mod aggregate;
pub mod conformance;
mod crash;
mod durations;
mod fingerprint;
mod in_any_order;
mod replay;
mod reply;
mod saga;
mod script;

pub use aggregate::{Accepted, Given, Then, given};
pub use chronicler_runtime::ManualClock;
pub use chronicler_store::MemoryStore;
pub use chronicler_store::memory::{AppendFault, CrashPoint, Faults};
pub use crash::crash_at_every_write;
pub use durations::Durations;
pub use fingerprint::hold_fingerprint;
pub use in_any_order::{Play, in_any_order};
pub use replay::assert_replays;
pub use reply::{Reply, lose, never_answered, ok, reject};
pub use saga::{GivenSaga, Reaction, done, given_saga, rejected, unknown};
pub use script::{Expected, Script, script, script_of};
