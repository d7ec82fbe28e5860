//! Reading a data directory from outside: without its lock, without sled, up to the durable head marker.

mod commits;
mod damage;
mod journal_reader;
mod pieces;
mod segment_check;
mod verify;

pub use commits::Commits;
pub use damage::{Damage, Remedy};
pub use journal_reader::{JournalReader, SegmentSummary};
pub use verify::{Verification, VerifyProgress};
