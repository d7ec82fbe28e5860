//! The journal: the durable store. Segment files are the truth, and everything else is derived from them.
//!
//! docs/FORMAT.md has the bytes. The walk of one append: `log` takes it, `write` groups and syncs it,
//! `memory` has what readers see at once, `read` has the way to what is older, and `open` the way back
//! after a crash.

mod counters;
mod disk;
mod head_watch;
mod identity;
mod lock;
mod log;
mod maintain;
mod marker;
mod memory;
mod open;
mod options;
mod read;
mod reader;
mod segment;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod unfinished;
mod write;

pub use counters::SyncStats;
pub(crate) use disk::{Created, OpenMode, RealStorage, Storage, StorageFile, create_folders};
pub(crate) use identity::StoreKind;
pub use maintain::{
    BackupReport, CopyProgress, ImportedCommit, JournalImport, MaintenanceError, Repair,
    RepairAction, RepairPlan, RepairReport, RestoreReport, rebuild_index, restore,
};
pub use open::{CutTail, OpenReport};
pub use options::{Durability, JournalOptions, ReplayListener, ReplayProgress};
pub(crate) use read::spawn;
pub use reader::{
    Commits, Damage, JournalReader, Remedy, SegmentSummary, Verification, VerifyProgress,
};
pub use store::JournalStore;
pub(crate) use store::absolute;
