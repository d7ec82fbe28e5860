//! The store that lies in sled alone: the same log as the journal's, in pages of a sled database.
//!
//! Everything that makes a log of bytes is the journal's: frames, segments, group commit, recovery. What is here
//! is where those bytes lie.

mod options;
mod storage;
mod store;
#[cfg(test)]
mod tests;

pub use options::SledOptions;
#[cfg(test)]
pub(crate) use storage::PageStorage;
pub use store::SledStore;
