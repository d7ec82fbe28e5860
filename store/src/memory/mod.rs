//! A store in memory: the same contract as the durable one, for tests, written to be read.

mod derived;
mod derived_store;
mod event_log;
mod faults;
mod followed;
mod journal;
mod plan;
mod read;
mod store;
#[cfg(test)]
mod tests;

pub use faults::Faults;
pub use plan::{AppendFault, CrashPoint, ReadFault};
pub use store::MemoryStore;
