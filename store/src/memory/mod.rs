//! A store in memory: the same contract as the durable one, for tests, written to be read.

mod derived;
mod event_log;
mod faults;
mod followed;
mod journal;
mod read;
#[cfg(test)]
mod tests;

pub use event_log::MemoryStore;
pub use faults::{AppendFault, CrashPoint, Faults, ReadFault};
