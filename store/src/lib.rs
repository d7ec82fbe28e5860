//! Where facts live: the log, its index, snapshots and views, behind object-safe traits.
//!
//! Bytes in, bytes out: nothing here knows actors or an application's types. The contract of a store is in
//! the docs of [`EventLog`], [`SnapshotStore`] and [`ViewStore`]; `conformance` of `chronicler-testkit` checks it on any store.

mod acceptance;
mod append;
pub mod codec;
mod error;
mod fnv;
#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod hex;
mod index;
pub mod journal;
mod log;
pub mod memory;
mod pages;
mod panic_text;
mod query;
mod read;
mod sled;
mod snapshot;
mod store;
#[doc(hidden)]
pub mod test_points;
mod threads;
mod view;

pub use append::{
    Append, AppendResult, Appended, Completion, Expected, NewEvent, PlacedPart, Positions,
    StreamAppend,
};
pub use error::{AppendError, OpenError, Outcome, ReadError, StoreError};
pub use frame::{
    EventRef, FactKind, OutcomeRecord, OutcomeResult, PartRef, RecordRef, RecordedCommit,
    SideRecord,
};
pub use journal::JournalStore;
pub use log::{EventLog, FactEntry, Head, Health, HeldBack, StreamHead};
pub use memory::MemoryStore;
pub use pages::{SledOptions, SledStore};
pub use query::{AllQuery, CommitStream, Direction, FactQuery, Filter, Start, StreamQuery};
pub use read::{RecordedEvent, read_all_events, read_events};
pub use snapshot::{Snapshot, SnapshotStore};
pub use store::Store;
pub use view::{ViewCheckpoint, ViewName, ViewRow, ViewStore};

// Of the crates of this workspace, which hash, print and contain panics in one way. Hidden with `frame` and `hex`: no promises.
#[doc(hidden)]
pub use fnv::Fnv;
#[doc(hidden)]
pub use panic_text::panic_text;
