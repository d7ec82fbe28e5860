//! What an operator does to a data directory as a whole: backup, restore, import.

mod backup;
mod copy;
mod error;
mod import;
mod manifest;
mod place;
mod restore;
mod segment_writer;

pub use backup::BackupReport;
pub use copy::CopyProgress;
pub use error::MaintenanceError;
pub use import::{ImportedCommit, JournalImport};
pub use restore::{RestoreReport, restore};
