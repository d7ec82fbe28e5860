//! What an operator does to a data directory as a whole: backup, restore, import, repair, a new index.

mod backup;
mod chain;
mod copy;
mod error;
mod import;
mod manifest;
mod place;
mod rebuild;
mod repair;
mod restore;
mod segment_writer;

pub(crate) use manifest::MANIFEST;

pub use backup::BackupReport;
pub use copy::CopyProgress;
pub use error::MaintenanceError;
pub use import::{ImportedCommit, JournalImport};
pub use rebuild::rebuild_index;
pub use repair::{Repair, RepairAction, RepairPlan, RepairReport};
pub use restore::{RestoreReport, restore};
