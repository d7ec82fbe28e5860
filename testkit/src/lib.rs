//! Who doubts: given/when/then for aggregates and sagas, a manual clock, injected faults, and a crash at every write.
//!
//! An application in memory is `App::in_memory()` of the facade; over a [`MemoryStore`] that is handed to `App::over`
//! its [`Faults`] can be reached, and with `.clock(ManualClock)` its time stands still until it is told to move.

mod aggregate;
pub mod conformance;
mod crash;
mod fingerprint;
mod replay;
mod saga;
mod script;

pub use aggregate::{Accepted, Given, Then, given};
pub use chronicler_runtime::ManualClock;
pub use chronicler_store::MemoryStore;
pub use chronicler_store::memory::{AppendFault, CrashPoint, Faults};
pub use crash::crash_at_every_write;
pub use fingerprint::hold_fingerprint;
pub use replay::assert_replays;
pub use saga::{GivenSaga, Reaction, done, given_saga, rejected, unknown};
pub use script::{
    Durations, Expected, Play, Reply, Script, in_any_order, lose, never_answered, ok, reject,
    script, script_of,
};
